"""Corpus scores with bootstrap intervals, from statistics that were summed per episode."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bench.streams import Stream

Array = NDArray[np.float64]
Key = tuple[str, int, int]


class Scorer(Protocol):
    """The part of a metric that statistics need."""

    def score(self, sums: Array) -> float:
        """The corpus score of summed statistics `(statistics,)`."""
        ...


@dataclass(frozen=True, eq=False)
class Entry:
    """One episode of one row.

    Attributes:
        train_seed: None for a row whose method is not trained.
        seed: of the draw of episodes.
        index: of the episode in that draw.
        sums: the metric's statistics summed over the episode's queries, `(statistics,)`.
    """

    task: str
    train_seed: int | None
    seed: int
    index: int
    sums: Array

    @property
    def key(self) -> Key:
        """What makes two rows' episodes the same."""
        return self.task, self.seed, self.index


@dataclass(frozen=True)
class Interval:
    """Both ends of an interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A score or a difference of scores with its standard error, by Student's t.

    Attributes:
        value: the corpus score, or the difference of two.
        error: its standard error over tasks and train seeds; 0 where nothing varies.
        freedom: degrees of freedom of the error.
    """

    value: float
    error: float
    freedom: float

    def interval(self, level: float = 0.95) -> Interval:
        """The two-sided interval."""
        return Interval(self.lower((1 + level) / 2), self.upper((1 + level) / 2))

    def lower(self, level: float = 0.95) -> float:
        """The one-sided lower bound."""
        return self.value - self._reach(level)

    def upper(self, level: float = 0.95) -> float:
        """The one-sided upper bound."""
        return self.value + self._reach(level)

    def _reach(self, level: float) -> float:
        from scipy.stats import t

        return float(t.ppf(level, self.freedom)) * self.error if self.error else 0.0

    def p(self) -> float:
        """The two-sided p-value of the true value being 0; 1 for a value of exactly 0."""
        from scipy.stats import t

        if not self.error:
            return 1.0 if self.value == 0 else 0.0
        return float(2 * t.sf(abs(self.value) / self.error, self.freedom))

    def p_above(self, null: float = 0.0) -> float:
        """The one-sided p-value of the true value being `null` or less."""
        from scipy.stats import t

        if not self.error:
            return 0.0 if self.value > null else 1.0
        return float(t.sf((self.value - null) / self.error, self.freedom))


@dataclass(frozen=True)
class _Cell:
    """The episodes of one train seed and seed: `columns` among all keys, sums one a row."""

    train_seed: int | None
    columns: NDArray[np.intp]
    sums: Array


def _rank(train_seed: int | None) -> tuple[bool, int]:
    """Sorts None before any number."""
    return train_seed is not None, train_seed or 0


def _cells(entries: Sequence[Entry], keys: Sequence[Key]) -> list[_Cell]:
    column = {key: i for i, key in enumerate(keys)}
    grouped: dict[tuple[int | None, int], list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: (_rank(entry.train_seed), entry.key)):
        grouped.setdefault((entry.train_seed, entry.seed), []).append(entry)
    return [
        _Cell(
            train_seed,
            np.array([column[entry.key] for entry in members]),
            np.array([entry.sums for entry in members], dtype=np.float64),
        )
        for (train_seed, _), members in grouped.items()
    ]


def _keys(entries: Iterable[Entry]) -> list[Key]:
    keys = sorted({entry.key for entry in entries})
    if not keys:
        raise ValueError("a row without episodes has no score")
    return keys


def corpus_score(entries: Sequence[Entry], metric: Scorer) -> float:
    """The metric's corpus score of each train seed and seed, and the mean of those.

    Raises:
        ValueError: there is no entry.
    """
    cells = _cells(entries, _keys(entries))
    return float(np.mean([metric.score(cell.sums.sum(axis=0)) for cell in cells]))


class _Bootstrap:
    """The draws that all rows of a comparison share.

    Tasks are drawn once for all seeds. Every time a task is drawn, as many of its episodes as a
    seed holds are drawn anew, the same ones for every train seed: all trainings met the same
    episodes, so their luck with them does not average out.

    Attributes:
        weights: how often a resample takes an episode, `(repeats, keys)`.
    """

    def __init__(self, keys: Sequence[Key], repeats: int, stream: Stream) -> None:
        self._random = np.random.Generator(np.random.PCG64(stream.key))
        self._repeats = repeats
        self._train_draws: dict[tuple[int | None, ...], Array] = {}
        tasks = sorted({task for task, _, _ in keys})
        counts = dict(zip(tasks, self._choices(len(tasks), len(tasks)).T, strict=True))
        self.weights: Array = np.empty((repeats, len(keys)))
        groups: dict[tuple[str, int], list[int]] = {}
        for column, (task, seed, _) in enumerate(keys):
            groups.setdefault((task, seed), []).append(column)
        for (task, _), columns in groups.items():
            size = len(columns)
            self.weights[:, columns] = self._choices(counts[task] * size, size)

    def _choices(self, draws: "int | NDArray[np.int64]", size: int) -> NDArray[np.int64]:
        """How often each of `size` things comes up in that many draws, `(repeats, size)`."""
        draws = np.broadcast_to(draws, self._repeats)
        return self._random.multinomial(draws, np.full(size, 1 / size))

    def _train_weights(self, train_seeds: tuple[int | None, ...]) -> Array:
        """Draws of train seeds `(repeats, train seeds)`, common to rows that have the same."""
        if train_seeds not in self._train_draws:
            size = len(train_seeds)
            self._train_draws[train_seeds] = self._choices(size, size).astype(np.float64)
        return self._train_draws[train_seeds]

    def scores(self, cells: Sequence[_Cell], metric: Scorer) -> Array:
        """The row's score in every resample `(repeats,)`; NaN where none of its episodes was."""
        seeds = sorted({cell.train_seed for cell in cells}, key=_rank)
        drawn = dict(zip(seeds, self._train_weights(tuple(seeds)).T, strict=True))
        total, weight = np.zeros(self._repeats), np.zeros(self._repeats)
        for cell in cells:
            episodes = self.weights[:, cell.columns]
            # Not a matrix product, whose order of summation depends on the number of threads.
            sums = np.einsum("re,es->rs", episodes, cell.sums)
            share = drawn[cell.train_seed] * (episodes.sum(axis=1) > 0)
            for i in np.flatnonzero(share):
                total[i] += share[i] * metric.score(sums[i])
            weight += share
        return np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0)


def _percentiles(values: Array, level: float) -> Interval:
    ends = (1 - level) / 2, (1 + level) / 2
    low, high = np.quantile(values[~np.isnan(values)], ends)
    return Interval(float(low), float(high))


def interval(
    entries: Sequence[Entry],
    metric: Scorer,
    repeats: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval (Efron, 1979) of `corpus_score`.

    Tasks and train seeds are resampled crossed, episodes within a task and seed. With one train
    seed, or none, the interval is conditional on it.

    Args:
        entries: the episodes of one row.
        metric: gives the corpus score of sums.
        repeats: resamples.
        level: the probability that the interval should hold.
        seed: of the resampling; the same seed gives the same interval.

    Raises:
        ValueError: there is no entry.
    """
    keys = _keys(entries)
    draws = _Bootstrap(keys, repeats, Stream(seed, "interval"))
    return _percentiles(draws.scores(_cells(entries, keys), metric), level)


def paired_interval(
    a: Sequence[Entry],
    b: Sequence[Entry],
    metric: Scorer,
    repeats: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of `corpus_score(a) - corpus_score(b)`.

    Both rows are scored on the same resampled tasks and episodes, and on the same train seeds if
    they have the same ones. A row without train seeds meets every train seed of the other; sets
    of train seeds that differ are drawn independently of each other.

    Args:
        a: the episodes of one row.
        b: the same episodes of the other row.
        metric: gives the corpus score of sums.
        repeats: resamples.
        level: the probability that the interval should hold.
        seed: of the resampling.

    Raises:
        ValueError: there is no entry, or the rows differ in an episode's (task, seed, index).
    """
    keys, others = _keys(a), _keys(b)
    if keys != others:
        first = min(set(keys) ^ set(others))
        raise ValueError(f"only one of the rows has episode (task, seed, index) = {first}")
    draws = _Bootstrap(keys, repeats, Stream(seed, "paired interval"))
    difference = draws.scores(_cells(a, keys), metric) - draws.scores(_cells(b, keys), metric)
    return _percentiles(difference, level)


def difference(
    a: Sequence[Entry], b: Sequence[Entry], metric: Scorer, repeats: int = 1000, seed: int = 0
) -> Estimate:
    """`corpus_score(a) - corpus_score(b)` with its standard error, paired as `paired_interval`.

    Raises:
        ValueError: as `paired_interval`.
    """
    bounds = paired_interval(a, b, metric, repeats, seed=seed)
    value = corpus_score(a, metric) - corpus_score(b, metric)
    tasks = len({entry.task for entry in a})
    return Estimate(value, (bounds.high - bounds.low) / 3.92, max(tasks - 1, 1))


def holm(ps: Sequence[float]) -> list[float]:
    """P-values adjusted for all comparisons at once (Holm, 1979), in the order given."""
    adjusted, largest = [0.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = largest
    return adjusted
