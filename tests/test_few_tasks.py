"""What tables say where tasks are few: no letters, no bold, and how many tasks verdicts need."""

import io
import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.paired_command import as_markdown, paired_table
from bench.pivots import pivot
from bench.plan import make_plan, read_plan
from bench.publish import READ, markdown, render, to_markdown
from bench.ranks import ALPHA, FEWEST_TASKS, fewest_tasks
from bench.statistics import holm, pairwise
from bench.tables import entries, leaderboard, metrics, ranked, read_rows
from tests.runs import write_run
from tests.upper import as_upper_reference

KEPT = {"good": 0.95, "fair": 0.9, "same": 0.9, "poor": 0.3}
FLOOR: dict[str, Any] = {"init": "none", "backbone": None, "backbone_identity": None}


@pytest.mark.parametrize("tasks", range(1, 13))
def test_the_fewest_tasks_are_those_of_all_sign_flips(tasks: int) -> None:
    """The smallest p-value of n differences, by every way to flip their signs."""
    values = np.random.default_rng(tasks).exponential(size=tasks)
    signs = np.array(list(product((1, -1), repeat=tasks)))
    smallest = float((np.abs((signs * values).sum(axis=1)) >= values.sum() - 1e-12).mean())
    for level in (0.5, 0.06, ALPHA, 0.01, ALPHA / 45):
        assert (smallest <= level) == (tasks >= fewest_tasks(level))
    assert FEWEST_TASKS == fewest_tasks(ALPHA) == 6


@pytest.mark.parametrize("tasks", [1, 3, 5])
def test_too_few_tasks_have_neither_letters_nor_bold(tmp_path: Path, tasks: int) -> None:
    root = write_run(tmp_path, KEPT, ("translation", "writing"), episodes=tasks)
    table = leaderboard([root])
    assert set(table["tasks"]) == {tasks}
    assert set(table["group"]) == {""}
    assert table["to_best_p"].isna().all()
    assert (table["comparisons"] == 0).all()
    sentence = f"Too few tasks to separate rows: {tasks}, and 6 are the least"
    some = f"{tasks} episode{'s' * (tasks > 1)} of {tasks} task{'s' * (tasks > 1)} over seeds 0"
    shown = pivot(ranked([root]), "suite")
    for text in (to_markdown(table), markdown(shown[1])):
        assert "**" not in text
        assert sentence in text
        assert "concludes nothing" in text
        assert "letter" not in text.replace("There are no letters", "").replace("letters and", "")
        assert some in text
    for kind in READ:
        for content in (render(kind, table), render(kind, *shown)):
            assert sentence in " ".join(str(content).split())
            assert "<strong>" not in str(content)
            assert "textbf" not in str(content)
    told = json.loads(str(render("json", table)))
    assert [(line["tasks"], line["group"]) for line in told] == [(tasks, "")] * 8
    csv = pd.read_csv(io.StringIO(str(render("csv", shown[0]))))
    assert csv["translation:group"].isna().all()


def test_six_tasks_have_letters(tmp_path: Path) -> None:
    table = leaderboard([write_run(tmp_path, {"good": 0.95, "poor": 0.1}, episodes=6)])
    assert table["group"].tolist() == ["a", "b"]
    assert "Too few" not in to_markdown(table)


def test_many_pairs_say_how_many_tasks_they_need(tmp_path: Path) -> None:
    """45 pairs: 2 / 2^n is at most 0.05 / 45 from n = 11 on."""
    kept = {f"m{i}": 0.5 + i / 25 for i in range(10)}
    said = "needs 11 tasks to stay below 5 %"
    few = to_markdown(leaderboard([write_run(tmp_path / "few", kept, episodes=10)]))
    assert "Holm's adjustment over the 45 pairs of rows" in few
    assert said in few
    enough = to_markdown(leaderboard([write_run(tmp_path / "enough", kept, episodes=11)]))
    assert said not in enough
    best = to_markdown(leaderboard([tmp_path / "few"], compare="best"))
    assert "over the 9 comparisons of a row with the best" in best
    assert "needs 9 tasks" not in best, "2 / 2^9 is below 0.05 / 9, and so is 2 / 2^10"


def test_a_table_of_too_few_tasks_is_no_burden_for_others(tmp_path: Path) -> None:
    write_run(tmp_path / "a", KEPT, episodes=12)
    write_run(tmp_path / "b", KEPT, ("writing",), episodes=3)
    alone, both = leaderboard([tmp_path / "a"]), leaderboard([tmp_path / "a", tmp_path / "b"])
    of = both[both["suite"] == "translation"]
    assert of["to_best_p"].dropna().tolist() == alone["to_best_p"].dropna().tolist()
    assert (both["comparisons"] == 6).all()


# -- the best alone ------------------------------------------------------------------------


def test_compared_to_the_best_the_table_agrees_with_paired(tmp_path: Path) -> None:
    """The p-values, and what is bold, row by row; an upper reference is in neither."""
    root = write_run(tmp_path / "a", KEPT, ("translation", "writing"), seeds=(0, 1))
    upper = as_upper_reference(write_run(tmp_path / "o", {"oracle": 1.0}, seeds=(0, 1)))
    few = write_run(tmp_path / "few", KEPT, ("dialogue",), episodes=4)
    runs = [root, upper, few]
    table, told = leaderboard(runs, compare="best"), paired_table(runs)
    key = ["suite", "baseline"]
    joined = table.merge(told, on=key, suffixes=("", "_paired"))
    assert len(joined) == len(told) == 9
    np.testing.assert_array_equal(joined["to_best_p"], joined["p_holm"].astype(float))
    np.testing.assert_allclose(joined["to_best"], joined["difference"])
    assert joined["p_holm"].isna().sum() == 3, "of the suite with four tasks"
    assert (joined["tasks"] == joined["tasks_paired"]).all()
    raw = told.loc[told["tasks"] >= 6, "p"].tolist()
    assert told.loc[told["tasks"] >= 6, "p_holm"].tolist() == pytest.approx(holm(raw))
    assert set(table["group"]) == {""}
    text, shown = to_markdown(table), as_markdown(told)
    for _, line in joined.iterrows():
        bold = line["suite"] != "dialogue" and line["p_holm"] >= ALPHA
        cells = [row for row in text.splitlines() if f" **{line['baseline']}** " in row]
        assert (len(cells) > 0) >= bold
    assert "Bold: not shown to differ from the best" in text
    assert "share a letter" not in text
    assert "Too few tasks to separate rows: 4, and 6 are the least" in shown
    assert "over the 6 comparison(s)" in shown


def test_the_command_compares_to_the_best(tmp_path: Path) -> None:
    root = write_run(tmp_path, KEPT)
    done = CliRunner().invoke(main, ["leaderboard", str(root), "--compare", "best"])
    assert done.exit_code == 0, done.output
    assert "over the 3 comparisons" in done.output
    done = CliRunner().invoke(main, ["leaderboard", str(root), "--pivot", "suite"])
    assert "over the 6 pairs of rows" in done.output


# -- floors in several tables --------------------------------------------------------------


@pytest.mark.parametrize("compare", ["all", "best"])
def test_a_pair_of_floors_is_one_test_in_however_many_tables(tmp_path: Path, compare: Any) -> None:
    """Three backbones and two devices: floors stand in each table, and are tested once."""
    floors = {"floor": 0.2, "other": 0.4, "third": 0.3}
    runs = []
    for number, device in enumerate(("cpu", "cpu", "gpu")):
        root = tmp_path / str(number)
        write_run(root, floors, **FLOOR, device=device)
        write_run(
            root, {f"method{number}": 0.25}, backbone_identity=f"llama-{number}", device=device
        )
        runs.append(root)
    table = leaderboard(runs, compare=compare)
    blocks = ranked(runs, compare=compare)
    assert len(blocks) == 3
    raw = {}
    for block in blocks:
        rows = [row for row, _ in block.complete]
        metric = next(m for m in metrics(rows[0]) if m.name == "chrf")
        for (i, j), found in pairwise([entries(row, "chrf") for row in rows], metric).items():
            name = frozenset(
                row.header["baseline"] + (row.header["backbone_identity"] or "")
                for row in (rows[i], rows[j])
            )
            if len(name) == 2 and (i == 0 or compare == "all"):
                raw[name] = found.p()
    alike = 3 if compare == "all" else 2  # pairs of floors, or those with the best floor
    assert len(raw) == alike + 3 * (3 if compare == "all" else 1)
    got = table["to_best_p"].dropna()
    best = {n: p for n, p in zip(raw, holm(list(raw.values())), strict=True) if "other" in n}
    assert set(np.round(got, 12)) == set(np.round([*best.values(), 1.0], 12)), "1: beside itself"
    assert (table["comparisons"] == len(raw)).all()


def test_paired_counts_a_pair_of_floors_once(tmp_path: Path) -> None:
    runs = []
    for number in (0, 1):
        root = write_run(tmp_path / str(number), {"floor": 0.2, "other": 0.4}, **FLOOR)
        runs.append(write_run(root, {f"method{number}": 0.3}, backbone_identity=f"llama-{number}"))
    told = paired_table(runs)
    floors = told[told["baseline"] == "floor"]
    assert len(told) == 4
    assert floors["p_holm"].nunique() == 1
    unique = told.drop_duplicates(["baseline", "p"])
    assert unique["p_holm"].tolist() == pytest.approx(holm(unique["p"].tolist()))
    assert len(read_rows(runs)) == 4


# -- outer steps ---------------------------------------------------------------------------


def trained(root: Path, name: str, steps: int | None, **more: Any) -> Path:
    train = {"seconds": 2.0, "tokens": 900, "flops": 9.0}
    train |= {} if steps is None else {"steps": steps}
    more = {"init": "meta-trained", "order": "1", "train_seeds": (0, 1), **more}
    return write_run(root / name, {name: 0.8}, train=train, **more)


def test_outer_steps_stand_beside_tokens_and_few_are_warned_of(tmp_path: Path) -> None:
    runs = [
        trained(tmp_path, "once", 1),
        trained(tmp_path, "eight", 8),
        trained(tmp_path, "twenty", 20),
        trained(tmp_path, "older", None),
        write_run(tmp_path / "plain", {"plain": 0.7}),
        trained(tmp_path, "stopped", 3, init="pretrained"),
    ]
    table = leaderboard(runs)
    text = to_markdown(table)
    head, _, *lines = (
        [cell.strip(" *") for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    )
    place = head.index("outer steps")
    assert head[place - 1] == "train tokens"
    steps = {line[0]: line[place] for line in lines}
    none = "–"  # noqa: RUF001
    assert steps == {
        "once": "1",
        "eight": "8",
        "twenty": "20",
        "older": none,
        "plain": none,
        "stopped": none,
    }
    warning = next(line for line in text.splitlines() if line.startswith("Warning: fewer than 20"))
    assert "eight 8" in warning
    assert "once 1" in warning
    assert not any(name in warning for name in ("twenty", "older", "plain", "stopped"))
    assert "Warning" not in to_markdown(leaderboard([tmp_path / "twenty", tmp_path / "older"]))


def test_smoke_is_too_small_for_verdicts_and_says_so() -> None:
    """Each task is measured once per seed at most, so there are no more tasks than episodes."""
    plan = make_plan(read_plan("smoke"))
    assert plan.episodes * len(plan.seeds) < FEWEST_TASKS
    assert "concludes nothing" in CliRunner().invoke(main, ["show", "smoke"]).output
