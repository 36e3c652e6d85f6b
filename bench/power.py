"""How many tasks, episodes and train seeds a comparison needs.

From the variance components of a difference the standard error of any other size follows: with n
tasks, m episodes of each and S train seeds,

    error^2 = (task + train seed x task / S) / n + (support draw + train seed x draw / S) / (n m)
              + train seed / S

`bench.statistics` estimates it by mean squares, error^2 = V_tasks + V_seeds - V_both, with
Satterthwaite's degrees of freedom, error^4 / (V_tasks^2 / (n - 1) + V_seeds^2 / (S - 1) + V_both^2
/ ((n - 1) (S - 1))), where V_both = train seed x task / (n S) + train seed x draw / (n m S) is in
both others. A difference over its error is then noncentral t, and the power of a two-sided test is
P(|t'| > t_(1 - level / 2)) with noncentrality D / error. Where the bound of the train seeds' part
alone, train seed / S with S - 1 degrees of freedom, lies farther, it takes the place of the whole.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import product
from typing import Protocol, TypeVar

from bench.variance import Split

EPISODES = (1, 2, 4, 8, 16)  # a task
TRAIN_SEEDS = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64)
FEWEST_TASKS = 8  # fewer say little of what tasks do, and are foretold too well by t
MOST_TASKS = 10**9  # what these do not reach, none do


@dataclass(frozen=True)
class Error:
    """A standard error that is to be expected.

    Attributes:
        value: of the estimate, as the comparison will estimate it.
        freedom: its degrees of freedom.
        true: of the difference itself: larger than `value` with one train seed, whose own effect
            nothing in the comparison shows.
        seeds: the part of train seeds in it; 0 with one of them.
        seeds_freedom: degrees of freedom of that part.
    """

    value: float
    freedom: float
    true: float
    seeds: float = 0.0
    seeds_freedom: float = 1.0

    def bound(self, level: float) -> tuple[float, float]:
        """How far the one-sided bound is expected from the estimate, and the degrees of freedom of
        that distance: the farther of the bounds of the whole error and of the part of train
        seeds, as `bench.statistics.Estimate` takes it."""
        from scipy.special import stdtrit

        parts = (self.value, self.freedom), (self.seeds, self.seeds_freedom)
        return max((float(stdtrit(f, level)) * error, f) for error, f in parts)


@dataclass(frozen=True)
class Noise:
    """What varies in a difference: variances in squared points.

    Attributes:
        task: of tasks; `draw` of episodes within a task; `seed` of train seeds.
        both: of train seeds with tasks; `rest` of train seeds with episodes, a single answer's.
        alone: tasks and draws were not told apart: only one episode a task can be foretold.
        trained: there are train seeds; else those of the size do not matter.
        one_seed: train seeds were not told apart from tasks: only one of them can be foretold.
    """

    task: float
    draw: float
    seed: float
    both: float
    rest: float
    alone: bool
    trained: bool
    one_seed: bool

    def error(self, tasks: int, episodes: int, train_seeds: int) -> Error:
        """The standard error at a size."""
        seeds = train_seeds if self.trained else 1
        both = (self.both + self.rest / episodes) / (tasks * seeds)
        of_tasks = (self.task + self.draw / episodes) / tasks + both
        if seeds == 1:
            true = of_tasks + self.seed
            return Error(math.sqrt(of_tasks), tasks - 1, math.sqrt(true))
        of_seeds = self.seed / seeds + both
        total = of_tasks + of_seeds - both
        freedoms = tasks - 1, seeds - 1, (tasks - 1) * (seeds - 1)
        parts = zip((of_tasks, of_seeds, both), freedoms, strict=True)
        spread = sum(part**2 / freedom for part, freedom in parts)
        freedom = total**2 / spread if spread else tasks - 1
        error = math.sqrt(total)
        return Error(error, freedom, error, math.sqrt(self.seed / seeds), seeds - 1)

    def times(self, factor: float) -> "Noise":
        """All variances times a factor."""
        amounts = ("task", "draw", "seed", "both", "rest")
        return replace(self, **{name: getattr(self, name) * factor for name in amounts})

    def episodes(self) -> tuple[int, ...]:
        """Episodes a task that can be foretold."""
        return (1,) if self.alone else EPISODES

    def train_seeds(self) -> tuple[int, ...]:
        """Numbers of train seeds that can be foretold; 1 where nothing is trained."""
        return (1,) if self.one_seed or not self.trained else TRAIN_SEEDS


def noise_of(found: Split) -> Noise:
    """The noise of a paired difference.

    Raises:
        ValueError: one task, which tells nothing of others.
    """
    if found.of("task") is None:
        raise ValueError("its episodes are of one task, which tells nothing of others")
    amounts = {c.factors: c.variance for c in found.components}

    def taken(*factors: str) -> float:
        """The variance of components whose first factor is one of these."""
        return sum(v for names, v in amounts.items() if names[0] in factors)

    with_task = found.of("task")
    assert with_task is not None
    trained = "train seed" not in found.absent
    return Noise(
        task=taken("task"),
        draw=taken("support draw", "decoding"),
        seed=taken("train seed"),
        both=taken("train seed x task"),
        rest=taken("train seed x support draw", "decoding x train seed"),
        alone="support draw" in with_task.factors,
        trained=trained,
        one_seed=trained and found.of("train seed") is None,
    )


def redrawn(found: Split) -> Noise:
    """The noise between two rows of the same method, each with train seeds of its own: tasks and
    draws are shared and cancel, all that a train seed does is there twice.

    Raises:
        ValueError: there is one train seed, or one task.
    """
    noise = noise_of(found)
    if noise.trained and noise.one_seed:
        raise ValueError("it has one train seed, which tells nothing of others")
    return Noise(
        0.0, 0.0, 2 * noise.seed, 2 * noise.both, 2 * noise.rest, noise.alone, noise.trained, False
    )


def power(error: Error, difference: float, level: float = 0.05) -> float:
    """The probability that a two-sided test finds a true difference."""
    from scipy.stats import nct

    if not error.value:
        return 1.0
    bound, freedom = error.bound(1 - level / 2)
    shift = difference / error.value
    return float(nct.sf(bound / error.value, freedom, [shift, -shift]).sum())


@dataclass(frozen=True)
class Size:
    """A size of a comparison and what it is expected to do.

    Attributes:
        tasks: the fewest; None where no number of them is enough.
        tasks_low: were the variances at the lower end of their interval.
        tasks_high: at its upper end.
        episodes: of each task.
        train_seeds: 0 where nothing is trained.
        error: the standard error; where no number is enough, its limit for many tasks.
        power: that is reached, likewise.
    """

    tasks: int | None
    tasks_low: int | None
    tasks_high: int | None
    episodes: int
    train_seeds: int
    error: float
    power: float


def fewest(enough: Callable[[int], bool], most: int = MOST_TASKS) -> int | None:
    """The smallest number of tasks, `FEWEST_TASKS` to `most`, that is enough, if a larger one stays
    so."""
    if not enough(most):
        return None
    if enough(FEWEST_TASKS):
        return FEWEST_TASKS
    low, high = FEWEST_TASKS, 2 * FEWEST_TASKS
    while not enough(high):
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def limits(noise: Noise, found: Split, level: float = 0.95) -> tuple[float, float]:
    """The interval of the noise's scale, as factors: chi-square with the degrees of freedom that
    the standard error has in the records themselves."""
    from scipy.stats import chi2

    tasks, episodes, train_seeds, _ = found.sizes
    freedom = noise.error(tasks, max(round(episodes / tasks), 1), max(train_seeds, 1)).freedom
    ends = chi2.ppf([(1 + level) / 2, (1 - level) / 2], freedom)
    low, high = (freedom / ends).tolist()
    return low, high


def sizes(
    noise: Noise,
    scales: tuple[float, float],
    difference: float,
    wanted: float,
    level: float = 0.05,
) -> list[Size]:
    """For each number of train seeds and of episodes a task, the fewest tasks with the power.

    Args:
        noise: of the difference.
        scales: factors that give the interval of the noise.
        difference: that should be found.
        wanted: the power.
        level: of the two-sided test.
    """

    def enough(error: Error) -> bool:
        return power(error, difference, level) >= wanted

    made = []
    for seeds, episodes in product(noise.train_seeds(), noise.episodes()):
        low, tasks, high = (
            _tasks(noise.times(factor), episodes, seeds, enough)
            for factor in (scales[0], 1.0, scales[1])
        )
        error = noise.error(tasks or MOST_TASKS, episodes, seeds)
        reached = power(error, difference, level)
        shown = seeds if noise.trained else 0
        made.append(Size(tasks, low, high, episodes, shown, error.value, reached))
    return useful(made)


def _tasks(
    noise: Noise, episodes: int, train_seeds: int, enough: Callable[[Error], bool]
) -> int | None:
    return fewest(lambda tasks: enough(noise.error(tasks, episodes, train_seeds)))


class Sized(Protocol):
    """What `useful` looks at."""

    @property
    def tasks(self) -> int | None:
        """The fewest that are enough."""
        ...

    @property
    def episodes(self) -> int:
        """Of each task."""
        ...

    @property
    def train_seeds(self) -> int:
        """Of what is trained."""
        ...


S = TypeVar("S", bound=Sized)


def useful(found: Iterable[S]) -> list[S]:
    """Sizes in the order of train seeds, without those that ask for more episodes or train seeds
    than one before and save less than a fifth of its tasks. What holds for one train seed alone is
    no answer to what holds for others."""
    kept: list[S] = []
    for size in found:
        alike = [k for k in kept if (k.train_seeds == 1) == (size.train_seeds == 1)]
        fewer = [k.tasks for k in alike if k.tasks and k.episodes <= size.episodes]
        none_yet = size.tasks is None and size.episodes == 1 and not fewer
        if none_yet or (size.tasks and size.tasks <= 0.8 * min(fewer, default=2 * MOST_TASKS)):
            kept.append(size)
    return kept
