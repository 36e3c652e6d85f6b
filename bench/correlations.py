"""Which metric sees what rules see: Kendall's tau-b between metrics, with intervals over tasks.

A metric sees an error if it ranks answers as the rules do. `rows` ranks baselines by their corpus
scores; `episodes` ranks every episode of every baseline, so that tasks that are hard for all count
too (without grouping, in the words of Deutsch et al., 2023, on ties in meta-evaluation). Tau-b
(Kendall, 1945) leaves pairs that are tied in one ranking out of that ranking's part.

Each train seed has a tau of its own, with rows that are not trained beside each; the mean over
train seeds is told. Its interval is that of `bench.statistics`: tasks are resampled, the same ones
for all baselines and metrics, crossed with train seeds.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.blocks import blocks
from bench.errors import UserError
from bench.statistics import (
    Entry,
    Interval,
    Key,
    Resamples,
    Scorer,
    cells_of,
    differences_of,
    keys_of,
    of_resamples,
)
from bench.streams import Stream
from bench.tables import Row, entries, metrics

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
LEVELS = ("rows", "episodes")
LIMITS = (-1.0, 1.0)
DIGITS = 9
NO_GAP = dict.fromkeys(("behind", "behind_low", "behind_high", "behind_p"), math.nan)


def tau_b(x: Array, y: Array) -> Array:
    """Kendall's tau-b of many pairs of lists, `(items, lists)` each, to `(lists,)`; NaN where one
    has no two values that differ, or a value is NaN."""
    one, two = np.triu_indices(len(x), 1)
    signs = np.sign(x[one] - x[two]), np.sign(y[one] - y[two])
    return _tau(
        (signs[0] * signs[1]).sum(axis=0), (signs[0] ** 2).sum(axis=0), (signs[1] ** 2).sum(axis=0)
    )


def weighted_tau_b(x: Array, y: Array, weights: Array) -> Array:
    """Kendall's tau-b of lists that hold a column's items so many times each.

    Args:
        x: `(rows, columns)`; NaN where there is no value.
        y: the same.
        weights: whole numbers `(lists, columns)`.

    Returns:
        `(lists,)`, as of lists in which items stand as often as they weigh: copies are ties.
    """
    known = ~(np.isnan(x) | np.isnan(y))
    column = np.nonzero(known)[1]
    kept = [np.sign(v[known][:, None] - v[known][None, :]) for v in (x, y)]
    member = (column[:, None] == np.arange(x.shape[1])).astype(np.float64)

    def summed(signs: Array) -> Array:
        # Sums of whole numbers: exact, whatever the order.
        between = member.T @ signs @ member
        lists: Array = np.einsum("rk,rk->r", weights @ between, weights)
        return lists

    return _tau(summed(kept[0] * kept[1]), summed(kept[0] ** 2), summed(kept[1] ** 2))


def _tau(agreeing: Array, x: Array, y: Array) -> Array:
    """From pairs of either sign, less or more, and those that are not tied in each list."""
    untied = np.sqrt(x * y)
    return np.divide(agreeing, untied, out=np.full_like(untied, np.nan), where=untied > 0)


@dataclass(frozen=True, eq=False)
class _Seen:
    """A metric on the rows of a block, first on the data and then on resamples of tasks.

    Attributes:
        corpus: train seed to scores of the rows `(rows, 1 + repeats)`.
        episode: train seed to scores of their episodes `(rows, keys)`, NaN where nothing counts.
    """

    corpus: dict[int | None, Array]
    episode: dict[int | None, Array]


def correlations(
    rows: Sequence[Row],
    against: str = "rules",
    repeats: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    among: Collection[str] | None = None,
) -> "pd.DataFrame":
    """Tau-b of each metric with `against`, and with each kind of decision that it counts.

    Args:
        rows: as `bench.tables.read_rows` gives them; those that lack cells are left out.
        against: the metric that knows.
        repeats: resamples.
        confidence: of the intervals.
        seed: of the resampling.
        among: the metrics that are held against the best of them; all, if not given.

    Returns:
        One line for each block of rows that may be compared, level of `LEVELS`, `against` or one
        of its kinds (`with`) and other metric: `tau` from -1 to 1 with `low` and `high`, NaN where
        a ranking holds ties alone, how many `rows` and `tasks` there are; and `behind`, how far tau
        is below the largest of those `among`, with `behind_low`, `behind_high` and the p-value
        `behind_p` of no difference, paired by the same resamples; NaN for the largest itself.

    Raises:
        UserError: no row is complete, or one has no scores of `against`.
    """
    import pandas as pd

    complete = [row for row in rows if row.complete]
    if not complete:
        raise UserError("no row has all its cells, so no metrics can be compared; finish the run")
    for row in complete:
        if against not in row.header["signatures"]:
            head = row.header
            raise UserError(
                f"{head['suite']} ({head['dataset']}) / {head['baseline']} has no scores of "
                f"{against!r} to compare metrics with; name runs of embedded tasks"
            )
    lines = [
        {"block": number, **line}
        for number, block in enumerate(blocks(complete), 1)
        for line in _of_block(block, against, repeats, confidence, seed, among)
    ]
    return pd.DataFrame(lines)


def _of_block(
    block: Sequence[Row],
    against: str,
    repeats: int,
    confidence: float,
    seed: int,
    among: Collection[str] | None,
) -> list[dict[str, object]]:
    scorers = {metric.name: metric for metric in metrics(block[0])}
    keys = keys_of(entries(block[0], against))
    draws = Resamples(keys, repeats, Stream(seed, "resamples"))
    weights = np.vstack([np.ones(len(keys)), draws.weights])
    seen = {name: _seen(block, name, scorer, draws) for name, scorer in scorers.items()}
    knows = scorers.pop(against)
    total = np.sum([entry.sums for row in block for entry in entries(row, against)], axis=0)
    head = block[0].header
    shared = {key: head[key] for key in ("suite", "dataset", "shots")}
    lines = list[dict[str, object]]()
    for part in (knows, *knows.parts(total)):
        seen[part.name] = truth = _seen(block, against, part, draws)
        size = {"rows": len(block), "tasks": len({task for task, *_ in keys})}
        for level in LEVELS:
            taus = {name: _taus(seen[name], truth, weights, level) for name in scorers}
            held = {n: found for n, found in taus.items() if among is None or n in among}
            behind = _behind(held, draws.units, confidence)
            for name, found in taus.items():
                value, ends = _told(found, draws.units, confidence)
                told = {"with": part.name, "metric": name, "tau": value}
                told |= {"low": ends.low, "high": ends.high}
                lines.append({**shared, "level": level, **told, **size, **behind.get(name, NO_GAP)})
    return lines


def _behind(
    taus: Mapping[str, Array], units: int, confidence: float
) -> dict[str, dict[str, float]]:
    """How far each metric's tau is below the largest."""
    made = dict.fromkeys(taus, NO_GAP)
    means = {n: t[:, 0].mean() for n, t in taus.items() if not np.isnan(t[:, 0]).any()}
    best = max(means, key=means.__getitem__, default=None)
    for name in means:
        if best is None or name == best:
            continue
        apart = taus[best] - taus[name]
        if not np.isnan(apart[:, 1:]).any(axis=0).all():
            limits = differences_of(LIMITS)
            found = of_resamples(apart[:, 0], apart[:, 1:], units, limits)
            ends = found.interval(confidence)
            told = (found.value, ends.low, ends.high, found.p())
            made[name] = dict(zip(NO_GAP, told, strict=True))
    return made


def _told(taus: Array, units: int, confidence: float) -> tuple[float, Interval]:
    """The mean over train seeds with its interval; NaN where a ranking holds ties alone."""
    if np.isnan(taus[:, 0]).any():
        return math.nan, Interval(math.nan, math.nan)
    if np.isnan(taus[:, 1:]).any(axis=0).all():
        return float(taus[:, 0].mean()), Interval(*LIMITS)
    found = of_resamples(taus[:, 0], taus[:, 1:], units, LIMITS)
    return found.value, found.interval(confidence)


def _taus(one: _Seen, two: _Seen, weights: Array, level: str) -> Array:
    """Of each train seed, on the data and on resamples `(train seeds, 1 + repeats)`."""
    if level == "rows":
        return np.array([tau_b(one.corpus[t], two.corpus[t]) for t in one.corpus])
    return np.array([weighted_tau_b(one.episode[t], two.episode[t], weights) for t in one.episode])


def _seen(block: Sequence[Row], name: str, scorer: Scorer, draws: Resamples) -> _Seen:
    measured = [entries(row, name) for row in block]
    keys = keys_of(measured[0])
    trained = sorted({e.train_seed for row in measured for e in row if e.train_seed is not None})
    corpus, episode = dict[int | None, Array](), dict[int | None, Array]()
    seeds: list[int | None] = [*trained] or [None]
    for train in seeds:
        own = [[e for e in row if e.train_seed in (train, None)] for row in measured]
        if not all(own):
            raise UserError("rows have different train seeds; run all with the same ones")
        scored = [draws.scored(cells_of(row, keys), scorer) for row in own]
        # Scores that differ by rounding are tied.
        corpus[train] = np.round([[*s.points, *s.draws[0]] for s in scored], DIGITS)
        episode[train] = np.array([_each(row, scorer, keys) for row in own])
    return _Seen(corpus, episode)


def _each(row: Sequence[Entry], scorer: Scorer, keys: Sequence[Key]) -> Array:
    """The score of each episode, in the order of keys."""
    sums = {entry.key: entry.sums for entry in row}
    stacked = np.array([sums[key] for key in keys])
    scores = np.round(scorer.scores(stacked), DIGITS)
    at = getattr(scorer, "at", None)
    return scores if at is None else np.where(stacked[:, at + 1] > 0, scores, np.nan)
