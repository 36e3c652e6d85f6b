"""One figure over several suites: interquartile means and performance profiles (Agarwal et al.,
2021), with intervals that resample tasks within each suite, crossed with train seeds as those of
`bench.statistics` are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.statistics import Entry, Estimate, Interval, Scorer, corpus_score, of_resamples
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
        iqm: the mean of the middle half of the tasks' scores.
        interval: of it; conditional on the train seed where there is one.
        profile: the share of tasks that score more than each threshold.
    """

    iqm: float
    interval: Interval
    profile: tuple[Point, ...]


def comparable(rows: Sequence[Sequence[Entry]]) -> bool:
    """Whether a baseline's rows in several suites have an aggregate: the same train seeds, each of
    which met all tasks."""
    seeds = {frozenset(entry.train_seed for entry in row) for row in rows}
    pairs = [{(entry.train_seed, entry.task) for entry in row} for row in rows]
    return len(seeds) == 1 and all(
        len(met) == len({seed for seed, _ in met}) * len({task for _, task in met}) for met in pairs
    )


def _scores(entries: Sequence[Entry], metric: Scorer) -> Array:
    """The corpus score of each task in each train seed, `(train seeds, tasks)`."""
    groups: dict[tuple[int | None, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.train_seed, entry.task), []).append(entry)
    seeds = sorted({seed for seed, _ in groups}, key=str)
    tasks = sorted({task for _, task in groups})
    return np.array(
        [[corpus_score(groups[seed, task], metric) for task in tasks] for seed in seeds]
    )


def _middle(scores: Array) -> Array:
    """The interquartile mean over the last dimension: a quarter is left out at each end, whole
    scores only."""
    cut = scores.shape[-1] // 4
    kept: Array = np.sort(scores)[..., cut : scores.shape[-1] - cut].mean(axis=-1)
    return kept


def aggregate(
    suites: Sequence[tuple[Sequence[Entry], Scorer]],
    repeats: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Aggregate:
    """A baseline's interquartile mean and performance profile over suites.

    Every suite has the weight of its tasks. Both are taken for each train seed over the tasks of
    all suites, and are the means over train seeds. A resample draws tasks within each suite: the
    suites are the strata.

    Args:
        suites: the episodes of the baseline's row in each suite, and the suite's metric.
        repeats: resamples.
        level: of the intervals.
        seed: of the resampling.

    Raises:
        ValueError: there is no suite, or the rows are not `comparable`.
    """
    if not suites:
        raise ValueError("nothing to aggregate: no suite")
    if not comparable([entries for entries, _ in suites]):
        raise ValueError("train seeds differ between suites, or one lacks tasks that another has")
    strata = [_scores(entries, metric) for entries, metric in suites]
    random = np.random.Generator(np.random.PCG64(Stream(seed, "over suites").key))
    every = np.concatenate(strata, axis=1)
    drawn = np.concatenate(
        [
            scores[:, random.integers(scores.shape[1], size=(repeats, scores.shape[1]))]
            for scores in strata
        ],
        axis=2,
    )
    units = min(scores.shape[1] for scores in strata)
    limits = min(m.limits[0] for _, m in suites), max(m.limits[1] for _, m in suites)
    mean = of_resamples(_middle(every), _middle(drawn), units)
    profile = []
    for threshold in THRESHOLDS:
        share = _share(every, drawn, threshold, units)
        profile.append(Point(threshold, share.value, share.interval(level).within((0.0, 1.0))))
    return Aggregate(mean.value, mean.interval(level).within(limits), tuple(profile))


def _share(every: Array, drawn: Array, threshold: int, units: int) -> Estimate:
    """Of the scores above a threshold."""
    points, draws = (every > threshold).mean(axis=1), (drawn > threshold).mean(axis=2)
    return of_resamples(points, draws, units)
