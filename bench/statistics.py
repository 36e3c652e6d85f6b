"""Corpus scores with standard errors and intervals, from statistics summed per episode.

Tasks are resampled, crossed with train seeds: each resample is scored for every train seed on the
same tasks. From these scores come three variances of the mean over train seeds: `V_tasks`, of the
resamples' means; `V_seeds`, of the train seeds' scores; and `V_both`, of what is left in both when
the two effects are taken out, which each of the others holds once. The variance of the score is
`V_tasks + V_seeds - V_both`, as in the analysis of a crossed design, and Student's t with
Satterthwaite's (1946) degrees of freedom turns it into an interval, since there are few train
seeds; it reaches at least as far as the t of the part of train seeds alone. Resampling train seeds
as well would count `V_both` three times (Owen, 2007).

A drawn task brings all its episodes: drawing among them again would count their luck twice
(Davison and Hinkley, 1997, section 3.8). Only of a single task are the episodes drawn, and the
interval is then conditional on the task; with one train seed it is conditional on that. A single
episode says nothing about others: its interval is unbounded.

Where all tasks differ by exactly the same amount there is no variance for a t-test. What remains is
the exact sign-flip test, which assumes that a difference is as likely to have either sign: n equal
differences have the two-sided p-value 2 / 2^n, so fewer than six give no verdict at 5 % and an
unbounded interval. Rows with identical statistics in every episode are a tie.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bench.ranks import FEWEST_TASKS
from bench.streams import Stream

Array = NDArray[np.float64]
Key = tuple[str, int, int]
Limits = tuple[float, float]
FEW_TASKS = 10  # fewer say little of any other
UNBOUNDED: Limits = (-math.inf, math.inf)
ROUNDING = 1e-10  # of a score: resamples that differ by less have no variance


class Scorer(Protocol):
    """The part of a metric that statistics need."""

    limits: Limits

    def score(self, sums: Array) -> float:
        """The corpus score of summed statistics `(statistics,)`."""
        ...

    def scores(self, sums: Array) -> Array:
        """`score` of many corpora at once, `(corpora, statistics)` to `(corpora,)`."""
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

    def within(self, limits: Limits) -> "Interval":
        """What of it lies between a metric's limits."""
        return Interval(max(self.low, limits[0]), min(self.high, limits[1]))


@dataclass(frozen=True)
class Estimate:
    """A score, or a difference of scores, with its standard error, by Student's t.

    Attributes:
        value: the corpus score, or the difference of two.
        error: its standard error over tasks and train seeds; 0 where nothing varies, infinite
            where a single episode is all there is.
        freedom: degrees of freedom of the error. Where the error is 0, freedom + 1 is the number
            of tasks that agree, and the exact sign-flip test takes the place of Student's t;
            infinite for what is known exactly, as the difference of identical rows.
        seeds_error: the part of train seeds in it, which their small number leaves uncertain.
        seeds_freedom: degrees of freedom of that part.
        limits: between which the value lies by definition; intervals are cut to them.
    """

    value: float
    error: float
    freedom: float
    seeds_error: float = 0.0
    seeds_freedom: float = 1.0
    limits: Limits = UNBOUNDED

    def interval(self, level: float = 0.95) -> Interval:
        """The two-sided interval, within the limits."""
        return self.whole_interval(level).within(self.limits)

    def whole_interval(self, level: float = 0.95) -> Interval:
        """The two-sided interval, beyond the limits too."""
        return Interval(self.lower((1 + level) / 2), self.upper((1 + level) / 2))

    def lower(self, level: float = 0.95) -> float:
        """The one-sided lower bound, not cut to the limits."""
        return self.value - self._reach(level)

    def upper(self, level: float = 0.95) -> float:
        """The one-sided upper bound, not cut to the limits."""
        return self.value + self._reach(level)

    def p(self) -> float:
        """The two-sided p-value of a true value of 0; 1 for a value of exactly 0."""
        return 2 * min(self.p_above(), self.p_below(), 0.5)

    def p_above(self, null: float = 0.0) -> float:
        """The one-sided p-value of a true value of at most `null`: small where it lies above."""
        return self._tail(self.value - null)

    def p_below(self, null: float = 0.0) -> float:
        """The one-sided p-value of a true value of at least `null`."""
        return self._tail(null - self.value)

    @property
    def _parts(self) -> list[tuple[float, float]]:
        parts = (self.error, self.freedom), (self.seeds_error, self.seeds_freedom)
        return [part for part in parts if part[0]]

    @property
    def _all_alike(self) -> float:
        """The probability that tasks which agree all have this sign by chance."""
        return float(0.5 ** (self.freedom + 1))

    def _reach(self, level: float) -> float:
        from scipy.special import stdtrit

        if not self._parts:
            return 0.0 if self._all_alike <= 1 - level else math.inf
        return max(float(stdtrit(f, level)) * error for error, f in self._parts)

    def _tail(self, distance: float) -> float:
        from scipy.special import stdtr

        if not self._parts:
            return self._all_alike if distance > 0 else 1.0
        return max(float(stdtr(f, -distance / error)) for error, f in self._parts)


TIE = Estimate(0.0, 0.0, math.inf)  # the difference of identical rows


@dataclass(frozen=True)
class SeedCell:
    """The episodes of one train seed and seed: `columns` among all keys, sums one a row."""

    train_seed: int | None
    columns: NDArray[np.intp]
    sums: Array


def _rank(train_seed: int | None) -> tuple[bool, int]:
    """Sorts None before any number."""
    return train_seed is not None, train_seed or 0


def cells_of(entries: Sequence[Entry], keys: Sequence[Key]) -> list[SeedCell]:
    """The entries of a row by train seed and seed, in the order of `keys`, which hold all of its
    episodes."""
    column = {key: i for i, key in enumerate(keys)}
    grouped: dict[tuple[int | None, int], list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: (_rank(entry.train_seed), entry.key)):
        grouped.setdefault((entry.train_seed, entry.seed), []).append(entry)
    return [
        SeedCell(
            train_seed,
            np.array([column[entry.key] for entry in members]),
            np.array([entry.sums for entry in members], dtype=np.float64),
        )
        for (train_seed, _), members in grouped.items()
    ]


def _same(a: Sequence[SeedCell], b: Sequence[SeedCell]) -> bool:
    """Whether every episode has the same statistics in both rows; a row without train seeds meets
    every train seed of the other."""
    one, two = ({cell.train_seed for cell in cells} for cells in (a, b))
    if one != two and {None} not in (one, two):
        return False
    pairs = [
        (x, y)
        for x in a
        for y in b
        if (x.train_seed == y.train_seed or None in (x.train_seed, y.train_seed))
        and np.array_equal(x.columns, y.columns)
    ]
    return len(pairs) == max(len(a), len(b)) and all(
        np.array_equal(x.sums, y.sums) for x, y in pairs
    )


def keys_of(entries: Iterable[Entry]) -> list[Key]:
    """The episodes of a row, sorted.

    Raises:
        ValueError: there is none.
    """
    keys = sorted({entry.key for entry in entries})
    if not keys:
        raise ValueError("a row without episodes has no score")
    return keys


def corpus_score(entries: Sequence[Entry], metric: Scorer) -> float:
    """The metric's corpus score of each train seed and seed, and the mean of those.

    Raises:
        ValueError: there is no entry.
    """
    cells = cells_of(entries, keys_of(entries))
    return float(np.mean([metric.score(cell.sums.sum(axis=0)) for cell in cells]))


@dataclass(frozen=True)
class Scored:
    """A row on the data and on every resample, a line for each train seed.

    Attributes:
        points: the scores of the data `(train seeds,)`.
        draws: the scores of the resamples `(train seeds, repeats)`.
        share: of each train seed in the row's score `(train seeds,)`.
        scale: size of the scores; differences keep that of their scores, as rounding depends on it.
    """

    train_seeds: tuple[int | None, ...]
    points: Array
    draws: Array
    share: Array
    scale: float

    def minus(self, other: "Scored") -> "Scored":
        """The difference, for rows with the same train seeds or where one has none."""
        more = self if len(self.points) >= len(other.points) else other
        return Scored(
            more.train_seeds,
            self.points - other.points,
            self.draws - other.draws,
            more.share,
            max(self.scale, other.scale),
        )


class Resamples:
    """The draws that all rows of a comparison share.

    Attributes:
        weights: how often a resample takes an episode, `(repeats, keys)`.
        units: what is drawn: tasks, or the episodes of a single task.
    """

    def __init__(self, keys: Sequence[Key], repeats: int, stream: Stream) -> None:
        random = np.random.Generator(np.random.PCG64(stream.key))
        names = [task for task, _, _ in keys]
        drawn: Sequence[object] = names if len(set(names)) > 1 else keys
        kinds = sorted(set(drawn), key=repr)
        self.units = len(kinds)
        place = {kind: i for i, kind in enumerate(kinds)}
        share = np.full(self.units, 1 / self.units)
        counts = random.multinomial(self.units, share, size=repeats).astype(np.float64)
        self.weights: Array = counts[:, [place[kind] for kind in drawn]]

    def scored(self, cells: Sequence[SeedCell], metric: Scorer) -> Scored:
        """A row's scores; NaN in a resample that holds none of a train seed's episodes."""
        seeds = tuple(sorted({cell.train_seed for cell in cells}, key=_rank))
        line = {seed: i for i, seed in enumerate(seeds)}
        totals = np.zeros((len(seeds), len(self.weights)))
        held, points = np.zeros_like(totals), np.zeros(len(seeds))
        counts = np.zeros(len(seeds))
        for cell in cells:
            taken = self.weights[:, cell.columns]
            # Not a matrix product, whose order of summation depends on the number of threads.
            sums = np.einsum("re,es->rs", taken, cell.sums)
            there = taken.any(axis=1)
            i = line[cell.train_seed]
            totals[i] += np.where(there, metric.scores(sums), 0.0)
            held[i] += there
            points[i] += metric.score(cell.sums.sum(axis=0))
            counts[i] += 1
        draws = np.divide(totals, held, out=np.full_like(totals, np.nan), where=held > 0)
        scores = points / counts
        return Scored(seeds, scores, draws, counts / counts.sum(), float(np.abs(scores).max()))


@dataclass(frozen=True)
class _Variance:
    """A variance with the degrees of freedom of what it is estimated from."""

    value: float
    freedom: float


def _of_tasks(draws: Array, units: int, scale: float) -> _Variance:
    """Of the resamples `(repeats,)` of a row; infinite where there is one thing to draw, 0 where
    they differ by rounding alone."""
    if units < 2:
        return _Variance(math.inf, 1)
    known = draws[~np.isnan(draws)]
    if np.ptp(known) <= ROUNDING * scale:
        return _Variance(0.0, units - 1)
    return _Variance(float(known.var()) * units / (units - 1), units - 1)


def _of_seeds(scored: Scored, units: int) -> list[_Variance]:
    """`V_seeds` and `-V_both`; nothing for one train seed, or where these add no variance."""
    count = len(scored.points)
    if count < 2 or units < 2:
        return []
    if np.ptp(scored.points) <= ROUNDING * scored.scale:
        return []
    seeds = float(scored.points.var(ddof=1)) / count
    rest = scored.draws - scored.draws.mean(axis=0)
    rest = rest[:, ~np.isnan(rest).any(axis=0)]
    both = float(rest.var(axis=1).sum()) * units / (units - 1) / (count * (count - 1))
    if seeds <= both:
        return []
    return [_Variance(seeds, count - 1), _Variance(-both, (count - 1) * (units - 1))]


def _estimate(
    value: float, tasks: _Variance, seeds: Sequence[_Variance], limits: Limits
) -> Estimate:
    """Satterthwaite's approximation to the sum of the variances. Too few tasks without variance
    say nothing about others, whatever train seeds do."""
    parts = [tasks, *seeds]
    total = sum(part.value for part in parts)
    too_few = not tasks.value and tasks.freedom + 1 < FEWEST_TASKS
    if math.isinf(total) or (total and too_few):
        return Estimate(value, math.inf, 1.0, limits=limits)
    if not total:
        return Estimate(value, 0.0, tasks.freedom, limits=limits)
    spread = sum(part.value**2 / part.freedom for part in parts)
    if not seeds:
        return Estimate(value, math.sqrt(total), total**2 / spread, limits=limits)
    of_seeds = [part for part in seeds if part.value > 0]
    freedom = sum(p.value for p in of_seeds) ** 2 / sum(p.value**2 / p.freedom for p in of_seeds)
    error = math.sqrt(sum(part.value for part in seeds))
    return Estimate(value, math.sqrt(total), total**2 / spread, error, freedom, limits)


@dataclass(frozen=True, eq=False)
class Resampled:
    """A row's corpus scores on its data and on resamples of its tasks, a line a train seed.

    Attributes:
        points: of the data `(train seeds,)`.
        draws: of the resamples `(train seeds, repeats)`.
        units: how many tasks a resample draws.
        limits: between which scores lie.
    """

    points: Array
    draws: Array
    units: int
    limits: Limits = UNBOUNDED


def resampled(
    entries: Sequence[Entry], metric: Scorer, repeats: int = 1000, seed: int = 0
) -> Resampled:
    """What `estimate` is made of, for figures that are made of several rows.

    The resamples are the same for all rows and metrics that have the same episodes.

    Raises:
        ValueError: there is no entry.
    """
    keys = keys_of(entries)
    draws = Resamples(keys, repeats, Stream(seed, "resamples"))
    scored = draws.scored(cells_of(entries, keys), metric)
    return Resampled(scored.points, scored.draws, draws.units, metric.limits)


def of_resamples(points: Array, draws: Array, units: int, limits: Limits = UNBOUNDED) -> Estimate:
    """The mean over train seeds of a figure that is given for each of them.

    Args:
        points: of the data `(train seeds,)`.
        draws: of resamples of tasks, the same ones for all train seeds `(train seeds, repeats)`.
        units: how many tasks a resample draws.
        limits: between which the figure lies by definition.
    """
    share = np.full(len(points), 1 / len(points))
    scale = float(np.abs(points).max())
    return _alone(Scored((), points, draws, share, scale), units, limits)


def of_train_seeds(values: Array, limits: Limits = UNBOUNDED) -> Estimate:
    """The mean over train seeds of a figure that no task has a part in `(train seeds,)`; of a
    single train seed, or of equal values, nothing tells how far others lie from it."""
    value, count = float(values.mean()), len(values)
    if count < 2 or np.ptp(values) <= ROUNDING * np.abs(values).max():
        return Estimate(value, math.inf, 1.0, limits=limits)
    return Estimate(value, float(values.std(ddof=1)) / math.sqrt(count), count - 1, limits=limits)


def differences_of(limits: Limits) -> Limits:
    """Between which the difference of two values lies that each lie between limits."""
    low, high = limits
    return low - high, high - low


def _value(value: float, scale: float) -> float:
    """A difference, 0 where it is rounding."""
    return value if abs(value) > ROUNDING * scale else 0.0


def _alone(scored: Scored, units: int, limits: Limits) -> Estimate:
    value = _value(float(scored.share @ scored.points), scored.scale)
    over_tasks = _of_tasks(scored.share @ scored.draws, units, scored.scale)
    return _estimate(value, over_tasks, _of_seeds(scored, units), limits)


def _between(a: Scored, b: Scored, units: int, limits: Limits) -> Estimate:
    """The difference of two rows that were scored on the same resamples."""
    if a.train_seeds == b.train_seeds or (None,) in (a.train_seeds, b.train_seeds):
        return _alone(a.minus(b), units, limits)
    scale = max(a.scale, b.scale)
    value = _value(float(a.share @ a.points - b.share @ b.points), scale)
    over_tasks = _of_tasks(a.share @ a.draws - b.share @ b.draws, units, scale)
    return _estimate(value, over_tasks, [*_of_seeds(a, units), *_of_seeds(b, units)], limits)


def estimate(
    entries: Sequence[Entry], metric: Scorer, repeats: int = 1000, seed: int = 0
) -> Estimate:
    """`corpus_score` with its standard error over tasks and train seeds.

    Args:
        entries: the episodes of one row.
        metric: gives the corpus score of sums.
        repeats: resamples.
        seed: of the resampling; the same seed gives the same estimate.

    Raises:
        ValueError: there is no entry.
    """
    keys = keys_of(entries)
    draws = Resamples(keys, repeats, Stream(seed, "resamples"))
    return _alone(draws.scored(cells_of(entries, keys), metric), draws.units, metric.limits)


def interval(
    entries: Sequence[Entry],
    metric: Scorer,
    repeats: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The two-sided interval of `corpus_score`, within the metric's limits; see `estimate`."""
    return estimate(entries, metric, repeats, seed).interval(level)


def pairwise(
    rows: Sequence[Sequence[Entry]], metric: Scorer, repeats: int = 1000, seed: int = 0
) -> dict[tuple[int, int], Estimate]:
    """The differences of the corpus scores of all pairs of rows, (i, j) with i < j: row i - row j.

    All rows are scored on the same resamples. Rows with the same train seeds are paired by them; a
    row without train seeds meets every train seed of the other; sets of train seeds that differ
    are taken as independent.

    Raises:
        ValueError: a row is empty, or rows differ in an episode's (task, seed, index).
    """
    keys = keys_of(rows[0]) if rows else []
    for row in rows:
        if others := set(keys) ^ set(keys_of(row)):
            raise ValueError(
                f"only one of the rows has episode (task, seed, index) = {min(others)}"
            )
    if len(rows) < 2:
        return {}
    draws = Resamples(keys, repeats, Stream(seed, "resamples"))
    cells = [cells_of(row, keys) for row in rows]
    scored = [draws.scored(found, metric) for found in cells]
    limits = differences_of(metric.limits)
    return {
        (i, j): replace(TIE, limits=limits)
        if _same(cells[i], cells[j])
        else _between(scored[i], scored[j], draws.units, limits)
        for i, j in combinations(range(len(rows)), 2)
    }


def difference(
    a: Sequence[Entry], b: Sequence[Entry], metric: Scorer, repeats: int = 1000, seed: int = 0
) -> Estimate:
    """`corpus_score(a) - corpus_score(b)` with its standard error, paired as in `pairwise`."""
    return pairwise([a, b], metric, repeats, seed)[0, 1]


def apart(
    a: Sequence[Sequence[Entry]],
    b: Sequence[Sequence[Entry]],
    metric: Scorer,
    repeats: int = 1000,
    seed: int = 0,
) -> Estimate:
    """What a method scores on one set of tasks minus what it scores on another, with its error.

    Tasks are resampled within each set, independently, and degrees of freedom are Welch's (1947);
    train seeds are the same on both sides, and paired.

    Args:
        a: the method's entries on one set; behind them those of a reference on the same episodes,
            if its own difference is to be taken off.
        b: the same on the other set.

    Raises:
        ValueError: a row is empty, or the reference's episodes differ from the method's.
    """
    (one, first), (two, second) = (
        _on_one_set(rows, metric, repeats, Stream(seed, "resamples", side))
        for side, rows in (("a", a), ("b", b))
    )
    both = one.minus(two)
    parts = [
        _of_tasks(s.share @ s.draws, units, s.scale) for s, units in ((one, first), (two, second))
    ]
    fewer = min(first, second)
    total = sum(part.value for part in parts)
    if any(not part.value and part.freedom + 1 < FEWEST_TASKS for part in parts):
        total = math.inf  # a set of too few tasks without variance
    spread = sum(part.value**2 / part.freedom for part in parts)
    known = total and not math.isinf(total)
    tasks = _Variance(total, total**2 / spread if known else fewer - 1)
    value = _value(float(both.share @ both.points), both.scale)
    limits = differences_of(metric.limits)
    if max(len(a), len(b)) > 1:  # a difference of differences
        limits = differences_of(limits)
    return _estimate(value, tasks, _of_seeds(both, fewer), limits)


def _on_one_set(
    rows: Sequence[Sequence[Entry]], metric: Scorer, repeats: int, stream: Stream
) -> tuple[Scored, int]:
    """The first row, minus the second if there is one, on resamples of its tasks, and how many
    tasks they draw."""
    keys = keys_of(rows[0])
    if any(keys_of(row) != keys for row in rows):
        raise ValueError("the reference met other episodes")
    draws = Resamples(keys, repeats, stream)
    scored = [draws.scored(cells_of(row, keys), metric) for row in rows]
    return (scored[0].minus(scored[1]) if len(scored) > 1 else scored[0]), draws.units


def paired_interval(
    a: Sequence[Entry],
    b: Sequence[Entry],
    metric: Scorer,
    repeats: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The two-sided interval of `difference`."""
    return difference(a, b, metric, repeats, seed).interval(level)


def holm(ps: Sequence[float]) -> list[float]:
    """P-values adjusted for all comparisons at once (Holm, 1979), in the order given."""
    adjusted, largest = [0.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = largest
    return adjusted
