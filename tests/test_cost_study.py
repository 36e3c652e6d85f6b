"""`fewgen study cost`: what it makes of records, refuses and says."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.errors import UserError
from bench.records import Cell, write_cell, write_json
from bench.shown import MISSING
from bench.streams import digest_of
from bench.studies import load_study
from bench.studies.cost import verdicts
from bench.studies.payback import Payback
from bench.studies.step_curves import SECONDS, seconds
from tests.runs import METRICS, header
from tests.test_cli import command


def record(cell: Cell, index: int, words: dict[int, int], ms: float) -> dict[str, object]:
    """An episode whose answers after so many steps are the first words of the references."""
    steps = max(words)
    rng = np.random.default_rng([cell.seed, index])
    references = [" ".join(rng.choice(["ant", "bee", "cat", "dog"], 6)) for _ in range(3)]
    texts = {step: [" ".join(r.split()[:many]) for r in references] for step, many in words.items()}
    sums = {
        step: {
            m.name: [m.statistics(t, [r]) for t, r in zip(made, references, strict=True)]
            for m in METRICS
        }
        for step, made in texts.items()
    }
    return {
        "index": index,
        "task": f"t{index}",
        "seed": cell.seed,
        "digest": digest_of(references),
        "support_part": "train",
        "support_ids": [],
        "query_ids": ["a", "b", "c"],
        "predictions": texts[steps],
        "statistics": sums[steps],
        "after": {str(step): sums[step] for step in words} if steps else {},
        "costs": {
            "support_tokens": 10,
            "inner_step_flops": 1e9 if steps else None,
            "adapt_ms": steps * ms,
            "adapt_waited_ms": 0.0,
            "inner_steps_ms": [ms] * steps,
            "adapt_peak_mib": None,
            "generate_ms": 30.0,
            "generate_waited_ms": 0.0,
            "generated_tokens": 10,
        },
    }


ROWS = {
    "zero-shot": {0: 1},
    "fine-tuned": {0: 1, 2: 2, 10: 4},
    "fomaml": {0: 2, 2: 4, 4: 5},  # as good with 2 of 4 steps
    "joint": {0: 2, 2: 3, 4: 3},  # never as good
}


def made_run(
    root: Path,
    rows: dict[str, dict[int, int]] = ROWS,
    waited: float = 500.0,
    apart: bool = False,
    diverged: Mapping[str, int] = MappingProxyType({}),
) -> Path:
    """A finished run; `apart`: tasks were timed one by one, `diverged`: episodes by baseline."""
    for name, words in rows.items():
        trained = name in ("fomaml", "joint", "early-stopped")
        for train_seed in (0, 1) if trained else (None,):
            cell = Cell("translation", name, 8, train_seed, 0)
            train = {"seconds": 1.5, "waited_ms": waited, "tokens": 9, "flops": 7e9, "steps": 3}
            init = "meta-trained" if name in ("fomaml", "joint") else "pretrained"
            more = {"train": train if trained else {}, "matrix_rate": 1e11, "init": init}
            times = [5.0 + 0.1 * i * apart for i in range(12)]
            records = [record(cell, i, words, ms) for i, ms in enumerate(times)]
            for made in records[: diverged.get(name, 0)]:
                made["diverged"] = True
            write_cell(root, cell, header(**more), records)
    write_json(root / "run.json", {"plan": {"seeds": [0], "train_seeds": [0, 1]}})
    return root


def test_records_give_the_n_they_were_made_with(tmp_path: Path) -> None:
    found = load_study("cost").analyse({"run": made_run(tmp_path)})
    n = found.table[found.table["quantity"] == "N"].set_index(["baseline", "unit"])
    # 1 s of training without what it waited, steps of 5 ms: 1 / (0.05 - 0.01); 7 / (10 - 2).
    assert n.loc[("fomaml", "tasks, by s"), ["value", "low", "high"]].tolist() == [25, 25, 25]
    assert n.loc[("fomaml", "tasks, by GFLOP"), ["value", "steps"]].tolist() == [1, 2]
    assert n.loc[("joint", "tasks, by s"), "low"] == math.inf
    told = (
        "shown to pay in 1 of 2 (fomaml on translation, K = 8, from {} tasks on at the latest), "
        "shown never to pay in 1 (joint on translation, K = 8)"
    )
    start = "To reach the final score of fine-tuned, each by its fewest steps, meta-training is "
    same = f"{told.format(25)} (the same by operations). To within 1 point of it: "
    assert found.answer.startswith(start + same)
    shown = found.shown.set_index("baseline")
    assert shown.loc["joint", "N by s"] == "never"
    assert shown.loc["fomaml", "N by s"] == "25"
    assert shown.loc["fomaml", "steps to equal"] == "2 of 4"
    assert shown.loc["zero-shot", "s a task"] == MISSING
    assert shown.loc["fomaml", "training s"] == "1.00"


def test_resamples_make_the_tables_own_estimate(tmp_path: Path) -> None:
    from bench.statistics import estimate, resampled
    from bench.studies.step_curves import estimate_of
    from bench.tables import entries, metrics, read_rows

    for row in read_rows([made_run(tmp_path)]):
        chrf = next(metric for metric in metrics(row) if metric.name == "chrf")
        found = entries(row, "chrf")
        assert estimate_of(resampled(found, chrf)) == estimate(found, chrf)


def test_gains_are_points_over_costs(tmp_path: Path) -> None:
    table = load_study("cost").analyse({"run": made_run(tmp_path)}).table
    row = table[table["baseline"] == "fomaml"]
    score = row[row["quantity"] == "score"].set_index("steps")["value"]
    bare = table[(table["baseline"] == "fine-tuned") & (table["quantity"] == "score")]
    gain = score[4] - bare.set_index("steps")["value"][0]
    per = row[row["quantity"] == "gain per adaptation"].set_index("unit")["value"]
    assert per["chrF per s"] == pytest.approx(gain / 0.02)
    assert per["chrF per GFLOP"] == pytest.approx(gain / 4)
    whole = row[row["quantity"] == "gain per whole cost"].set_index(["unit", "tasks"])["value"]
    assert whole["chrF per s", 100] == pytest.approx(gain / (0.02 + 1.0 / 100))
    assert whole["chrF per GFLOP", 10] == pytest.approx(gain / (4 + 0.7))
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()


def test_seconds_leave_out_what_was_waited() -> None:
    cost = {"inner_steps_ms": [4.0, 8.0], "adapt_ms": 14.0, "adapt_waited_ms": 7.0}
    assert seconds(cost, 2) == pytest.approx(0.007)
    assert seconds(cost, 1) == pytest.approx((4 + 2) / 2 / 1e3)  # with what is beside the steps
    assert seconds(cost, 0) == 0


def test_within_a_margin_both_sides_are_held_to_less(tmp_path: Path) -> None:
    study, run = load_study("cost"), made_run(tmp_path)
    table = study.analyse({"run": run}).table
    scores = table[table["quantity"] == "score"].set_index(["baseline", "steps"])["value"]
    margin = float(scores["fine-tuned", 10] - scores["joint", 4]) + 1e-6
    study.analysis["margin"] = margin
    found = study.analyse({"run": run})
    goal, own = scores["joint", 4], np.arange(2, 11)
    between = np.interp(own, [2, 10], [scores["fine-tuned", 2], scores["fine-tuned", 10]])
    needed = int(own[between >= goal - 1e-5][0])
    n = found.table[found.table["quantity"] == f"N within {margin:g} points"]
    joint = n.set_index(["baseline", "unit"]).loc[("joint", "tasks, by s")]
    assert joint["value"] == joint["high"] == math.ceil(1 / (0.005 * needed - 0.01))
    near = next(table for name, table in found.further.items() if name.startswith("To within"))
    assert near.set_index("baseline").loc["joint", "steps of fine-tuned"] == str(needed)
    assert f"joint on translation, K = 8, from {joint['value']:.0f} tasks" in found.answer


def test_leads_are_differences_after_as_many_steps(tmp_path: Path) -> None:
    found = load_study("cost").analyse({"run": made_run(tmp_path)})
    scores = found.table[found.table["quantity"] == "score"].set_index(["baseline", "steps"])
    leads = found.table[found.table["quantity"] == "lead over fine-tuned"]
    assert leads[["baseline", "steps"]].values.tolist() == [
        [name, steps] for name in ("fomaml", "joint") for steps in (0, 2)
    ]
    values = scores["value"]
    for _, line in leads.iterrows():
        steps = line["steps"]
        expected = values[line["baseline"], steps] - values["fine-tuned", steps]
        assert line["value"] == pytest.approx(expected)
        assert line["low"] < line["value"] < line["high"]
    shown = next(table for name, table in found.further.items() if name.startswith("Points above"))
    assert list(shown["baseline"]) == ["fomaml", "joint"]


def test_seconds_that_were_all_waited_are_not_told(tmp_path: Path) -> None:
    found = load_study("cost").analyse({"run": made_run(tmp_path, waited=1600.0)})
    shown = found.shown.set_index("baseline")
    columns = ["training s", "N by s", "points per s, 100 tasks"]
    assert set(shown.loc["fomaml", columns]) == {MISSING}
    assert shown.loc["fomaml", "N by GFLOP"] == "1"
    assert any("waited up to 100%" in note for note in found.notes)
    assert "by seconds measured for none; " in found.answer


def test_a_rival_is_held_to_its_own_fewest_steps(tmp_path: Path) -> None:
    flat = {**ROWS, "fine-tuned": {0: 1, 2: 2, 5: 4, 10: 4}}  # final from step 5 on
    table = load_study("cost").analyse({"run": made_run(tmp_path, flat)}).table
    n = table[table["quantity"] == "N"].set_index(["baseline", "unit"])
    assert n.loc[("fomaml", "tasks, by s"), "value"] == 67  # 1 / (0.025 - 0.01)
    own = table[table["quantity"] == "fewest steps to the final score"]
    assert own[["baseline", "value", "low", "high"]].values.tolist() == [["fine-tuned", 5, 5, 5]]


def test_a_rival_that_gains_nothing_is_named(tmp_path: Path) -> None:
    worse = {**ROWS, "fine-tuned": {0: 2, 2: 1, 10: 1}}
    found = load_study("cost").analyse({"run": made_run(tmp_path / "worse", worse)})
    assert (
        "shown never to pay in 2 (fomaml on translation, K = 8; joint on translation, K = 8)"
        in found.answer
    )
    told = "fine-tuned is not shown to gain by adaptation in translation, K = 8"
    assert any(told in note for note in found.notes)
    usual = load_study("cost").analyse({"run": made_run(tmp_path / "usual")})
    assert not any("not shown to gain" in note for note in usual.notes)


def test_who_chose_its_steps_elsewhere_is_not_meta_trained(tmp_path: Path) -> None:
    found = load_study("cost").analyse(
        {"run": made_run(tmp_path, {**ROWS, "early-stopped": {0: 1, 2: 4, 4: 5}})}
    )
    n = found.table[found.table["quantity"] == "N"]
    assert set(n["baseline"]) == {"fomaml", "joint"}
    assert "early-stopped" not in found.answer
    shown = found.shown.set_index("baseline")
    assert shown.loc["early-stopped", ["training s", "N by s"]].tolist() == ["1.00", MISSING]
    spent = found.table.set_index("baseline").loc["early-stopped"]
    assert "choice of options" in set(spent["quantity"])
    assert "meta-training" not in set(spent["quantity"])


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        (
            (3, 40),
            "1 of 2 (maml on writing, from 40 tasks on at the latest), "
            "not shown either way in 1 (best estimates 9 tasks in 1)",
        ),
        (
            (3, math.inf),
            "0 of 2, not shown either way in 2 (best estimates 5 to 9 tasks in 2)",
        ),
        (
            (math.inf, math.inf),
            "0 of 2, shown never to pay in 1 (maml on writing), "
            "not shown either way in 1 (best estimates 9 tasks in 1)",
        ),
    ],
)
def test_the_answer_follows_the_interval(ends: tuple[float, float], told: str) -> None:
    found = {
        "maml on writing": Payback(5 if ends[0] < math.inf else math.inf, *ends),
        "joint on writing": Payback(9, 8, math.inf),
    }
    assert verdicts(found) == "shown to pay in " + told
    assert verdicts({}) == "measured for none"


def test_seconds_that_a_batch_shares_have_no_interval(tmp_path: Path) -> None:
    found = load_study("cost").analyse({"run": made_run(tmp_path)})
    shown = found.shown.set_index("baseline")
    assert shown.loc["fine-tuned", "s a task"] == "0.0500"
    assert "[" not in shown.loc["fine-tuned", "GFLOP a task"]  # all are of one length
    spent = found.table[found.table["quantity"].isin(["adaptation of a task", "answers of a task"])]
    assert set(spent["high"]) == {math.inf}
    for cell in found.shown.to_numpy().ravel():
        value, _, bounds = str(cell).partition(" [")
        assert not bounds or len({value.split()[-1], *bounds.rstrip("]").split(", ")}) > 1, cell
    assert "shared out in a batch" in found.caption


def test_seconds_of_tasks_that_were_timed_apart_have_one(tmp_path: Path) -> None:
    found = load_study("cost").analyse({"run": made_run(tmp_path, apart=True)})
    told = found.shown.set_index("baseline").loc["fine-tuned", "s a task"]
    value, low, high = map(float, re.findall(r"[\d.]+", told))
    assert low < value < high


def test_episodes_that_diverged_are_counted(tmp_path: Path) -> None:
    found = load_study("cost").analyse({"run": made_run(tmp_path, diverged={"fine-tuned": 2})})
    told = [note for note in found.notes if "diverged" in note]
    assert told == ["translation, K = 8: fine-tuned: 2 of 12 episodes diverged."]


def test_a_rival_is_needed_that_is_not_meta_trained(tmp_path: Path) -> None:
    study = load_study("cost")
    with pytest.raises(UserError, match="add --baseline fine-tuned"):
        study.plans({"baselines": ["maml"]})
    assert study.plans({"baselines": ["maml", "fine-tuned"]})["run"]["score_steps"] == [0]
    assert study.plans({})["run"] == {"score_steps": [0]}  # all baselines
    without = {name: words for name, words in ROWS.items() if name != "fine-tuned"}
    with pytest.raises(UserError, match="a row with inner steps and without meta-training"):
        study.analyse({"run": made_run(tmp_path, without)})


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"baselines": ["fine-tuned", "zero-shot", "early-stopped"]}, "fine-tuned: name one"),
        ({"baselines": ["fine-tuned", "metaicl"]}, "with inner steps beside fine-tuned: name one"),
        ({"baselines": ["fine-tuned", "maml"], "train_budget": 0}, "budget of 0 trains none"),
        ({"train_budget": 0}, "budget of 0 trains none"),
        (
            {"baselines": ["fine-tuned", "maml"], "options": {"maml": {"test_steps": 0}}},
            "needs a meta-trained baseline",
        ),
        (
            {"baselines": ["fine-tuned", "maml"], "options": {"fine-tuned": {"inner_steps": 0}}},
            "inner steps of fine-tuned, which takes none",
        ),
        ({"baselines": ["fine-tuned", "fomal"]}, "unknown baseline 'fomal'; did you mean fomaml"),
    ],
)
def test_what_has_no_answer_is_refused_before_any_work(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        load_study("cost").plans(values)


def test_what_was_not_scored_is_interpolated(tmp_path: Path) -> None:
    from bench.studies.step_curves import Measured
    from bench.tables import metrics, read_rows

    rows = read_rows([made_run(tmp_path)])
    row = next(row for row in rows if row.header["baseline"] == "fine-tuned")
    chrf = next(metric for metric in metrics(row) if metric.name == "chrf")
    found = Measured(row, chrf).curve(SECONDS)
    assert found.knots == (0, 2, 10)
    assert found.scores[0, 6] == pytest.approx((found.scores[0, 2] + found.scores[0, 10]) / 2)
    assert found.score_draws[0, :, 1] == pytest.approx(found.score_draws[0][:, [0, 2]].mean(axis=1))
    assert found.costs.tolist() == pytest.approx([0.005 * step for step in range(11)])


@pytest.mark.slow
def test_the_command_leaves_four_files_and_repeats_their_bytes(tmp_path: Path) -> None:
    words = ["study", "cost", "--size", "smoke", "--out", str(tmp_path / "cost")]
    assert command(*words).exit_code == 0
    names = [f"cost.{kind}" for kind in ("csv", "svg", "png", "md")]
    first = {name: (tmp_path / "cost" / name).read_bytes() for name in names}
    assert set(pd.read_csv(tmp_path / "cost" / "cost.csv")["quantity"]) >= {"N", "score"}
    assert "From how many new tasks on" in first["cost.md"].decode()
    assert command(*words).exit_code == 0
    assert {name: (tmp_path / "cost" / name).read_bytes() for name in names} == first
