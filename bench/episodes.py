"""Frozen episodes: which tasks a cell visits and which examples each visit shows."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from itertools import islice

from bench.errors import UserError
from bench.streams import Stream, digest_of
from bench.tasks import Dataset, Example, Task


@dataclass(frozen=True)
class Episode:
    """K support and Q query examples of one task.

    Attributes:
        support_part: the part of the task that the support was drawn from.
        digest: SHA-256 over task, support and query texts.
    """

    task: str
    seed: int
    index: int
    support: tuple[Example, ...]
    query: tuple[Example, ...]
    support_part: str
    digest: str


def support_part(task: Task) -> str:
    """`train`, or `validation` where a task has no train part."""
    return "train" if task.parts.get("train") else "validation"


def draw_episode(
    suite: str, task: Task, shots: int, queries: int, seed: int, index: int
) -> Episode:
    """The episode of that seed and index: support from the task's support part, queries from
    `test`, no group in both. With more shots the support only grows at its end.

    Raises:
        UserError: the task holds too few examples.
    """
    part = support_part(task)
    stream = Stream(seed, "episode", suite, task.name, index)
    support = _support(stream, task, shots)
    groups = {example.group for example in support}
    pool = stream.visit(task.parts.get("test", ()))
    query = tuple(islice((e for e in pool if e.group not in groups), queries))
    if len(support) < shots or not query:
        raise UserError(
            f"task {task.name!r} gives {len(support)} support and {len(query)} query examples; "
            f"{shots} and 1 are needed: lower shots or leave the task out"
        )
    content = [[(e.input, e.references) for e in examples] for examples in (support, query)]
    digest = digest_of(suite, task.name, content)
    return Episode(task.name, seed, index, support, query, part, digest)


def draw_support(
    suite: str, task: Task, shots: int, seed: int, index: int, without: Container[str] = ()
) -> tuple[Example, ...]:
    """The support of `draw_episode`, of examples whose group is not among `without`; fewer than K
    where the task has no more."""
    return _support(Stream(seed, "episode", suite, task.name, index), task, shots, without)


def _support(
    stream: Stream, task: Task, shots: int, without: Container[str] = ()
) -> tuple[Example, ...]:
    visited = stream.visit(task.parts.get(support_part(task), ()))
    return tuple(islice((e for e in visited if e.group not in without), shots))


def usable_tasks(
    dataset: Dataset, split: str, shots: int, measured: bool = False
) -> tuple[list[str], list[str]]:
    """Tasks of a split that hold K + 1 examples, and one reason for each that does not.

    A meta-train task needs them in `train`; others K in the support part and one in `test`. Where
    meta-train tasks are to be `measured`, they need that too: queries that training never reads.
    """
    trained = split == "meta-train"
    asked = [*(["train"] if trained else []), *(["test"] if measured or not trained else [])]
    usable, reasons = [], []
    for name in dataset.names(split):
        task = dataset.task(name)
        part = "train" if trained else support_part(task)
        if reason := _unusable(task, part, asked, shots, shots + trained):
            reasons.append(f"{name}: {reason}")
        else:
            usable.append(name)
    return usable, reasons


def _unusable(task: Task, part: str, asked: Sequence[str], shots: int, needed: int) -> str:
    """Why a task is too small for a support from one part and queries from each of others."""
    found = len(task.parts.get(part, ()))
    if found < needed:
        return f"{found} examples in {part}, {needed} needed"
    for query in asked:
        if not task.parts.get(query):
            return f"no examples in {query}"
        if not _leaves_queries(task, part, query, shots):
            return f"{shots} examples of {part} can hold every group of its queries"
    return ""


def _leaves_queries(task: Task, support: str, query: str, shots: int) -> bool:
    """Whether any `shots` examples leave a query of another group: there are more groups of
    queries than they can hold, or one that is in no support."""
    asked = set[str]()
    for example in task.parts[query]:
        asked.add(example.group)
        if len(asked) > shots:
            return True
    return bool(asked - {example.group for example in task.parts[support]})


def schedule(names: Sequence[str], episodes: int, suite: str, seed: int) -> list[str]:
    """The task of each episode index: all tasks in one random order, again and again, so that
    the counts of any two tasks differ by at most one. A seed goes on where the one before it
    ended: consecutive seeds together visit as many tasks as they can."""
    order = Stream(0, "schedule", suite).shuffled(sorted(names))
    return [order[(seed * episodes + index) % len(order)] for index in range(episodes)]
