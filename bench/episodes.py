"""Frozen episodes: which tasks a cell visits and which examples each visit shows."""

from collections.abc import Sequence
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
    support = tuple(islice(stream.visit(task.parts.get(part, ())), shots))
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


def usable_tasks(dataset: Dataset, split: str, shots: int) -> tuple[list[str], list[str]]:
    """Tasks of a split that hold K + 1 examples, and one reason for each that does not.

    A meta-train task needs them in `train`; others K in the support part and one in `test`.
    """
    usable, reasons = [], []
    for name in dataset.names(split):
        task = dataset.task(name)
        part = "train" if split == "meta-train" else support_part(task)
        found, needed = len(task.parts.get(part, ())), shots + (split == "meta-train")
        if found < needed:
            reasons.append(f"{name}: {found} examples in {part}, {needed} needed")
        elif split != "meta-train" and not task.parts.get("test"):
            reasons.append(f"{name}: no examples in test")
        elif not _leaves_queries(task, part, part if split == "meta-train" else "test", shots):
            reasons.append(
                f"{name}: {shots} examples of {part} can hold every group of its queries"
            )
        else:
            usable.append(name)
    return usable, reasons


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
