"""What a person did wrong, said in one line."""

from collections.abc import Iterable
from difflib import get_close_matches

import click

SHOWN = 16  # names that a message lists at most


class UserError(click.ClickException):
    """Bad input: the message says what, where and what to do. The command line exits with 2."""

    exit_code = 2


class CellError(Exception):
    """A cell that cannot be finished (a loss that is not a number, say); the run goes on."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not registered, with the names that come close."""
    names = sorted(known)
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" * (len(names) > SHOWN))
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {shown or 'none'}"
    return UserError(f"unknown {kind} {name!r}; {hint}")
