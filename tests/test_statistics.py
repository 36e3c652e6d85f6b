import random

import numpy as np
import pytest
from sacrebleu import corpus_bleu

from bench.metrics import Bleu
from bench.statistics import Entry, Interval, corpus_score, interval, paired_interval


class Mean:
    """A metric whose corpus score is a mean, for which there are closed forms."""

    def score(self, sums):
        return float(sums[0] / sums[1])


def row(value, tasks=6, train_seeds=(None,), seeds=(0,), episodes=1):
    """Entries of one query each, whose value is a function of task, train seed, seed and index."""
    return [
        Entry(f"task {t}", train, seed, t * episodes + e, np.array([value(t, train, seed, e), 1.0]))
        for train in train_seeds
        for seed in seeds
        for t in range(tasks)
        for e in range(episodes)
    ]


def noise(seed, *shape, scale=1.0):
    return np.random.default_rng(seed).normal(50, scale, shape)


def width(found):
    return found.high - found.low


def test_corpus_score_is_the_mean_over_seeds_of_sacrebleus_corpus_score():
    rng, metric = random.Random(0), Bleu()
    entries, expected = [], []
    for train in (0, 1):
        for seed in (0, 1, 2):
            predictions, references = [], []
            for index in range(4):
                texts = [rng.choices("abcd", k=8) for _ in range(5)]
                kept = [[w for w in words if rng.random() < 0.9] for words in texts]
                pairs = [(" ".join(k), [" ".join(w)]) for k, w in zip(kept, texts, strict=True)]
                sums = np.sum([metric.statistics(*pair) for pair in pairs], axis=0)
                entries.append(Entry(f"t{index % 2}", train, seed, index, sums))
                predictions += [p for p, _ in pairs]
                references += [r[0] for _, r in pairs]
            expected.append(corpus_bleu(predictions, [references]).score)
    rng.shuffle(entries)
    assert corpus_score(entries, metric) == pytest.approx(np.mean(expected), abs=1e-12)
    found = interval(entries, metric, repeats=200)
    assert 0 < found.low < np.mean(expected) < found.high < 100


def test_constant_data_has_no_width():
    entries = row(lambda *_: 25.0, train_seeds=(0, 1), seeds=(0, 1), episodes=3)
    assert interval(entries, Mean()) == Interval(25, 25)


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_width_is_that_of_the_mean_over_tasks(seeds):
    # The same values in every seed: more draws of one task set do not narrow the interval.
    values = noise(1, 80)
    found = interval(row(lambda t, *_: values[t], 80, seeds=seeds), Mean(), repeats=4000)
    expected = 2 * 1.96 * values.std() / np.sqrt(80)
    assert width(found) == pytest.approx(expected, rel=0.08)
    assert found.low < values.mean() < found.high


def test_episodes_within_a_task_add_their_own_variance():
    values = noise(2, 60, 5, scale=4.0)
    found = interval(row(lambda t, tr, s, e: values[t, e], 60, episodes=5), Mean(), repeats=4000)
    variance = values.mean(axis=1).var() / 60 + values.var(axis=1).mean() / (60 * 5)
    assert width(found) == pytest.approx(2 * 1.96 * np.sqrt(variance), rel=0.08)


def test_train_seeds_are_crossed_with_tasks():
    # Only the training matters, so that no number of tasks narrows the interval: with two train
    # seeds a quarter of the resamples holds one of them alone.
    for tasks in (2, 50):
        entries = row(lambda t, train, s, e: 10.0 + 4 * train, tasks, train_seeds=(0, 1))
        assert interval(entries, Mean()) == Interval(10, 14)
    one = row(lambda *_: 10.0, 50, train_seeds=(0,))
    assert interval(one, Mean()) == Interval(10, 10)


def test_luck_with_episodes_does_not_average_out_over_train_seeds():
    values = noise(3, 10, 3)

    def found(train_seeds):
        entries = row(lambda t, tr, s, e: values[t, e], 10, train_seeds, episodes=3)
        return interval(entries, Mean())

    assert found((0,)).low == pytest.approx(found((0, 1, 2, 3)).low, abs=1e-9)
    assert found((0,)).high == pytest.approx(found((0, 1, 2, 3)).high, abs=1e-9)


def test_agrees_with_a_bootstrap_that_draws_entries_one_by_one():
    tasks, trains, seeds, episodes = 6, (0, 1, 2), (0, 1), 3
    values = noise(4, tasks, len(trains), len(seeds), episodes, scale=3.0)
    values += noise(5, tasks, 1, 1, 1) + noise(6, 1, len(trains), 1, 1)
    rng, means = random.Random(7), []
    for _ in range(4000):
        drawn_tasks = rng.choices(range(tasks), k=tasks)
        drawn = [
            [(t, e) for t in drawn_tasks for e in rng.choices(range(episodes), k=episodes)]
            for _ in seeds
        ]
        scores = [
            np.mean([values[t, r, s, e] for t, e in drawn[s]])
            for r in rng.choices(trains, k=len(trains))
            for s in seeds
        ]
        means.append(np.mean(scores))
    entries = row(lambda t, r, s, e: values[t, r, s, e], tasks, trains, seeds, episodes)
    found = interval(entries, Mean(), repeats=4000, level=0.9)
    low, high = np.quantile(means, [0.05, 0.95])
    assert found.low == pytest.approx(low, abs=0.1 * (high - low))
    assert found.high == pytest.approx(high, abs=0.1 * (high - low))


def test_the_same_seed_gives_the_same_interval_in_any_order_of_entries():
    values = noise(8, 12, 2, 2, 2)
    entries = row(lambda t, r, s, e: values[t, r, s, e], 12, (0, 1), (0, 1), 2)
    shuffled = random.Random(0).sample(entries, len(entries))
    assert interval(shuffled, Mean()) == interval(entries, Mean())
    assert interval(entries, Mean(), seed=1) != interval(entries, Mean())


def test_a_wider_level_is_wider():
    values = noise(9, 20)
    entries = row(lambda t, *_: values[t], 20)
    assert width(interval(entries, Mean(), level=0.5)) < width(interval(entries, Mean()))


def test_a_seed_may_miss_tasks():
    # Seeds that hold one task each: resamples without a seed's task are scored on the other.
    entries = [Entry(f"t{s}", None, s, s, np.array([float(s), 1.0])) for s in (0, 1)]
    assert interval(entries, Mean()) == Interval(0, 1)


def test_identical_rows_differ_by_exactly_nothing():
    values = noise(10, 12, 3, 2, 2)
    entries = row(lambda t, r, s, e: values[t, r, s, e], 12, (0, 1, 2), (0, 1), 2)
    assert paired_interval(entries, list(reversed(entries)), Mean()) == Interval(0, 0)


def test_pairing_finds_a_difference_that_intervals_hide():
    values, better = noise(11, 30, scale=10.0), noise(12, 30, scale=0.5) - 49
    a = row(lambda t, *_: values[t] + better[t], 30)
    b = row(lambda t, *_: values[t], 30)
    assert interval(a, Mean()).low < interval(b, Mean()).high
    found = paired_interval(a, b, Mean())
    assert 0 < found.low < better.mean() < found.high
    back = paired_interval(b, a, Mean())
    assert back.high == pytest.approx(-found.low)


def test_chance_is_not_taken_for_a_difference():
    values, other = noise(13, 40), noise(14, 40)
    a, b = row(lambda t, *_: values[t], 40), row(lambda t, *_: other[t], 40)
    found = paired_interval(a, b, Mean(), repeats=4000)
    expected = 2 * 1.96 * (values - other).std() / np.sqrt(40)
    assert width(found) == pytest.approx(expected, rel=0.08)
    assert found.low < 0 < found.high


def test_train_seeds_that_both_rows_have_are_drawn_together():
    a = row(lambda t, train, *_: 5.0 + 7 * train, train_seeds=(0, 1))
    b = row(lambda t, train, *_: 3.0 + 7 * train, train_seeds=(0, 1))
    assert paired_interval(a, b, Mean()) == Interval(2, 2)


def test_a_row_without_train_seed_meets_every_train_seed():
    values = noise(15, 6)
    untrained = row(lambda t, *_: values[t])
    trained = row(lambda t, train, *_: values[t] + 1 + 2 * train, train_seeds=(0, 1))
    found = paired_interval(trained, untrained, Mean())
    assert (found.low, found.high) == pytest.approx((1, 3))


def test_other_train_seeds_are_drawn_on_their_own():
    a = row(lambda t, train, *_: float(train), train_seeds=(0, 1))
    b = row(lambda t, train, *_: float(train), train_seeds=(1, 2))
    assert paired_interval(a, b, Mean()) == Interval(-2, 0)


def test_rows_of_other_episodes_are_refused():
    a, b = row(lambda *_: 1.0, tasks=3), row(lambda *_: 1.0, tasks=4)
    with pytest.raises(ValueError, match=r"'task 3', 0, 3"):
        paired_interval(a, b, Mean())
    with pytest.raises(ValueError, match="episode"):
        paired_interval(a, row(lambda *_: 1.0, tasks=3, seeds=(1,)), Mean())


def test_scores_do_not_depend_on_the_order_of_entries():
    values = noise(16, 7, 3, 2, 2)
    entries = row(lambda t, r, s, e: values[t, r, s, e], 7, (0, 1, 2), (0, 1), 2)
    scores = {
        corpus_score(random.Random(i).sample(entries, len(entries)), Mean()) for i in range(9)
    }
    assert len(scores) == 1


def test_no_episode_is_refused():
    for call in (corpus_score, interval):
        with pytest.raises(ValueError, match="without episodes"):
            call([], Mean())
