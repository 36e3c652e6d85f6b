"""The study of crossings: where a rival overtakes, with what certainty, and what is told of it."""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from bench.artefacts import initialisation_folder, make_initialisation
from bench.baseline import Learner
from bench.captions import facts
from bench.cells import shared_header
from bench.context import Context
from bench.errors import UserError
from bench.metrics import metrics_of
from bench.plan import make_plan
from bench.ranks import ALPHA
from bench.records import Cell, read_cell, read_json, write_cell, write_json
from bench.shown import MISSING
from bench.statistics import Entry, Estimate, Interval, difference, holm
from bench.studies.crossing import (
    BEHIND,
    LASTING,
    NEVER,
    OVER,
    OVERTAKEN,
    SAME,
    THROUGHOUT,
    UNDER,
    Crossing,
    mean_difference,
)
from bench.studies.crossover import Crossover
from bench.studies.crossover_told import answer
from bench.studies.curves import Curve, adjusted
from bench.studies.study import Values
from bench.tables import leaderboard
from tests.runs import header, write_run
from tests.simulated import SCORERS, Design, Like, population, simulate
from tests.test_cli import command

ROUGE = metrics_of("en", {"rougeL": ""})[0]
SHOTS = [1, 4, 16, 64, 256]


# -- the K at which a rival overtakes ------------------------------------------------------


def crossing(values: Sequence[float], half: float = 2.0, ps: Sequence[float] = ()) -> Crossing:
    """Whose differences are shown where their intervals leave out 0, unless p-values are given."""
    bounds = [Interval(v - half, v + half) for v in values]
    return Crossing(SHOTS, values, bounds, ps or [float(abs(v) <= half) for v in values])


@pytest.mark.parametrize(
    ("values", "half", "value", "low", "high", "verdict", "text"),
    [
        # lines by hand: 6 -> -2 between 16 and 64; 4 -> -4, and 8 -> 0 with the bounds
        ([8, 8, 6, -2, -6], 2, 16 * 4**0.75, 32, 64, OVERTAKEN, "45.3 [32, 64]"),
        ([8, 8, 8, 8, 8], 2, OVER, OVER, OVER, THROUGHOUT, "> 256"),
        ([1, 8, 8, 8, 8], 2, OVER, OVER, OVER, LASTING, "> 256"),
        ([8, 8, 8, 4, 1], 2, OVER, 64 * 4 ** (2 / 3), OVER, LASTING, "> 256 [161, > 256]"),
        ([8, 8, 8, 4, -1], 2, 64 * 4**0.8, 64 * 4**0.4, OVER, LASTING, "194 [111, > 256]"),
        ([-3, -3, -3, -3, -3], 2, UNDER, UNDER, UNDER, BEHIND, "< 1"),
        ([1, 1, -1, -1, -1], 2, 8, UNDER, OVER, SAME, "none"),
        ([1, 1, -1, -3, -5], 2, 8, UNDER, 32, NEVER, "none"),
        ([0, 0, 0, 0, 0], 0, OVER, UNDER, OVER, SAME, "none"),
        ([3, 3, -3, 3, -3], 2, 128, 64 * 4 ** (1 / 6), 64 * 4 ** (5 / 6), OVERTAKEN, None),
        ([-3, 3, 3, -3, -3], 2, 32, 16 * 4 ** (1 / 6), 16 * 4 ** (5 / 6), OVERTAKEN, None),
        ([3, 0, 0, -3, -3], 0, 16, 4, 16, OVERTAKEN, "16 [4, 16]"),
    ],
)
def test_crossings_by_hand(
    values: list[float], half: float, value: float, low: float, high: float, verdict: str, text: str
) -> None:
    found = crossing(values, half)
    assert found.value == pytest.approx(value)
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))
    assert found.verdict == verdict
    assert text is None or str(found) == text
    assert found.exists == (verdict not in (SAME, NEVER))


@pytest.mark.parametrize(
    ("values", "shown", "verdict", "text"),
    [
        ([8, 8, 6, -2.5, -6], [], SAME, "none"),
        ([8, 8, 8, 8, 8], [], SAME, "none"),
        ([-8, -8, -8, -8, -8], [], SAME, "none"),
        ([8, 8, 8, 8, 8], [1], LASTING, "> 256"),
        ([8, 8, 6, -2.5, -6], [1], LASTING, "42.6 [30.7, 59]"),
        ([8, 8, 6, -2.5, -6], [1, 256], OVERTAKEN, "42.6 [30.7, 59]"),
        ([8, 8, 6, -2.5, -6], [256], NEVER, "none"),
        ([-8, -8, -8, -8, -8], [4], NEVER, "< 1"),
    ],
)
def test_what_is_shown_is_shown_by_adjusted_p_values(
    values: list[float], shown: list[int], verdict: str, text: str
) -> None:
    found = crossing(values, ps=[0.01 if k in shown else 0.3 for k in SHOTS])
    assert (found.verdict, str(found)) == (verdict, text)
    assert [k for k, a, b in zip(SHOTS, found.ahead, found.behind, strict=True) if a or b] == shown


def test_a_single_episode_tells_nothing() -> None:
    assert crossing([8, 8, 6, -2, -6], math.inf).verdict == SAME
    partly = [Interval(-math.inf, math.inf), Interval(-3, -1)]
    assert Crossing([1, 2], [5, -2], partly, [1, 1]).interval == Interval(UNDER, 2)


def simulated(
    rng: np.random.Generator, crossed: float, tasks: int = 16
) -> tuple[dict[int, list[Entry]], dict[int, list[Entry]]]:
    """Two rows at every K whose difference falls by 4 points each time that K is doubled and is 0
    at K = `crossed`. What a task adds is shared over K, with a smaller part of each K's own."""
    of_task, base = rng.normal(0, 8, tasks), rng.uniform(40, 60, tasks)
    made: tuple[dict[int, list[Entry]], dict[int, list[Entry]]] = ({}, {})
    for k in SHOTS:
        gap = 4 * math.log2(crossed / k) + of_task + rng.normal(0, 3, tasks)
        for row, points in zip(made, (base + gap, base), strict=True):
            sums = np.stack([points / 100 * 16, np.full(tasks, 16.0)], axis=1)
            row[k] = [Entry(f"t{i:02}", None, 0, i, own) for i, own in enumerate(sums)]
    return made


def measured(a: Mapping[int, list[Entry]], b: Mapping[int, list[Entry]]) -> Crossing:
    found = [difference(a[k], b[k], ROUGE, repeats=400) for k in SHOTS]
    bounds, ps = [one.interval() for one in found], holm([one.p() for one in found])
    return Crossing(SHOTS, [one.value for one in found], bounds, ps)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("crossed", "censored"), [(1.2, False), (22.6, False), (64, False), (0.9, True), (300, True)]
)
def test_the_interval_holds_the_crossing(crossed: float, censored: bool) -> None:
    rng = np.random.default_rng(int(crossed * 10))
    found = [measured(*simulated(rng, crossed)) for _ in range(400)]
    if censored:  # the true place is out of range: an end that says so has to be in the interval
        held = [c.interval.low == UNDER if crossed < 1 else c.interval.high == OVER for c in found]
    else:
        held = [c.interval.low <= crossed <= c.interval.high for c in found]
        middle = [c.value for c in found]
        assert np.median(middle) == pytest.approx(crossed, rel=0.15)
    assert 0.93 <= np.mean(held) <= 0.99
    assert any(c.interval.low > UNDER and c.interval.high < OVER for c in found)


# -- what chance shows -------------------------------------------------------------------------

FULL = [2**power for power in range(9)]
METHODS = ["nearest", "in-context", "joint", "fomaml", "maml", "reptile"]
TRAINED = METHODS[2:]


def compared(estimates: Mapping[tuple[str, str], Sequence[Estimate]]) -> list[Curve]:
    """Curves of (suite, method) with these differences at `FULL`, as the study judges them."""
    made = []
    for (suite, name), found in estimates.items():
        init = "meta-trained" if name in TRAINED else "none"
        row: Any = SimpleNamespace(header={"suite": suite, "baseline": name, "init": init})
        rows, of_k = dict.fromkeys(FULL, row), dict(zip(FULL, found, strict=True))
        made.append(Curve(rows, {}, of_k, None, (0, 100)))
    return adjusted([made])[0]


def by_tasks(values: Any) -> list[Estimate]:
    """Means over tasks `(K, tasks)` with their errors."""
    tasks = values.shape[1]
    errors = values.std(axis=1, ddof=1) / math.sqrt(tasks)
    pairs = zip(values.mean(axis=1), errors, strict=True)
    return [Estimate(float(mean), float(error), tasks - 1) for mean, error in pairs]


def studied(rng: np.random.Generator, effects: Mapping[str, Any]) -> list[Curve]:
    """A study at full size: 4 suites, 8 tasks, what a task adds shared over K and, through the
    rival, over methods."""
    found = {}
    for suite in "abcd":
        of_rival = rng.normal(0, 2, 8) + rng.normal(0, 2, (len(FULL), 8))
        for name in METHODS:
            own = rng.normal(0, 4, 8) + rng.normal(0, 2, (len(FULL), 8))
            true = np.reshape(effects.get(name, 0.0), (-1, 1))
            found[suite, name] = by_tasks(own - of_rival + true)
    return compared(found)


def test_chance_alone_answers_neither_no_nor_yes() -> None:
    rng = np.random.default_rng(5)
    made = [studied(rng, {}) for _ in range(300)]
    said = [not answer(one, "r", "joint").startswith("Not shown either way") for one in made]
    assert np.mean(said) <= 0.075  # 5 %, and two standard errors of 300
    loose = [any(e.p() < ALPHA for c in one for e in c.differences.values()) for one in made]
    assert np.mean(loose) > 0.9  # what the intervals by themselves would say


def test_true_differences_are_found() -> None:
    rng = np.random.default_rng(6)
    falling = 40 - 10 * np.log2(FULL)  # 40 points at K = 1, 0 at K = 16, -40 at K = 256
    made = [studied(rng, {"nearest": -50, "maml": falling}) for _ in range(40)]
    crossings = [c.crossing for one in made for c in one if c.baseline == "maml"]
    assert np.mean([c.verdict == OVERTAKEN for c in crossings]) > 0.9
    assert np.mean([c.interval.low <= 16 <= c.interval.high for c in crossings]) > 0.9
    assert np.mean([answer(one, "r", "joint").startswith("No: ") for one in made]) == 1.0
    better = [studied(rng, dict.fromkeys(TRAINED, 50)) for _ in range(40)]
    assert np.mean([answer(one, "r", "joint").startswith("Yes") for one in better]) > 0.9


@pytest.mark.slow
def test_chance_alone_on_real_episodes() -> None:
    """The same by resampling the sums of real episodes."""
    rng, real = np.random.default_rng(7), population("translation", 16)
    row, metric = Like("fine-tuned", residual_sd=3), SCORERS["chrf"]

    def study() -> list[Curve]:
        found: dict[tuple[str, str], list[Estimate]] = {
            (suite, name): [] for suite in "abcd" for name in METHODS
        }
        for _ in FULL:
            for suite in "abcd":
                rival, *rows = simulate(rng, real, "chrf", [row] * 7, Design(8))
                for name, own in zip(METHODS, rows, strict=True):
                    found[suite, name].append(difference(own, rival, metric, repeats=400))
        return compared(found)

    said = [not answer(study(), "r", "joint").startswith("Not shown either way") for _ in range(40)]
    assert sum(said) <= 5  # binomial: beyond in 1 % of cases, were it 5 %


# -- the mean difference over log2 K -------------------------------------------------------


def test_the_mean_difference_is_the_trapezoid_over_tasks() -> None:
    a, b = simulated(np.random.default_rng(1), 16, tasks=12)
    found = mean_difference(a, b, ROUGE)
    gaps = np.array([[x.sums - y.sums for x, y in zip(a[k], b[k], strict=True)] for k in SHOTS])
    by_task = np.trapezoid(gaps[..., 0] / 16 * 100, np.log2(SHOTS), axis=0) / 8
    assert found.value == pytest.approx(by_task.mean())
    assert found.error == pytest.approx(by_task.std(ddof=1) / math.sqrt(12), rel=0.1)
    assert found.freedom == 11


def test_the_mean_difference_meets_every_train_seed_of_the_other() -> None:
    a, b = simulated(np.random.default_rng(1), 16, tasks=4)
    trained = {k: [Entry(e.task, t, 0, e.index, e.sums) for t in (0, 1) for e in a[k]] for k in a}
    alone, twice, other = (
        mean_difference(*rows, ROUGE) for rows in ((a, b), (trained, b), (b, trained))
    )
    assert twice.value == pytest.approx(alone.value)
    assert other.value == pytest.approx(-alone.value)
    with pytest.raises(ValueError, match="other episodes"):
        mean_difference({**a, 4: a[4][:3]}, {**b, 4: b[4][:3]}, ROUGE)


# -- K of meta-training --------------------------------------------------------------------


def context(root: Path, **values: Any) -> Context:
    plan = {"suites": ["translation"], "baselines": ["nearest", "fine-tuned", "fomaml"], **values}
    return Context(make_plan(plan), root)


def test_an_artefact_depends_on_the_shots_of_training(tmp_path: Path) -> None:
    def folder(**values: Any) -> Path:
        return initialisation_folder(context(tmp_path, **values), ("translation",), "fomaml", 0)

    plain = folder(shots=[2, 8])
    assert folder(shots=[2, 8], train_shots=[]) == plain
    assert folder(shots=[2, 8], train_shots=[2, 8]) == plain
    assert folder(shots=[1, 64], train_shots=[2, 8]) == plain
    assert folder(shots=[2, 8], train_shots=[4]) != plain


def test_meta_training_draws_from_the_shots_of_training(tmp_path: Path) -> None:
    class Seen(Exception):
        shots: ClassVar[list[int]] = []

    made = context(tmp_path, shots=[32], train_shots=[2, 5])
    learner = made.baseline("fomaml")
    assert isinstance(learner, Learner)

    def spy(training: Any, budget: int, progress: Any) -> Any:
        Seen.shots = list(training.shots)
        raise Seen

    learner.meta_train = spy  # type: ignore[method-assign]
    made.baseline = lambda name: learner  # type: ignore[method-assign, assignment]
    with pytest.raises(Seen):
        make_initialisation(made, ("translation",), "fomaml", 0, lambda fraction: None)
    assert Seen.shots == [2, 5]


def test_headers_tell_the_shots_of_training_only_where_they_are_set(tmp_path: Path) -> None:
    def settings(baseline: str, **values: Any) -> dict[str, Any]:
        cell = Cell("translation", baseline, 8, 0, 0)
        told: dict[str, Any] = shared_header(context(tmp_path, **values), cell)["settings"]
        return told

    assert "train_shots" not in settings("fomaml")
    assert settings("fomaml", train_shots=[1, 2])["train_shots"] == [1, 2]
    for untrained in ("nearest", "fine-tuned"):
        assert settings(untrained, train_shots=[1, 2]) == settings(untrained)


def test_tables_tell_rows_of_other_training_shots_apart(tmp_path: Path) -> None:
    settings = header()["settings"]
    for name, drawn in {
        "one": {"train_shots": [1, 2]},
        "two": {"train_shots": [8]},
        "no": {},
    }.items():
        write_run(tmp_path / name, {"maml": 0.5}, settings={**settings, **drawn})
    frame = leaderboard([tmp_path / "one", tmp_path / "two"])
    assert sorted(frame["train_shots"]) == ["1,2", "8"]
    assert facts(frame)["drawn"] == [
        "Meta-trained with K drawn from 1,2: maml.",
        "Meta-trained with K drawn from 8: maml.",
    ]
    plain = leaderboard([tmp_path / "no"])
    assert "train_shots" not in plain
    assert facts(plain)["drawn"] == []


def test_training_tasks_are_as_large_as_the_shots_of_training_need(tmp_path: Path) -> None:
    lines = [
        f'{{"task": "t{t}", "input": "i {t} {n}", "target": "o {n}", "split": "{part}"}}\n'
        for t in range(8)
        for part, count in (("train", 3 + 3 * (t % 2)), ("test", 4))
        for n in (f"{part} {i}" for i in range(count))
    ]
    data = tmp_path / "small.jsonl"
    data.write_text("".join(lines))
    few = context(tmp_path, data=str(data), shots=[8], train_shots=[2])
    many = context(tmp_path, data=str(data), shots=[2], train_shots=[4])
    assert few.left_out_of_training("translation") == []
    assert many.left_out_of_training("translation")
    with pytest.raises(UserError, match="holds train_shots = 9 support"):
        context(tmp_path, data=str(data), train_shots=[9]).left_out_of_training("translation")


# -- the study -----------------------------------------------------------------------------


def recorded(
    root: Path,
    kept: Mapping[int, Mapping[str, float]],
    seeds: Sequence[int] = (0, 1),
    **more: Any,
) -> Path:
    """A run on two suites with so many of the words right at each K."""
    suites = ["translation", "dialogue"]
    for k, shares in kept.items():
        for name, share in shares.items():
            init = {"nearest": "none", "fine-tuned": "pretrained"}.get(name, "meta-trained")
            settings = {**header()["settings"], "train_shots": [1, 2]}
            told = {"shots": k, "init": init, "settings": settings, **more}
            told["backbone"] = None if init == "none" else "tiny"
            write_run(root, {name: share}, suites, seeds, **told)
    names = list(next(iter(kept.values())))
    plan = {"suites": suites, "baselines": names, "shots": [*kept], "seeds": [*seeds]}
    write_json(root / "run.json", {"plan": {**plan, "train_shots": [1, 2], "train_seeds": [0]}})
    return root


def test_methods_below_one_without_a_model_are_told(tmp_path: Path) -> None:
    kept = {
        1: {"fine-tuned": 0.3, "maml": 0.4, "nearest": 0.6},
        4: {"fine-tuned": 0.3, "maml": 0.8, "nearest": 0.6},
    }
    found = Crossover().analyse({"run": recorded(tmp_path, kept)})
    told = [note for note in found.notes if "best one without" in note]
    assert [note.partition(" every")[0] for note in told] == [
        f"{place} (embedded): at K = 1" for place in ("translation", "dialogue")
    ]


def test_the_answer_is_counted_from_the_curves(tmp_path: Path) -> None:
    kept = {
        1: {"fine-tuned": 0.3, "maml": 0.7, "fomaml": 0.8, "nearest": 0.1},
        4: {"fine-tuned": 0.6, "maml": 0.8, "fomaml": 0.9, "nearest": 0.1},
        16: {"fine-tuned": 0.9, "maml": 0.6, "fomaml": 0.99, "nearest": 0.1},
    }
    found = Crossover().analyse({"run": recorded(tmp_path, kept)})
    assert found.answer.startswith("No: of 4 pairs of a suite and a meta-trained method")
    assert f"2 {THROUGHOUT}, 2 {OVERTAKEN}" in found.answer
    table = found.table
    assert list(table["quantity"].value_counts().sort_index()) == [6, 18, 6, 24]
    means = table[table["quantity"].str.startswith("mean difference")]
    assert (means["p_holm"] >= means["p"]).all()
    told = found.answer.partition("mean difference to fine-tuned over K = 1 to 16: ")[2]
    assert told.startswith("4 of 4 shown ahead (maml on translation +")
    assert "joint" not in found.answer  # is no method here
    cells = found.shown.set_index(["suite", "method"])["mean, K = 1 to 16"]
    assert {text.rpartition(" ")[2] for text in cells[:, "nearest"]} == {"behind"}
    place = (table["suite"] == "dialogue") & (table["baseline"] == "maml")
    (line,) = table[place & (table["quantity"] == "crossing")].to_dict("records")
    assert 4 < line["low"] < line["value"] < line["high"] < 16
    assert line["verdict"] == OVERTAKEN
    nearest = table[(table["baseline"] == "nearest") & (table["quantity"] == "crossing")]
    assert set(nearest["verdict"]) == {BEHIND}
    assert set(found.shown["suite"]) == {"translation (embedded)", "dialogue (embedded)"}
    assert [axes.get_title() for axes in found.figure.axes] == [
        text for place in dict.fromkeys(found.shown["suite"]) for text in (place, "less fine-tuned")
    ]
    (legend,) = found.figure.legends
    named = [text.get_text() for text in legend.get_texts()]
    assert sorted(named) == ["fine-tuned", "fomaml", "maml", "nearest"]
    assert not any("joint" in column for column in found.shown)
    assert any("K drawn from 1, 2 serves all K: maml, fomaml" in note for note in found.notes)
    assert any("conditional" in change for change in found.changes)


def test_meta_learners_are_held_against_joint_training_too(tmp_path: Path) -> None:
    kept = {
        1: {"fine-tuned": 0.3, "joint": 0.6, "maml": 0.6, "fomaml": 0.9, "nearest": 0.1},
        4: {"fine-tuned": 0.5, "joint": 0.6, "maml": 0.6, "fomaml": 0.9, "nearest": 0.1},
    }
    found = Crossover().analyse({"run": recorded(tmp_path, kept)})
    told = found.answer.partition("By the mean difference to joint over K = 1 to 4: ")[2]
    assert told.startswith("2 of 4 shown ahead (fomaml on translation +")
    table = found.table.set_index(["suite", "baseline", "quantity"])
    to_control = table.xs("mean difference to control, K = 1 to 4", level="quantity")
    assert {name for _, name in to_control.index} == {"maml", "fomaml"}
    means = table.xs("mean difference, K = 1 to 4", level="quantity")["value"]
    place = ("dialogue", "fomaml")
    expected = means[place] - means["dialogue", "joint"]
    assert to_control.loc[place, "value"] == pytest.approx(expected)
    assert (to_control["p_holm"] >= to_control["p"]).all()
    cells = found.shown.set_index(["suite", "method"])["mean to joint, K = 1 to 4"]
    assert {text.rpartition(" ")[2] for text in cells[:, "fomaml"]} == {"ahead"}
    assert set(cells[:, "joint"]) == set(cells[:, "nearest"]) == {MISSING}


def test_a_curve_without_a_mean_has_a_crossing(tmp_path: Path) -> None:
    """Where no two K have the same episodes."""
    recorded(tmp_path / "few", {1: {"fine-tuned": 0.3, "maml": 0.9}}, (0, 1))
    recorded(tmp_path / "many", {64: {"fine-tuned": 0.9, "maml": 0.3}}, (0,))
    found = Crossover().analyse({"few": tmp_path / "few", "many": tmp_path / "many"})
    assert set(found.table["quantity"]) == {"score", "difference", "crossing"}
    assert not any("mean" in column for column in found.shown)
    assert "By the mean" not in found.answer


def test_lines_end_where_episodes_change() -> None:
    def row(*digests: str) -> Any:
        return SimpleNamespace(digests=digests, header={})

    rows = {1: row("a", "b"), 2: row("b", "a"), 4: row("a"), 8: row("a"), 16: row("a", "b")}
    assert Curve(rows, {}, {}, None, (0, 100)).parts == [[1, 2], [4, 8], [16]]
    assert Curve(rows, {}, {}, None, (0, 100)).alike == [1, 2, 16]


def test_a_crossing_that_does_not_exist_is_empty_and_a_censored_one_is_not(tmp_path: Path) -> None:
    kept = {k: {"fine-tuned": 0.5, "maml": 0.9, "fomaml": 0.5, "nearest": 0.1} for k in (1, 4)}
    found = Crossover().analyse({"run": recorded(tmp_path, kept)})
    found.table.to_csv(tmp_path / "table.csv", index=False)
    table = pd.read_csv(tmp_path / "table.csv")
    lines = table[(table["quantity"] == "crossing") & (table["suite"] == "dialogue")]
    ends = lines.set_index("baseline")[["value", "low", "high"]]
    assert ends.loc["maml"].tolist() == [OVER] * 3
    assert ends.loc["nearest"].tolist() == [UNDER] * 3
    assert ends.loc["fomaml"].isna().all()
    assert "fields are empty" in found.caption


def test_intervals_of_differences_end_where_scores_do(tmp_path: Path) -> None:
    kept = {k: {"fine-tuned": 0.5, "maml": 0.9} for k in (1, 4)}
    found = Crossover().analyse({"run": recorded(tmp_path, kept, episodes=1, seeds=(0,))})
    gaps = found.table[found.table["quantity"].str.contains("difference")]
    assert (gaps["low"] == -100).all()
    assert (gaps["high"] == 100).all()
    assert "inf" not in found.shown.to_string()
    assert found.answer.startswith("Not shown either way")


def test_diverged_inner_loops_are_counted_by_method_and_shots(tmp_path: Path) -> None:
    root = recorded(tmp_path, {k: {"fine-tuned": 0.5, "maml": 0.6} for k in (1, 4, 16)})
    assert not [note for note in Crossover().analyse({"run": root}).notes if "inner loop" in note]
    diverged(root, "*/maml/k*/*", 0)
    assert "No inner loop ended worse than it began." in Crossover().analyse({"run": root}).notes
    diverged(root, "dialogue/maml/k4/*", 2)
    diverged(root, "*/maml/k16/*", 1)
    told = [note for note in Crossover().analyse({"run": root}).notes if "inner loop" in note]
    assert told == [
        "maml: inner loops that ended worse than they began: 4 of 48 at K = 4, 4 of 48 at K = 16."
    ]


def diverged(root: Path, cells: str, count: int) -> None:
    """Sets it of the first records of each cell, and clears it of the others."""
    for path in sorted(root.glob(f"cells/{cells}")):
        head, records = read_cell(path)
        cell = Cell(**{key.name: head[key.name] for key in fields(Cell)})
        told = [{**record, "diverged": i < count} for i, record in enumerate(records)]
        write_cell(root, cell, head, told)


@pytest.mark.parametrize(
    ("share", "lead"), [({1: 0.9, 4: 0.9}, "Yes"), ({1: 0.5, 4: 0.5}, "Not shown either way")]
)
def test_the_answer_may_be_yes_or_nothing(
    tmp_path: Path, share: dict[int, float], lead: str
) -> None:
    kept = {k: {"fine-tuned": 0.5, "maml": value} for k, value in share.items()}
    assert Crossover().analyse({"run": recorded(tmp_path, kept)}).answer.startswith(lead)


def test_lost_demonstrations_are_told_from_the_first_shots_on(tmp_path: Path) -> None:
    root = recorded(tmp_path, {k: {"fine-tuned": 0.5, "maml": 0.5} for k in (1, 4, 16)})
    for path in [*root.glob("cells/dialogue/maml/k4/*"), *root.glob("cells/dialogue/maml/k16/*")]:
        head, records = read_cell(path)
        cell = Cell(**{key.name: head[key.name] for key in fields(Cell)})
        write_cell(root, cell, head, [{**record, "dropped": 2} for record in records])
    told = [note for note in Crossover().analyse({"run": root}).notes if "leaves out" in note]
    assert told == [
        "maml on dialogue (embedded) leaves out the examples that the context does not hold from "
        "K = 4 on; it scores most at K = 4."
    ]


VALUES: Values = {"baselines": ["fine-tuned", "maml"], "suites": ["translation"]}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"shots": [1, 2], "baselines": ["maml", "joint"]}, "--baseline fine-tuned and another"),
        ({"shots": [1, 2], "baselines": ["fine-tuned"]}, "--baseline fine-tuned and another"),
        ({"shots": [1, 2], "baselines": ["fine-tuned", "nearest"]}, "none of .* is meta-trained"),
        ({"shots": [1, 2], "train_budget": 0}, "--train-budget must be above 0"),
        ({"shots": [4]}, "two --shots or more: only one is named"),
        ({"shots": [4, 1000]}, "two --shots or more: translation: "),
        ({"shots": [1, 2], "train_shots": [0]}, "train_shots"),
        ({"shots": [1, 2], "train_shots": [2, 2]}, "2 is named twice"),
    ],
)
def test_a_study_that_cannot_be_made_says_why(values: Values, told: str) -> None:
    with pytest.raises(UserError, match=told) as error:
        Crossover().plans({**VALUES, **values})
    assert "\n" not in error.value.message


def sized(path: Path, sizes: Sequence[int]) -> str:
    """Data of many meta-test tasks with so many examples in train, whatever the split."""
    path.write_text(
        "".join(
            f'{{"task": "t: {t:02}", "input": "i {t} {n}", "target": "o {n}", "split": "{part}"}}\n'
            for t, size in enumerate(sizes)
            for part, count in (("train", size), ("test", 20))
            for n in (f"{part} {i}" for i in range(count))
        )
    )
    return str(path)


def measured_tasks(**values: Any) -> list[str]:
    plan = make_plan({**VALUES, **values})
    return Context(plan, Path()).tasks("translation", 1)[0]


def test_shots_that_a_task_does_not_hold_are_left_out_and_told(tmp_path: Path) -> None:
    study = Crossover()
    data = sized(tmp_path / "small.jsonl", [5] * 12)
    plans = study.plans({**VALUES, "data": data, "shots": [8, 4, 1]})
    assert plans["run"]["shots"] == [1, 4]
    assert "tasks" not in plans["run"]
    kept = {k: {"fine-tuned": 0.5, "maml": 0.5} for k in (1, 4)}
    told = study.analyse({"run": recorded(tmp_path / "run", kept)}).notes
    assert told[0].startswith("K = 8 is left out, as too few tasks hold it: translation: ")
    assert "5 examples in train, 8 needed" in told[0]


def test_one_small_task_does_not_take_shots_from_all(tmp_path: Path) -> None:
    study = Crossover()
    data = sized(tmp_path / "mixed.jsonl", [40] * 36)
    names = measured_tasks(data=data)
    small = {int(name.split()[1]) for name in names[:2]}
    data = sized(tmp_path / "mixed.jsonl", [5 if t in small else 40 for t in range(36)])
    assert measured_tasks(data=data) == names
    plan = study.plans({**VALUES, "data": data, "shots": [1, 16, 64]})["run"]
    assert len(names) >= 6
    assert plan["shots"] == [1, 16]
    assert plan["tasks"] == names[2:]
    assert make_plan(plan).tasks == plan["tasks"]
    assert study._left_out[1] == (
        f"2 of {len(names)} tasks are measured at no K, as they do not hold K = 16: "
        f"{names[0]}, {names[1]}."
    )
    named = study.plans({**VALUES, "data": data, "shots": [1, 16], "tasks": names[1:6]})["run"]
    assert (named["shots"], named["tasks"]) == ([1, 16], names[2:6])


def test_both_sizes_are_plans() -> None:
    study = Crossover()
    smoke = study.plans(study.size("smoke"))
    assert smoke == {"run": study.size("smoke")}  # no task of the embedded suites is left out
    assert max(make_plan(smoke["run"]).trained_shots) == 16
    full = study.size("full")
    plans = study.plans(full)
    assert [*plans["few"]["shots"], *plans["many"]["shots"]] == full["shots"]
    assert plans["many"]["shots"][0] == 64
    assert plans["many"]["episodes"] < plans["few"]["episodes"] == full["episodes"]
    same = [{k: v for k, v in p.items() if k not in ("shots", "episodes")} for p in plans.values()]
    assert same[0] == same[1]


def test_two_plans_train_alike_where_shots_of_training_are_not_named(tmp_path: Path) -> None:
    study, values = Crossover(), {**VALUES, "episodes": 4, "shots": [2, 8, 64]}
    plans = study.plans(values)
    made = {name: Context(make_plan(plan), tmp_path) for name, plan in plans.items()}
    assert {
        initialisation_folder(context, ("translation",), "maml", 0) for context in made.values()
    } == {initialisation_folder(Context(make_plan(values), tmp_path), ("translation",), "maml", 0)}


def test_large_k_of_fewer_tasks_stand_on_the_same_curve(tmp_path: Path) -> None:
    kept = {1: {"fine-tuned": 0.2, "fomaml": 0.6}, 4: {"fine-tuned": 0.4, "fomaml": 0.6}}
    more = {64: {"fine-tuned": 0.9, "fomaml": 0.6}}
    whole = Crossover().analyse(
        {
            "few": recorded(tmp_path / "few", kept, episodes=12),
            "many": recorded(tmp_path / "many", more, episodes=6),
        }
    )
    alone = Crossover().analyse({"run": recorded(tmp_path / "alone", kept, episodes=12)})
    one, other = (f.table[f.table["quantity"] == "difference"] for f in (whole, alone))
    assert one["shots"].tolist() == [1, 4, 64] * 2
    assert one[one["shots"] < 64]["value"].tolist() == other["value"].tolist()
    assert "mean difference, K = 1 to 4" in set(whole.table["quantity"])
    assert any("24 at K = 1, 4 and 12 at K = 64" in note for note in whole.notes)


# -- a real one ----------------------------------------------------------------------------


def written(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.iterdir() if path.is_file()}


@pytest.mark.slow
def test_smoke_is_interrupted_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    cells = tmp_path / "runs" / "run" / "cells"
    words = ["study", "crossover", "--size", "smoke", "--out", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.cli", *words],
        start_new_session=True,
        stderr=subprocess.PIPE,
        # A shell may have started these tests with interrupts ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while process.poll() is None and len(list(cells.rglob("k1/*.jsonl"))) < 2:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    kept = {path: path.stat().st_mtime_ns for path in cells.rglob("*.jsonl")}
    assert len(kept) < 12
    assert not written(tmp_path)
    assert command(*words).exit_code == 0
    first = written(tmp_path)
    assert {*first} == {f"crossover.{kind}" for kind in ("csv", "svg", "png", "md")}
    whole = {path: path.stat().st_mtime_ns for path in cells.rglob("*.jsonl")}
    assert len(whole) == 12
    assert kept.items() <= whole.items()
    artefacts = sorted(p.name.partition("-")[0] for p in (cells.parent / "artefacts").iterdir())
    assert artefacts == ["fomaml", "joint"]  # one serves K = 1, 4 and 16
    assert command(*words).exit_code == 0
    assert written(tmp_path) == first
    assert {path: path.stat().st_mtime_ns for path in cells.rglob("*.jsonl")} == whole
    table = pd.read_csv(tmp_path / "crossover.csv")
    assert set(table["shots"].dropna()) == {1, 4, 16}
    assert read_json(cells.parent / "run.json")["plan"]["train_shots"] == [1, 2, 4, 8, 16]
