"""From how many new tasks on a meta-training has paid for itself.

A method whose meta-training costs T, and which after s inner steps on a task, at cost c(s), scores
at least as much as its rival does at cost r, is no dearer over N tasks where T / N + c(s) <= r. The
smallest such N is ceil(T / (r - c(s))) for the fewest steps s that score as much; it is infinite
where no number of steps does, or where c(s) is not below r.

Its interval inverts a test, as that of a dose which is read off a curve does (Finney, 1978): for
every N the lead is estimated that the method has over its rival with the most steps that r - T / N
pays for, or with fewer. The ends are the smallest N at which the upper and the lower end of the
lead's interval reach 0. The lead is resampled by `bench.statistics`: tasks, with their scores and
costs at once, crossed with train seeds. T is taken as known.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.statistics import Estimate, Interval, of_resamples

Array = NDArray[np.float64]
MOST = 2**60  # tasks
ROUNDING = 1e-12  # of a cost


@dataclass(frozen=True, eq=False)
class Curve:
    """What a method scores and costs after each whole number of inner steps, from 0.

    Attributes:
        scores: on the data `(train seeds, steps + 1)`.
        score_draws: on resamples of tasks `(train seeds, repeats, steps + 1)`.
        costs: of a task's adaptation, the mean over tasks and train seeds `(steps + 1,)`.
        cost_draws: on the same resamples `(repeats, steps + 1)`.
        knots: the numbers of steps that were scored; between them scores are interpolated.
        units: how many tasks a resample draws.
    """

    scores: Array
    score_draws: Array
    costs: Array
    cost_draws: Array
    knots: tuple[int, ...]
    units: int

    @property
    def steps(self) -> int:
        """The usual number of inner steps, the last of the curve."""
        return int(self.scores.shape[-1]) - 1


@dataclass(frozen=True)
class Payback:
    """The smallest number of new tasks, infinite for never, with its interval."""

    tasks: float
    low: float
    high: float


def fewest_steps(method: Curve, score: float) -> int | None:
    """The fewest inner steps with which a method scores so much; None where it never does."""
    reached = np.flatnonzero(method.scores.mean(axis=0) >= score)
    return int(reached[0]) if len(reached) else None


def payback(training: float, method: Curve, rival: Curve, level: float = 0.95) -> Payback:
    """The number of new tasks from which on a method's whole cost is at most its rival's.

    Args:
        training: the cost of one meta-training, in the unit of both curves' costs.
        method: is meta-trained.
        rival: is not, and so has one line of scores; its quality and its cost are those of its
            last step.
        level: of the interval.
    """
    pair = _Pair(training, method, rival, level)
    return Payback(_first(pair.value), _first(pair.upper), _first(pair.lower))


@dataclass(frozen=True, eq=False)
class _Pair:
    """A method and its rival, with the lead in points of the one over the other at equal cost."""

    training: float
    method: Curve
    rival: Curve
    level: float

    def value(self, tasks: float) -> float:
        """The largest lead with any number of steps that is paid for; minus infinity where the
        meta-training alone is not."""
        paid = int(_paid(self.method.costs, self.rival.costs[-1], self.training / tasks))
        leads = self.method.scores.mean(axis=0) - self.rival.scores[:, -1].mean()
        return float(leads[: paid + 1].max()) if paid >= 0 else -math.inf

    def upper(self, tasks: float) -> float:
        """The upper end of the lead's interval, the largest of any number of steps."""
        return max((bounds.high for bounds in self._bounds(tasks)), default=-math.inf)

    def lower(self, tasks: float) -> float:
        """The lower end, likewise."""
        return max((bounds.low for bounds in self._bounds(tasks)), default=-math.inf)

    def _bounds(self, tasks: float) -> Iterator[Interval]:
        """The lead's intervals. Between scored steps the lead is a straight line: with any steps up
        to the most that are paid for it is largest with those, or at a scored number below."""
        share = self.training / tasks
        paid = int(_paid(self.method.costs, self.rival.costs[-1], share))
        if paid >= 0:
            drawn = _paid(self.method.cost_draws, self.rival.cost_draws[:, -1], share).clip(min=0)
            for cap in [*(k for k in self.method.knots if k < paid), self.method.steps]:
                yield self._lead(paid, drawn, cap).interval(self.level)

    def _lead(self, paid: int, drawn: NDArray[np.intp], cap: int) -> Estimate:
        """With as many steps as are paid for, on the data and on each resample, or `cap`."""
        places = np.minimum(drawn, cap)[None, :, None]
        scores = np.take_along_axis(self.method.score_draws, places, axis=2)[..., 0]
        points = self.method.scores[:, min(paid, cap)] - self.rival.scores[:, -1]
        draws = scores - self.rival.score_draws[..., -1]
        return of_resamples(points, draws, self.method.units)


def _paid(costs: Array, budget: Array, share: float) -> NDArray[np.intp]:
    """The most steps that leave `share` of a budget unspent; -1 where there are none. Of a share of
    0, which is that of tasks without end, something has to be left.

    Args:
        costs: after each number of steps `(..., steps + 1)`, which they grow with.
        budget: `(...)`.
        share: in the same unit.
    """
    left = np.asarray(budget * (1 + ROUNDING) - share)[..., None]
    enough = costs <= left if share else costs < np.asarray(budget * (1 - ROUNDING))[..., None]
    return np.asarray(enough.sum(axis=-1) - 1)


def _first(lead: Callable[[float], float]) -> float:
    """The smallest whole number of tasks with a lead of 0 or more; infinite where none has."""
    if lead(math.inf) < 0:
        return math.inf
    high = 1
    while lead(high) < 0:
        if high >= MOST:
            return math.inf
        high *= 2
    low = high // 2  # has none
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if lead(middle) >= 0 else (middle, high)
    return float(high)
