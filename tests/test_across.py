"""Aggregates over suites against sorting by hand and SciPy's bootstrap."""

import numpy as np
import pytest
from scipy import stats

from bench.across import THRESHOLDS, aggregate, comparable
from bench.statistics import Interval
from tests.test_statistics import Mean, noise, row


def one(values):
    """A suite of tasks whose scores are known, for each of some train seeds `(seeds, tasks)`."""
    seeds, tasks = values.shape
    return row(lambda t, train, *_: values[train, t], tasks, range(seeds)), Mean()


def test_the_middle_half_and_the_share_above():
    first, second = np.array([[10.0, 90, 30, 50]]), np.array([[0.0, 100, 20, 60]])
    found = aggregate([one(first), one(second)])
    assert found.iqm == pytest.approx(np.mean([20, 30, 50, 60]))
    shares = {point.threshold: point.share for point in found.profile}
    assert (shares[0], shares[50], shares[100]) == (7 / 8, 3 / 8, 0)
    assert [point.threshold for point in found.profile] == list(THRESHOLDS)
    assert all(p.interval.low <= p.share <= p.interval.high for p in found.profile)


def test_errors_are_those_of_a_bootstrap_of_tasks():
    values = noise(1, 1, 40, scale=10.0)
    found = aggregate([one(values)], repeats=10_000)
    expected = stats.bootstrap(
        (values[0],), lambda x: stats.trim_mean(x, 0.25), method="percentile", rng=0
    ).standard_error
    reach = stats.t.ppf(0.975, 39) * expected * np.sqrt(40 / 39)
    ends = (found.interval.low, found.interval.high)
    assert ends == pytest.approx((found.iqm - reach, found.iqm + reach), abs=0.05 * reach)


@pytest.mark.parametrize("tasks", range(1, 14))
def test_the_middle_is_scipys_trimmed_mean(tasks):
    values = noise(tasks, 1, tasks)
    assert aggregate([one(values)], repeats=1).iqm == pytest.approx(
        stats.trim_mean(values[0], 0.25)
    )


def test_suites_are_strata():
    """Two suites that differ, each without spread: no resample moves weight between them."""
    found = aggregate([one(np.full((1, 6), 20.0)), one(np.full((1, 6), 60.0))])
    assert (found.iqm, found.interval) == (40, Interval(40, 40))


def test_few_train_seeds_have_students_interval():
    values = np.array([[40.0] * 6, [50.0] * 6, [42.0] * 6])
    found = aggregate([one(values), one(values)])
    low, high = stats.t.interval(0.95, 2, 44, stats.sem([40, 50, 42]))
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))
    assert found.iqm == pytest.approx(44)


@pytest.mark.slow
@pytest.mark.parametrize("train_seeds", [1, 2, 4, 8])
def test_intervals_hold_the_truth_as_often_as_they_say(train_seeds, monkeypatch):
    """Two suites of 24 tasks, 1,000 repeats: the middle half of a normal law has its mean."""
    monkeypatch.setattr("bench.across.THRESHOLDS", ())  # the profile is not looked at
    rng, held = np.random.default_rng(0), 0
    for number in range(1000):
        trainings = rng.normal(0, 1.0, (train_seeds, 1)) * (train_seeds > 1)
        suites = [
            one(50 + trainings + rng.normal(0, 5, (1, 24)) + rng.normal(0, 1, (train_seeds, 24)))
            for _ in range(2)
        ]
        found = aggregate(suites, repeats=300, seed=number).interval
        held += found.low <= 50 <= found.high
    assert 930 <= held <= 975


def test_what_cannot_be_aggregated_is_refused():
    with pytest.raises(ValueError, match="no suite"):
        aggregate([])
    entries, metric = one(noise(2, 2, 4))
    assert comparable([entries, entries])
    assert not comparable([entries[:-1]])
    assert not comparable([entries, one(noise(2, 3, 4))[0]])
    with pytest.raises(ValueError, match="lacks tasks"):
        aggregate([(entries[:-1], metric)])
