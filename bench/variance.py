"""Variance components of a score, or of the paired difference of two rows.

A score of one episode is taken as a sum of random effects: of its task, of its draw of support and
queries within the task, of the train seed, of the train seed with the task and with the draw, and
of the sampled answers, whose draws all train seeds share, alone and with the train seed. Every
train seed and every decoding seed meets the same episodes; tasks may be visited unequally often.

A corpus score is no mean over episodes, so each episode enters by its influence: `linearised`. The
mean squares of the crossed and nested design are set equal to their expectations (Searle, Casella
and McCulloch, 1992, chapters 4 and 5). Intervals take mean squares as chi-square and join their
limits by the recovered variances of Zou and Donner (2008), which also serves differences of mean
squares, as components are: where effects are far from normal, they are too short.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.statistics import Entry, Key, Scorer

Array = NDArray[np.float64]
FACTORS = (
    "task",
    "support draw",
    "train seed",
    "train seed x task",
    "train seed x support draw",
    "decoding",
    "decoding x train seed",
)
STEP = 1e-4  # of an episode's weight, for its influence
ROUNDING = 1e-7  # of a score; linearised scores that differ by less are the same
FITS = 30


def linearised(entries: Sequence[Entry], metric: Scorer) -> dict[tuple[int | None, Key], float]:
    """(train seed, episode) to its part in the corpus score.

    The infinitesimal jackknife (Jaeckel, 1972): the score of the train seed and seed plus the
    number of their episodes times the derivative by the weight of this one. Their mean is the
    corpus score; of a mean metric with equally many queries they are the episodes' means.
    """
    cells: dict[tuple[int | None, int], list[Entry]] = {}
    for entry in entries:
        cells.setdefault((entry.train_seed, entry.seed), []).append(entry)
    made = {}
    for members in cells.values():
        sums = np.array([entry.sums for entry in members], dtype=np.float64)
        total = sums.sum(axis=0)
        more, less = (metric.scores(total + sign * STEP * sums) for sign in (1, -1))
        parts = metric.score(total) + len(members) * (more - less) / (2 * STEP)
        for entry, part in zip(members, parts.tolist(), strict=True):
            made[entry.train_seed, entry.key] = part
    return made


@dataclass(frozen=True, eq=False)
class Values:
    """Linearised scores of a row, or of the difference of two.

    Attributes:
        keys: the episodes, in order.
        train_seeds: (None,) where nothing is trained.
        decodings: decoding seeds; (None,) where answers are not sampled.
        scores: `(episodes, train seeds, decodings)`.
    """

    keys: tuple[Key, ...]
    train_seeds: tuple[int | None, ...]
    decodings: tuple[int | None, ...]
    scores: Array

    def minus(self, other: "Values") -> "Values":
        """The difference on the episodes, train seeds and decoding seeds that both have; what is
        not trained, or not sampled, meets all of the other.

        Raises:
            ValueError: they share none.
        """
        keys = tuple(sorted({*self.keys} & {*other.keys}))
        train_seeds = _shared("train seed", self.train_seeds, other.train_seeds)
        decodings = _shared("decoding seed", self.decodings, other.decodings)
        if not keys:
            raise ValueError("they share no episode")
        one, two = (side.at(keys, train_seeds, decodings) for side in (self, other))
        return Values(keys, train_seeds, decodings, one - two)

    def at(
        self,
        keys: Sequence[Key],
        train_seeds: Sequence[int | None],
        decodings: Sequence[int | None],
    ) -> Array:
        """Scores of these episodes, train seeds and decoding seeds."""
        place = {key: i for i, key in enumerate(self.keys)}
        places = (
            [place[key] for key in keys],
            [0 if self.train_seeds == (None,) else self.train_seeds.index(s) for s in train_seeds],
            [0 if self.decodings == (None,) else self.decodings.index(d) for d in decodings],
        )
        found: Array = self.scores[np.ix_(*places)]
        return found


def _shared(
    what: str, one: Sequence[int | None], two: Sequence[int | None]
) -> tuple[int | None, ...]:
    """What both have; the other's where one has no such thing."""
    if None in one or None in two:
        return tuple(two if None in one else one)
    both = tuple(value for value in one if value in two)
    if not both:
        raise ValueError(f"they share no {what}")
    return both


def values_of(answers: Mapping[int | None, Sequence[Entry]], metric: Scorer) -> Values:
    """The values of a row whose answers were drawn with these decoding seeds.

    Episodes that a train seed or a decoding seed did not meet are left out.

    Args:
        answers: decoding seed to entries; None for answers that are not sampled.
        metric: gives the corpus score of sums.

    Raises:
        ValueError: no episode was met by all train seeds and decoding seeds.
    """
    found = {seed: linearised(entries, metric) for seed, entries in answers.items()}
    trained = {train for made in found.values() for train, _ in made}
    train_seeds = tuple(sorted(trained, key=lambda seed: -1 if seed is None else seed))
    met = [
        {key for train, key in made if train == seed}
        for made in found.values()
        for seed in train_seeds
    ]
    keys = tuple(sorted(set.intersection(*met))) if met else ()
    if not keys:
        raise ValueError("no episode was met by all its train seeds")
    scores = [[[found[d][t, key] for d in found] for t in train_seeds] for key in keys]
    return Values(keys, train_seeds, tuple(found), np.array(scores))


@dataclass(frozen=True)
class Component:
    """One variance, in squared points, of one factor or of several that stand together.

    Attributes:
        factors: of `FACTORS`; several where the design cannot tell them apart.
        variance: not below 0.
        estimate: the unbiased estimate, which may be.
        low: of the interval, not below 0.
        high: likewise.
    """

    factors: tuple[str, ...]
    variance: float
    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Split:
    """What `split` finds.

    Attributes:
        value: the score, or the difference: the mean of the values.
        sizes: tasks, episodes, train seeds (0 where nothing is trained), decodings.
        components: those that the design can tell, alone or together.
        unknown: factors that vary and of which the design tells nothing.
        absent: factors that are 0 by construction.
    """

    value: float
    sizes: tuple[int, int, int, int]
    components: tuple[Component, ...]
    unknown: tuple[str, ...]
    absent: tuple[str, ...]

    @property
    def constant(self) -> bool:
        """Whether nothing varies but rounding, so that no variance can be told."""
        return sum(c.variance for c in self.components) <= (ROUNDING * max(abs(self.value), 1)) ** 2

    def of(self, factor: str) -> Component | None:
        """The component that a factor is in."""
        return next((c for c in self.components if factor in c.factors), None)


def split(values: Values, level: float = 0.95) -> Split:
    """Variance components of values, with intervals.

    Where unbiased estimates are below 0, the others are fitted without them, by residual maximum
    likelihood (Patterson and Thompson, 1971; exactly so of a balanced design).

    Raises:
        ValueError: there is one value.
    """
    shape = _Shape.of(values)
    absent = _absent(values)
    squares, freedoms = _mean_squares(values.scores, shape)
    kept = freedoms > 0
    if not kept.any():
        raise ValueError("one episode of one train seed has no variance to split")
    weights = _expected(shape)[kept]
    squares, freedoms = squares[kept], freedoms[kept]
    groups, unknown = _told_apart(weights, absent)
    matrix = np.stack([weights[:, FACTORS.index(group[0])] for group in groups], axis=1)
    inverse = np.linalg.pinv(matrix).astype(np.float64)
    estimates = inverse @ squares
    variances = _not_below_zero(matrix, estimates, squares, freedoms)
    lows, highs = _limits(inverse, squares, freedoms, level)
    made = zip(groups, variances, estimates, lows, highs, strict=True)
    components = tuple(Component(g, *(float(v) for v in row)) for g, *row in made)
    mean = float(values.scores.mean())
    seeds = 0 if values.train_seeds == (None,) else shape.seeds
    sizes = len(shape.visits), shape.episodes, seeds, shape.decodings
    return Split(mean, sizes, components, unknown, absent)


@dataclass(frozen=True, eq=False)
class _Shape:
    """The design: the task's number of every episode, visits of every task, seeds, decodings."""

    labels: NDArray[np.intp]
    visits: NDArray[np.intp]
    seeds: int
    decodings: int

    @classmethod
    def of(cls, values: Values) -> "_Shape":
        """The design of some values."""
        _, labels, visits = np.unique(
            [task for task, _, _ in values.keys], return_inverse=True, return_counts=True
        )
        return cls(labels, visits, *values.scores.shape[1:])

    @property
    def episodes(self) -> int:
        """Of all tasks."""
        return len(self.labels)


def _absent(values: Values) -> tuple[str, ...]:
    """Factors that cannot vary: what is not trained has no train seed, greedy answers no draw."""
    untrained, unsampled = values.train_seeds == (None,), values.decodings == (None,)
    return tuple(
        factor
        for factor in FACTORS
        if (untrained and "train seed" in factor) or (unsampled and "decoding" in factor)
    )


def _mean_squares(scores: Array, shape: _Shape) -> tuple[Array, Array]:
    """The mean square of each of `FACTORS` and its degrees of freedom."""
    tasks, episodes, seeds, draws = (
        len(shape.visits),
        shape.episodes,
        shape.seeds,
        shape.decodings,
    )
    met = scores.mean(axis=2)  # (episodes, train seeds)
    centre = met.mean(axis=0)
    sums = np.zeros((tasks, seeds))
    np.add.at(sums, shape.labels, met)
    of_task = (sums / shape.visits[:, None])[shape.labels]
    alone, task = met.mean(axis=1), of_task.mean(axis=1)
    answers = scores - met[:, :, None]
    common = answers.mean(axis=1)
    deviations = (
        task - centre.mean(),
        alone - task,
        centre - centre.mean(),
        of_task - task[:, None] - centre + centre.mean(),
        met - alone[:, None] - of_task + task[:, None],
        common,
        answers - common[:, None],
    )
    repeats = (seeds * draws, seeds * draws, episodes * draws, draws, draws, seeds, 1)
    freedoms = np.array(
        [
            tasks - 1,
            episodes - tasks,
            seeds - 1,
            (tasks - 1) * (seeds - 1),
            (episodes - tasks) * (seeds - 1),
            episodes * (draws - 1),
            episodes * (draws - 1) * (seeds - 1),
        ],
        dtype=np.float64,
    )
    sums_of_squares = [n * np.square(d).sum() for n, d in zip(repeats, deviations, strict=True)]
    return np.array(sums_of_squares) / np.maximum(freedoms, 1), freedoms


def _expected(shape: _Shape) -> Array:
    """What each variance of `FACTORS` adds to each mean square, `(mean squares, factors)`."""
    visits, episodes = shape.visits, shape.episodes
    s, d = shape.seeds, shape.decodings
    squared = float(np.square(visits).sum()) / episodes
    k = (episodes - squared) / max(len(visits) - 1, 1)  # visits of a task, on average
    return np.array(
        [
            [s * d * k, s * d, 0, d * k, d, s, 1],
            [0, s * d, 0, 0, d, s, 1],
            [0, 0, episodes * d, d * squared, d, 0, 1],
            [0, 0, 0, d * k, d, 0, 1],
            [0, 0, 0, 0, d, 0, 1],
            [0, 0, 0, 0, 0, s, 1],
            [0, 0, 0, 0, 0, 0, 1],
        ]
    )


def _told_apart(
    weights: Array, absent: Sequence[str]
) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """Factors that the mean squares tell apart, those with equal weights together; and factors
    that are in none."""
    groups: dict[tuple[float, ...], list[str]] = {}
    for factor, column in zip(FACTORS, weights.T, strict=True):
        if factor not in absent:
            groups.setdefault(tuple(np.round(column, 9).tolist()), []).append(factor)
    unknown = [factor for column, found in groups.items() if not any(column) for factor in found]
    return [tuple(found) for column, found in groups.items() if any(column)], tuple(unknown)


def _not_below_zero(matrix: Array, estimates: Array, squares: Array, freedoms: Array) -> Array:
    """Estimates, or where some are below 0 the likeliest that are not: least squares, weighted by
    what is expected of each mean square, again and again."""
    from scipy.optimize import nnls

    fitted: Array = np.maximum(estimates, 0)
    if not (estimates < 0).any() or not fitted.any():
        return fitted
    for _ in range(FITS):
        expected = np.maximum(matrix @ fitted, 1e-9 * squares.max())
        scale = np.sqrt(freedoms) / expected
        fitted = nnls(matrix * scale[:, None], squares * scale)[0]
    return fitted


def _limits(inverse: Array, squares: Array, freedoms: Array, level: float) -> tuple[Array, Array]:
    """Both ends of the interval of every component, a weighted sum of mean squares."""
    from scipy.stats import chi2

    low = squares - squares * freedoms / chi2.ppf((1 + level) / 2, freedoms)
    high = squares * freedoms / chi2.ppf((1 - level) / 2, freedoms) - squares
    centre, plus = inverse @ squares, np.maximum(inverse, 0)
    minus = np.maximum(-inverse, 0)
    down = np.sqrt(np.square(plus * low).sum(axis=1) + np.square(minus * high).sum(axis=1))
    up = np.sqrt(np.square(plus * high).sum(axis=1) + np.square(minus * low).sum(axis=1))
    return np.maximum(centre - down, 0), np.maximum(centre + up, 0)
