"""What a terminal or a file system that is not Unicode asks of the command line."""

import codecs
import io
import os
import sys
from collections.abc import Iterable
from typing import Any

from bench.errors import UserError

PLAIN = "fewgen.plain"  # the name of the error handler
_FOR = {"\N{BULLET}": "o", "\N{HORIZONTAL ELLIPSIS}": "...", "\N{MULTIPLICATION SIGN}": "x"}
_FOR |= {"\N{RIGHTWARDS ARROW}": "->", "\N{GREATER-THAN OR EQUAL TO}": ">="}
_FOR |= {"\N{LESS-THAN OR EQUAL TO}": "<="}
_FOR |= dict.fromkeys("\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}", "-")
_FOR |= dict.fromkeys("━╸╺", "-")


def _plain(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that an encoding lacks: signs of like meaning, or `?`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_FOR.get(character, "?") for character in lacking), error.end


codecs.register_error(PLAIN, _plain)


class _Ascii(io.TextIOWrapper):
    """An ASCII stream. Click writes UTF-8 to one that calls itself so, hence the other name."""

    def write(self, text: str) -> int:
        return super().write(text.encode("ascii", PLAIN).decode())


def replace_lacking() -> None:
    """Lets standard output and standard error replace the characters that their encoding lacks."""
    sys.stdout, sys.stderr = _replacing(sys.stdout), _replacing(sys.stderr)


def _replacing(stream: Any) -> Any:
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    if codecs.lookup(stream.encoding).name == "ascii":
        buffered = stream.line_buffering
        return _Ascii(stream.detach(), "latin-1", line_buffering=buffered)
    stream.reconfigure(errors=PLAIN)
    return stream


def check_utf8(texts: Iterable[str], what: str = "the argument") -> None:
    """Raises `UserError` for the first text that is not UTF-8, as names of files may be."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(text).decode("utf-8", "backslashreplace")
            raise UserError(f"{what} '{shown}' is not UTF-8; use a path that is") from None
