"""Paired tests against sacreBLEU's own on the same texts, SciPy's, and enumeration by hand."""

import math
import random
from itertools import product

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest
from scipy import stats

from bench.errors import UserError
from bench.metrics import Bleu, build_metrics
from bench.paired import (
    effect,
    randomised_p,
    sacrebleu_seed,
    segment_bootstrap_p,
    segment_randomised_p,
    task_differences,
)
from bench.statistics import Entry, Interval
from tests.test_statistics import Mean, noise, row


@pytest.fixture(scope="module")
def texts():
    """The answers of two systems, one a little better, and the references."""
    rng = random.Random(3)
    references = [" ".join(rng.choices("abcdefgh", k=rng.randint(1, 12))) for _ in range(60)]

    def answers(kept):
        return [" ".join(w for w in text.split() if rng.random() < kept) for text in references]

    return answers(0.85), answers(0.78), references


@pytest.mark.parametrize("kind", [BLEU, CHRF])
@pytest.mark.parametrize(
    ("test", "ours", "count"),
    [("bs", segment_bootstrap_p, 1000), ("ar", segment_randomised_p, 2000)],
)
def test_segment_tests_are_sacrebleus_own(monkeypatch, texts, kind, test, ours, count):
    monkeypatch.delenv("SACREBLEU_SEED", raising=False)
    a, b, references = texts
    name = kind.__name__.lower()
    systems = [("a", a), ("b", b)]
    _, scores = PairedTest(systems, {name: kind()}, [references], test, n_samples=count)()
    expected = next(found for key, found in scores.items() if key != "System")[1].p_value
    metric = next(metric for metric in build_metrics("en") if metric.name == name)
    first, second = (
        np.array([metric.statistics(t, [r]) for t, r in zip(row, references, strict=True)])
        for row in (a, b)
    )
    assert ours(first, second, metric, count) == expected
    assert 1 / (count + 1) < expected < 0.9


@pytest.mark.parametrize("kind", ["77", "none"])
def test_the_seed_of_segment_tests_is_sacrebleus(monkeypatch, texts, kind):
    monkeypatch.setenv("SACREBLEU_SEED", kind)
    a, b, references = texts
    made = PairedTest([("a", a), ("b", b)], {"bleu": BLEU()}, [references], "ar", n_samples=10)
    assert sacrebleu_seed() == made._seed
    monkeypatch.setenv("SACREBLEU_SEED", "first")
    with pytest.raises(UserError, match="SACREBLEU_SEED = 'first'"):
        sacrebleu_seed()


def test_whole_tasks_are_swapped_as_by_hand():
    """Every way to swap five tasks between two rows of BLEU, by a loop."""
    rng, metric = random.Random(5), Bleu()
    rows = []
    for kept in (0.9, 0.75):
        entries = []
        for seed, index in product((0, 1), range(10)):
            words = rng.choices("abcdef", k=15)
            text = " ".join(word for word in words if rng.random() < kept)
            sums = np.array(metric.statistics(text, [" ".join(words)]))
            entries.append(Entry(f"t{index % 5}", None, seed, index, sums))
        rows.append(entries)

    def score(entries):
        by_seed = [[e.sums for e in entries if e.seed == seed] for seed in (0, 1)]
        return np.mean([metric.score(np.sum(sums, axis=0)) for sums in by_seed])

    differences = []
    for way in product((False, True), repeat=5):
        swapped = {f"t{i}" for i in range(5) if way[i]}
        pairs = [(b, a) if a.task in swapped else (a, b) for a, b in zip(*rows, strict=True)]
        differences.append(abs(score([x for x, _ in pairs]) - score([y for _, y in pairs])))
    expected = np.mean(np.array(differences) >= differences[0] - 1e-9)
    assert randomised_p(*rows, metric) == pytest.approx(expected)
    assert 1 / 16 <= expected < 1


def test_randomisation_of_many_tasks_is_near_students_test():
    values, other = noise(1, 60), noise(2, 60) + 0.3
    a, b = row(lambda t, *_: values[t], 60), row(lambda t, *_: other[t], 60)
    expected = stats.permutation_test(
        (values - other,), np.mean, permutation_type="samples", n_resamples=20_000, rng=0
    ).pvalue
    assert randomised_p(a, b, Mean()) == pytest.approx(expected, abs=0.015)


def test_tasks_not_episodes_are_what_is_swapped():
    """Ten episodes of each of three tasks agree: three coins, not thirty."""
    a = row(lambda *_: 1.0, 3, episodes=10)
    b = row(lambda *_: 0.0, 3, episodes=10)
    assert randomised_p(a, b, Mean()) == 2 / 8


def test_rows_without_train_seeds_meet_every_train_seed():
    values = noise(4, 8)
    a = row(lambda t, train, *_: values[t] + train, 8, train_seeds=(0, 1))
    b = row(lambda t, *_: values[t] - 1, 8)
    found, back = task_differences(a, b, Mean()), task_differences(b, a, Mean())
    assert list(found.values()) == pytest.approx([1.5] * 8)
    assert list(back.values()) == pytest.approx([-1.5] * 8)
    assert randomised_p(a, b, Mean()) == 2 / 2**8


def test_identical_rows_are_not_told_apart():
    values = noise(5, 12)
    a = row(lambda t, *_: values[t], 12)
    assert randomised_p(a, list(a), Mean()) == 1
    assert effect(a, list(a), Mean()).interval == Interval(0, 0)


def test_effect_size_is_hedges_and_inverts_the_noncentral_t():
    values, other = noise(6, 12), noise(7, 12) - 0.8
    a, b = row(lambda t, *_: values[t], 12), row(lambda t, *_: other[t], 12)
    found, apart = effect(a, b, Mean()), values - other
    factor = math.gamma(11 / 2) / (math.gamma(10 / 2) * math.sqrt(11 / 2))
    assert found.value == pytest.approx(factor * apart.mean() / apart.std(ddof=1))
    t = stats.ttest_1samp(apart, 0).statistic
    for end, tail in ((found.interval.low, 0.975), (found.interval.high, 0.025)):
        noncentrality = end / factor * math.sqrt(12)
        assert stats.nct.cdf(t, 11, noncentrality) == pytest.approx(tail, abs=1e-9)


def test_effect_sizes_at_the_ends():
    constant = row(lambda *_: 3.0, 6), row(lambda *_: 1.0, 6)
    assert effect(*constant, Mean()).value == math.inf
    assert math.isnan(effect(row(lambda *_: 3.0, 2), row(lambda t, *_: t, 2), Mean()).value)


def test_effect_intervals_cover():
    """A true g of 0.5 over 15 tasks, 400 draws: 95 % of intervals hold it, within three errors."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        apart = rng.normal(0.5, 1, 15)
        a, b = row(lambda t, *_, apart=apart: apart[t], 15), row(lambda *_: 0.0, 15)
        found = effect(a, b, Mean()).interval
        held += found.low / _factor(14) <= 0.5 <= found.high / _factor(14)
    assert abs(held / 400 - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 400)


def _factor(freedom):
    return math.gamma(freedom / 2) / (math.gamma((freedom - 1) / 2) * math.sqrt(freedom / 2))


def test_rows_of_other_episodes_or_train_seeds_are_refused():
    for a, b in (
        (row(lambda *_: 1.0, 3), row(lambda *_: 1.0, 4)),
        (row(lambda *_: 1.0, train_seeds=(0, 1)), row(lambda *_: 1.0, train_seeds=(1, 2))),
    ):
        for call in (randomised_p, effect, task_differences):
            with pytest.raises(ValueError, match="other episodes or train seeds"):
                call(a, b, Mean())
