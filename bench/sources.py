"""A data set of one's own: a file, a folder or a hub id, checked record by record."""

import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.errors import UserError, unknown
from bench.readers import Row, digest_of_files, files_of, is_hub_id, read_file
from bench.repository import is_repository, is_saved, read_plain, read_rows, read_saved, resolve
from bench.splits import divide_groups, divide_tasks, part_of
from bench.streams import fraction_of
from bench.tasks import PARTS, SPLITS, Example, PublicData, RawRow, Task

FIELDS = ("input", "target", "references", "task", "group", "id", "split", "language", "task_split")
KEPT_BYTES = 64 * 2**20  # of text in memory; beyond it, a sample of the groups
RECORD_BYTES = 800  # of a record beside its text


@dataclass(frozen=True)
class Source:
    """Where data of one's own comes from.

    Attributes:
        data: a JSONL, CSV or Parquet file; a folder of such files, of `save_to_disk`, or in a
            hub's layout; a hub id OWNER/NAME.
        revision: of a hub id.
        columns: our field to the data's column, for those of another name.
        configs: those of a data set that has several.
        layout: the public data set (one that the suite declares) whose layout the data has.
    """

    data: str
    revision: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    configs: Sequence[str] = ()
    layout: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One checked row; empty texts stand for what the data does not say.

    Attributes:
        table: stem of its file or name of its config, the task of those that name none.
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
class Kept:
    """Records in at most `limit` bytes: all of them, or those of a share of the groups.

    A group stays while the hash of its name lies below the share, and the share is halved
    whenever what stays outgrows the limit. As no prefix of the data is larger than the whole,
    what is left at the end does not depend on the order of the records.
    """

    limit: int = KEPT_BYTES
    share: float = 1.0
    seen: int = 0
    size: int = 0
    records: list[Record] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """Takes a record or leaves it."""
        self.seen += 1
        if not self._stays(record):
            return
        self.records.append(record)
        self.size += size_of(record)
        while self.size > self.limit:
            self.share /= 2
            self.records = [r for r in self.records if self._stays(r)]
            self.size = sum(map(size_of, self.records))

    def _stays(self, record: Record) -> bool:
        return self.share == 1.0 or fraction_of("kept", record.group) < self.share


def size_of(record: Record) -> int:
    """Bytes that a record takes in memory, about."""
    return RECORD_BYTES + sum(map(sys.getsizeof, (record.input, *record.references)))


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


def open_dataset(source: Source, public: Sequence[PublicData] = ()) -> TableDataset:
    """Reads a data set and divides its tasks.

    Args:
        source: where it is.
        public: data sets whose layout is known; one of that id is read by it.

    Raises:
        UserError: with file, line and reason, for whatever cannot be read as it stands.
    """
    for name in source.columns:
        if name not in FIELDS:
            raise unknown("field to map a column to", name, FIELDS)
    name, revision, tables = _open(source, _layout_of(source, public))
    kept = Kept()
    for record in _records(name, tables, source.columns):
        kept.add(record)
    data = build(name, revision, kept.records)
    if kept.share < 1:
        data.notes.append(
            f"{len(kept.records):,} of {kept.seen:,} examples kept: those whose group's hash lies "
            f"in the first {100 * kept.share:.3g} %, which fit {kept.limit / 2**20:.0f} MiB"
        )
    return data


def _layout_of(source: Source, public: Sequence[PublicData]) -> PublicData | None:
    """The declared data set that the plan names, or whose id the data is.

    Raises:
        UserError: a layout of no declared data set, or columns beside one.
    """
    declared = {data.id: data for data in public}
    if source.layout and source.layout not in declared:
        raise unknown("layout of this suite", source.layout, declared)
    layout = declared.get(source.layout or source.data)
    if source.layout is None and Path(source.data).exists():
        return None
    if layout and source.columns:
        raise UserError(f"the layout {layout.id} maps its columns itself; leave --column out")
    return layout


Table = tuple[str, Iterable[Row]]  # stem of a file or name of a config, and its rows


def _open(source: Source, layout: PublicData | None) -> tuple[str, str, Iterable[Table]]:
    path = Path(source.data)
    commit = None
    if path.exists():
        if source.revision:
            raise UserError(
                f"data {source.data!r} is a file or folder here, which has no revision "
                f"{source.revision!r}; leave --revision out"
            )
        if path.is_dir() and is_saved(path):
            revision, rows = read_saved(path)
            return path.resolve().name, revision, [(path.resolve().name, rows)]
        files = files_of(path)
        name, revision = path.resolve().name, digest_of_files(files)
        if not (layout or source.configs) and not (path.is_dir() and is_repository(path, files)):
            return name, revision, ((file.stem, read_file(file)) for file in files)
        if not path.is_dir():
            raise UserError(f"{path}: a file has no layout and no configs; name its folder")
    elif is_hub_id(source.data):
        name, commit = source.data, resolve(source.data, source.revision)
        revision = commit[:12]
    else:
        raise UserError(f"data {source.data!r}: no such file or folder")
    if layout:
        configs = source.configs or layout.configs
        raw = read_rows(source.data, commit, configs, layout.folders, layout.parts)
        return name, revision, [(name, _mapped(source.data, layout, raw))]
    configs = source.configs or [""]
    return name, revision, ((c or name, read_plain(source.data, commit, c)) for c in configs)


def _mapped(data: str, layout: PublicData, rows: Iterable[RawRow]) -> Iterator[Row]:
    """The records of a declared layout; rows of another shape are told."""
    try:
        yield from layout.records(rows)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise UserError(
            f"{data}: a row has not the layout of {layout.id} ({type(error).__name__}: {error}); "
            "leave --layout out and map its columns, or ask for the revision that `show` names"
        ) from error


def _records(name: str, tables: Iterable[Table], columns: Mapping[str, str]) -> Iterator[Record]:
    """Checked records.

    Raises:
        UserError: a bad record, or a mapped column that no record has.
    """
    missing, found = dict(columns), set[str]()
    for stem, rows in tables:
        for where, row in rows:
            if missing:
                found.update(row)
                missing = {f: column for f, column in missing.items() if column not in row}
            for wanted in {"input", "target"} & missing.keys():
                if wanted == "input" or row.get(columns.get("references", "references")) is None:
                    raise _no_column(where, wanted, missing[wanted], row)
            values = {field: row.get(columns.get(field, field)) for field in FIELDS}
            yield _check(where, values, row, stem)
    for wanted, column in missing.items():
        raise _no_column(name, wanted, column, found)


def _no_column(where: str, wanted: str, column: str, found: Iterable[str]) -> UserError:
    names = ", ".join(sorted(map(str, found)))
    return UserError(f"{where}: no column {column!r} for {wanted}; there are: {names}")


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
        UserError: no record, an id twice, too few tasks, or a column that only some records have.
    """
    if not records:
        raise UserError(f"{name}: no records; it needs at least one a task")
    _check_ids(records)
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


def _check_ids(records: list[Record]) -> None:
    """Raises `UserError` if two records have one id."""
    places: dict[str, str] = {}
    for record in records:
        first = places.setdefault(record.id, record.where)
        if first is not record.where:
            raise UserError(f"{record.where}: the id {record.id!r} stands already at {first}")


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
