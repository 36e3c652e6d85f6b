"""From how many new tasks on a meta-training has paid for itself.

Quality q is what the rival scores after all its inner steps, and its cost r that of the fewest of
its steps k with which it scores q. A method whose meta-training costs T, and which scores q after
s steps on a task at cost c(s), is no dearer over N tasks where T / N + c(s) <= r. The smallest such
N is ceil(T / (r - c(s))) for the fewest steps s that score q; it is infinite where no number of
steps does, or where c(s) is not below r.

Its interval inverts tests, as that of a dose which is read off a curve does (Finney, 1978). k lies
between the first number of steps after which the rival is not shown to be below q and the first
after which it is shown to have reached q, all of them at the latest. For every N the method's lead
over q is estimated with the most steps that r - T / N pays for, or with fewer. The interval's lower
end is the smallest N at which the upper end of the lead's interval reaches 0, with r at the largest
k; its upper end is that of the lead's lower end, with r at the smallest k. That one of several
numbers of steps leads is shown at a level that holds for the largest of their studentised leads on
resamples (Westfall and Young, 1993), without those that are shown to be behind. All are resampled
by `bench.statistics`: tasks, with their scores and costs at once, crossed with train seeds. T is
taken as known.
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
SAME = 1e-9  # points


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

    @property
    def shown(self) -> bool:
        """Whether it is shown to pay, from `high` on at the latest."""
        return math.isfinite(self.high)

    @property
    def refuted(self) -> bool:
        """Whether it is shown never to pay."""
        return math.isinf(self.low)


@dataclass(frozen=True)
class Steps:
    """The fewest inner steps with which a rival scores what it does after all, with an interval."""

    value: int
    low: int
    high: int


def fewest_steps(method: Curve, score: float) -> int | None:
    """The fewest inner steps with which a method scores so much; None where it never does."""
    reached = np.flatnonzero(method.scores.mean(axis=0) >= score - SAME)
    return int(reached[0]) if len(reached) else None


def own_steps(rival: Curve, level: float = 0.95, margin: float = 0.0) -> Steps:
    """The fewest inner steps with which a rival scores what it does after all of them, less a
    margin in points."""
    value = fewest_steps(rival, float(rival.scores[:, -1].mean()) - margin)
    behind = (
        of_resamples(
            rival.scores[:, -1] - rival.scores[:, steps] - margin,
            rival.score_draws[..., -1] - rival.score_draws[..., steps] - margin,
            rival.units,
        ).interval(level)
        for steps in range(rival.steps)
    )
    bounds = [*behind, Interval(0.0, 0.0)]
    low = next(steps for steps, found in enumerate(bounds) if found.low <= SAME)
    high = next(steps for steps, found in enumerate(bounds) if found.high <= SAME)
    return Steps(rival.steps if value is None else value, low, high)


def payback(
    training: float, method: Curve, rival: Curve, level: float = 0.95, margin: float = 0.0
) -> Payback:
    """The number of new tasks from which on a method's whole cost is at most its rival's.

    Args:
        training: the cost of one meta-training, in the unit of both curves' costs.
        method: is meta-trained.
        rival: is not, and so has one line of scores; its quality is that of its last step, its
            cost that of the fewest steps which reach it.
        level: of the interval.
        margin: points below that quality that still count as equal, for the rival's cost too.
            Without one, a method of the very same quality could be shown to pay by no amount of
            data.
    """
    own, pair = own_steps(rival, level, margin), _Pair(training, method, rival, level, margin)
    jointly = pair.joint_level(own.low)
    return Payback(
        _first(lambda tasks: pair.value(tasks, own.value)),
        _first(lambda tasks: pair.upper(tasks, own.high)),
        _first(lambda tasks: pair.lower(tasks, own.low, jointly)),
    )


@dataclass(frozen=True, eq=False)
class _Pair:
    """A method and its rival, with the lead in points of the one over the other's last step, less
    the margin, at the cost of so many steps of the other, `own`."""

    training: float
    method: Curve
    rival: Curve
    level: float
    margin: float

    def value(self, tasks: float, own: int) -> float:
        """The largest lead with any number of steps that is paid for; minus infinity where the
        meta-training alone is not."""
        paid = int(_paid(self.method.costs, self.rival.costs[own], self.training / tasks))
        leads = self.method.scores.mean(axis=0) - self.rival.scores[:, -1].mean()
        return float(leads[: paid + 1].max()) + self.margin if paid >= 0 else -math.inf

    def upper(self, tasks: float, own: int) -> float:
        """The upper end of the lead's interval, the largest of any number of steps."""
        leads = self._leads(tasks, own)
        return max((lead.interval(self.level).high for lead in leads), default=-math.inf)

    def lower(self, tasks: float, own: int, level: float) -> float:
        """The lower end, likewise, of intervals of a level."""
        leads = self._leads(tasks, own)
        return max((lead.interval(level).low for lead in leads), default=-math.inf)

    def joint_level(self, own: int) -> float:
        """The level of each lead with which the largest has `level`, of all scored numbers of steps
        that cost less than `own` steps of the rival and are not shown to be behind."""
        from scipy.special import ndtr

        paid = int(_paid(self.method.costs, self.rival.costs[own], 0.0))
        draws = (self.method.score_draws - self.rival.score_draws[..., -1:]).mean(axis=0)
        leads = {k: self._lead(k, np.full(len(draws), k), k) for k in self.method.knots}
        open_ = [k for k in leads if k <= paid and leads[k].interval(self.level).high >= 0]
        spread = draws[:, open_].std(axis=0)
        varying = np.array(open_, dtype=np.intp)[spread > SAME]
        if len(varying) < 2:
            return self.level
        found = draws[:, varying] - draws[:, varying].mean(axis=0)
        largest = (found / spread[spread > SAME]).max(axis=1)
        critical = np.quantile(largest, (1 + self.level) / 2)
        return max(self.level, float(2 * ndtr(critical) - 1))

    def _leads(self, tasks: float, own: int) -> Iterator[Estimate]:
        """Between scored steps the lead is a straight line: with any steps up to the most that are
        paid for it is largest with those, or at a scored number below."""
        share = self.training / tasks
        paid = int(_paid(self.method.costs, self.rival.costs[own], share))
        if paid >= 0:
            drawn = _paid(self.method.cost_draws, self.rival.cost_draws[:, own], share).clip(min=0)
            for cap in [*(k for k in self.method.knots if k < paid), self.method.steps]:
                yield self._lead(paid, drawn, cap)

    def _lead(self, paid: int, drawn: NDArray[np.intp], cap: int) -> Estimate:
        """With as many steps as are paid for, on the data and on each resample, or `cap`."""
        places = np.minimum(drawn, cap)[None, :, None]
        scores = np.take_along_axis(self.method.score_draws, places, axis=2)[..., 0]
        goal, drawn_goal = (
            s[..., -1] - self.margin for s in (self.rival.scores, self.rival.score_draws)
        )
        points, draws = self.method.scores[:, min(paid, cap)] - goal, scores - drawn_goal
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
    if lead(math.inf) < -SAME:
        return math.inf
    high = 1
    while lead(high) < -SAME:
        if high >= MOST:
            return math.inf
        high *= 2
    low = high // 2  # has none
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if lead(middle) >= -SAME else (middle, high)
    return float(high)
