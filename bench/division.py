"""A data set of records: its tasks divided into splits, their examples into parts."""

from dataclasses import dataclass, field, replace

from bench.duplicates import repeated_inputs, united
from bench.errors import UserError, unknown
from bench.rows import Record
from bench.splits import divide_groups, divide_tasks, part_of
from bench.task_languages import languages_of_records, one_of
from bench.tasks import PARTS, SPLITS, Example, Task


@dataclass
class TableDataset:
    """A `Dataset` of records.

    Attributes:
        notes: what the division of groups left out, and what is odd about languages.
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


def build(
    name: str, revision: str, records: list[Record], language: str | None = None
) -> TableDataset:
    """A data set of checked records.

    Args:
        name: of the data set.
        revision: of the data set.
        records: of all tasks.
        language: of the references of records that declare none.

    Raises:
        UserError: no record, an id twice, too few tasks, or a column that only some records have.
    """
    if not records:
        raise UserError(f"{name}: no records; it needs at least one a task")
    _check_ids(records)
    records, alike = united(_named(name, records))
    has_parts = _all_or_none(name, records, "split")
    splits = _task_splits(name, records)
    split_of = {task: split for split, tasks in splits.items() for task in tasks}
    groups: dict[str, set[str]] = {split: set() for split in SPLITS}
    for record in records:
        groups[split_of[record.task]].add(record.group)
    owners = divide_groups(groups)
    parts: dict[str, dict[str, list[Example]]] = {}
    languages, notes = languages_of_records(records, language)
    spoken: dict[str, set[tuple[str | None, str | None]]] = {}
    left_out = 0
    for record in records:
        tags = languages[record.id], record.source_language or None
        spoken.setdefault(record.task, set()).add(tags)
        task_parts = parts.setdefault(record.task, {part: [] for part in PARTS})
        if owners.get(record.group, split_of[record.task]) != split_of[record.task]:
            left_out += 1
            continue
        example = Example(record.input, record.references, record.id, record.group, *tags)
        task_parts[record.split if has_parts else part_of(record.group)].append(example)
    tasks = {
        task: Task(
            task,
            {part: _in_order(v) for part, v in found.items()},
            language=one_of(target for target, _ in spoken[task]),
            source_language=one_of(source for _, source in spoken[task]),
        )
        for task, found in parts.items()
    }
    if not has_parts:
        notes.append(
            "no split column: the examples of a task are divided by hash of their group, "
            "60 / 15 / 25 % train, validation, test"
        )
    if alike:
        notes.append(
            f"{alike:,} example(s) have an input that differs from another's in white space, case "
            "or Unicode form only; they count as one group, which no episode has in both support "
            "and query"
        )
    if repeated := sum(map(repeated_inputs, tasks.values())):
        notes.append(
            f"{repeated:,} test example(s) have the input of a support example of another group, "
            "but for white space, case or Unicode form; an episode may show the answer to its query"
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
        if record.id in places:
            first = places[record.id]
            raise UserError(f"{record.where}: the id {record.id!r} stands already at {first}")
        places[record.id] = record.where


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
