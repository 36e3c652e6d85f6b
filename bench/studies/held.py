"""Which K the tasks of a plan hold, and the tasks that hold all of these."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from bench.context import Context
from bench.episodes import usable_tasks

FEWEST = 4  # tasks that a K is measured on, where there are more
PART = 3  # a K that fewer than one in so many tasks hold is left out
SKIPPED = 3  # reasons that are told of what is left out
NAMED = 20  # tasks that are named


@dataclass(frozen=True)
class Held:
    """What a plan is narrowed to, so that the same tasks are measured at every K.

    Attributes:
        shots: K, rising.
        tasks: those to name in the plan; none where all hold every K.
        reasons: a task does not hold a K of the plan.
        told: what is left out, a sentence each.
    """

    shots: list[int]
    tasks: list[str]
    reasons: list[str]
    told: list[str]


def held(context: Context) -> Held:
    """The K that enough tasks hold of those that hold the smallest, and these tasks.

    Enough are a third and no fewer than four, or all. A plan names tasks for all suites alike:
    where suites have different ones, enough are all of each.

    Raises:
        UserError: no task of a suite holds the smallest K.
    """
    shots = sorted(context.plan.shots)
    names = {suite: context.tasks(suite, shots[0])[0] for suite in context.plan.suites}
    first = next(iter(names.values()))
    alike = all(some == first for some in names.values())
    lost = {k: _lost(context, names, k) for k in shots}
    most = len(first) - max(ceil(len(first) / PART), min(FEWEST, len(first))) if alike else 0
    kept = [k for k in shots if len({name for _, name in lost[k]}) <= most]
    small = {name for _, name in lost[kept[-1]]}
    told = [
        f"K = {k} is left out, as {'too few' if alike else 'not all'} tasks hold it: "
        f"{_first(list(lost[k].values()))}."
        for k in shots
        if k not in kept
    ]
    if small:
        told.append(
            f"{len(small)} of {len(first)} tasks are measured at no K, as they do not hold "
            f"K = {kept[-1]}: {_named([name for name in first if name in small])}."
        )
    tasks = [name for name in first if name not in small] if small else []
    return Held(kept, tasks, [why for some in lost.values() for why in some.values()], told)


def _lost(
    context: Context, names: Mapping[str, Sequence[str]], shots: int
) -> dict[tuple[str, str], str]:
    """A reason for each (suite, task) that cannot be measured with so many examples."""
    found = {}
    for suite, some in names.items():
        usable, reasons = usable_tasks(context.dataset(suite), context.plan.split, shots)
        for name in sorted({*some} - {*usable}, key=some.index):
            why = next(reason for reason in reasons if reason.startswith(f"{name}: "))
            found[suite, name] = f"{suite}: {why}"
    return found


def _first(lines: Sequence[str]) -> str:
    more = f" and {len(lines) - SKIPPED} more" if len(lines) > SKIPPED else ""
    return "; ".join(lines[:SKIPPED]) + more


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
