"""What `fewgen power` promises, kept on records that are drawn from real ones: the power of a
comparison, and the error rates of the gate at the size that it names."""

from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.stats import binomtest

from bench.gate import Loss, decide
from bench.gate_power import GateSize, Goal, gate_sizes
from bench.power import Noise, noise_of, redrawn, sizes
from bench.statistics import Estimate, difference
from bench.variance import split, values_of
from tests.simulated import SCORERS, Design, Like, population, simulate, truth

pytestmark = pytest.mark.slow
REAL = population("translation", 16)
REPEATS = 250  # of the bootstrap, whose own error is then 4 % of a standard error


def verdict(losses: list[Estimate], margin: float) -> str:
    """What the gate says of the losses of all compared cells."""
    return decide([Loss(d, margin, identical=not d.error) for d in losses]).verdict


def noise_between(one: Like, two: Like, metric: str) -> Noise:
    """From a sample that is large enough to be the truth."""
    rng = np.random.default_rng(0)
    a, b = simulate(rng, REAL, metric, [one, two], Design(1500, 4, 6))
    first, second = (values_of({None: row}, SCORERS[metric]) for row in (a, b))
    return noise_of(split(first.minus(second)))


def share_found(one: Like, two: Like, metric: str, design: Design, repeats: int) -> int:
    rng, found = np.random.default_rng(1), 0
    for number in range(repeats):
        a, b = simulate(rng, REAL, metric, [one, two], design)
        found += difference(a, b, SCORERS[metric], REPEATS, number).p() < 0.05
    return found


@pytest.mark.parametrize("several", [False, True])
def test_power_is_what_was_promised(several: bool) -> None:
    """The real difference of two baselines, brought to 2.5 points, with one visit and one train
    seed or with several."""
    gap = REAL.score("fomaml", "rougeL") - REAL.score("reptile", "rougeL")
    effects = {"seed_sd": 0.4 * several, "both_sd": 0.5, "residual_sd": 1.0}
    one = Like("fomaml", loss=gap - 2.5, even=True, **effects)
    two = Like("reptile", **effects)
    noise = noise_between(one, two, "rougeL")
    size = next(
        s
        for s in sizes(noise, (1, 1), 2.5, 0.8)
        if s.tasks and (s.episodes > 1, s.train_seeds > 1) == (several, several)
    )
    assert size.tasks
    design = Design(size.tasks, size.episodes, size.train_seeds)
    found = share_found(one, two, "rougeL", design, 2000)
    assert found / 2000 == pytest.approx(size.power, abs=0.03)


FOMAML = Like("fomaml", seed_sd=0.15, both_sd=0.3, residual_sd=1.2)
# A row of each suite on its primary metric.
CELLS = (
    ("translation", "chrf", FOMAML),
    ("summarization", "rougeL", Like("maml", seed_sd=0.15, both_sd=0.2, residual_sd=1.0)),
    ("dialogue", "bleu", Like("reptile", seed_sd=0.1, both_sd=0.1, residual_sd=1.5)),
    ("writing", "chrf", Like("joint", seed_sd=0.1, both_sd=0.3, residual_sd=0.8)),
)
REALS = [population(suite, 32) for suite, _, _ in CELLS]


@cache
def named(train_seeds: int, episodes: int) -> GateSize:
    """The size for these cells, whose noise is read from large samples of each row alone."""
    rng, noises = np.random.default_rng(2), []
    for real, (_, metric, like) in zip(REALS, CELLS, strict=True):
        [row] = simulate(rng, real, metric, [like], Design(400, 2, 60))
        noises.append(redrawn(split(values_of({None: row}, SCORERS[metric]))))
    found = gate_sizes(noises, [(1.0, 1.0)] * len(noises), Goal())
    return next(s for s in found if (s.train_seeds, s.episodes) == (train_seeds, episodes))


def said(repeats: int, place: int | None = None, even: bool = True) -> Counter[str]:
    """What the gate says at the size named, with a loss of twice the margin at a place."""
    size, rng, told = named(8, 2), np.random.default_rng(3), Counter[str]()
    assert size.tasks
    design = Design(size.tasks, size.episodes, size.train_seeds)
    heads = [like for _, _, like in CELLS]
    if place is not None:
        heads[place] = lossy(place, even)
    for number in range(repeats):
        losses = []
        for real, (_, metric, base), head in zip(REALS, CELLS, heads, strict=True):
            a, b = simulate(rng, real, metric, [base, head], design)
            losses.append(difference(a, b, SCORERS[metric], REPEATS, number))
        told[verdict(losses, Goal().margin)] += 1
    return told


def lossy(place: int, even: bool) -> Like:
    """A row that is worse by twice the margin; what is mixed in for a corpus score is found by
    its truth in large samples."""
    _, metric, like = CELLS[place]
    head = replace(like, loss=2 * Goal().margin, even=even)
    base, worse = truth(np.random.default_rng(4), REALS[place], metric, [like, head])
    return replace(head, loss=head.loss * 2 * Goal().margin / (base - worse))


def bounds(count: int, repeats: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval."""
    found = binomtest(count, repeats).proportion_ci()
    return float(found.low), float(found.high)


def test_an_unchanged_head_passes_at_the_size_named() -> None:
    repeats, size = 1000, named(8, 2)
    told = said(repeats)
    assert bounds(told["pass"], repeats)[1] > 0.8
    assert told["pass"] / repeats == pytest.approx(size.chances.passing, abs=0.03)
    assert bounds(told["regression"], repeats)[1] < 0.05


@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("place", range(len(CELLS)))
def test_a_loss_of_twice_the_margin_is_called(place: int, even: bool) -> None:
    """Spread evenly over episodes, or as few answers that are spoiled badly."""
    told = said(200, place, even)
    assert told["regression"] >= 0.9 * 200


def test_one_train_seed_takes_its_own_luck_for_a_loss() -> None:
    """So that no size with one of them is named."""
    found = gate_sizes([redrawn_cell(FOMAML)], [(1.0, 1.0)], Goal())
    assert next(s for s in found if s.train_seeds == 1).tasks is None
    told = said_alone(FOMAML, Design(200, 1, 1), 0.15, 200)
    assert told["regression"] / 200 > 0.1


def redrawn_cell(cell: Like) -> Noise:
    pair = (2 * sd**2 for sd in (cell.seed_sd, cell.both_sd, cell.residual_sd))
    return Noise(0.0, 0.0, *pair, alone=False, trained=True, one_seed=False)


def said_alone(cell: Like, design: Design, margin: float, repeats: int) -> Counter[str]:
    rng, told = np.random.default_rng(5), Counter[str]()
    for number in range(repeats):
        a, b = simulate(rng, REAL, "rougeL", [cell, cell], design)
        told[verdict([difference(a, b, SCORERS["rougeL"], REPEATS, number)], margin)] += 1
    return told
