"""Rank correlations between metrics, against scipy; intervals against loops and a known truth."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

import bench
from bench.correlations import LEVELS, _behind, correlations, tau_b, weighted_tau_b
from bench.errors import UserError
from bench.statistics import of_resamples
from bench.streams import Stream
from bench.tables import Row, leaderboard, read_rows
from tests.runs import header, write_run

values = st.lists(st.integers(0, 3), min_size=12, max_size=12)


def by_scipy(x: Any, y: Any) -> float:
    return float(kendalltau(x, y, variant="b").statistic)


@given(values, values, values, values)
def test_tau_b_is_scipys(a: list[int], b: list[int], c: list[int], d: list[int]) -> None:
    found = tau_b(np.array([a, b], float).T, np.array([c, d], float).T)
    np.testing.assert_allclose(found, [by_scipy(a, c), by_scipy(b, d)])


@given(values, values, st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_weights_are_repetitions(a: list[int], b: list[int], weights: list[int]) -> None:
    x, y = np.array(a, float).reshape(3, 4), np.array(b, float).reshape(3, 4)
    x[1, 2] = np.nan  # that episode counted nothing
    places = [(r, k) for r in range(3) for k in range(4) for _ in range(weights[k])]
    told = [(x[p], y[p]) for p in places if p != (1, 2)]
    found = weighted_tau_b(x, y, np.array([weights], float))
    expected = by_scipy(*zip(*told, strict=True)) if len(told) > 1 else np.nan
    np.testing.assert_allclose(found, [expected])


# -- rows with a known relation ----------------------------------------------------------------


def row(name: str, rules: Any, seen: Any, train_seeds: tuple[int | None, ...] = (None,)) -> Row:
    """A row of one query an episode: decisions of kinds a and b `(episodes, 4)`, and a mean."""
    signatures = {"rules": "agg:share|kinds:a+b|version:1", "seen": "agg:mean"}
    head = header(suite="s", baseline=name, shots=8, signatures=signatures, order="none")
    made = Row(head, planned={(t, 0) for t in train_seeds})
    for place, train in enumerate(train_seeds):
        records = [
            {
                "task": f"t{i}",
                "seed": 0,
                "index": i,
                "digest": str(i),
                "statistics": {
                    "rules": [[a + b, m + n, a, m, b, n]],
                    "seen": [[float(seen[i] + place), 1]],
                },
            }
            for i, (a, m, b, n) in enumerate(rules)
        ]
        made.cells[train, 0] = records
        made.headers.append(head)
    return made


def sample(count: int, seed: int = 0, noise: float = 1.0) -> list[Row]:
    """Rows whose metric `seen` sees kind a alone."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        skill = number / count
        a = random.binomial(9, 0.3 + 0.5 * skill, size=14)
        b = random.binomial(9, 0.5, size=14)
        seen = a + noise * random.standard_normal(14)
        rows.append(row(f"row{number}", [(x, 9, y, 9) for x, y in zip(a, b, strict=True)], seen))
    return rows


def line(table: Any, part: str, level: str) -> Any:
    (found,) = table[(table["with"] == part) & (table["level"] == level)].to_dict("records")
    return found


def test_a_metric_sees_the_kind_that_it_follows() -> None:
    table = correlations(sample(6, noise=0.3))
    assert set(table["level"]) == set(LEVELS)
    assert set(table["with"]) == {"rules", "rules-a", "rules-b"}
    seen, unseen = line(table, "rules-a", "episodes"), line(table, "rules-b", "episodes")
    assert seen["tau"] > 0.8
    assert seen["low"] > unseen["high"]
    assert unseen["low"] < 0 < unseen["high"]
    assert unseen["tau"] < line(table, "rules", "episodes")["tau"] < seen["tau"]
    assert (seen["rows"], seen["tasks"], seen["suite"]) == (6, 14, "s")


def test_values_and_intervals_are_those_of_plain_loops() -> None:
    rows, repeats = sample(4), 60
    table = correlations(rows, repeats=repeats, seed=3)
    stats = [
        [(r["statistics"]["rules"][0], r["statistics"]["seen"][0][0]) for r in row.records()]
        for row in rows
    ]
    # The draw of tasks by their sorted names, as `bench.statistics` has it.
    names = sorted(f"t{i}" for i in range(14))
    keys = [int(name[1:]) for name in names]
    random = np.random.Generator(np.random.PCG64(Stream(3, "resamples").key))
    counts = random.multinomial(14, np.full(14, 1 / 14), size=repeats)
    lists = [[1] * 14, *counts.tolist()]
    for part, at in (("rules", 0), ("rules-a", 2), ("rules-b", 4)):
        over: dict[str, list[float]] = {level: [] for level in LEVELS}
        for weights in lists:
            drawn = [key for key, weight in zip(keys, weights, strict=True) for _ in range(weight)]
            each = [(own[i][0][at] / own[i][0][at + 1], own[i][1]) for own in stats for i in drawn]
            over["episodes"].append(by_scipy(*zip(*each, strict=True)))
            whole = [
                (
                    sum(own[i][0][at] for i in drawn) / sum(own[i][0][at + 1] for i in drawn),
                    sum(own[i][1] for i in drawn) / 14,
                )
                for own in stats
            ]
            over["rows"].append(by_scipy(*zip(*whole, strict=True)))
        for level, taus in over.items():
            told = line(table, part, level)
            made = of_resamples(np.array(taus[:1]), np.array([taus[1:]]), 14)
            ends = made.interval().within((-1.0, 1.0))
            assert told["tau"] == pytest.approx(taus[0])
            assert (told["low"], told["high"]) == pytest.approx((ends.low, ends.high))


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Of normal values with correlation r, tau is 2 / pi * arcsin r."""
    random, held, r = np.random.default_rng(0), 0, 0.6
    truth = 2 / np.pi * np.arcsin(r)
    for _ in range(400):
        x, e = random.standard_normal((2, 1, 24))
        y = r * x + np.sqrt(1 - r**2) * e
        weights = np.vstack([np.ones(24), random.multinomial(24, np.full(24, 1 / 24), size=200)])
        taus = weighted_tau_b(x, y, weights)
        made = of_resamples(taus[:1], taus[None, 1:], 24).interval()
        held += made.low <= truth <= made.high
    assert 0.91 <= held / 400 <= 0.98


def test_metrics_are_told_apart_by_differences_on_the_same_resamples() -> None:
    """Separate intervals overlap, as luck is shared; the difference is that of its resamples."""
    random = np.random.default_rng(2)
    shared = 0.05 * random.standard_normal(400)
    own = 0.005 * random.standard_normal(400)
    taus = {
        "behind": np.array([[0.75, *0.75 + shared + own]]),
        "best": np.array([[0.80, *0.80 + shared]]),
        "nothing": np.full((1, 401), np.nan),
    }
    made = _behind(taus, 14, 0.95)
    behind, best = (
        of_resamples(t[:, 0], t[:, 1:], 14).interval() for t in (taus["behind"], taus["best"])
    )
    assert behind.high > best.low
    apart = of_resamples(np.array([0.05]), 0.05 - own[None], 14)
    found = made["behind"]
    assert found["behind"] == pytest.approx(0.05)
    bounds = apart.interval()
    assert (found["behind_low"], found["behind_high"]) == pytest.approx((bounds.low, bounds.high))
    assert found["behind_p"] == pytest.approx(apart.p(), rel=1e-6)
    assert found["behind_p"] < 1e-4
    assert all(math.isnan(value) for name in ("best", "nothing") for value in made[name].values())


def test_train_seeds_have_a_tau_each_beside_rows_without() -> None:
    random = np.random.default_rng(1)
    decisions = [(int(a), 9, 0, 9) for a in random.integers(0, 9, size=14)]
    floor = row("floor", decisions, [a / 10 for a, *_ in decisions])
    trained = row("trained", decisions[::-1], random.standard_normal(14), (0, 1))
    table = correlations([floor, trained])
    one, two = (
        correlations(
            [
                floor,
                row(
                    "trained",
                    decisions[::-1],
                    [r["statistics"]["seen"][0][0] for r in trained.cells[t, 0]],
                ),
            ]
        )
        for t in (0, 1)
    )
    for level in LEVELS:
        mean = (line(one, "rules", level)["tau"] + line(two, "rules", level)["tau"]) / 2
        assert line(table, "rules", level)["tau"] == pytest.approx(mean, nan_ok=True)
    with pytest.raises(UserError, match="different train seeds"):
        correlations(
            [row("one", decisions, range(14), (0,)), row("two", decisions, range(14), (1,))]
        )


def test_rankings_of_ties_alone_have_no_tau() -> None:
    same = [(3, 9, 2, 9)] * 14
    table = correlations([row("one", same, range(14)), row("two", same, range(14))])
    assert table[["tau", "low", "high"]].isna().all().all()
    alone = correlations(sample(1))
    assert alone[alone["level"] == "rows"]["tau"].isna().all()
    assert alone[alone["level"] == "episodes"]["tau"].notna().all()


def test_only_some_metrics_may_lead(tmp_path: Path) -> None:
    """One that is not among them is not held against any, nor any against it."""
    rows = read_rows([write_run(tmp_path, {"good": 0.9, "fair": 0.6, "bad": 0.2})])
    table = correlations(rows, "chrf", repeats=50, among=["bleu", "exact"])
    told = table[table["behind"].notna()]
    assert set(told["metric"]) <= {"bleu", "exact"}
    assert set(told.groupby(["with", "level"])["metric"].count()) == {1}


def test_kinds_that_nothing_shows_are_left_out() -> None:
    table = correlations([row(n, [(i % 4, 9, 0, 0) for i in range(14)], range(14)) for n in "ab"])
    assert set(table["with"]) == {"rules", "rules-a"}


def test_runs_are_read_and_those_without_rules_are_told(tmp_path: Path) -> None:
    plan = {"suites": ["dialogue"], "baselines": ["nearest", "copy", "lead"], "queries": 4}
    bench.run({**plan, "episodes": 5, "out": str(tmp_path / "run"), "workers": 1})
    table = correlations(read_rows([tmp_path / "run"]), repeats=100)
    board = leaderboard([tmp_path / "run"])
    for (_, metric, part), own in table[table["level"] == "rows"].groupby(
        ["block", "metric", "with"]
    ):
        told = by_scipy(board[metric], board[part])
        assert own["tau"].item() == pytest.approx(told, nan_ok=True)
    assert {"rules", "rules-act", "rules-words", "rules-rest"} <= set(table["with"])
    assert set(table["metric"]) == set("bleu chrf rouge1 rouge2 rougeL rougeLsum exact".split())
    known = table.dropna()
    assert ((known["low"] <= known["tau"]) & (known["tau"] <= known["high"])).all()
    other = write_run(tmp_path / "other", {"good": 0.9}, init="none")
    with pytest.raises(UserError, match="has no scores of 'rules'"):
        correlations(read_rows([other]))
    with pytest.raises(UserError, match="no row has all its cells"):
        correlations([])
