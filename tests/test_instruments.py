"""The study of instruments: its plans, what it says of figures that are known, a run."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.correlations import correlations
from bench.errors import UserError
from bench.plan import Pretraining, make_plan
from bench.registry import load_suite
from bench.statistics import Estimate, Interval, difference
from bench.studies import load_study
from bench.studies.instruments import PLAIN, _falls
from bench.studies.instruments_page import findings
from bench.studies.instruments_tables import Fall, Score
from bench.tables import entries, metrics, read_rows
from bench.tasks import Dial
from tests.runs import write_run
from tests.test_cli import command

BASELINES = ["copy", "fine-tuned", "oracle"]


def test_there_is_a_plan_for_every_level_of_every_dial() -> None:
    values = {"suites": ["writing", "dialogue"], "baselines": BASELINES}
    plans = load_study("instruments").plans(
        {
            **values,
            "options": {"oracle": {"rows": 8}, "fine-tuned": {"inner_steps": 3}},
            "pretrain": {"tokens": 9},
        }
    )
    expected = {f"{suite}-{PLAIN}" for suite in values["suites"]} | {
        f"{suite}-{name}-{level:g}"
        for suite in values["suites"]
        for name, dial in load_suite(suite).dials.items()
        for level in dial.levels
        if level != dial.default
    }
    assert set(plans) == {PLAIN, *expected}
    made = {name: make_plan({**given, "out": "x"}) for name, given in plans.items()}
    assert made[PLAIN].baselines == BASELINES
    assert made[PLAIN].dials is None
    assert made[PLAIN].pretrain is None
    default = made[f"writing-{PLAIN}"]
    assert (default.suites, default.dials, default.baselines) == (["writing"], None, ["fine-tuned"])
    assert default.pretrain == made["writing-rules-3"].pretrain == Pretraining(tokens=9)
    turned = made["writing-rules-3"]
    assert (turned.suites, turned.dials) == (["writing"], {"writing": {"rules": 3}})
    assert turned.baselines == ["fine-tuned"]
    assert turned.options["fine-tuned"]["inner_steps"] == 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data": "x.jsonl"}, "leave data and dials out"),
        ({"dials": {"writing": {"rules": 3}}}, "leave data and dials out"),
        ({"baselines": ["copy"]}, "under one of nearest, fine-tuned, fomaml: name one"),
    ],
)
def test_what_turns_nothing_is_refused(values: dict[str, Any], message: str) -> None:
    given = {"suites": ["writing"], "baselines": BASELINES, **values}
    with pytest.raises(UserError, match=message):
        load_study("instruments").plans(given)


def fall(
    dial: str, baseline: str, lost: float, error: float, between: Sequence[Score] = ()
) -> Fall:
    scores = [Score(80.0, 70.0, 90.0), *between, Score(80.0 - lost, 60.0, 85.0)]
    levels = list(range(1, len(scores) + 1))
    estimate, floor = Estimate(lost, error, 10), baseline == "floor"
    return Fall("translation", dial, baseline, "chrf", levels, scores, estimate, floor)


def test_the_page_says_what_the_figures_say(tmp_path: Path) -> None:
    """chrF stands for the metric that knows; of the others ROUGE-L is the nearest by hand."""
    root = write_run(tmp_path, {"good": 0.9, "fair": 0.6, "bad": 0.2})
    plain = read_rows([root])
    taus = correlations(plain, "chrf")
    falls = [
        fall("rules", "good", 20.0, 2.0),
        fall("rules", "floor", 1.0, 2.0),
        fall("length", "good", -9.0, 2.0, [Score(50.0, 45.0, 55.0)]),
    ]
    found = findings(plain, falls, taus, {"length": 1}, 700)
    overall = taus[(taus["with"] == "chrf") & (taus["level"] == "episodes")]
    shown = overall[overall["metric"].isin(["bleu", "rougeL", "exact"])]
    best = shown.loc[shown["tau"].idxmax()]
    assert "rules on 1 of 1 suite(s) (translation), length on 0 of 1 suite(s)." in found.answer
    assert f"on translation (tau {best['tau']:.2f} [" in found.answer
    lost = found.table[found.table["quantity"] == "fall"].set_index(["dial", "baseline"])
    assert lost.loc[("rules", "good"), "value"] == 20.0
    assert lost.loc[("rules", "good"), "low"] == pytest.approx(20.0 - 2.228 * 2.0, abs=0.01)
    assert found.shown["harder"].tolist() == ["shown", "not shown", "not shown"]
    assert found.shown["between"].tolist() == ["–", "–", "50.0 [45.0, 55.0]"]  # noqa: RUF001
    below, between = found.notes[1:3]
    assert "every baseline with a model scores below" in below
    assert "translation by rules. There" in below
    assert "translation length 2 (good)" in between
    score = found.table[(found.table["quantity"] == "score") & found.table["level"].isna()]
    assert set(score["baseline"]) == {"good", "fair", "bad"}
    assert "backbone read 700 tokens" in " ".join(found.changes)
    assert found.notes[0].startswith("The dial length is compared from level 1 on")


def test_a_loss_is_paired_by_task_and_a_method_without_a_model_is_a_floor(tmp_path: Path) -> None:
    """Levels hold the same tasks, so what all tasks share leaves the loss."""
    rows: dict[Any, Any] = {}
    for level, kept in ((1, {"good": 0.9, "nearest": 0.5}), (2, {"good": 0.4, "nearest": 0.5})):
        for name, share in kept.items():
            root, backbone = tmp_path / f"{level}-{name}", None if name == "nearest" else "tiny"
            (row,) = read_rows([write_run(root, {name: share}, backbone=backbone)])
            rows.setdefault(("translation", "rules", level), {})[name] = row
    found = {
        fall.baseline: fall
        for fall in _falls("translation", "rules", Dial((1, 2), 2, "x"), rows, {}, "chrf")
    }
    assert {name: fall.floor for name, fall in found.items()} == {"good": False, "nearest": True}
    first, last = (rows["translation", "rules", level]["good"] for level in (1, 2))
    metric = next(m for m in metrics(first) if m.name == "chrf")
    assert found["good"].lost == difference(entries(first, "chrf"), entries(last, "chrf"), metric)
    assert found["nearest"].lost.interval() == Interval(0, 0)


def test_a_metric_that_ranks_nothing_is_a_dash(tmp_path: Path) -> None:
    root = write_run(tmp_path, {"one": 0.5})
    taus = correlations(read_rows([root]), "chrf")
    assert math.isnan(taus[taus["level"] == "rows"]["tau"].iloc[0])
    found = findings(read_rows([root]), [fall("rules", "one", 1.0, 1.0)], taus, {}, 700)
    table = next(t for title, t in found.further.items() if "tau" in title)
    assert set(table["over rows"]) == {"–"}  # noqa: RUF001


@pytest.mark.slow
def test_the_study_leaves_its_files_and_makes_them_again(pretrained: str, tmp_path: Path) -> None:
    words = ["--backbone", pretrained, "--set", "fine-tuned.inner_steps=4"]

    def run() -> dict[str, bytes]:
        done = command("study", "instruments", *words, "--out", str(tmp_path))
        assert done.exit_code == 0, done.output
        return {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    first = run()
    assert set(first) == {f"instruments.{kind}" for kind in ("csv", "svg", "png", "md")}
    table = pd.read_csv(tmp_path / "instruments.csv")
    assert set(table["quantity"]) == {"score", "fall", "tau"}
    assert {"rules", "vocabulary", "length", "distance"} == set(table["dial"].dropna())
    assert run() == first
