"""Divides tasks and groups by hash, for data that does not say which task is for what."""

from collections.abc import Iterable, Mapping, Sequence

from bench.errors import UserError
from bench.streams import fraction_of
from bench.tasks import SPLITS

SHARES = {"meta-train": 0.60, "meta-validation": 0.15, "meta-test": 0.25}
FEWEST = 5  # one task to train on and two in each held-out split


def divide_tasks(names: Iterable[str]) -> dict[str, list[str]]:
    """Tasks in hash order: 60 % meta-train, 15 % meta-validation, 25 % meta-test, at least two
    in each held-out split.

    Raises:
        UserError: there are fewer than five tasks.
    """
    order = sorted(set(names), key=lambda name: (fraction_of("task", name), name))
    if len(order) < FEWEST:
        raise UserError(
            f"{len(order)} task(s) cannot be divided into meta-train, meta-validation and "
            f"meta-test, at least {FEWEST} are needed; or map a column that says it: task_split"
        )
    held = {name: max(2, round(SHARES[name] * len(order))) for name in SPLITS[1:]}
    train = len(order) - sum(held.values())
    middle = train + held["meta-validation"]
    return {
        "meta-train": order[:train],
        "meta-validation": order[train:middle],
        "meta-test": order[middle:],
    }


def group_owner(group: str, splits: Sequence[str]) -> str:
    """The one of `splits` (those in which a group occurs) that a group shared between tasks is
    given to, by hash, in the shares of the tasks."""
    place = fraction_of("group", group) * sum(SHARES[split] for split in splits)
    for split in splits:
        place -= SHARES[split]
        if place < 0:
            return split
    return splits[-1]


def divide_groups(groups: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """The owner of every group that occurs in more than one split.

    Args:
        groups: split to the groups of its tasks.
    """
    found: dict[str, list[str]] = {}
    for split in SPLITS:
        for group in set(groups.get(split, ())):
            found.setdefault(group, []).append(split)
    return {g: group_owner(g, splits) for g, splits in found.items() if len(splits) > 1}


def part_of(group: str) -> str:
    """The part of a task that a group belongs to, for data without a split column."""
    place = fraction_of("part", group)
    return "train" if place < 0.60 else "validation" if place < 0.75 else "test"
