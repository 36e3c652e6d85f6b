"""Paired comparisons of two rows beyond the interval of their difference: randomisation over whole
tasks, effect size, and tests that take segments for independent, as sacreBLEU's do."""

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from bench.metrics import Metric
from bench.ranks import FEWEST_TASKS
from bench.statistics import Entry, Interval, Scorer, corpus_score
from bench.streams import Stream

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Effect:
    """Hedges' g of paired differences over tasks: their mean over their standard deviation, less
    its bias in small samples (Hedges, 1981); the interval inverts the noncentral t distribution."""

    value: float
    interval: Interval


def paired(a: Sequence[Entry], b: Sequence[Entry]) -> list[tuple[Entry, Entry]]:
    """The entries of both rows for the same train seed and episode; a row without train seeds meets
    every train seed of the other.

    Raises:
        ValueError: the rows differ in episodes or train seeds.
    """
    untrained = [all(e.train_seed is None for e in row) for row in (a, b)]
    if untrained[0] and not untrained[1]:
        return [(x, y) for y, x in paired(b, a)]
    other = {(None if untrained[1] else e.train_seed, e.key): e for e in b}
    wanted = [(None if untrained[1] else e.train_seed, e.key) for e in a]
    if set(wanted) != set(other):
        raise ValueError("the rows have other episodes or train seeds; compare rows with the same")
    return [(e, other[key]) for e, key in zip(a, wanted, strict=True)]


def task_differences(a: Sequence[Entry], b: Sequence[Entry], metric: Scorer) -> dict[str, float]:
    """The difference of the two rows' corpus scores on each task's episodes, by task.

    Raises:
        ValueError: the rows differ in episodes or train seeds.
    """
    by_task: dict[str, list[tuple[Entry, Entry]]] = {}
    for pair in sorted(paired(a, b), key=lambda pair: pair[0].key):
        by_task.setdefault(pair[0].task, []).append(pair)
    return {
        task: corpus_score([x for x, _ in pairs], metric)
        - corpus_score([y for _, y in pairs], metric)
        for task, pairs in by_task.items()
    }


def effect(a: Sequence[Entry], b: Sequence[Entry], metric: Scorer, level: float = 0.95) -> Effect:
    """The effect size of `a - b` over tasks; 0 where the rows do not differ, infinite where every
    task differs by the same, and NaN of fewer than three tasks or, if they differ by the same, six.

    Raises:
        ValueError: the rows differ in episodes or train seeds.
    """
    values = np.array(list(task_differences(a, b, metric).values()))
    count = len(values)
    if not values.any():
        return Effect(0.0, Interval(0.0, 0.0))
    if count < 3:
        return Effect(math.nan, Interval(-math.inf, math.inf))
    spread = float(values.std(ddof=1))
    if spread <= 1e-12 * abs(float(values.mean())) and count < FEWEST_TASKS:
        return Effect(math.nan, Interval(-math.inf, math.inf))
    if spread <= 1e-12 * abs(float(values.mean())):
        end = math.copysign(math.inf, float(values.mean()))
        return Effect(end, Interval(end, end))
    t = float(values.mean()) / spread * math.sqrt(count)
    shrink = _unbiased(count - 1) / math.sqrt(count)
    low, high = (
        shrink * _noncentrality(t, count - 1, q) for q in ((1 + level) / 2, (1 - level) / 2)
    )
    return Effect(shrink * t, Interval(low, high))


def _unbiased(freedom: int) -> float:
    """Hedges' exact factor."""
    log = math.lgamma(freedom / 2) - math.lgamma((freedom - 1) / 2)
    return math.exp(log) * math.sqrt(2 / freedom)


def _noncentrality(t: float, freedom: int, probability: float) -> float:
    """That of the noncentral t distribution which is at most `t` with the given probability."""
    from scipy.optimize import brentq
    from scipy.stats import nct

    reach = 2.0 + abs(t)
    while not nct.cdf(t, freedom, t + reach) < probability < nct.cdf(t, freedom, t - reach):
        reach *= 2
        if reach > 1e4:
            return math.nan
    return float(brentq(lambda n: nct.cdf(t, freedom, n) - probability, t - reach, t + reach))


def randomised_p(
    a: Sequence[Entry], b: Sequence[Entry], metric: Scorer, swaps: int = 9999, seed: int = 0
) -> float:
    """The two-sided p-value of no difference, by approximate randomisation (Noreen, 1989).

    Whole tasks are swapped between the rows, with all their episodes and for all train seeds at
    once: episodes of a task are not independent. Of few tasks every way to swap is taken.

    Raises:
        ValueError: the rows differ in episodes or train seeds.
    """
    pairs = paired(a, b)
    tasks = sorted({x.task for x, _ in pairs})
    place = {task: i for i, task in enumerate(tasks)}
    swapped = _swaps(len(tasks), swaps, seed)
    cells: dict[tuple[int | None, int | None, int], list[tuple[Entry, Entry]]] = {}
    for x, y in pairs:
        cells.setdefault((x.train_seed, y.train_seed, x.seed), []).append((x, y))
    differences = np.zeros(len(swapped))
    for members in cells.values():
        own = np.array([x.sums for x, _ in members], dtype=np.float64)
        other = np.array([y.sums for _, y in members], dtype=np.float64)
        sign = swapped[:, [place[x.task] for x, _ in members]].astype(np.float64)
        moved = np.einsum("re,es->rs", sign, other - own)
        differences += metric.scores(own.sum(axis=0) + moved)
        differences -= metric.scores(other.sum(axis=0) - moved)
    reached = np.abs(differences) >= abs(differences[0]) - 1e-9 * len(cells)
    return float(reached.mean())


def _swaps(tasks: int, swaps: int, seed: int) -> NDArray[np.bool_]:
    """Which tasks each trial swaps `(trials, tasks)`; the first swaps none. A trial and its mirror
    image have the same difference, so that half of all ways is all."""
    if 2 ** (tasks - 1) <= swaps + 1:
        return np.array([(False, *way) for way in product((False, True), repeat=tasks - 1)])
    random = np.random.Generator(np.random.PCG64(Stream(seed, "swaps").key))
    drawn = random.random((swaps + 1, tasks)) < 0.5
    drawn[0] = False
    return drawn


def sacrebleu_seed() -> int | None:
    """The seed of sacreBLEU's tests: 12345, or what SACREBLEU_SEED says; None draws a new one.

    Raises:
        UserError: the variable holds neither an integer of 0 or more nor `none`.
    """
    value = os.environ.get("SACREBLEU_SEED", "12345")
    if value.lower() == "none":
        return None
    if not re.fullmatch("[0-9]+", value):
        raise UserError(
            f"SACREBLEU_SEED = {value!r} is no seed; set an integer of 0 or more, or none"
        )
    return int(value)


def segment_bootstrap_p(
    a: Array, b: Array, metric: Metric, repeats: int = 1000, seed: int | None = 12345
) -> float:
    """The p-value of sacreBLEU's paired bootstrap (Koehn, 2004) on the same texts.

    Segments are drawn as if they were independent; in episodes they are not, so that this p is too
    small where tasks matter. It is here for comparison with published figures.

    Args:
        a: statistics of one row's segments `(segments, statistics)`.
        b: those of the other, in the same order.
        metric: scores their sums.
        repeats: resamples.
        seed: see `sacrebleu_seed`.
    """
    draws = np.random.default_rng(seed).choice(len(a), size=(repeats, len(a)), replace=True)
    scores = [
        np.array([metric.score(row[taken].sum(axis=0)) for taken in draws])
        for row in (a.astype(np.float32), b.astype(np.float32))
    ]
    apart = np.abs(scores[1] - scores[0])
    real = abs(metric.score(a.sum(axis=0)) - metric.score(b.sum(axis=0)))
    return (int(np.sum(apart - apart.mean() > real)) + 1) / (repeats + 1)


def segment_randomised_p(
    a: Array, b: Array, metric: Metric, swaps: int = 10_000, seed: int | None = 12345
) -> float:
    """The p-value of sacreBLEU's approximate randomisation (Riezler and Maxwell, 2005) on the same
    texts; see `segment_bootstrap_p`."""
    kept = np.random.default_rng(seed).integers(2, size=(swaps, len(a)), dtype=bool)
    first, second = kept @ a + ~kept @ b, ~kept @ a + kept @ b
    apart = [abs(metric.score(x) - metric.score(y)) for x, y in zip(first, second, strict=True)]
    real = abs(metric.score(a.sum(axis=0)) - metric.score(b.sum(axis=0)))
    return (int(np.sum(np.array(apart) > real)) + 1) / (swaps + 1)
