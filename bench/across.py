"""One figure over several suites: interquartile means and performance profiles (Agarwal et al.,
2021), with intervals that resample tasks within each suite."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.statistics import Entry, Interval, Scorer, corpus_score
from bench.streams import Stream

Array = NDArray[np.float64]
THRESHOLDS = tuple(range(0, 101, 5))


@dataclass(frozen=True)
class Point:
    """One threshold of a performance profile: the share of tasks that score more, 0 to 1."""

    threshold: int
    share: float
    interval: Interval


@dataclass(frozen=True)
class Aggregate:
    """A baseline over several suites.

    Attributes:
        iqm: the mean of the middle half of all scores of a task in a train seed.
        interval: of it; conditional on the train seed where there is one.
        profile: the share of those scores above each threshold.
    """

    iqm: float
    interval: Interval
    profile: tuple[Point, ...]


def crossed(entries: Sequence[Entry]) -> bool:
    """Whether every train seed met every task, without which a row has no aggregate."""
    pairs = {(entry.train_seed, entry.task) for entry in entries}
    return len(pairs) == len({seed for seed, _ in pairs}) * len({task for _, task in pairs})


def _scores(entries: Sequence[Entry], metric: Scorer) -> Array:
    """The corpus score of each task in each train seed, `(train seeds, tasks)`."""
    groups: dict[tuple[int | None, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.train_seed, entry.task), []).append(entry)
    seeds = sorted({seed for seed, _ in groups}, key=str)
    tasks = sorted({task for _, task in groups})
    if not crossed(entries):
        raise ValueError("a train seed lacks tasks that another has")
    return np.array(
        [[corpus_score(groups[seed, task], metric) for task in tasks] for seed in seeds]
    )


def _middle(scores: Array) -> float:
    """The interquartile mean: a quarter is left out at each end, whole scores only."""
    cut = len(scores) // 4
    return float(np.sort(scores)[cut : len(scores) - cut].mean())


def aggregate(
    suites: Sequence[tuple[Sequence[Entry], Scorer]],
    repeats: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Aggregate:
    """A baseline's interquartile mean and performance profile over suites.

    Every suite has the weight of its tasks. A resample draws tasks within each suite (the suites
    are the strata) and, where there are several, train seeds, the same ones in all suites that
    have as many.

    Args:
        suites: the episodes of the baseline's row in each suite, and the suite's metric.
        repeats: resamples.
        level: of the percentile intervals.
        seed: of the resampling.

    Raises:
        ValueError: there is no suite, or a train seed lacks tasks.
    """
    if not suites:
        raise ValueError("nothing to aggregate: no suite")
    strata = [_scores(entries, metric) for entries, metric in suites]
    random = np.random.Generator(np.random.PCG64(Stream(seed, "over suites").key))
    means, shares = np.empty(repeats), np.empty((repeats, len(THRESHOLDS)))
    for i in range(repeats):
        trainings: dict[int, NDArray[np.int64]] = {}
        drawn = []
        for scores in strata:
            count, tasks = scores.shape
            if count not in trainings:
                trainings[count] = np.asarray(random.integers(count, size=count))
            drawn.append(scores[np.ix_(trainings[count], random.integers(tasks, size=tasks))])
        values = np.concatenate([scores.ravel() for scores in drawn])
        means[i], shares[i] = _middle(values), _above(values)
    every = np.concatenate([scores.ravel() for scores in strata])
    ends = (1 - level) / 2, (1 + level) / 2
    low, high = np.quantile(shares, ends, axis=0)
    return Aggregate(
        _middle(every),
        Interval(*map(float, np.quantile(means, ends))),
        tuple(
            Point(t, float(share), Interval(float(a), float(b)))
            for t, share, a, b in zip(THRESHOLDS, _above(every), low, high, strict=True)
        ),
    )


def _above(values: Array) -> Array:
    shares: Array = (values[:, None] > np.array(THRESHOLDS)).mean(axis=0)
    return shares
