"""Synthetic records from real ones: episodes are drawn from finished runs, with effects of tasks
and train seeds of a chosen size put on top, so that the truth is known.

`golden/episodes.json` holds, of real runs, the sums of each episode. To make it anew:
`python -m tests.simulated DIR... > tests/golden/episodes.json`.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.metrics import metrics_of
from bench.statistics import Entry

Array = NDArray[np.float64]
GOLDEN = Path(__file__).parent / "golden" / "episodes.json"
METRICS = ("bleu", "chrf", "rougeL")
SCORERS = {metric.name: metric for metric in metrics_of("en", dict.fromkeys(METRICS, ""))}


# -- what is real --------------------------------------------------------------------------


def collect(directories: Iterable[Path]) -> list[dict[str, Any]]:
    """The rows of run directories as the golden file holds them, one a train seed."""
    from bench.tables import entries, read_rows

    made = []
    for row in read_rows(directories):
        found = {name: entries(row, name) for name in METRICS}
        for train in sorted({e.train_seed for e in found["bleu"]}, key=lambda t: t or 0):
            kept = {
                name: sorted((e for e in some if e.train_seed == train), key=lambda e: e.key)
                for name, some in found.items()
            }
            made.append(
                {
                    "suite": row.header["suite"],
                    "baseline": row.header["baseline"],
                    "train_seed": train,
                    "settings": [row.header["settings"][k] for k in ("queries", "train_budget")],
                    "episodes": [e.key for e in kept["bleu"]],
                    **{name: [_plain(e.sums) for e in some] for name, some in kept.items()},
                }
            )
    return made


def _plain(sums: Array) -> list[float]:
    return [int(v) if v == int(v) else round(v, 4) for v in sums.tolist()]


@dataclass(frozen=True, eq=False)
class Population:
    """The real episodes that are drawn from, those that all of its rows met.

    Attributes:
        tasks: places of the episodes of each task.
        sums: (baseline, metric) to `(episodes, statistics)`, of the first train seed.
    """

    tasks: tuple[NDArray[np.intp], ...]
    sums: dict[tuple[str, str], Array]

    def score(self, baseline: str, metric: str) -> float:
        """The mean over tasks of a mean metric; the score of all episodes of another."""
        sums = self.sums[baseline, metric]
        if metric == "rougeL":
            assert len(set(sums[:, 1])) == 1, "else a mean over episodes is not that over queries"
            values = SCORERS[metric].scores(sums)
            return float(np.mean([values[places].mean() for places in self.tasks]))
        return SCORERS[metric].score(sums.sum(axis=0))


def population(suite: str, queries: int) -> Population:
    """The golden rows of a suite whose episodes have so many queries."""
    rows = [
        row
        for row in json.loads(GOLDEN.read_text(encoding="utf-8"))
        if row["suite"] == suite and row["settings"][0] == queries and not row["train_seed"]
    ]
    keys = rows[0]["episodes"]
    assert all(row["episodes"] == keys for row in rows)
    names = [task for task, _, _ in keys]
    tasks = tuple(np.flatnonzero([name == task for name in names]) for task in sorted({*names}))
    sums = {
        (row["baseline"], name): np.array(row[name], dtype=np.float64)
        for row in rows
        for name in METRICS
    }
    return Population(tasks, sums)


# -- what is put on top --------------------------------------------------------------------


@dataclass(frozen=True)
class Like:
    """How one row is made.

    Attributes:
        baseline: whose real episodes it starts from.
        task_sd: standard deviation in points of what each task adds to this row alone; so are
            `draw_sd` of each episode, `seed_sd` of each train seed, `both_sd` of each train seed
            with each task and `residual_sd` of each train seed with each episode.
        loss: points that are taken away by mixing in the answers of `worse`.
        worse: a baseline with lower scores.
        even: every episode loses the same share of its distance to `worse`; else shares are
            exponential, as where few answers are spoiled badly.
    """

    baseline: str
    task_sd: float = 0.0
    draw_sd: float = 0.0
    seed_sd: float = 0.0
    both_sd: float = 0.0
    residual_sd: float = 0.0
    loss: float = 0.0
    worse: str = "nearest"
    even: bool = False


@dataclass(frozen=True, eq=False)
class Design:
    """A size: tasks, episodes of each, train seeds (0: not trained), seeds that divide episodes."""

    tasks: int
    episodes: int = 1
    train_seeds: int = 1
    seeds: int = 1


def simulate(
    rng: np.random.Generator,
    real: Population,
    metric: str,
    rows: Sequence[Like],
    design: Design,
) -> list[list[Entry]]:
    """Entries of rows that met the same episodes.

    Tasks are real tasks, drawn with replacement, and episodes those of the drawn task; all effects
    are normal and independent between rows. Sums stay legal, but for those of a mean metric, which
    may leave 0 to 100 so that the truth is exact: see `truth`. What is said of one train seed is
    conditional on it: `seed_sd` and `both_sd` are then no part of the truth, so leave them 0.
    """
    made = _draw(rng, real, metric, rows, design)
    trained = range(design.train_seeds) if design.train_seeds else [None]
    places = [(f"task {t:05}", e) for t in range(design.tasks) for e in range(design.episodes)]
    return [
        [
            Entry(task, train, number % design.seeds, number, sums[line, number])
            for line, train in enumerate(trained)
            for number, (task, _) in enumerate(places)
        ]
        for sums in made
    ]


def truth(
    rng: np.random.Generator, real: Population, metric: str, rows: Sequence[Like], repeats: int = 40
) -> list[float]:
    """The rows' true scores: exact of a mean metric, else of `repeats` samples of 5 train seeds
    and 2,000 tasks."""
    if metric == "rougeL":
        return [real.score(row.baseline, metric) - row.loss for row in rows]
    scores = []
    for _ in range(repeats):
        made = _draw(rng, real, metric, rows, Design(2000, 1, 5))
        scores.append([SCORERS[metric].scores(sums.sum(axis=1)).mean() for sums in made])
    return [float(v) for v in np.mean(scores, axis=0)]


def _draw(
    rng: np.random.Generator,
    real: Population,
    metric: str,
    rows: Sequence[Like],
    design: Design,
) -> list[Array]:
    """Sums of each row `(train seeds, episodes, statistics)`, episodes by task."""
    kinds = rng.integers(len(real.tasks), size=design.tasks)
    sizes = np.array([len(places) for places in real.tasks])
    starts = np.cumsum(sizes) - sizes
    within = rng.integers(sizes[kinds, None], size=(design.tasks, design.episodes))
    drawn = np.concatenate(real.tasks)[(starts[kinds, None] + within).ravel()]
    label = np.repeat(np.arange(design.tasks), design.episodes)
    seeds = max(design.train_seeds, 1)
    made = []
    for row in rows:
        sums = real.sums[row.baseline, metric][drawn]
        if row.loss:
            sums = _mixed(rng, real, metric, row, drawn)
        noise = rng.standard_normal
        effect = (
            row.task_sd * noise(design.tasks)[label]
            + row.draw_sd * noise(len(drawn))
            + row.seed_sd * noise((seeds, 1))
            + row.both_sd * noise((seeds, design.tasks))[:, label]
            + row.residual_sd * noise((seeds, len(drawn)))
        )
        made.append(_moved(sums, effect, metric, real.score(row.baseline, metric)))
    return made


def _mixed(
    rng: np.random.Generator,
    real: Population,
    metric: str,
    row: Like,
    drawn: NDArray[np.intp],
) -> Array:
    """Sums with a share of each episode's queries answered as `worse` did."""
    gap = real.score(row.baseline, metric) - real.score(row.worse, metric)
    assert gap > row.loss
    share = np.full(len(drawn), row.loss / gap)
    if not row.even:
        share = np.minimum(share * rng.exponential(size=len(drawn)), 1.0)
    one, two = (real.sums[name, metric][drawn] for name in (row.baseline, row.worse))
    return one + share[:, None] * (two - one)


def _moved(sums: Array, points: Array, metric: str, score: float) -> Array:
    """Sums whose score is higher by some points, exactly of a mean metric, about so of another:
    matches are scaled, as scores are in proportion to them."""
    moved = np.repeat(sums[None], len(points), axis=0)
    if metric == "rougeL":
        moved[..., 0] += points / 100 * sums[:, 1]
        return moved
    factor = np.maximum(1 + points / score, 0)[..., None]
    if metric == "bleu":  # both lengths, matches, n-grams
        moved[..., 2:6] = np.minimum(moved[..., 2:6] * factor, moved[..., 6:10])
    else:  # n-grams of prediction, reference and both, for each order
        most = np.minimum(moved[..., 0::3], moved[..., 1::3])
        moved[..., 2::3] = np.minimum(moved[..., 2::3] * factor, most)
    return moved


if __name__ == "__main__":
    found = collect(Path(name) for name in sys.argv[1:])
    print("[" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in found) + "]")
