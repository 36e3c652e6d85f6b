"""An exported folder: there whole, or not at all, and never over something else."""

import filecmp
import glob
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from bench.errors import UserError
from bench.records import alive

T = TypeVar("T")


def make_folder(out: Path, directories: Sequence[Path], fill: Callable[[Path], T]) -> T:
    """Makes `out` with what `fill` writes into the folder that it is given.

    Nothing is overwritten: a folder that holds the same files already is left as it is, so that a
    command can be given twice.

    Args:
        out: the folder to be; it may exist and be empty.
        directories: run directories, inside of which no export goes.
        fill: writes the files; what it raises leaves nothing behind.

    Returns:
        What `fill` returns.

    Raises:
        UserError: `out` is no folder, holds other files, or cannot be written.
    """
    out = out.resolve()
    _check_place(out, directories)
    _sweep(out)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        made = fill(part)
        if out.is_dir() and any(out.iterdir()):
            if not _same(part, out):
                raise UserError(
                    f"{out} holds other files than this export; delete it or name another --out"
                )
        else:
            part.replace(out)
    except OSError as error:
        raise UserError(
            f"cannot write {out}: {error.strerror or error}; make room there or name another --out"
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return made


def _sweep(out: Path) -> None:
    """Deletes what a killed export of the same folder left half-written."""
    for part in out.parent.glob(f".{glob.escape(out.name)}.*.part"):
        maker = part.name.split(".")[-2]
        if maker.isdecimal() and not alive(int(maker)):
            shutil.rmtree(part, ignore_errors=True)


def _check_place(out: Path, directories: Sequence[Path]) -> None:
    if not out.name or (out.exists() and not out.is_dir()):
        raise UserError(f"--out {out} is no folder; name one that does not exist yet")
    for directory in directories:
        if out.is_relative_to(directory.resolve()):
            raise UserError(
                f"--out {out} lies in the run directory {directory}; name a folder beside it"
            )


def files_in(folder: Path) -> list[Path]:
    """All files below a folder, in the order of their paths."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _same(one: Path, other: Path) -> bool:
    names = [path.relative_to(one) for path in files_in(one)]
    if names != [path.relative_to(other) for path in files_in(other)]:
        return False
    return all(filecmp.cmp(one / name, other / name, shallow=False) for name in names)
