"""Quality and cost of a row after each number of inner steps, on its data and on resamples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.costs import inner_steps, own_ms
from bench.statistics import Array, Entry, Estimate, Resampled, of_resamples, resampled
from bench.studies.payback import Curve
from bench.tables import Row, entries

if TYPE_CHECKING:
    from bench.metrics import Metric

SECONDS, FLOPS = "s", "GFLOP"
MUCH = 0.3  # of the time waited for cores
Cost = Mapping[str, Any]


class Mean:
    """The mean over episodes, as a metric of the sums (value, 1)."""

    limits = (-np.inf, np.inf)

    def score(self, sums: Array) -> float:
        """The mean of summed values."""
        return float(sums[0] / sums[1])

    def scores(self, sums: Array) -> Array:
        """`score` of many at once; 0 of no episode, which is never used."""
        return np.divide(sums[:, 0], sums[:, 1], out=np.zeros(len(sums)), where=sums[:, 1] > 0)


def seconds(cost: Cost, steps: int) -> float:
    """Device-seconds of an episode's adaptation with so many of its steps, without what its thread
    waited for cores that others had."""
    if not steps:
        return 0.0
    inner, whole = cost["inner_steps_ms"], cost["adapt_ms"]
    share = (sum(inner[:steps]) + whole - sum(inner)) / whole if whole else 0.0
    return own_ms(cost, "adapt") * share / 1e3


def flops(cost: Cost, steps: int) -> float:
    """Operations of matrix products in an episode's adaptation with so many steps, in 10^9."""
    return float(cost["inner_step_flops"] * steps / 1e9) if steps else 0.0


COUNTED: Mapping[str, Callable[[Cost, int], float]] = {SECONDS: seconds, FLOPS: flops}


@dataclass(frozen=True)
class Measured:
    """A finished row of a run that scored after inner steps.

    Attributes:
        metric: that quality is measured by.
    """

    row: Row
    metric: "Metric"

    @property
    def name(self) -> str:
        """The baseline's."""
        return str(self.row.header["baseline"])

    @property
    def trained(self) -> bool:
        """Whether it was meta-trained."""
        return bool(self.row.header["init"] == "meta-trained")

    @property
    def prepared(self) -> bool:
        """Whether it spent something before its first task: a meta-training, or a choice that was
        made on other tasks."""
        return any(header.get("train") for header in self.row.headers)

    @property
    def diverged(self) -> str | None:
        """How many episodes' inner loops diverged, None without any."""
        found = [bool(record.get("diverged")) for record in self.row.records()]
        return f"{sum(found)} of {len(found)} episodes" if any(found) else None

    @cached_property
    def steps(self) -> int:
        """Inner steps of an episode; the most where train seeds chose their own."""
        return max((inner_steps(r["costs"]) for r in self.row.records()), default=0)

    @cached_property
    def varies(self) -> bool:
        """Whether episodes took different numbers of steps, so that there is no one curve."""
        return len({inner_steps(r["costs"]) for r in self.row.records()}) > 1

    @cached_property
    def knots(self) -> tuple[int, ...]:
        """The numbers of steps that were scored, the last among them."""
        held = [set(map(int, record.get("after") or {})) for record in self.row.records()]
        common = set.intersection(*held) if held else set()
        return tuple(sorted({s for s in common if s < self.steps} | {self.steps}))

    def score(self, steps: int | None = None) -> Resampled:
        """After a scored number of steps, the last if None."""
        if steps is None or steps == self.steps:
            return resampled(entries(self.row, self.metric.name), self.metric)
        return self._of(
            lambda r: np.sum(np.array(r["after"][str(steps)][self.metric.name]), axis=0),
            self.metric,
        )

    def cost(self, unit: str, steps: int) -> Resampled:
        """Of a task's adaptation with so many steps."""
        return self.mean(lambda record: COUNTED[unit](record["costs"], steps))

    def mean(self, of: Callable[[Mapping[str, Any]], float]) -> Resampled:
        """The mean over episodes of a number that a record tells."""
        return self._of(lambda record: np.array([of(record), 1.0]), Mean())

    def _of(self, sums: Callable[[Mapping[str, Any]], Array], metric: Any) -> Resampled:
        return resampled(
            [
                Entry(r["task"], train_seed, seed, r["index"], sums(r))
                for (train_seed, seed), records in self.row.cells.items()
                for r in records
            ],
            metric,
        )

    def training(self, unit: str) -> Array:
        """What each train seed spent before its first task `(train seeds,)`; 0 where nothing."""
        trained = {h["train_seed"]: h.get("train") or {} for h in self.row.headers}
        costs = [trained[seed] for seed in sorted(trained, key=lambda s: (s is not None, s))]
        if unit == FLOPS:
            return np.array([cost.get("flops", 0.0) / 1e9 for cost in costs])
        own = [c.get("seconds", 0.0) - (c.get("waited_ms") or 0.0) / 1e3 for c in costs]
        return np.array(own).clip(min=0.0)

    @property
    def waited(self) -> float:
        """The largest share of a meta-training's time, or of all adaptation's, in which the thread
        waited for a core that others had; 0 where the system does not tell."""
        trained = [h.get("train") or {} for h in self.row.headers]
        costs = [record["costs"] for record in self.row.records()]
        parts = [(c.get("seconds", 0.0) * 1e3, c.get("waited_ms") or 0.0) for c in trained]
        adapted = sum(cost["adapt_ms"] for cost in costs)
        parts.append((adapted, adapted - sum(own_ms(cost, "adapt") for cost in costs)))
        return max((waited / spent for spent, waited in parts if spent), default=0.0)

    def timed_apart(self, what: str) -> bool:
        """Whether `adapt` or `generate` was timed task by task, not shared out in a batch."""
        return all(
            first["costs"][f"{what}_ms"] != second["costs"][f"{what}_ms"]
            for records in self.row.cells.values()
            for first, second in pairwise(records)
        )

    def curve(self, unit: str) -> Curve:
        """Scores and costs after every whole number of steps, scores interpolated between those
        that were scored."""
        scored = [self.score(knot) for knot in self.knots]
        whole = np.arange(self.steps + 1)
        costs = [self.cost(unit, steps) for steps in whole.tolist()]
        return Curve(
            scores=_between(self.knots, np.stack([s.points for s in scored], axis=-1), whole),
            score_draws=_between(self.knots, np.stack([s.draws for s in scored], axis=-1), whole),
            costs=np.array([cost.points.mean() for cost in costs]),
            cost_draws=np.stack([cost.draws.mean(axis=0) for cost in costs], axis=-1),
            knots=self.knots,
            units=scored[0].units,
        )


def busy(rows: Sequence[Measured]) -> list[str]:
    """A sentence where threads waited so much for cores that seconds mean little."""
    waited = min(max((row.waited for row in rows), default=0.0), 1.0)
    if waited <= MUCH:
        return []
    return [
        f"Threads waited up to {waited:.0%} of the time for cores that others had: these seconds "
        "mean little, and what was waited for all the time has none; measure where nothing else "
        "runs."
    ]


def _between(knots: tuple[int, ...], values: Array, whole: Any) -> Array:
    """Values at knots `(..., knots)` on straight lines between them `(..., steps + 1)`."""
    right = np.searchsorted(knots, whole, side="left").clip(min=min(1, len(knots) - 1))
    left = (right - 1).clip(min=0)
    at = np.array(knots, dtype=np.float64)
    gap = np.where(right > left, at[right] - at[left], 1.0)
    weight = np.where(right > left, (whole - at[left]) / gap, 0.0)
    made: Array = values[..., left] * (1 - weight) + values[..., right] * weight
    return made


def estimate_of(figure: Resampled) -> Estimate:
    """The mean over train seeds with its error."""
    return of_resamples(figure.points, figure.draws, figure.units, figure.limits)
