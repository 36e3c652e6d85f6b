"""A folder that appears whole or not at all, and replaces nothing that is not its own."""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from bench.errors import UserError
from bench.records import alive, write_json

MARK = ".fewgen-report"  # lists what lies beside it


def check_folder(out: Path) -> None:
    """Whether a report may be written there.

    Raises:
        UserError: it is a file, cannot be reached, or holds what no report wrote.
    """
    try:
        found = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
        if not out.is_dir() and (out.exists() or out.is_symlink()):
            raise UserError(f"{out} is not a folder; name another --out")
        place = out.resolve()
        parent = next((path for path in place.parents if path.exists()), place)
    except OSError as error:
        raise UserError(f"cannot read {out}: {error.strerror}; name another --out") from None
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise UserError(f"cannot write in {parent}; name another --out")
    foreign = [name for name in found if name not in {*_listed(out), MARK}]
    if foreign:
        raise UserError(
            f"{out} holds {foreign[0]!r}, which no report wrote; name another --out, or move it "
            "away"
        )


def _listed(out: Path) -> list[str]:
    """What the report in this folder says that it wrote; nothing where there is none."""
    try:
        names = json.loads((out / MARK).read_text(encoding="utf-8"))["wrote"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


@contextlib.contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` to write into; it becomes `out` at the end, in place of an older report
    there, and nothing stays of it if that is not reached.

    Raises:
        UserError: as `check_folder`, or the system refuses to write.
    """
    check_folder(out)
    out = out.resolve()
    part, old = (out.with_name(f".{out.name}.{os.getpid()}.{end}") for end in ("part", "old"))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _sweep(out)
        part.mkdir()
        yield part
        write_json(part / MARK, {"wrote": sorted(path.name for path in part.iterdir())})
        check_folder(out)  # it took a while
        if out.exists():
            out.rename(old)
        part.rename(out)
    except OSError as error:
        raise UserError(
            f"cannot write {out}: {error.strerror or error}; make room there or name another --out"
        ) from None
    finally:
        if old.exists() and not out.exists():
            old.rename(out)
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _sweep(out: Path) -> None:
    """Deletes what killed builds of this folder left; one whose report was moved aside at that
    moment gets it back."""
    pattern = re.compile(rf"\.{re.escape(out.name)}\.(\d+)\.(part|old)")
    for path in sorted(out.parent.iterdir()):
        match = pattern.fullmatch(path.name)
        if not match or not path.is_dir() or alive(int(match[1])):
            continue
        if match[2] == "old" and not out.exists():
            path.rename(out)
        else:
            shutil.rmtree(path)
