"""The run directory: cells written whole or not at all, one writer at a time."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.streams import digest_of

LOCK = ".lock"
# Half-written: the name of what it will be, and the process that writes it.
PART = re.compile(
    r"\.((run|training)\.json|plan\.toml|CARD\.md|leaderboard\.\w+|.*\.(jsonl|failed\.json))"
    r"\.\d+\.part"
)


@dataclass(frozen=True)
class Cell:
    """One unit of work, of resume and of distribution.

    `train_seed` is None where nothing that the cell uses depends on it.
    """

    suite: str
    baseline: str
    shots: int
    train_seed: int | None
    seed: int

    def path(self, root: Path) -> Path:
        """Where the cell's records lie."""
        train = "" if self.train_seed is None else f"t{self.train_seed}-"
        folder = root / "cells" / self.suite / self.baseline / f"k{self.shots}"
        return folder / f"{train}s{self.seed}.jsonl"

    def __str__(self) -> str:
        train = "" if self.train_seed is None else f" train seed {self.train_seed}"
        return f"{self.suite} / {self.baseline} / K = {self.shots}{train} seed {self.seed}"


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file so that a reader sees all of it or nothing, also after a power cut; text as
    UTF-8.

    Raises:
        UserError: the system refuses (full disk, read-only folder); nothing half-written stays.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise UserError(
            f"cannot write {path}: {error.strerror or error}; make room there or name another "
            "--out, then run the same command again: what is finished is kept"
        ) from None


def alive(process: int) -> bool:
    """Whether another process of that number runs, so that what it writes is not swept away."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process != os.getpid()


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


def write_json(path: Path, value: Any) -> None:
    """`write_whole` for a JSON value."""
    write_whole(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """A JSON file.

    Raises:
        UserError: there is no such file, it cannot be read, or it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: {error}; the file is damaged: delete it and run again") from None


def write_cell(root: Path, cell: Cell, header: dict[str, Any], records: list[Any]) -> None:
    """A finished cell: a header line with what all its episodes share, then one line each. The
    header also holds the digest of it all, so that a damaged file is not read as a finished one."""
    full = {**asdict(cell), **header}
    lines = [{"sha256": digest_of(full, records), "cell": full}, *records]
    path = cell.path(root)
    write_whole(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    failed_path(root, cell).unlink(missing_ok=True)


def failed_path(root: Path, cell: Cell) -> Path:
    """Where the reason of a failed cell lies."""
    return cell.path(root).with_suffix(".failed.json")


def write_failure(root: Path, cell: Cell, header: dict[str, Any], reason: str) -> None:
    """Notes why a cell could not be finished; the next run tries it again."""
    write_json(failed_path(root, cell), {"cell": {**asdict(cell), **header}, "reason": reason})


def read_failure(path: Path) -> tuple[dict[str, Any], str]:
    """The header of a failed cell, and why it failed.

    Raises:
        UserError: the file cannot be read, or is not what `write_failure` wrote.
    """
    note = read_json(path)
    try:
        header, reason = note["cell"], note["reason"]
        known = {field.name: header[field.name] for field in fields(Cell)}
        whole = isinstance(reason, str) and isinstance(header["settings"], dict)
        whole = whole and Cell(**known).path(Path()).parts[-5:-1] == path.parts[-5:-1]
    except (KeyError, TypeError):
        whole = False
    if not whole:
        raise UserError(f"{path}: damaged or changed by hand; delete the file and run again")
    return header, reason


def read_cell(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Header and records of a finished cell.

    Raises:
        UserError: the file is not what was written, or says what no run says.
    """
    from bench.checked import check_cell  # pydantic, which `fewgen time` does without

    try:
        # Not splitlines: it would break a line at characters that JSON leaves as they are.
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
        first, *records = (json.loads(line) for line in lines)
        whole = first["sha256"] == digest_of(first["cell"], records)
    except (ValueError, TypeError, KeyError):
        whole = False
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); delete it and run again"
        ) from None
    if not whole:
        raise UserError(f"{path}: damaged or changed by hand; delete the file and run again")
    try:
        check_cell(first["cell"], records)
    except ValueError as error:
        raise UserError(f"{path}: not of a run: {error}; delete the file and run again") from None
    if _place(first["cell"]).parts != path.parts[-5:]:
        raise UserError(f"{path}: holds the records of {_place(first['cell'])}; put it back there")
    return first["cell"], records


def _place(header: Mapping[str, Any]) -> Path:
    """Where a cell lies in a run directory, by its header."""
    return Cell(**{field.name: header[field.name] for field in fields(Cell)}).path(Path())


def finished(root: Path, cells: Iterable[Cell]) -> dict[Cell, dict[str, Any]]:
    """The cells whose records are already there, each with its header.

    Raises:
        UserError: a file is damaged.
    """
    there = [cell for cell in cells if cell.path(root).is_file()]
    return {cell: read_cell(cell.path(root))[0] for cell in there}


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Holds a run directory; the kernel lets go when the process ends, however it ends. A
    block that raises before it has written anything leaves no directory that was not there.

    Raises:
        UserError: another run holds it, or it cannot be written.
    """
    made = [folder for folder in (root, *root.parents) if not folder.exists()]
    try:
        root.mkdir(parents=True, exist_ok=True)
        before = set(os.listdir(root))
        file = (root / LOCK).open("a")
    except OSError as error:
        raise UserError(
            f"cannot write the run directory {root}: {error.strerror}; name another with --out"
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.path.samestat(os.fstat(file.fileno()), (root / LOCK).stat())
        except OSError:
            held = False  # also where a refused run has just taken its directory away
        if not held:
            raise UserError(
                f"another run is working in {root}; wait for it or name another --out"
            ) from None
        _sweep(root)
        try:
            yield
        except BaseException:
            if LOCK not in before and set(os.listdir(root)) - {LOCK} <= before:
                _leave(root, made)
            raise


def _leave(root: Path, made: Iterable[Path]) -> None:
    """Takes away what a refused run made: its lock, and folders that are empty without it."""
    with contextlib.suppress(OSError):
        (root / LOCK).unlink()
        for folder in made:
            folder.rmdir()


def _sweep(root: Path) -> None:
    """Deletes what a killed run left half-written, and nothing that is not this module's."""
    files = [*root.glob(".*.part"), *(root / "cells").rglob(".*.part")]
    for part in (path for path in files if path.is_file() and PART.fullmatch(path.name)):
        part.unlink(missing_ok=True)
    for folder in (root / "artefacts").glob(".*.part"):
        shutil.rmtree(folder)
