"""Synthetic records: legal sums, and a truth that large samples agree with."""

from dataclasses import replace

import numpy as np
import pytest

from bench.statistics import corpus_score
from bench.variance import split, values_of
from tests.simulated import METRICS, SCORERS, Design, Like, population, simulate, truth

SUITES = [("translation", 16), ("translation", 32), ("summarization", 32), ("dialogue", 32)]
NOISY = Like("fomaml", 2.0, 1.0, 1.0, 1.0, 2.0, loss=3.0, worse="nearest")


@pytest.mark.parametrize(("suite", "queries"), SUITES)
@pytest.mark.parametrize("metric", METRICS[:2])
def test_sums_of_counts_stay_legal(suite: str, queries: int, metric: str) -> None:
    real = population(suite, queries)
    loud = replace(NOISY, residual_sd=40.0)
    [row] = simulate(np.random.default_rng(0), real, metric, [loud], Design(30, 2, 3))
    sums = np.array([entry.sums for entry in row])
    assert (sums >= 0).all()
    if metric == "bleu":
        assert (sums[:, 2:6] <= sums[:, 6:10] + 1e-9).all()
    else:
        assert (sums[:, 2::3] <= np.minimum(sums[:, 0::3], sums[:, 1::3]) + 1e-9).all()


@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("metric", METRICS)
def test_large_samples_have_the_true_score(metric: str, even: bool) -> None:
    real, rng = population("translation", 16), np.random.default_rng(1)
    rows = [Like("fomaml", task_sd=1.0, seed_sd=0.3), replace(NOISY, even=even)]
    known = truth(rng, real, metric, rows, repeats=20)
    made = simulate(rng, real, metric, rows, Design(1500, 1, 8))
    found = [corpus_score(row, SCORERS[metric]) for row in made]
    assert found == pytest.approx(known, abs=1.5)
    assert known[0] - known[1] == pytest.approx(3.0, abs=1.0)
    if metric == "rougeL":
        assert known[0] - known[1] == 3.0


def test_effects_have_the_size_that_was_asked_for() -> None:
    real = population("translation", 16)
    rows = [Like("fomaml", 2.0, 1.5, 1.0, 0.8, 0.5), Like("fomaml")]
    a, b = simulate(np.random.default_rng(2), real, "rougeL", rows, Design(600, 3, 60))
    one, two = (values_of({None: row}, SCORERS["rougeL"]) for row in (a, b))
    found = split(one.minus(two))
    spread = [component.variance**0.5 for component in found.components]
    # one for each factor that is told apart: `decoding` is absent
    assert spread == pytest.approx([2.0, 1.5, 1.0, 0.8, 0.5], rel=0.2)


def test_rows_meet_the_same_episodes_and_train_seeds() -> None:
    real = population("translation", 32)
    rows = [Like("joint"), Like("maml")]
    a, b = simulate(np.random.default_rng(3), real, "chrf", rows, Design(6, 2, 2, 3))
    assert [entry.key for entry in a] == [entry.key for entry in b]
    assert {entry.train_seed for entry in a} == {0, 1}
    assert {entry.seed for entry in a} == {0, 1, 2}
    [untrained] = simulate(np.random.default_rng(3), real, "chrf", rows[:1], Design(6, 2, 0))
    assert {entry.train_seed for entry in untrained} == {None}
    again = simulate(np.random.default_rng(3), real, "chrf", rows, Design(6, 2, 2, 3))
    assert all((x.sums == y.sums).all() for x, y in zip(a, again[0], strict=True))
