"""How a cost grows along an axis: the exponent of a power law, with an interval."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Growth:
    """cost ~ value ** exponent; an interval of 95 % or None, where there are too few rounds."""

    exponent: float
    low: float | None
    high: float | None


def growth(values: Sequence[float], rounds: Sequence[Sequence[float]]) -> Growth | None:
    """The slope of the log of the median cost over the log of the value; `rounds` are costs of all
    values, each measured in its turn. None of fewer than two values, or costs that are not above 0.

    The interval is that of the median of the rounds' own slopes by their ranks, which supposes
    nothing of how they spread (the sign test's); six rounds are the fewest that give it.
    """
    if len(set(values)) < 2 or not rounds or min(map(min, rounds)) <= 0:
        return None
    logs = [math.log(value) for value in values]
    medians = [statistics.median(costs) for costs in zip(*rounds, strict=True)]
    slopes = sorted(_slope(logs, costs) for costs in rounds)
    place = _outer_rank(len(slopes))
    if place is None:
        return Growth(_slope(logs, medians), None, None)
    return Growth(_slope(logs, medians), slopes[place], slopes[-1 - place])


def _slope(logs: Sequence[float], costs: Sequence[float]) -> float:
    return statistics.linear_regression(logs, [math.log(cost) for cost in costs]).slope


def _outer_rank(count: int) -> int | None:
    """The largest k for which the interval from the k-th smallest of `count` to the k-th largest,
    from 0, holds their median with 95 % or more; None if not even the smallest and largest do."""
    outside, found = 0.0, None
    for k in range(count // 2):
        outside += 2 * math.comb(count, k) / 2**count
        if outside > 1 - CONFIDENCE:
            break
        found = k
    return found
