"""Standard errors against closed forms, analysis of variance, loops; corpus scores and vectorised
ones against sacreBLEU's own."""

import math
import random
from itertools import product

import numpy as np
import pytest
from sacrebleu import corpus_bleu
from scipy import stats

from bench.metrics import Bleu, MeanMetric, build_metrics
from bench.statistics import (
    TIE,
    Entry,
    Estimate,
    Interval,
    apart,
    corpus_score,
    difference,
    estimate,
    holm,
    interval,
    of_train_seeds,
    paired_interval,
    pairwise,
)


class Mean:
    """A metric whose corpus score is a mean, for which there are closed forms."""

    limits = (-math.inf, math.inf)

    def score(self, sums):
        return float(sums[0] / sums[1])

    def scores(self, sums):
        return sums[:, 0] / np.maximum(sums[:, 1], 1)


class Percent(Mean):
    """A mean of values from 0 to 100."""

    limits = (0.0, 100.0)


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


def of_mean(values):
    """Student's interval of a mean."""
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    return low, high


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
                entries.append(Entry(f"t{index}", train, seed, index, sums))
                predictions += [p for p, _ in pairs]
                references += [r[0] for _, r in pairs]
            expected.append(corpus_bleu(predictions, [references]).score)
    rng.shuffle(entries)
    assert corpus_score(entries, metric) == pytest.approx(np.mean(expected), abs=1e-12)
    found = interval(entries, metric, repeats=200)
    assert 0 < found.low < np.mean(expected) < found.high <= 100


def test_constant_data_has_no_width():
    entries = row(lambda *_: 25.0, train_seeds=(0, 1), seeds=(0, 1), episodes=3)
    assert interval(entries, Mean()) == Interval(25, 25)


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_one_row_of_tasks_has_students_interval(seeds):
    # The same values in every seed: more draws of one task set do not narrow the interval.
    values = noise(1, 20)
    found = interval(row(lambda t, *_: values[t], 20, seeds=seeds), Mean(), repeats=20_000)
    assert (found.low, found.high) == pytest.approx(of_mean(values), abs=0.02 * width(found))


def test_a_task_brings_all_its_episodes():
    # What episodes add to the spread is in the spread of their tasks' means already.
    values = noise(2, 30, 5, scale=4.0)
    found = interval(row(lambda t, tr, s, e: values[t, e], 30, episodes=5), Mean(), repeats=20_000)
    assert (found.low, found.high) == pytest.approx(
        of_mean(values.mean(axis=1)), abs=0.02 * width(found)
    )


def test_the_episodes_of_a_single_task_are_drawn():
    values = noise(3, 12)
    found = interval(row(lambda t, tr, s, e: values[e], 1, episodes=12), Mean(), repeats=20_000)
    assert (found.low, found.high) == pytest.approx(of_mean(values), abs=0.02 * width(found))


def test_a_single_episode_tells_nothing_of_others():
    found = estimate(row(lambda *_: 10.0, 1, train_seeds=(0, 1)), Mean())
    assert (found.value, found.error) == (10, math.inf)
    assert found.interval() == Interval(-math.inf, math.inf)
    assert found.p() == 1
    metric = MeanMetric("given")
    assert interval(row(lambda *_: 10.0, 1), metric) == Interval(-math.inf, math.inf)


def test_an_interval_ends_at_the_metrics_limits():
    metric = next(metric for metric in build_metrics("en") if metric.name == "exact")
    found = interval(row(lambda t, *_: t == 0, 4), metric)
    assert (found.low, found.high) == (0, 100)


def test_train_seeds_alone_have_students_interval():
    # Only the training matters, so that no number of tasks narrows the interval.
    values = [10.0, 14.0, 11.0]
    for tasks in (6, 50):
        entries = row(lambda t, train, s, e: values[train], tasks, train_seeds=(0, 1, 2))
        found = interval(entries, Mean())
        assert (found.low, found.high) == pytest.approx(of_mean(values))
    one = row(lambda *_: 10.0, 50, train_seeds=(0,))
    assert interval(one, Mean()) == Interval(10, 10)


@pytest.mark.parametrize("scale", [0.0, 2.0])
def test_variances_are_those_of_a_crossed_analysis(scale):
    """Tasks and train seeds crossed: Searle, Casella and McCulloch (1992), chapter 4."""
    tasks, trains = 15, 4
    values = noise(6, tasks, trains) + noise(5, tasks, 1) + noise(8, 1, trains, scale=scale)
    grand = values.mean()
    by_task, by_seed = values.mean(axis=1), values.mean(axis=0)
    rest = values - by_task[:, None] - by_seed + grand
    of_tasks = trains * ((by_task - grand) ** 2).sum() / (tasks - 1)
    of_seeds = tasks * ((by_seed - grand) ** 2).sum() / (trains - 1)
    of_rest = (rest**2).sum() / ((tasks - 1) * (trains - 1))
    squares = [of_tasks, of_seeds, -of_rest] if of_seeds > of_rest else [of_tasks]
    freedoms = [tasks - 1, trains - 1, (tasks - 1) * (trains - 1)]
    entries = row(lambda t, r, s, e: values[t, r], tasks, range(trains))
    found = estimate(entries, Mean(), repeats=20_000)
    assert found.value == pytest.approx(grand)
    assert found.error**2 == pytest.approx(sum(squares) / values.size, rel=0.03)
    expected = sum(squares) ** 2 / sum(m**2 / f for m, f in zip(squares, freedoms, strict=False))
    assert found.freedom == pytest.approx(expected, rel=0.1)
    assert (len(squares) == 3) == (scale == 2.0)
    if len(squares) == 3:
        assert found.seeds_error**2 == pytest.approx((of_seeds - of_rest) / values.size, rel=0.03)
        assert found.seeds_freedom == pytest.approx(trains - 1)


def test_an_interval_reaches_at_least_as_far_as_that_of_train_seeds():
    """Here that of all wins near the middle, that of the train seeds far out."""
    found, of_all, of_seeds = Estimate(5.0, 2.0, 20.0, 1.2, 1.0), stats.t(20), stats.t(1)
    assert found.upper(0.975) == pytest.approx(5 + 1.2 * of_seeds.ppf(0.975))
    assert found.lower(0.6) == pytest.approx(5 - 2 * of_all.ppf(0.6))
    assert found.p_above(-5) == pytest.approx(of_seeds.sf(10 / 1.2))
    assert found.p_below(6) == pytest.approx(of_all.sf(1 / 2))


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95, 0.999])
def test_p_values_and_bounds_say_the_same(level):
    for found in (Estimate(3.0, 1.5, 7.0), Estimate(3.0, 1.5, 7.0, 1.2, 2.0)):
        assert found.p_above(found.lower(level)) == pytest.approx(1 - level)
        assert found.p_below(found.upper(level)) == pytest.approx(1 - level)
        edge = found.lower((1 + level) / 2)
        moved = Estimate(3.0 - edge, 1.5, 7.0, found.seeds_error, found.seeds_freedom)
        assert moved.p() == pytest.approx(1 - level)


def test_what_does_not_vary_has_no_width():
    entries = row(lambda *_: 25.0, train_seeds=(0, 1), seeds=(0, 1), episodes=3)
    assert interval(entries, Mean()) == Interval(25, 25)
    exact = Estimate(2.0, 0.0, math.inf)
    assert (exact.p(), exact.p_above(2), exact.p_above(1)) == (0, 1, 0)
    assert TIE.p() == TIE.p_above() == TIE.p_below() == 1
    assert TIE.interval() == Interval(0, 0)


def flipped_p(differences, null=0.0):
    """Every way to flip the signs of the differences to a null: one- and two-sided p-values."""
    moved = np.array(differences) - null
    signs = np.array(list(product((1, -1), repeat=len(moved))))
    means = (signs * moved).mean(axis=1)
    above = float((means >= moved.mean() - 1e-12).mean())
    return above, float((np.abs(means) >= abs(moved.mean()) - 1e-12).mean())


@pytest.mark.parametrize("tasks", [2, 3, 5, 6, 8])
@pytest.mark.parametrize("train_seeds", [(None,), (0,), (0, 1)])
def test_equal_differences_have_the_p_of_all_sign_flips(tasks, train_seeds):
    values = noise(20, tasks)
    a = row(lambda t, *_: values[t] + 7, tasks, train_seeds)
    b = row(lambda t, *_: values[t], tasks)
    found = difference(a, b, Mean())
    assert found.value == pytest.approx(7)
    above, both = flipped_p([7.0] * tasks)
    assert (found.p_above(), found.p()) == pytest.approx((above, both))
    assert found.p_below() == 1
    assert flipped_p([7.0] * tasks, null=5.0)[0] == pytest.approx(found.p_above(5.0))
    # The interval holds the nulls that the test does not reject.
    bounds = found.interval()
    expected = (7, 7) if both < 0.05 else (-math.inf, math.inf)
    assert (bounds.low, bounds.high) == pytest.approx(expected)
    assert (difference(b, a, Mean()).p(), (tasks < 6)) == (found.p(), found.p() > 0.05)


@pytest.mark.parametrize("seed", range(20))
def test_rounding_is_no_variance(seed):
    """Sums whose scores are equal but for rounding, as those of BLEU are."""
    share, size = noise(seed, 2) / 100, np.random.default_rng(seed).integers(3, 90, 2)
    a, b = (
        [Entry(f"t{t}", None, 0, t, np.array([s * 3.0 * size[t], 3.0 * size[t]])) for t in (0, 1)]
        for s in share
    )
    found = difference(a, b, Mean())
    assert (found.error, found.p()) == (0, 0.5)
    equal = [Entry(e.task, None, 0, e.index, e.sums * 7) for e in a]
    found = difference(a, equal, Mean())
    assert (found.value, found.error, found.p()) == (0, 0, 1)
    assert found.interval() == Interval(-math.inf, math.inf), "two tasks, other answers"


def test_few_tasks_without_variance_say_nothing_whatever_train_seeds_do():
    def trained(tasks):
        a = row(lambda t, train, *_: 10.0 + train, tasks, train_seeds=(0, 1, 2))
        return difference(a, row(lambda *_: 0.0, tasks), Mean())

    assert (trained(5).p(), trained(5).error) == (1, math.inf)
    assert trained(6).p() == pytest.approx(stats.ttest_1samp([10.0, 11.0, 12.0], 0).pvalue)


def test_identical_answers_are_a_tie_whether_trained_or_not():
    values = noise(21, 3, 2)
    plain = row(lambda t, tr, s, e: values[t, s], 3, (None,), (0, 1))
    trained = row(lambda t, tr, s, e: values[t, s], 3, (0, 1), (0, 1))
    other = row(lambda t, tr, s, e: values[t, s] + (tr == 1), 3, (0, 1), (0, 1))
    for a, b in ((plain, trained), (trained, plain), (plain, plain), (trained, trained)):
        assert difference(a, b, Mean()) == TIE
    assert difference(plain, other, Mean()) != TIE
    elsewhere = row(lambda t, tr, s, e: values[t, s], 3, (2, 3), (0, 1))
    assert difference(trained, elsewhere, Mean()) != TIE, "trained with other seeds"


def test_a_constant_difference_of_two_sets_of_tasks():
    few, many = row(lambda *_: 3.0, 4), row(lambda *_: 1.0, 30)
    assert apart([few], [many], Mean()).p() == 1
    assert apart([many], [row(lambda *_: 2.0, 7)], Mean()).p() == pytest.approx(2 / 2**7)


@pytest.mark.parametrize("sides", [(100.0, 0.0), (0.0, 100.0), (52.0, 48.0)])
def test_intervals_of_differences_stay_within_what_scores_can_be(sides):
    """Two tasks whose errors are large; scores of 0 to 100."""
    metric = Percent()
    a, b = (
        [Entry(f"t{t}", None, 0, t, np.array([max(min(s + 9 * t, 100), 0), 1.0])) for t in (0, 1)]
        for s in sides
    )
    found = difference(a, b, metric)
    assert found.limits == (-100, 100)
    for bounds in (found.interval(), found.interval(0.999), paired_interval(a, b, metric)):
        assert -100 <= bounds.low <= found.value <= bounds.high <= 100
    assert found.upper(0.999999) > 100, "tests are not cut"
    assert apart([a, b], [a, b], metric).limits == (-200, 200)


def test_train_seeds_alone_without_tasks():
    found = of_train_seeds(np.array([10.0, 14.0, 11.0]))
    assert (found.interval().low, found.interval().high) == pytest.approx(of_mean([10, 14, 11]))
    for values in ([3.0], [3.0, 3.0]):
        assert of_train_seeds(np.array(values)).error == math.inf


def test_luck_with_episodes_does_not_average_out_over_train_seeds():
    values = noise(3, 10, 3)

    def found(train_seeds):
        entries = row(lambda t, tr, s, e: values[t, e], 10, train_seeds, episodes=3)
        return interval(entries, Mean())

    assert found((0,)).low == pytest.approx(found((0, 1, 2, 3)).low, abs=1e-9)
    assert found((0,)).high == pytest.approx(found((0, 1, 2, 3)).high, abs=1e-9)


def test_bleu_is_resampled_as_a_loop_would():
    """A corpus score is no mean: resamples of tasks, their sums, sacreBLEU's score of each."""
    rng, metric, tasks = random.Random(7), Bleu(), 8
    entries = []
    for train in (0, 1):
        for index in range(2 * tasks):
            words = rng.choices("abcdef", k=20)
            kept = [word for word in words if rng.random() < 0.8 + 0.05 * train]
            sums = metric.statistics(" ".join(kept), [" ".join(words)])
            entries.append(Entry(f"t{index % tasks}", train, index % 2, index, np.array(sums)))
    draws = []
    for _ in range(3000):
        drawn = [f"t{rng.randrange(tasks)}" for _ in range(tasks)]
        scores = []
        for train in (0, 1):
            cells = []
            for seed in (0, 1):
                there = [e for e in entries if (e.train_seed, e.seed) == (train, seed)]
                taken = [e.sums * drawn.count(e.task) for e in there if e.task in drawn]
                if taken:
                    cells.append(metric.score(np.sum(taken, axis=0)))
            scores.append(np.mean(cells))
        draws.append(scores)
    over_tasks = np.mean(draws, axis=1).var() * tasks / (tasks - 1)
    one = [e for e in entries if e.train_seed == 0]
    assert estimate(one, metric, 5000).error ** 2 == pytest.approx(
        np.var([first for first, _ in draws]) * tasks / (tasks - 1), rel=0.1
    )
    found = estimate(entries, metric, 5000)
    assert found.error**2 - found.seeds_error**2 == pytest.approx(over_tasks, rel=0.1)


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
    found = estimate(entries, Mean(), repeats=20_000)
    assert (found.value, found.freedom) == (0.5, 1)
    assert found.error == pytest.approx(0.5, rel=0.02)


def test_identical_rows_differ_by_exactly_nothing():
    values = noise(10, 12, 3, 2, 2)
    entries = row(lambda t, r, s, e: values[t, r, s, e], 12, (0, 1, 2), (0, 1), 2)
    assert paired_interval(entries, list(reversed(entries)), Mean()) == Interval(0, 0)
    one = row(lambda *_: 3.0, 1)
    assert difference(one, list(one), Mean()) == TIE


def test_one_episode_tells_no_difference_even_of_equal_scores():
    a = [Entry("t", None, 0, 0, np.array([2.0, 1.0]))]
    b = [Entry("t", None, 0, 0, np.array([4.0, 2.0]))]
    assert difference(a, b, Mean()).error == math.inf


def test_pairing_finds_a_difference_that_intervals_hide():
    values, better = noise(11, 30, scale=10.0), noise(12, 30, scale=0.5) - 49
    a = row(lambda t, *_: values[t] + better[t], 30)
    b = row(lambda t, *_: values[t], 30)
    assert interval(a, Mean()).low < interval(b, Mean()).high
    found = paired_interval(a, b, Mean())
    assert 0 < found.low < better.mean() < found.high
    back = paired_interval(b, a, Mean())
    assert back.high == pytest.approx(-found.low)


def test_a_difference_is_students_paired_test():
    values, other = noise(13, 40), noise(14, 40)
    a, b = row(lambda t, *_: values[t], 40), row(lambda t, *_: other[t], 40)
    found, expected = difference(a, b, Mean(), repeats=20_000), stats.ttest_rel(values, other)
    assert found.value / found.error == pytest.approx(expected.statistic, rel=0.03)
    assert found.p() == pytest.approx(expected.pvalue, rel=0.1)
    assert found.p_above(0) == pytest.approx(
        stats.ttest_rel(values, other, alternative="greater").pvalue, rel=0.1
    )


def test_all_pairs_at_once_are_the_pairs_one_by_one():
    values = noise(16, 3, 12)
    rows = [row(lambda t, *_, k=k: values[k, t], 12) for k in range(3)]
    found = pairwise(rows, Mean())
    assert list(found) == [(0, 1), (0, 2), (1, 2)]
    for (i, j), estimated in found.items():
        assert estimated == difference(rows[i], rows[j], Mean())
    assert pairwise(rows[:1], Mean()) == pairwise([], Mean()) == {}


def test_train_seeds_that_both_rows_have_are_paired():
    a = row(lambda t, train, *_: 5.0 + 7 * train, train_seeds=(0, 1))
    b = row(lambda t, train, *_: 3.0 + 7 * train, train_seeds=(0, 1))
    assert paired_interval(a, b, Mean()) == Interval(2, 2)


def test_a_row_without_train_seed_meets_every_train_seed():
    values = noise(15, 6)
    untrained = row(lambda t, *_: values[t])
    trained = row(lambda t, train, *_: values[t] + 1 + 2 * train, train_seeds=(0, 1))
    found = paired_interval(trained, untrained, Mean())
    assert (found.low, found.high) == pytest.approx(of_mean([1, 3]))


def test_other_train_seeds_are_independent():
    first, second = [0.0, 1.0, 5.0], [1.0, 2.0, 2.5]
    a = row(lambda t, train, *_: first[train], train_seeds=(0, 1, 2))
    b = row(lambda t, train, *_: second[train - 1], train_seeds=(1, 2, 3))
    found = difference(a, b, Mean())
    expected = stats.ttest_ind(first, second, equal_var=False)  # Welch's, by Satterthwaite too
    assert found.value / found.error == pytest.approx(expected.statistic)
    assert found.p() == pytest.approx(expected.pvalue)


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
    for call in (corpus_score, interval, estimate):
        with pytest.raises(ValueError, match="without episodes"):
            call([], Mean())


def test_holms_adjustment_by_hand():
    # 4 x 0.01, then the largest so far of 3 x 0.02, 2 x 0.03 and 1 x 0.9.
    assert holm([0.9, 0.01, 0.03, 0.02]) == pytest.approx([0.9, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.6]) == [1, 1]
    assert holm([]) == []


@pytest.mark.parametrize("name", ["bleu", "chrf", "rougeL", "exact"])
def test_many_corpora_are_scored_as_one_by_one(name):
    """Also the ends: nothing written, no match of any order, texts of less than four words."""
    rng = random.Random(name)
    metric = next(metric for metric in build_metrics("en") if metric.name == name)
    texts = ["", "a", "a b", "z", "a b c d e", "z y x w v u", "the cat the cat sat"]
    corpora = [
        np.sum(
            [
                metric.statistics(rng.choice(texts), [rng.choice(texts[1:])])
                for _ in range(rng.randint(1, 3))
            ],
            axis=0,
        )
        for _ in range(500)
    ]
    sums = np.array([np.zeros_like(corpora[0]), *corpora], dtype=np.float64)
    expected = [metric.score(one) for one in sums]
    assert metric.scores(sums) == pytest.approx(expected, abs=1e-9)
    assert len(set(np.round(expected, 6))) > 2
