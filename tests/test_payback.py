"""N against closed forms, brute force and simulations of known truth."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.studies.payback import Array, Curve, Payback, fewest_steps, own_steps, payback

UNITS, REPEATS = 24, 300


def curve(scores: Array, costs: Array, knots: Sequence[int], seed: int = 0) -> Curve:
    """Of per-task scores `(train seeds, tasks, steps + 1)` and costs `(tasks, steps + 1)`."""
    tasks = scores.shape[1]
    drawn = np.random.default_rng(seed).multinomial(tasks, np.full(tasks, 1 / tasks), size=REPEATS)
    weights = drawn / tasks
    return Curve(
        scores.mean(axis=1),
        np.einsum("re,tes->trs", weights, scores),
        costs.mean(axis=0),
        weights @ costs,
        tuple(knots),
        tasks,
    )


KNOTS = [0, 1, 2, 4, 8, 12, 16, 24, 36]
STEPS = np.arange(37)
TRAINING = 300.0


def exact(scores: Sequence[float], step: float) -> Curve:
    """Without any variation, a step of equal cost each."""
    line = np.tile(np.array(scores, dtype=np.float64), (1, UNITS, 1))
    costs = np.tile(np.arange(len(scores)) * step, (UNITS, 1))
    return curve(line, costs, range(len(scores)))


def test_n_is_the_closed_form() -> None:
    rival = exact([0, 10, 20, 30, 40], 1.0)  # quality 40 at a cost of 4
    method = exact([10, 30, 41], 1.0)  # reaches it with two steps
    found = payback(5.0, method, rival)
    assert (found.tasks, found.low, found.high) == (3, 3, 3)  # 5 / (4 - 2) = 2.5
    assert fewest_steps(method, 40) == 2
    assert payback(6.0, method, rival).tasks == 3  # 6 / 2, exactly
    assert payback(6.1, method, rival).tasks == 4
    assert payback(0.0, method, rival).tasks == 1
    assert payback(1e9, method, rival).tasks == 5e8


def test_never_is_an_answer() -> None:
    rival = exact([0, 10, 20, 30, 40], 1.0)
    worse = payback(1.0, exact([39, 39.9], 0.1), rival)
    assert (worse.tasks, worse.low, worse.high) == (math.inf,) * 3
    dear = payback(1.0, exact([0, 10, 20, 30, 40], 1.0), rival)
    assert dear.tasks == math.inf  # equal cost leaves nothing to earn the training with
    at_once = payback(1.0, exact([40], 1.0), rival)
    assert at_once.tasks == 1  # as good without any step, 1 / 4


def test_a_peak_before_the_usual_steps_counts() -> None:
    rival = exact([0, 10, 20, 30, 40], 1.0)
    method = exact([0, 45, 20, 10], 0.5)
    assert payback(0.1, method, rival).tasks == 1  # although the budget pays for all three steps
    assert payback(7.0, method, rival).tasks == 2  # 7 / (4 - 0.5)


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=8),
    st.integers(1, 20),
    st.integers(0, 500),
)
def test_n_is_what_brute_force_finds(scores: list[int], step: int, training: int) -> None:
    rival = exact([0, 12, 25], 40.0)
    found = payback(training, exact(scores, step), rival).tasks
    enough = [s for s, score in enumerate(scores) if score >= 25]
    needed = next(
        (n for n in range(1, 600) if enough and training / n + enough[0] * step <= 80), math.inf
    )
    assert found == (needed if not enough or enough[0] * step < 80 else math.inf)


@given(
    st.lists(st.integers(0, 50), min_size=2, max_size=8),
    st.lists(st.integers(0, 50), min_size=1, max_size=8),
    st.integers(1, 20),
    st.integers(0, 300),
    st.integers(0, 10),
)
def test_the_rival_is_held_to_its_fewest_steps(
    rivals: list[int], scores: list[int], step: int, training: int, margin: int
) -> None:
    """Where nothing varies, a method pays if it is no dearer than any rival's cost that reaches."""
    rival, method, goal = exact(rivals, 20.0), exact(scores, step), rivals[-1] - margin
    affordable = min(20 * s for s, score in enumerate(rivals) if score >= goal)
    mine = min((step * s for s, score in enumerate(scores) if score >= goal), default=None)
    never = mine is None or mine >= affordable
    needed = math.inf
    if mine is not None and not never:
        needed = max(1, math.ceil(training / (affordable - mine)))
    found = payback(training, method, rival, margin=margin)
    assert (found.tasks, found.low, found.high) == (needed,) * 3
    steps = own_steps(rival, margin=margin)
    assert (20 * steps.value, steps.low, steps.high) == (affordable, steps.value, steps.value)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(3, 9, (True, False)), (3, math.inf, (False, False)), (math.inf, math.inf, (False, True))],
)
def test_the_verdict_follows_the_interval(
    low: float, high: float, verdict: tuple[bool, bool]
) -> None:
    found = Payback(5 if high < math.inf else math.inf, low, high)
    assert (found.shown, found.refuted) == verdict


def test_one_task_tells_nothing() -> None:
    one = payback(TRAINING, single(FAST), single(RISING))
    assert (one.tasks, one.high) == (math.ceil(TRAINING / (36 - 9)), math.inf)
    assert one.low == math.ceil(TRAINING / 36)  # the meta-training alone has to be paid for


# -- simulations ---------------------------------------------------------------------------


def line(steps: Sequence[float], scores: Sequence[float]) -> Array:
    """Mean scores of a population after each step, straight between the given ones."""
    made: Array = np.interp(STEPS, steps, scores)
    return made


# What each scored step gives to each step, linear between them.
BETWEEN = np.array([np.interp(STEPS, KNOTS, one) for one in np.eye(len(KNOTS))])


def drawn(
    rng: np.random.Generator,
    shared: Array,
    mean: Array,
    long: Array,
    seeds: int,
    seed_sd: float,
    luck_sd: float = 3.0,
) -> Curve:
    """A sample of tasks and train seeds of a population with those mean scores, where tasks differ
    in difficulty, in what suits this method, in the luck of each scored step, and in length, which
    costs are in proportion to."""
    many = max(seeds, 1)
    luck = rng.normal(0, luck_sd, (many, UNITS, len(KNOTS))) @ BETWEEN
    own = rng.normal(0, 4, (1, UNITS, 1)) + rng.normal(0, 2, (many, UNITS, 1)) + luck
    trained = rng.normal(0, seed_sd, (seeds, 1, 1)) if seeds else 0.0
    scores = mean + shared[None, :, None] + own + trained
    return curve(scores, long[:, None] * STEPS, KNOTS)


def simulated(
    rival: Array,
    method: Array,
    seeds: int,
    seed_sd: float,
    times: int,
    luck_sd: float = 3.0,
    margin: float = 0.0,
) -> list[Payback]:
    rng, found = np.random.default_rng(5), []
    for _ in range(times):
        shared, long = rng.normal(0, 15, UNITS), rng.uniform(0.7, 1.3, UNITS)
        other = drawn(rng, shared, rival, long, 0, 0.0, luck_sd)
        mine = drawn(rng, shared, method, long, seeds, seed_sd, luck_sd)
        found.append(payback(TRAINING, mine, other, margin=margin))
        assert found[-1].low <= found[-1].tasks <= found[-1].high
    return found


RISING = line([0, 4, 8, 16, 24, 36], [10, 30, 42, 52, 57, 60])
FLAT = line([0, 8, 16, 36], [10, 45, 60, 60])  # final from step 16 on
PEAK = line([0, 8, 16, 24, 36], [10, 45, 60, 63, 60])
FAST = line([0, 4, 8, 12, 36], [30, 50, 58, 66, 68])
LATE = line([0, 8, 17, 36], [20, 45, 60, 60])  # as good, a step later than FLAT
BELOW = line([0, 4, 36], [40, 59.7, 59.7])  # never quite as good
SOON = line([0, 4, 8, 36], [30, 56, 60, 60])  # as good, and sooner than FLAT


@pytest.mark.slow
@pytest.mark.parametrize("margin", [0.0, 1.0])
@pytest.mark.parametrize(("seeds", "seed_sd"), [(1, 0.0), (3, 3.0)])
@pytest.mark.parametrize(
    ("rival", "method"),
    [(RISING, FAST), (FLAT, FAST), (PEAK, FAST), (FLAT, LATE), (RISING, BELOW), (FLAT, BELOW)],
    ids=["rising", "flat", "peak", "never: late", "never: below", "never: below flat"],
)
def test_the_interval_covers_a_known_n(
    rival: Array, method: Array, seeds: int, seed_sd: float, margin: float
) -> None:
    """Costs of a step are 1 in the mean; each side misses little, and where N is never, a method is
    rarely shown to pay."""
    goal = rival[-1] - margin
    theirs, mine = fewest_steps(single(rival), goal), fewest_steps(single(method), goal)
    assert theirs is not None
    pays = mine is not None and mine < theirs
    truth = math.ceil(TRAINING / (theirs - mine)) if pays and mine is not None else math.inf
    times = 120
    found = simulated(rival, method, seeds, seed_sd, times, margin=margin)
    assert sum(n.low <= truth <= n.high for n in found) >= 0.93 * times
    assert sum(n.low > truth for n in found) <= 0.05 * times
    assert sum(n.high < truth for n in found) <= 0.06 * times


@pytest.mark.parametrize("luck_sd", [3.0, 8.0])
@pytest.mark.parametrize("rival", [FLAT, RISING], ids=["flat", "rising"])
def test_a_lead_slightly_below_0_is_rarely_shown_to_pay(rival: Array, luck_sd: float) -> None:
    """Also where each scored number of steps has its own luck and any of them could lead."""
    found = simulated(rival, BELOW, 1, 0.0, 100, luck_sd)
    assert sum(n.shown for n in found) <= 5
    assert sum(n.refuted for n in found) <= 5  # so few tasks do not tell a lead of -0.3 from 0


def test_what_is_plain_is_shown() -> None:
    """The intervals are not merely wide: nearly every sample decides where the lead is large."""
    good, bad = line([0, 4, 36], [40, 75, 75]), line([0, 36], [20, 45])
    assert sum(n.shown for n in simulated(FLAT, good, 1, 0.0, 20)) >= 19
    assert sum(n.refuted for n in simulated(FLAT, bad, 1, 0.0, 20)) >= 19


def test_what_is_as_good_is_shown_to_pay_within_a_margin_alone() -> None:
    """Of equal quality half of all leads are below 0, whatever the number of tasks."""
    assert sum(n.shown for n in simulated(FLAT, SOON, 1, 0.0, 40)) <= 8
    near = simulated(FLAT, SOON, 1, 0.0, 40, margin=6.0)
    assert sum(n.shown for n in near) >= 36
    assert not any(n.refuted for n in near)


def test_the_rivals_steps_are_bounded_by_what_is_shown() -> None:
    rng = np.random.default_rng(3)
    times, held = 100, 0
    for _ in range(times):
        found = own_steps(drawn(rng, rng.normal(0, 15, UNITS), FLAT, np.ones(UNITS), 0, 0.0))
        assert found.low <= found.value <= found.high <= 36
        held += found.low <= 16 <= found.high
    assert held >= 0.93 * times


def single(mean: Array) -> Curve:
    return curve(mean[None, None], STEPS[None].astype(np.float64), KNOTS)
