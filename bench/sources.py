"""A data set of one's own: a file, a folder or a hub id, checked record by record."""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.errors import UserError, unknown
from bench.readers import Row, digest_of_files, files_of, is_hub_id, read_file, read_hub, read_saved
from bench.splits import divide_groups, divide_tasks, part_of
from bench.tasks import PARTS, SPLITS, Example, Task

FIELDS = ("input", "target", "references", "task", "group", "id", "split", "language", "task_split")
SAVED = ("dataset_info.json", "dataset_dict.json", "state.json")


@dataclass(frozen=True)
class Record:
    """One checked row; empty texts stand for what the data does not say.

    Attributes:
        table: stem of its file, the task of files that name none.
    """

    where: str
    table: str
    input: str
    references: tuple[str, ...]
    task: str
    group: str
    id: str
    split: str
    language: str
    task_split: str


@dataclass
class TableDataset:
    """A `Dataset` of records.

    Attributes:
        notes: what the division of groups left out.
    """

    name: str
    revision: str
    splits: dict[str, list[str]]
    tasks: dict[str, Task]
    notes: list[str] = field(default_factory=list)

    def names(self, split: str) -> list[str]:
        """The tasks of a split."""
        return self.splits[split]

    def task(self, name: str) -> Task:
        """The task of that name; raises `UserError` if there is none."""
        if name not in self.tasks:
            raise unknown(f"task of {self.name}", name, self.tasks)
        return self.tasks[name]


def open_dataset(
    source: str, revision: str | None = None, columns: Mapping[str, str] | None = None
) -> TableDataset:
    """Reads a data set and divides its tasks.

    Args:
        source: a JSONL, CSV or Parquet file, a folder of such files or one written by
            `save_to_disk`, or a hub id `owner/name`.
        revision: of a hub id.
        columns: our field to the data's column, for those of another name.

    Raises:
        UserError: with file, line and reason, for whatever cannot be read as it stands.
    """
    columns = dict(columns or {})
    for name in columns:
        if name not in FIELDS:
            raise unknown("field to map a column to", name, FIELDS)
    name, revision, tables = _open(source, revision)
    read = [(stem, list(rows)) for stem, rows in tables]
    _check_columns(name, columns, (row for _, rows in read for _, row in rows))
    return build(name, revision, list(_records(read, columns)))


def _open(source: str, revision: str | None) -> tuple[str, str, list[tuple[str, Iterable[Row]]]]:
    path = Path(source)
    name = path.resolve().name
    if path.exists() and revision:
        raise UserError(
            f"data {source!r} is a file or folder here, which has no revision {revision!r}; "
            "leave --revision out"
        )
    if path.is_dir() and any((path / mark).is_file() for mark in SAVED):
        # The other files hold fingerprints, which change with every writing of the same data.
        return name, digest_of_files(sorted(path.rglob("*.arrow"))), [(name, read_saved(path))]
    if path.exists():
        files = files_of(path)
        return name, digest_of_files(files), [(file.stem, read_file(file)) for file in files]
    if not is_hub_id(source):
        raise UserError(f"data {source!r}: no such file or folder")
    commit, rows = read_hub(source, revision)
    return source, commit[:12], [(source.split("/")[1], rows)]


def _check_columns(
    source: str, columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]]
) -> None:
    found = {column for row in rows for column in row}
    for name, column in columns.items():
        if column not in found:
            raise UserError(
                f"{source}: no column {column!r} for {name}; there are: {', '.join(sorted(found))}"
            )


def _records(
    tables: Iterable[tuple[str, list[Row]]], columns: Mapping[str, str]
) -> Iterator[Record]:
    """Checked records, each id once."""
    ids: dict[str, str] = {}
    for stem, where, row in ((stem, *row) for stem, rows in tables for row in rows):
        values = {name: row.get(columns.get(name, name)) for name in FIELDS}
        record = _check(where, values, row, stem)
        if record.id in ids:
            raise UserError(f"{where}: the id {record.id!r} stands already at {ids[record.id]}")
        ids[record.id] = where
        yield record


def _check(where: str, values: dict[str, Any], row: dict[str, Any], stem: str) -> Record:
    if values["language"] is None:
        values["language"] = row.get("target_lang")
    text = _text(where, "input", values["input"], row)
    references = values["references"]
    if references is None:
        references = [_text(where, "target", values["target"], row)]
    elif isinstance(references, str):
        references = [references]
    elif not isinstance(references, list):
        raise UserError(
            f"{where}: references must be a list of texts, not {type(references).__name__}"
        )
    if None in references:
        raise UserError(f"{where}: references holds a null; remove it")
    cleaned = tuple(_text(where, "references", item, row) for item in references)
    if not cleaned:
        raise UserError(f"{where}: references is an empty list; a target is needed")
    split = _choice(where, "split", values["split"], PARTS)
    task_split = _choice(where, "task_split", values["task_split"], SPLITS)
    return Record(
        where,
        stem,
        text,
        cleaned,
        task=_label(where, "task", values["task"]),
        group=_label(where, "group", values["group"]) or text,
        id=_label(where, "id", values["id"]) or where,
        split=split,
        language=_label(where, "language", values["language"]),
        task_split=task_split,
    )


def _label(where: str, name: str, value: Any) -> str:
    """A name or a number that may be missing."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UserError(f"{where}: {name} must be text, not {type(value).__name__}")
    return _composed(where, name, str(value))


def _composed(where: str, name: str, text: str) -> str:
    """The text in Unicode NFC; JSON can hold half a character, which no digest can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{where}: {name} holds half of a surrogate pair; mend the text") from None
    return unicodedata.normalize("NFC", text)


def _text(where: str, name: str, value: Any, row: Mapping[str, Any]) -> str:
    if value is None:
        found = ", ".join(sorted(map(str, row)))
        raise UserError(f"{where}: no {name}; map its column in the plan (there are: {found})")
    if not isinstance(value, str):
        raise UserError(f"{where}: {name} must be text, not {type(value).__name__}")
    if not value.strip():
        raise UserError(f"{where}: {name} is empty; remove the record or fill it in")
    return _composed(where, name, value)


def _choice(where: str, name: str, value: Any, allowed: tuple[str, ...]) -> str:
    if value is None or value in allowed:
        return str(value or "")
    raise UserError(f"{where}: {name} = {value!r}; allowed are {', '.join(allowed)}")


def build(name: str, revision: str, records: list[Record]) -> TableDataset:
    """A data set of checked records.

    Raises:
        UserError: no record, too few tasks, or a column that only some records have.
    """
    if not records:
        raise UserError(f"{name}: no records; it needs at least one a task")
    records = _named(name, records)
    has_parts = _all_or_none(name, records, "split")
    splits = _task_splits(name, records)
    split_of = {task: split for split, tasks in splits.items() for task in tasks}
    groups: dict[str, set[str]] = {split: set() for split in SPLITS}
    for record in records:
        groups[split_of[record.task]].add(record.group)
    owners = divide_groups(groups)
    parts: dict[str, dict[str, list[Example]]] = {}
    languages: dict[str, str] = {}
    left_out = 0
    for record in records:
        languages[record.task] = languages.get(record.task) or record.language
        task_parts = parts.setdefault(record.task, {part: [] for part in PARTS})
        if owners.get(record.group, split_of[record.task]) != split_of[record.task]:
            left_out += 1
            continue
        example = Example(record.input, record.references, record.id, record.group)
        task_parts[record.split if has_parts else part_of(record.group)].append(example)
    tasks = {
        task: Task(task, {part: _in_order(v) for part, v in found.items()}, languages[task] or None)
        for task, found in parts.items()
    }
    notes = []
    if not has_parts:
        notes.append(
            "no split column: the examples of a task are divided by hash of their group, "
            "60 / 15 / 25 % train, validation, test"
        )
    if left_out:
        notes.append(
            f"{left_out:,} of {len(records):,} examples left out: their group is shared with tasks "
            "of another split, which it was given to"
        )
    return TableDataset(name, revision, splits, tasks, notes)


def _named(name: str, records: list[Record]) -> list[Record]:
    """Records with a task each: that of their file where no record of the file has one."""
    tables: dict[str, list[Record]] = {}
    for record in records:
        tables.setdefault(record.table, []).append(record)
    bare = {table for table, own in tables.items() if not _all_or_none(name, own, "task")}
    return [replace(r, task=r.table) if r.table in bare else r for r in records]


def _in_order(examples: list[Example]) -> tuple[Example, ...]:
    """By id, so that the order of lines in a file changes no episode."""
    return tuple(sorted(examples, key=lambda example: example.id))


def _all_or_none(name: str, records: list[Record], key: str) -> bool:
    """Whether the records have a key; all must agree.

    Raises:
        UserError: only some have it; names the first that lacks it.
    """
    lacking = [record.where for record in records if not getattr(record, key)]
    if lacking and len(lacking) < len(records):
        raise UserError(f"{lacking[0]}: no {key}, which other records of {name} have; fill it in")
    return not lacking


def _task_splits(name: str, records: list[Record]) -> dict[str, list[str]]:
    if not _all_or_none(name, records, "task_split"):
        try:
            return divide_tasks(record.task for record in records)
        except UserError as error:
            raise UserError(f"{name}: {error.message}") from None
    declared: dict[str, str] = {}
    for record in records:
        if declared.setdefault(record.task, record.task_split) != record.task_split:
            raise UserError(
                f"{record.where}: task {record.task!r} is in {record.task_split} here and in "
                f"{declared[record.task]} before; a task belongs to one"
            )
    return {s: sorted(task for task, split in declared.items() if split == s) for s in SPLITS}
