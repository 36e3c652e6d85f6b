"""The study of probes: analysis on records with known truth, plans, a run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bench.errors import UserError
from bench.metrics import MeanMetric
from bench.plan import make_plan
from bench.probes import PROBES
from bench.statistics import Entry, apart, holm
from bench.studies import load_study
from bench.studies.memory import memory_lines
from bench.studies.probes import judged, loss_lines
from bench.studies.probes_answer import Found, answer
from bench.studies.probes_page import changes
from bench.tables import read_rows
from tests.runs import write_run
from tests.test_cli import command
from tests.test_probes import probe

NAMES = ("zero-shot", "copy", "fine-tuned", "fomaml")


def entries_of(values: Any, train: int | None = None, side: str = "a") -> list[Entry]:
    made = enumerate(values)
    return [Entry(f"{side}{i}", train, 0, i, np.array([float(v), 1.0])) for i, v in made]


def test_sets_of_tasks_are_compared_as_by_welch() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(60, 4, 30), random.normal(50, 9, 18)
    metric = MeanMetric("mean")
    factor = metric.score(np.array([1.0, 1.0]))  # a mean of 1 as a score
    found = apart([entries_of(a)], [entries_of(b, side="b")], metric, repeats=4000)
    welch = stats.ttest_ind(a, b, equal_var=False)
    assert found.value == pytest.approx(factor * (a.mean() - b.mean()))
    assert found.freedom == pytest.approx(welch.df, rel=0.1)
    low, high = welch.confidence_interval(0.95)
    bounds = found.interval()
    assert (bounds.low, bounds.high) == pytest.approx((factor * low, factor * high), rel=0.06)
    same = apart([entries_of(a)] * 2, [entries_of(b, side="b")] * 2, metric)
    assert (same.value, same.error) == (0.0, 0.0)
    with pytest.raises(ValueError, match="other episodes"):
        apart([entries_of(a), entries_of(a[:-1])], [entries_of(b)], metric)


def test_train_seeds_are_paired_over_sets_of_tasks() -> None:
    """A train seed that is better everywhere is no uncertainty of the advantage."""
    random = np.random.default_rng(1)
    a, b = random.normal(60, 3, 20), random.normal(50, 3, 20)
    sides = [
        [e for seed in (0, 1, 2) for e in entries_of(values + 10 * seed, seed, side)]
        for side, values in (("a", a), ("b", b))
    ]
    metric = MeanMetric("mean")
    alone = apart([entries_of(a)], [entries_of(b, side="b")], metric)
    found = apart([sides[0]], [sides[1]], metric)
    assert found.error == pytest.approx(alone.error, rel=1e-9)


def remembering(root: Path, none: dict[str, float], **more: Any) -> Path:
    """Runs whose baselines keep a share of words without support."""
    write_run(root, dict.fromkeys(none, 1.0), init="meta-trained", **more)
    for name, share in none.items():
        probe(root, {name: share}, **{"no-support": share})
    return root


def test_memory_is_what_exceeds_the_references(tmp_path: Path) -> None:
    unseen = remembering(tmp_path / "u", {"keen": 0.3, "plain": 0.3, "base": 0.3})
    seen = remembering(tmp_path / "s", {"keen": 0.8, "plain": 0.5, "base": 0.5})
    rows = read_rows([unseen]), read_rows([seen])
    lines = memory_lines(*rows, ("own", "no-support", "other-task"), "base")
    found = {(line["baseline"], line["support"]): line for line in lines}
    assert len(found) == 9
    assert found["keen", "no-support"]["memorised"] is True
    assert found["plain", "no-support"]["memorised"] is False
    assert found["plain", "no-support"]["low"] > 0, "better on seen tasks, as the reference is"
    assert found["plain", "no-support"]["excess"] == pytest.approx(0.0)
    assert "memorised" not in found["base", "no-support"]
    assert found["keen", "own"]["difference"] == pytest.approx(0.0)
    keen = found["keen", "no-support"]
    assert keen["difference"] == pytest.approx(keen["first"] - keen["second"])
    assert keen["excess"] == pytest.approx(
        keen["difference"] - found["base", "no-support"]["difference"]
    )


def test_the_study_says_who_listens_and_who_remembers(tmp_path: Path) -> None:
    unseen = remembering(tmp_path / "u", {"keen": 0.3, "base": 0.3, "deaf": 2.0})
    seen = remembering(tmp_path / "s", {"keen": 0.8, "base": 0.3})
    for root in (unseen, seen):
        content = {"plan": {"seeds": [0], "train_seeds": [0]}, "command": ["fewgen", "study"]}
        (root / "run.json").write_text(json.dumps(content))
    study = load_study("probes")
    study.__dict__["_file"] = {"analysis": {"reference": "base"}}
    found = study.analyse({"meta-test": unseen, "meta-train": seen})
    assert "Base and keen lose" in found.answer
    assert "points under another task's support on translation; the answers" in found.answer
    assert "the answers of deaf do not depend on it" in found.answer
    assert "Memorised meta-train tasks: keen on translation" in found.answer
    table = found.table.set_index(["measure", "baseline", "support"])
    assert bool(table.loc[("loss", "deaf", "other-task"), "flagged"]) is True
    assert bool(table.loc[("loss", "keen", "other-task"), "flagged"]) is False
    alone = study.analyse({"meta-test": unseen})
    assert "Memory was not measured" in alone.answer


def test_plans_of_the_study_hold_what_memory_needs() -> None:
    study = load_study("probes")
    chosen = ["copy", "fine-tuned", "fomaml", "zero-shot"]
    options = {"fomaml": {"test_steps": 2}, "copy": {}}
    plans = study.plans({"baselines": chosen, "options": options})
    assert plans["meta-test"]["probes"] == list(PROBES)
    seen = plans["meta-train"]
    assert (seen["split"], seen["baselines"]) == ("meta-train", ["fine-tuned", "fomaml"])
    assert seen["options"] == {"fomaml": {"test_steps": 2}}
    assert set(study.plans({"baselines": ["copy", "fine-tuned"]})) == {"meta-test"}
    for size in ("smoke", "full"):
        for values in study.plans(study.size(size)).values():
            make_plan(values)


def test_an_answer_without_other_tasks_says_so() -> None:
    assert "is not known" in answer(Found([], [], "base"))


def loss(baseline: str, value: float, p: float, half: float = 2.0, **more: Any) -> dict[str, Any]:
    """A line as an analysis makes it, not yet adjusted."""
    low, high = value - half, value + half
    line = {"suite": "writing", "dataset": "embedded", "shots": 8, "support": "other-task"}
    line |= {"ignores": False, "p": p}
    line |= {"baseline": baseline, "difference": value, "low": low, "high": high}
    return {**line, "flagged": low <= 0, "episodes": 12, **more}


def test_losses_are_claimed_by_adjusted_p_values() -> None:
    lines = judged(
        [
            loss("sure", 13.31, 0.001),
            loss("alone", 2.5, 0.03),
            loss("none", 1.0, 0.3),
            loss("worse", -9.0, 0.0001),
            loss("deaf", 0.0, 1.0, ignores=True),
            loss("sure", 9.0, 0.01, support="no-support"),
        ]
    )
    assert [line["p"] for line in lines] == [*holm([0.001, 0.03, 0.3, 0.0001]), 1.0, 0.01]
    shown = [(line["baseline"], line["support"]) for line in lines if line["shown"]]
    assert shown == [("sure", "other-task"), ("sure", "no-support")]
    told = answer(Found(lines, [], "base"))
    assert told.startswith(
        "Sure loses 13.3 points under another task's support on writing; shown by itself, but not "
        "when adjusted for all such losses: the loss of alone on writing (+2.5 [+0.5, +4.5]); "
        "nothing shows that it is used by none on writing (+1.0 [-1.0, +3.0]) and worse on writing "
        "(-9.0 [-11.0, -7.0]); the answers of deaf do not depend on it."
    )
    assert "Not shown to be above 0" not in told
    (more, *_) = changes(Found(lines, [], "base"))
    assert "alone on writing could lose 4.5 points" in more
    assert "sure" not in more


def test_the_answer_names_suites_and_shots() -> None:
    places = [{"suite": suite, "shots": k} for suite in ("writing", "dialogue") for k in (4, 8)]
    lines = [loss("maml", 10.0 + i, 1e-6, **where) for i, where in enumerate(places)]
    lines += [loss("weak", 1.0, 0.9, **where) for where in places[:1]]
    told = answer(Found(judged(lines), [], "base"))
    assert told.startswith(
        "Maml loses 10.0 to 13.0 points under another task's support on writing and dialogue at "
        "K = 4 and 8; nothing shows that it is used by weak on writing at K = 4 (+1.0 [-1.0, +3.0])"
    )


def test_the_answer_names_who_loses_nothing_under_other_probes() -> None:
    given = [
        ("blind", 0.1, 0.9, "shuffled-targets", "writing"),
        ("blind", 9.0, 1e-6, "shuffled-targets", "dialogue"),
        ("sharp", 9.0, 1e-6, "shuffled-targets", "writing"),
        ("blind", 9.0, 1e-6, "other-task", "writing"),
        ("sharp", 0.2, 0.8, "one-repeated", "writing"),
    ]
    lines = [loss(n, v, p, support=probe, suite=suite) for n, v, p, probe, suite in given]
    lines.append(loss("deaf", 0.0, 1.0, support="shuffled-targets", ignores=True))
    told = answer(Found(judged(lines), [], "base"))
    assert (
        "Not shown to be above 0, each by itself, is the loss under shuffled-targets of blind in 1 "
        "of 2; under one-repeated of sharp." in told
    )


def test_chance_claims_no_loss() -> None:
    """Of 160 losses without a true one."""
    rng = np.random.default_rng(3)
    claimed = [
        any(line["shown"] for line in judged([loss("m", v, p) for v, p in drawn_losses(rng)]))
        for _ in range(400)
    ]
    assert np.mean(claimed) <= 0.05


def drawn_losses(rng: np.random.Generator) -> Any:
    values = rng.normal(0, 3, (160, 12))
    return zip(values.mean(axis=1), stats.ttest_1samp(values, 0, axis=1).pvalue, strict=True)


def test_a_loss_has_the_p_of_its_interval(tmp_path: Path) -> None:
    root = remembering(tmp_path / "u", {"keen": 0.3, "near": 0.97, "deaf": 2.0})
    lines = [line for row in read_rows([root]) for line in loss_lines(row)]
    assert {(line["p"] < 0.05, line["low"] > 0) for line in lines} == {(True, True), (False, False)}


def test_what_is_not_probed_is_refused_or_left_out() -> None:
    study = load_study("probes")
    with pytest.raises(UserError, match="takes the support set away, and oracle learns") as error:
        study.plans({"baselines": ["oracle"]})
    assert "\n" not in error.value.message
    options: dict[str, Any] = {"oracle": {}, "fomaml": {}}
    plans = study.plans({"baselines": ["oracle", "fine-tuned", "fomaml"], "options": options})
    assert plans["meta-test"]["baselines"] == ["fine-tuned", "fomaml"]
    assert plans["meta-test"]["options"] == {"fomaml": {}}
    assert plans["meta-train"]["baselines"] == ["fine-tuned", "fomaml"]
    assert "oracle" not in study.plans({})["meta-test"]["baselines"]
    with pytest.raises(UserError, match="unknown baseline 'orcale'"):
        make_plan(study.plans({"baselines": ["orcale"]})["meta-test"])


@pytest.mark.slow
def test_the_study_leaves_its_files_and_makes_them_again(tmp_path: Path) -> None:
    def run() -> dict[str, bytes]:
        done = command("study", "probes", "--out", str(tmp_path))
        assert done.exit_code == 0, done.output
        return {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    first = run()
    assert set(first) == {f"probes.{kind}" for kind in ("csv", "svg", "png", "md")}
    table = pd.read_csv(tmp_path / "probes.csv").set_index(["measure", "baseline", "support"])
    flagged = {name: bool(table.loc[("loss", name, "other-task"), "flagged"]) for name in NAMES}
    assert flagged == {"zero-shot": True, "copy": True, "fine-tuned": False, "fomaml": False}
    assert {"own", "no-support", "other-task"} == set(table.loc[("memory", "fomaml")].index)
    assert run() == first
