"""Files that a command was asked to write."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from bench.errors import UserError


def check_files(named: Mapping[str, Path | None]) -> None:
    """Whether files can be written, by the option that names each, before minutes are spent.

    Raises:
        UserError: one cannot, or two are the same.
    """
    paths = {option: path for option, path in named.items() if path}
    if len(set(paths.values())) < len(paths):
        raise UserError(f"--{' and --'.join(paths)} name the same file; name two")
    for option, path in paths.items():
        if not path.parent.is_dir():
            raise UserError(
                f"--{option} {path}: there is no directory {path.parent}; make it first"
            )
        if path.is_dir():
            raise UserError(f"--{option} {path}: a directory; name a file in it")
        try:
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            raise UserError(
                f"--{option} {path}: cannot write there ({error.strerror}); name another file"
            ) from None
