"""The K at which one method overtakes another, and by how much they differ over all K."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bench.paired import paired
from bench.ranks import ALPHA
from bench.statistics import Entry, Estimate, Interval, Scorer, differences_of, estimate

Array = NDArray[np.float64]
UNDER, OVER = 0.0, math.inf  # K below the first and above the last that was measured

# What a comparison over all K shows, by tests of the difference at each, adjusted for all of them.
THROUGHOUT = "ahead at every K"
OVERTAKEN = "ahead, then overtaken"
LASTING = "ahead, not shown to be overtaken"
SAME = "not shown to differ at any K"
NEVER = "never shown ahead"
BEHIND = "behind at every K"
VERDICTS = (THROUGHOUT, LASTING, OVERTAKEN, SAME, NEVER, BEHIND)


@dataclass(frozen=True)
class Crossing:
    """The K from which on a rival is ahead, where a curve is the method less the rival.

    The curve is a line between measured K on an axis of log2 K. The rival overtakes at the last
    place where the curve comes down to 0 and from which on it stays below: `UNDER` where it is
    below 0 from the first K on, `OVER` where it is not below 0 at the last.

    The interval inverts the tests of the differences, as Fieller (1954) does for a root: a K is
    in it if the interval of the difference there holds 0, bounds being lines between measured K
    as well. Where the curve goes up and down, a place before one at which the method is shown
    ahead is not where the rival overtakes for good, nor is one with the rival shown ahead there
    and from there on. So the interval reaches from where the lower bound comes down to 0 for the
    last time to where the upper bound does. `UNDER` and `OVER` are its ends where that is out of
    range: an interval open to that side. Between two measured K it is too wide rather than too
    narrow, as a bound between them counts their errors as if they were the same one.

    The interval is pointwise: it is not adjusted for the number of K and of comparisons. What is
    shown is, and where that is no place to overtake at, there is no crossing.

    Attributes:
        shots: K, rising.
        values: the difference, method less rival, at each.
        intervals: of these, each by itself.
        adjusted: p-values of these, adjusted for all comparisons that are made.
    """

    shots: Sequence[int]
    values: Sequence[float]
    intervals: Sequence[Interval]
    adjusted: Sequence[float]

    @property
    def value(self) -> float:
        """The K at which the rival overtakes."""
        return _descent(self.shots, self.values, lambda value: value >= 0)

    @property
    def interval(self) -> Interval:
        """Its interval."""
        low = _descent(self.shots, [i.low for i in self.intervals], lambda value: value > 0)
        high = _descent(self.shots, [i.high for i in self.intervals], lambda value: value >= 0)
        return Interval(low, high)

    @cached_property
    def ahead(self) -> list[bool]:
        """Whether the method is shown ahead, at each K."""
        return [v > 0 and p < ALPHA for v, p in zip(self.values, self.adjusted, strict=True)]

    @cached_property
    def behind(self) -> list[bool]:
        """Whether the rival is shown ahead, at each K."""
        return [v < 0 and p < ALPHA for v, p in zip(self.values, self.adjusted, strict=True)]

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`."""
        if all(self.ahead):
            return THROUGHOUT
        if all(self.behind):
            return BEHIND
        if not any(self.ahead):
            return NEVER if any(self.behind) else SAME
        return OVERTAKEN if self.behind[-1] else LASTING

    @property
    def exists(self) -> bool:
        """Whether there is a crossing, if out of range: the method is shown ahead somewhere, or the
        rival is, and no K is left at which they may be equal."""
        return any(self.ahead) or (any(self.behind) and self.interval.high == UNDER)

    def __str__(self) -> str:
        """The K with its interval, or how it is censored, or none."""
        last, bounds = self.shots[-1], self.interval
        if not self.exists:
            return "none"
        if bounds.low == OVER:
            return f"> {last}"
        if bounds.high == UNDER:
            return f"< {self.shots[0]}"
        return f"{self._text(self.value)} [{self._text(bounds.low)}, {self._text(bounds.high)}]"

    def _text(self, shots: float) -> str:
        if shots == UNDER:
            return f"< {self.shots[0]}"
        return f"> {self.shots[-1]}" if shots == OVER else f"{shots:.3g}"


def _descent(
    shots: Sequence[int], values: Sequence[float], above: Callable[[float], bool]
) -> float:
    """Where a curve comes down to 0 behind the last K at which it is above."""
    there = [place for place, value in enumerate(values) if above(value)]
    if not there:
        return UNDER
    if there[-1] == len(shots) - 1:
        return OVER
    place = there[-1]
    one, two = values[place], values[place + 1]
    share = 1.0 if math.isinf(one) else one / (one - two)
    return float(shots[place] * (shots[place + 1] / shots[place]) ** share)


class _MeanDifference:
    """Scores an episode's statistics of both rows at every K `(corpora, rows * K * statistics)`:
    the weighted mean over K of the differences of their scores."""

    def __init__(self, metric: Scorer, weights: Array) -> None:
        self.metric, self.weights = metric, weights
        self.limits = differences_of(metric.limits)

    def score(self, sums: Array) -> float:
        return float(self.scores(sums[None])[0])

    def scores(self, sums: Array) -> Array:
        parts = sums.reshape(len(sums), 2, len(self.weights), -1)
        total = np.zeros(len(sums))
        for place, weight in enumerate(self.weights):
            one, two = (self.metric.scores(parts[:, row, place]) for row in (0, 1))
            total += weight * (one - two)
        return total


def mean_difference(
    a: Mapping[int, Sequence[Entry]], b: Mapping[int, Sequence[Entry]], metric: Scorer
) -> Estimate:
    """The area between two curves over log2 K, by its length: the mean difference `a - b`, with
    the standard error that the same tasks at every K give it.

    Args:
        a: the entries of a row by K, two K or more, with the same episodes at each.
        b: those of the other row.

    Raises:
        ValueError: rows differ in episodes or train seeds.
    """
    shots = sorted(a)
    joined: dict[object, list[tuple[Entry, Entry]]] = {}
    for count in shots:
        for x, y in paired(a[count], b[count]):
            train = y.train_seed if x.train_seed is None else x.train_seed
            joined.setdefault((train, x.key), []).append((x, y))
    if any(len(pairs) < len(shots) for pairs in joined.values()):
        raise ValueError("the rows have other episodes at another K")
    entries = [_joined(pairs) for pairs in joined.values()]
    return estimate(entries, _MeanDifference(metric, _weights(shots)))


def _joined(pairs: Sequence[tuple[Entry, Entry]]) -> Entry:
    """One episode with the statistics of both rows at every K."""
    x, y = pairs[0]
    sums = np.concatenate([pair[row].sums for row in (0, 1) for pair in pairs])
    train = y.train_seed if x.train_seed is None else x.train_seed
    return Entry(x.task, train, x.seed, x.index, sums)


def _weights(shots: Sequence[int]) -> Array:
    """Of the trapezoidal rule over log2 K, that sum to 1."""
    steps = np.diff(np.log2(shots))
    return np.asarray((np.append(steps, 0) + np.append(0, steps)) / 2 / steps.sum())
