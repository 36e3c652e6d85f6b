"""Reads files of examples into plain rows, one after another, each with the place it came from."""

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.terminal import check_utf8

Row = tuple[str, dict[str, Any]]  # "FILE, line N" and the record
SUFFIXES = (".jsonl", ".csv", ".parquet")
DATA = (*SUFFIXES, ".json", ".ndjson", ".tsv", ".xlsx", ".arrow", ".gz", ".zst", ".zip")
SEPARATORS = (",", ";", "\t", "|")  # of CSV; the first of those that give a header as many columns
PARQUET_ROWS = 256  # rows in memory; a column of long documents is large
PARQUET_BYTES = 2**20  # read at a time


def read_file(path: Path) -> Iterator[Row]:
    """The rows of a JSONL, CSV or Parquet file.

    Raises:
        UserError: the file is empty, of another kind, or damaged (with the line).
    """
    readers = {".jsonl": _read_jsonl, ".csv": _read_csv, ".parquet": _read_parquet}
    empty = True
    try:
        for row in readers[path.suffix.lower()](path):
            empty = False
            yield row
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    if empty:
        raise UserError(f"{path}: the file is empty; it needs a record a line, or leave it out")


def own_name(path: str | Path) -> str:
    """What a file or directory is called where it is shown: the last part of its path, also of a
    link, and of `.` or `..` that of the directory."""
    return os.path.basename(os.path.abspath(path))


def is_hub_id(source: str) -> bool:
    """Whether a source that is no path here can be OWNER/NAME of a hub; names may hold dots."""
    suffix = Path(source).suffix.lower()
    return bool(re.fullmatch(r"\w[\w.-]*/[\w.-]+", source)) and suffix not in (*DATA, ".txt")


def files_of(source: Path) -> list[Path]:
    """The file itself, or the files in and below a folder in the order of their names, hidden
    ones not.

    Raises:
        UserError: a file of another kind, or a folder without any.
    """
    if source.is_file():
        if source.suffix.lower() not in SUFFIXES:
            raise UserError(f"{source}: {', '.join(SUFFIXES)} are read, not {source.suffix!r}")
        return [source]
    files = [path for path in files_below(source) if path.suffix.lower() in SUFFIXES]
    if not files:
        raise UserError(f"{source}: no {', '.join(SUFFIXES)} file in that folder")
    return files


def files_below(folder: Path) -> list[Path]:
    """All files in and below a folder in the order of their names, hidden ones not.

    Raises:
        UserError: a link leads nowhere, as in a copy of a hub's cache without its blobs.
    """
    found = sorted(
        path
        for path in folder.rglob("[!.]*")
        if not any(name.startswith(".") for name in path.relative_to(folder).parts)
    )
    for path in found:
        if path.is_symlink() and not path.exists():
            raise UserError(f"{path}: a link to a file that is not there; copy the file itself")
    check_utf8((str(path) for path in found), "the name of the file")
    return [path for path in found if path.is_file()]


def unread(folder: Path, read: Collection[Path]) -> list[Path]:
    """Files of data below a folder that are not among those read; texts such as a licence are
    no data."""
    known = {path.resolve() for path in read}
    data = [path for path in files_below(folder) if path.suffix.lower() in DATA]
    return [path for path in data if path.resolve() not in known]


def digest_of_files(paths: Sequence[Path], root: Path) -> str:
    """SHA-256 over names below `root` and bytes, shortened to 12 digits.

    Raises:
        UserError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        name = path.name if path == root else path.relative_to(root).as_posix()
        digest.update(name.encode() + b"\0")
        try:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    return digest.hexdigest()[:12]


def _read_jsonl(path: Path) -> Iterator[Row]:
    blank = 0
    decode = json.JSONDecoder(object_pairs_hook=_unrepeated).decode
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            where = f"{path.name}, line {number}"
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{where}: not UTF-8 ({error.reason}); save the file as UTF-8"
                ) from None
            if not line.strip():
                blank = blank or number
                continue
            if blank:
                raise UserError(
                    f"{path.name}, line {blank}: a blank line between records; remove it"
                )
            try:
                record = decode(line.strip())
            except json.JSONDecodeError as error:
                raise UserError(
                    f"{where}: broken JSON: {error.msg}, column {error.colno}"
                ) from None
            except _Repeated as error:
                raise UserError(f"{where}: the key {error.key!r} is there twice") from None
            except (ValueError, RecursionError) as error:
                raise UserError(f"{where}: broken JSON: {error}") from None
            if not isinstance(record, dict):
                raise UserError(f"{where}: a JSON object is needed, not {line.strip()[:40]!r}")
            yield where, record


class _Repeated(ValueError):
    """A key that is in a JSON object twice."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of some pairs; of a key that is there twice, Python would keep the last."""
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _Repeated(next(key for key in keys if keys.count(key) > 1))
    return made


def _separator(path: Path) -> str:
    """The separator of a CSV file: a comma, unless the header is one column with it and several
    with another."""
    import csv

    with path.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline()

    def columns(separator: str) -> int:
        return len(next(csv.reader([header], delimiter=separator), ()))

    return "," if columns(",") > 1 else max(SEPARATORS, key=columns)


def _read_csv(path: Path) -> Iterator[Row]:
    """Places are first lines of records; an empty cell is a value that is not there."""
    import csv

    csv.field_size_limit(2**31 - 1)  # the default of 128 kB is less than a long document
    header: list[str] | None = None
    line = 1
    try:
        separator = _separator(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True, delimiter=separator)
            for cells in reader:
                where, line = f"{path.name}, line {line}", reader.line_num + 1
                if header is None:
                    header = cells
                    if len(set(header)) < len(header):
                        raise UserError(f"{where}: two columns have one name; rename one")
                elif cells and len(cells) != len(header):
                    raise UserError(f"{where}: another number of columns than the header has")
                elif cells:
                    yield where, {k: v or None for k, v in zip(header, cells, strict=True)}
    except UnicodeDecodeError:
        line = _first_bad_line(path)
        raise UserError(f"{path.name}, line {line}: not UTF-8; save the file as UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{path.name}, line {line}: broken CSV: {error}") from None


def _first_bad_line(path: Path) -> int:
    """Where a file stops being UTF-8; a text stream's error counts from its last block."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1


def _read_parquet(path: Path) -> Iterator[Row]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    number = 0
    try:
        # Without these settings a file's columns stay in memory as they are read.
        with ParquetFile(path, buffer_size=PARQUET_BYTES, pre_buffer=False) as file:
            names = file.schema_arrow.names
            if repeated := [name for name in names if names.count(name) > 1]:
                raise UserError(f"{path.name}: two columns are named {repeated[0]!r}; rename one")
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(PARQUET_ROWS, row_groups=[group]):
                    for record in batch.to_pylist():
                        number += 1
                        yield f"{path.name}, row {number}", _without_nan(record)
    except (ArrowException, OSError) as error:
        raise UserError(f"{path.name}: cannot be read as Parquet: {first_line(error)}") from None


def _without_nan(record: dict[str, Any]) -> dict[str, Any]:
    """The record with None where pandas wrote a float that is no number for a missing value."""
    return {name: None if value != value else value for name, value in record.items()}


def first_line(error: Exception) -> str:
    """What an error says, on one line of 160 characters at most."""
    text = str(error).strip().splitlines()
    return text[0][:160] if text else type(error).__name__
