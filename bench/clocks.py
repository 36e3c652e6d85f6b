"""Speed from interleaved rounds: what each baseline's clocks say of head against base."""

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.gate import UNKNOWN, Loss
from bench.matched import Key, rows_of
from bench.statistics import Estimate
from bench.tables import Row

# Milliseconds of a row by what is timed, of one run.
Times = dict[tuple[str, str], dict[Key, float]]
LEAST = 2  # rounds, to see any spread


@dataclass(frozen=True)
class Clock:
    """What one baseline took for one thing, over all its suites and shots.

    Attributes:
        name: as people read it.
        base: milliseconds of each round, the geometric mean over suites and shots.
        head: the same; empty where not every round of it has the clock.
        loss: log(head / base).
        count: of rounds, where base and head hold one typical time each.
    """

    name: str
    base: tuple[float, ...]
    head: tuple[float, ...]
    loss: Loss
    count: int = 0

    @property
    def typical(self) -> tuple[float, float]:
        """Milliseconds of base and head, geometric means over rounds, whose ratio is that of the
        loss; not a number where there are none."""
        return _geometric(self.base), _geometric(self.head)

    @property
    def rounds(self) -> int:
        """How many rounds were timed."""
        return self.count or len(self.base)


def _geometric(times: Iterable[float]) -> float:
    """The geometric mean; not a number of nothing."""
    logs = [math.log(time) for time in times]
    return math.exp(statistics.fmean(logs)) if logs else math.nan


@dataclass(frozen=True)
class Speed:
    """What interleaved rounds say of speed.

    Attributes:
        clocks: all that base has.
        own: times are the work's own, without what it waited for cores that others had.
        unmeasured: what base timed in every round and head did not, a line each.
        notes: what else was not timed everywhere, a line each.
    """

    clocks: list[Clock]
    own: bool
    unmeasured: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _row_clocks(row: Row, own: bool) -> Iterator[tuple[str, float]]:
    """The clocks of a row: means over its episodes and its train seeds.

    Args:
        row: of one run.
        own: leaves out what the thread waited for a core that others had.

    Raises:
        LookupError: `own`, and it was not recorded.
    """
    costs = [record["costs"] for record in row.records() if "costs" in record]
    if adapted := [cost for cost in costs if cost["inner_steps_ms"]]:
        yield "adapt", statistics.fmean(_spent(cost, "adapt_", own) for cost in adapted)
    if tokens := sum(cost["generated_tokens"] for cost in costs):
        yield "generate a token", sum(_spent(cost, "generate_", own) for cost in costs) / tokens
    if trained := [header["train"] for header in row.headers if header.get("train")]:
        walls = ({"ms": cost["seconds"] * 1e3, **cost} for cost in trained)
        yield "train", statistics.fmean(_spent(cost, "", own) for cost in walls)


def _spent(cost: Mapping[str, Any], what: str, own: bool) -> float:
    waited = cost.get(f"{what}waited_ms") if own else 0.0
    if waited is None:
        raise LookupError(f"{what}waited_ms")
    return float(cost[f"{what}ms"]) - waited


def times_of(directory: Path, own: bool) -> Times:
    """What a run took.

    Raises:
        UserError: as `rows_of`.
        LookupError: `own`, and it did not record what it waited.
    """
    found: Times = {}
    for key, row in rows_of(directory).items():
        for what, ms in _row_clocks(row, own):
            if ms > 0:
                found.setdefault((row.header["baseline"], what), {})[key] = ms
    return found


def _times(directories: Iterable[Path]) -> tuple[list[Times], bool]:
    """Of all runs by one measure: their own time, if all tell what they waited."""
    every = list(directories)
    try:
        return [times_of(directory, own=True) for directory in every], True
    except LookupError:
        return [times_of(directory, own=False) for directory in every], False


def _log_ratio(base: dict[Key, float], head: dict[Key, float], keys: Sequence[Key]) -> float:
    return statistics.fmean(math.log(head[key]) - math.log(base[key]) for key in keys)


def _neighbours(rounds: int) -> list[tuple[str, int, int]]:
    """Runs of one revision that followed each other at once: the head's of rounds 0 and 1, the
    base's of 1 and 2, and so on, as each round has the other order than the one before."""
    return [("head" if i % 2 == 0 else "base", i, i + 1) for i in range(rounds - 1)]


def speed(base: Sequence[Path], head: Sequence[Path], margin: float) -> Speed:
    """The clocks of base with the losses of speed.

    A clock counts over the suites and shots that every round of both timed, more than 0 ms; one
    that base always timed and head did not leaves its clock incomplete.

    Each round gives one log ratio of its two runs, the mean over suites and shots. Runs of one
    revision that followed each other (A/A) give as many but one without any change, whose mean is
    known to be 0. The error of the mean over rounds is the larger of the two spreads over the root
    of the rounds, by Student's t with rounds - 1 degrees of freedom. The floor is the median size
    of an A/A ratio over the root of the rounds: what a mean of so many typically is where nothing
    changed.

    Args:
        base: a run directory a round.
        head: as many, run in turn with them as `bench.interleave` does.
        margin: a log ratio.

    Raises:
        UserError: as `rows_of`.
    """
    times, own = _times([*base, *head])
    sides = {"base": times[: len(base)], "head": times[len(base) :]}
    found = Speed([], own)
    for which in dict.fromkeys(which for run in times for which in run):
        runs = {side: [run.get(which, {}) for run in of] for side, of in sides.items()}
        _add(found, " ".join(which), runs, margin)
    if not found.clocks:  # none that base timed in every round
        for which in dict.fromkeys(which for run in sides["base"] for which in run):
            timed = [run[which].values() for run in sides["base"] if which in run]
            found.clocks.append(_without_head(" ".join(which), timed, margin))
    return found


def _add(found: Speed, name: str, runs: dict[str, list[dict[Key, float]]], margin: float) -> None:
    """Adds a clock and what is to be told of it."""
    always = {side: set[Key].intersection(*map(set, of)) for side, of in runs.items()}
    ever = {side: set[Key]().union(*of) for side, of in runs.items()}
    lacking = always["base"] - always["head"]
    found.unmeasured.extend(f"{name}: {key.name}" for key in _sorted(lacking))
    for what, keys in (
        ("not timed in every round of base", ever["base"] - always["base"]),
        ("timed in head only", ever["head"] - ever["base"]),
    ):
        found.notes.extend(f"{name}: {key.name}: {what}; not compared" for key in _sorted(keys))
    if keys := always["base"] & always["head"]:
        found.clocks.append(_clock(name, runs, _sorted(keys), margin, complete=not lacking))
    elif lacking:
        timed = [[run[key] for key in lacking] for run in runs["base"]]
        found.clocks.append(_without_head(name, timed, margin))


def _sorted(keys: Iterable[Key]) -> list[Key]:
    return sorted(keys, key=repr)


def _without_head(name: str, timed: Iterable[Iterable[float]], margin: float) -> Clock:
    """A clock that base has, in milliseconds of each round, and head lacks."""
    loss = Loss(UNKNOWN, margin, complete=False)
    return Clock(name, tuple(map(_geometric, timed)), (), loss)


def _clock(
    name: str,
    runs: dict[str, list[dict[Key, float]]],
    keys: Sequence[Key],
    margin: float,
    complete: bool,
) -> Clock:
    ratios = [_log_ratio(b, h, keys) for b, h in zip(runs["base"], runs["head"], strict=True)]
    unchanged = [
        _log_ratio(runs[side][i], runs[side][j], keys) for side, i, j in _neighbours(len(ratios))
    ]
    estimate, floor = estimated(ratios, unchanged)
    base, head = (
        tuple(_geometric(run[key] for key in keys) for run in runs[side])
        for side in ("base", "head")
    )
    same = not any(ratios)
    return Clock(name, base, head, Loss(estimate, margin, floor, same, complete))


def estimated(ratios: Sequence[float], unchanged: Sequence[float]) -> tuple[Estimate, float]:
    """The mean log ratio with its error, and the noise floor; see `speed`."""
    rounds = len(ratios)
    value = statistics.fmean(ratios)
    if rounds < LEAST:
        return Estimate(value, math.inf, 1.0), 0.0
    noise = math.sqrt(statistics.fmean(ratio**2 for ratio in unchanged))
    spread = max(statistics.stdev(ratios), noise)
    floor = statistics.median(map(abs, unchanged)) / math.sqrt(rounds)
    return Estimate(value, spread / math.sqrt(rounds), rounds - 1.0), floor
