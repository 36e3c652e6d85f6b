"""The gate's decision: closed forms, every verdict, Holm, what would decide."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from bench.clocks import estimated
from bench.gate import EXIT, Loss, decide, more_needed
from bench.statistics import TIE, Estimate


def loss(value: float, error: float, freedom: float = 9, margin: float = 0.5) -> Loss:
    return Loss(Estimate(value, error, freedom), margin)


def reach(level: float, error: float, freedom: float = 9) -> float:
    return float(t.ppf(level, freedom) * error)


def test_one_sided_p_values_are_students() -> None:
    assert Estimate(1.0, 0.5, 7).p_above() == pytest.approx(1 - t.cdf(2, 7))
    assert Estimate(1.0, 0.5, 7).p_above(1.0) == 0.5
    assert Estimate(1.0, 0.0, 7).p_above() == 1 / 2**8  # eight tasks agree
    assert Estimate(0.0, 0.0, 7).p_above() == 1.0
    assert Estimate(3.0, math.inf, 1).p_above() == 0.5


def test_a_cell_passes_just_under_its_margin() -> None:
    edge = 0.5 - reach(0.95, 0.2)
    assert decide([loss(edge - 1e-6, 0.2)]).verdict == "pass"
    assert decide([loss(edge + 1e-6, 0.2)]).verdict == "inconclusive"


def test_a_loss_is_called_just_above_nothing() -> None:
    edge = reach(0.95, 0.4)
    assert decide([loss(edge + 1e-6, 0.4)]).verdict == "regression"
    assert decide([loss(edge - 1e-6, 0.4)]).verdict == "inconclusive"


def test_a_loss_that_is_shown_to_be_small_passes() -> None:
    assert Estimate(0.3, 0.01, 9).lower() > 0
    assert decide([loss(0.3, 0.01)]).verdict == "pass"


def test_holm_counts_every_compared_cell() -> None:
    alone = loss(reach(0.97, 1.0), 1.0)
    assert decide([alone]).verdict == "regression"
    assert decide([alone, loss(0, 1)]).verdict == "inconclusive"
    assert decide([loss(reach(0.976, 1.0), 1.0), loss(0, 1)]).verdict == "regression"
    assert decide([alone, Loss(TIE, 0.5, identical=True)]).verdict == "inconclusive"
    ps = [t.sf(value, 9) for value in (3.0, 2.0, 1.0)]
    found = decide([loss(3, 1), loss(2, 1), loss(1, 1)]).adjusted
    assert found == pytest.approx([3 * ps[0], 2 * ps[1], ps[2]])


def test_one_regression_outweighs_passes_and_doubts() -> None:
    found = decide([loss(-1, 0.1), loss(0.4, 1.0), loss(9, 0.1)])
    assert found.cells == ("pass", "inconclusive", "regression")
    assert found.verdict == "regression"
    assert decide([loss(-1, 0.1), loss(0.4, 1.0)]).verdict == "inconclusive"
    assert EXIT == {"pass": 0, "regression": 1, "inconclusive": 3}


def test_what_is_identical_passes_at_any_margin() -> None:
    assert decide([Loss(TIE, 0.0, identical=True)]).verdict == "pass"
    assert decide([loss(0, 0, margin=0.0)]).verdict == "inconclusive"
    assert decide([]).verdict == "pass"


def test_an_unknown_error_decides_nothing() -> None:
    assert decide([loss(50, math.inf)]).verdict == "inconclusive"
    assert decide([loss(-50, math.inf)]).verdict == "inconclusive"
    assert more_needed([loss(50, math.inf)]) is None


def test_a_loss_within_the_floor_is_not_called() -> None:
    value = reach(0.95, 0.1) + 0.3
    for floor, verdict in ((0.0, "regression"), (0.29, "regression"), (0.31, "inconclusive")):
        cell = Loss(Estimate(value, 0.1, 9), margin=0.05, floor=floor)
        assert decide([cell]).verdict == verdict


@given(
    st.lists(
        st.tuples(st.floats(-5, 5), st.floats(0.001, 5), st.integers(1, 30)), min_size=1, max_size=8
    ),
    st.floats(0, 3),
)
def test_verdicts_are_what_their_bounds_say(
    cells: list[tuple[float, float, int]], m: float
) -> None:
    losses = [loss(*cell, margin=m) for cell in cells]
    found = decide(losses)
    for one, verdict, adjusted in zip(losses, found.cells, found.adjusted, strict=True):
        if one.estimate.upper(0.95) < m:
            assert verdict == "pass"
        elif adjusted < 0.05:
            assert verdict == "regression"
            assert one.estimate.lower(0.95) > 0
        else:
            assert verdict == "inconclusive"


@pytest.mark.parametrize(
    ("value", "error"), [(0.0, 1.0), (0.1, 2.0), (0.8, 1.5), (-0.5, 4.0), (0.49, 0.6)]
)
def test_what_would_decide_does_and_less_does_not(value: float, error: float) -> None:
    factor = more_needed([loss(value, error)])
    assert factor is not None
    assert factor > 1

    def at(times: float) -> str:
        freedom = 10 * times - 1
        return decide([loss(value, error / math.sqrt(times), freedom)]).verdict

    assert at(factor) != "inconclusive"
    assert at(factor / 1.06) == "inconclusive"


def test_what_is_not_complete_never_passes() -> None:
    for value, verdict in ((-9.0, "inconclusive"), (9.0, "regression")):
        cell = Loss(Estimate(value, 0.1, 9), margin=0.5, complete=False)
        assert decide([cell]).verdict == verdict
    same = Loss(TIE, 0.5, identical=True, complete=False)
    assert decide([same]).verdict == "inconclusive"
    assert more_needed([same]) is None


def test_one_kind_grows_while_the_other_stays() -> None:
    losses = [loss(0.1, 1.0), loss(50, math.inf)]
    assert more_needed(losses) is None
    factor = more_needed(losses, growing=[0])
    assert factor == more_needed([loss(0.1, 1.0)])
    assert more_needed(losses, growing=[1]) is None


def test_nothing_decides_a_loss_at_a_margin_of_nothing() -> None:
    assert more_needed([loss(0.0, 1.0, margin=0.0)]) is None
    assert more_needed([loss(-1.0, 0.1)]) == 1.0


def test_decisions_are_quick_enough_to_simulate() -> None:
    losses = [loss(0.1 * i, 0.3) for i in range(8)]
    decide(losses)
    start = time.process_time()
    for _ in range(50):
        decide(losses)
    assert (time.process_time() - start) / 50 < 0.02


def test_the_mean_of_rounds_by_hand() -> None:
    estimate, floor = estimated([0.1, 0.2, 0.3, 0.2], [0.01, -0.02, 0.03])
    assert estimate.value == pytest.approx(0.2)
    assert estimate.error == pytest.approx(math.sqrt(0.02 / 3) / 2)
    assert estimate.freedom == 3
    assert floor == pytest.approx(0.02 / 2)


def test_the_noise_of_unchanged_runs_counts_where_it_is_larger() -> None:
    estimate, floor = estimated([0.2, 0.2, 0.2], [0.3, -0.3])
    assert estimate.error == pytest.approx(0.3 / math.sqrt(3))
    assert floor == pytest.approx(0.3 / math.sqrt(3))


def test_one_round_tells_no_error() -> None:
    estimate, _ = estimated([0.5], [])
    assert estimate.error == math.inf
