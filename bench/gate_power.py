"""The size at which the gate decides: an unchanged head passes, and a loss is called.

A head without change gives the same answers; one that is changed harmlessly (another order of
summation, another library) trains to other weights. The most that this can do is taken: as if every
training of the head were drawn anew. So the noise of a cell is that of two rows of its method with
train seeds of their own (`bench.power.redrawn`): tasks and draws are the same on both sides. A cell
that is not trained has none, nor is rounding in its records.

With s the expected error of the loss d, f its degrees of freedom and C cells (`bench.gate`):

- a cell passes where d + t_(0.95; f) s < margin: P(t' > t_(0.95; f)), noncentrality margin / s; all
  pass with the product, as their trainings are independent;
- a loss L in one cell, which varies over episodes with a standard deviation of L itself, is called
  where its p is below 0.05 / C, Holm's first step, and its upper bound is not below the margin: at
  least P(t' > t_(1 - 0.05 / C; f)), noncentrality L / s, less the probability that the bound is
  below;
- at no change a cell is called wrongly with at most P(t > t_(1 - 0.05 / C; f)), all together with
  the sum.

With one train seed the error does not hold the train seed's own spread, so that probabilities are
those of t' with the true spread in place of s: a harmless change may then be called a loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from bench.power import EPISODES, MOST_TASKS, TRAIN_SEEDS, Error, Noise, fewest, useful

Array = NDArray[np.float64]
LEVEL = 0.05


@dataclass(frozen=True)
class Goal:
    """What the gate should do.

    Attributes:
        margin: the loss that is let pass, in points.
        passing: the least probability that all cells pass at no change.
        calling: the least probability that a loss of twice the margin in one cell is called.
        wrong: the largest probability that a cell is called at no change.
    """

    margin: float = 0.5
    passing: float = 0.8
    calling: float = 0.9
    wrong: float = LEVEL


@dataclass(frozen=True)
class Chances:
    """Probabilities of what the gate says; see `Goal`."""

    passing: float
    calling: float
    wrong: float

    def meet(self, goal: Goal) -> bool:
        """Whether all are as they should be."""
        wrong = self.wrong <= goal.wrong * (1 + 1e-9)
        return self.passing >= goal.passing and self.calling >= goal.calling and wrong


def chances(
    noises: Sequence[Noise], tasks: int, episodes: int, train_seeds: int, margin: float
) -> Chances:
    """What the gate says of cells with these noises at a size."""
    from scipy.stats import nct, t

    loss, count = 2 * margin, len(noises)
    size = tasks, episodes, max(train_seeds, 1)
    still = [error for noise in noises if (error := noise.error(*size)).true > 0]
    passing, wrong = 1.0, 0.0
    if still:
        true, bound, reach = _bounds(still, count)
        passing = float(nct.sf(*bound, margin / true).prod())
        wrong = min(float(t.sf(*reach).sum()), 1.0)
    lossy = [replace(noise, draw=noise.draw + loss**2) for noise in noises]
    true, bound, reach = _bounds([noise.error(*size) for noise in lossy], count)
    called = nct.sf(*reach, loss / true) - nct.sf(*bound, (margin - loss) / true)
    return Chances(passing, float(np.maximum(called, 0).min()), wrong)


def _bounds(errors: Sequence[Error], count: int) -> tuple[Array, Array, Array]:
    """True spreads of errors `(cells,)`; how many of them the bound and Holm's first step among
    `count` cells lie from the loss, with their degrees of freedom, each `(2, cells)`."""
    true = np.array([error.true for error in errors])
    levels = (1 - LEVEL, 1 - LEVEL / count)
    bound, reach = (np.array([error.bound(level) for error in errors]).T for level in levels)
    return true, bound / [true, np.ones_like(true)], reach / [true, np.ones_like(true)]


@dataclass(frozen=True)
class GateSize:
    """A size of both runs and what the gate says at it.

    Attributes:
        tasks: of each suite, the fewest; None where no number of them is enough.
        tasks_low: were all variances at the lower end of their intervals.
        tasks_high: at the upper end.
        episodes: of each task.
        train_seeds: of what is trained; 0 where nothing is.
        error: the largest of a cell; where no number is enough, its limit for many tasks.
        chances: likewise.
    """

    tasks: int | None
    tasks_low: int | None
    tasks_high: int | None
    episodes: int
    train_seeds: int
    error: float
    chances: Chances


def gate_sizes(
    noises: Sequence[Noise], scales: Sequence[tuple[float, float]], goal: Goal
) -> list[GateSize]:
    """For each number of train seeds and of episodes a task, the fewest tasks that meet the goal.

    Args:
        noises: of each cell, `redrawn`.
        scales: factors that give the interval of each.
        goal: margin and probabilities.
    """
    varied = [noise for noise in noises if noise.trained]
    visits = (1,) if any(noise.alone for noise in varied) else EPISODES
    lower, upper = (
        [noise.times(scale[end]) for noise, scale in zip(noises, scales, strict=True)]
        for end in (0, 1)
    )
    made = []
    for count, episodes in product(TRAIN_SEEDS if varied else (0,), visits):
        low, tasks, high = (
            _tasks(cells, episodes, count, goal) for cells in (lower, noises, upper)
        )
        size = tasks or MOST_TASKS, episodes, count
        largest = max(noise.error(*size[:2], max(count, 1)).true for noise in noises)
        said = chances(noises, *size, goal.margin)
        made.append(GateSize(tasks, low, high, episodes, count, largest, said))
    return useful(made)


def _tasks(cells: Sequence[Noise], episodes: int, train_seeds: int, goal: Goal) -> int | None:
    return fewest(lambda n: chances(cells, n, episodes, train_seeds, goal.margin).meet(goal))
