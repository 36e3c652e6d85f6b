"""The gate's decision: whether losses are shown, shown to be under a margin, or neither.

A loss is what the head is worse by than the base: points of a metric, or the log of a ratio of
times. Pure functions of estimates; where these come from is not known here.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench.statistics import Estimate, holm

Verdict = Literal["pass", "regression", "inconclusive"]
EXIT: dict[Verdict, int] = {"pass": 0, "regression": 1, "inconclusive": 3}
LEVEL = 0.95
GROWTH, MOST = 1.05, 1e4  # `more_needed` tries factors of so much each, up to so much
UNKNOWN = Estimate(0.0, math.inf, 1.0)


@dataclass(frozen=True, slots=True)
class Loss:
    """One compared cell.

    Attributes:
        estimate: of base - head of a score, or of log(head / base) of a time; an infinite error
            where nothing tells of it.
        margin: a loss under it is none to speak of; in the estimate's unit, 0 or more.
        floor: a loss up to it can be this machine's noise.
        identical: what is measured is equal in base and head, so that there is nothing to estimate.
        complete: head holds all that is to be compared; what it lacks could be a loss, so that a
            cell that is not complete never passes.
    """

    estimate: Estimate
    margin: float
    floor: float = 0.0
    identical: bool = False
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict over all compared cells, and that of each in their order.

    Attributes:
        adjusted: Holm-adjusted one-sided p-values of the loss being its floor or less. One under
            0.05 says that the adjusted 95 % lower bound is above the floor.
    """

    verdict: Verdict
    cells: tuple[Verdict, ...]
    adjusted: tuple[float, ...]


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """A regression if there is one, else inconclusive if one is; a pass of nothing at all."""
    ranks: tuple[Verdict, ...] = ("regression", "inconclusive", "pass")
    return min(verdicts, key=ranks.index, default="pass")


def decide(losses: Sequence[Loss], level: float = LEVEL) -> Decision:
    """Each loss on its own for a pass, all together for a regression.

    A complete cell passes where the one-sided upper bound of its loss is under its margin
    (non-inferiority; that all pass needs no adjustment, being an intersection-union test, Berger
    1982). A cell is a regression where that bound is not under its margin and its lower bound,
    adjusted for all cells (Holm 1979), is above its floor. Under no change at all, some regression
    is called with a probability of at most `1 - level`.
    """
    adjusted = holm([_p(loss) for loss in losses])
    cells = tuple(_of_one(loss, p, level) for loss, p in zip(losses, adjusted, strict=True))
    return Decision(worst(cells), cells, tuple(adjusted))


def _p(loss: Loss) -> float:
    return 1.0 if loss.identical else loss.estimate.p_above(loss.floor)


def _of_one(loss: Loss, adjusted: float, level: float) -> Verdict:
    if loss.identical or loss.estimate.upper(level) < loss.margin:
        return "pass" if loss.complete else "inconclusive"
    return "regression" if adjusted < 1 - level else "inconclusive"


def more_needed(
    losses: Sequence[Loss], level: float = LEVEL, growing: Collection[int] | None = None
) -> float | None:
    """By which factor episodes or rounds would have to grow until something is decided, were the
    estimates to stay as they are and their errors to fall with the root of the number.

    Args:
        losses: all that are compared.
        level: as `decide`.
        growing: places of those that grow and are to be decided, the others staying; all if None.

    Returns:
        The smallest factor to within 5 %, 1 where it is decided already; None if `MOST` times as
        many would not do, as where an error is unknown.
    """
    places = range(len(losses)) if growing is None else growing
    factor = 1.0
    while factor < MOST:
        grown = [_with(loss, factor) if i in places else loss for i, loss in enumerate(losses)]
        cells = decide(grown, level).cells
        if worst([cells[i] for i in places]) != "inconclusive":
            return factor
        factor *= GROWTH
    return None


def _with(loss: Loss, factor: float) -> Loss:
    """The loss as `factor` times as much of the same would show it."""
    return replace(loss, estimate=grown(loss.estimate, factor))


def grown(old: Estimate, factor: float) -> Estimate:
    """An estimate as `factor` times as many tasks with the same train seeds would show it, were its
    value and its variances to stay as they are."""
    of_seeds = old.seeds_error**2
    error = math.sqrt(max(old.error**2 - of_seeds, 0.0) / factor + of_seeds)
    return replace(old, error=error, freedom=(old.freedom + 1) * factor - 1)
