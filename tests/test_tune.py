"""Tuning: equal trials on meta-validation tasks, one setting for all suites, its cost told."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

import bench
from bench.cli import main
from bench.errors import UserError
from bench.plan import read_toml
from bench.records import read_cell, read_json
from bench.registry import load, names
from bench.tables import leaderboard
from bench.tune import given_options, settings, tunable, tune

SMALL = ["--suite", "translation", "--suite", "writing", "--shots", "2", "--queries", "2"]
SMALL += ["--episodes", "1", "--train-budget", "300", "--max-new-tokens", "4"]
CHOSEN = ["fine-tuned", "fomaml"]


def command(checkpoint: str, out: Path, *words: str) -> Result:
    chosen = [word for name in CHOSEN for word in ("--baseline", name)]
    common = ["tune", *SMALL, "--backbone", checkpoint, *chosen, "--trials", "2"]
    return CliRunner().invoke(main, [*common, "--out", str(out), *words])


@pytest.fixture(scope="module")
def tuned(checkpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tuned") / "all"
    result = command(checkpoint, out)
    assert result.exit_code == 0, result.output
    return out


@pytest.mark.parametrize("name", tunable())
def test_a_search_space_holds_the_defaults_and_eight_settings(name: str) -> None:
    kind = load("baseline", name)
    given = given_options(name, {})
    for option, allowed in kind.search.items():
        assert given[option] in allowed
    made = settings(name, kind.search, given, 8)
    assert len(made) == 8
    assert made[0] == {option: given[option] for option in kind.search}
    assert len({str(setting) for setting in made}) == 8
    assert made == settings(name, kind.search, given, 8)
    for setting in made:
        kind.Options(**setting)


def test_floors_and_what_has_no_option_are_not_tuned() -> None:
    assert set(names("baseline")) - set(tunable()) == {
        "copy",
        "lead",
        "nearest",
        "zero-shot",
        "in-context",
        "oracle",
    }


def test_every_baseline_has_as_many_trials_on_validation_tasks(tuned: Path) -> None:
    table = pd.read_csv(tuned / "trials.csv")
    assert table.groupby("baseline").size().to_dict() == dict.fromkeys(CHOSEN, 2)
    for _, row in table.iterrows():
        root = tuned / "trials" / f"{row['baseline']}-{row['trial']}"
        measured = leaderboard([root]).set_index("suite")
        assert set(measured["split"]) == {"meta-validation"}
        scores = {s: measured.loc[s, measured.loc[s, "primary"]] for s in measured.index}
        assert scores == pytest.approx({s: row[s] for s in scores})
        assert row["mean"] == pytest.approx(sum(scores.values()) / 2)
        trained = measured["train_tokens"].sum()
        assert row["tokens"] == trained
        assert (trained > 0) == (row["baseline"] == "fomaml")


def test_the_plan_holds_the_best_setting_of_each(tuned: Path) -> None:
    table, plan = pd.read_csv(tuned / "trials.csv"), read_toml(tuned / "plan.toml")
    assert plan["split"] == "meta-test"
    assert plan["suites"] == ["translation", "writing"]
    for name, rows in table.groupby("baseline"):
        first = read_json(tuned / "trials" / f"{name}-0" / "run.json")["plan"]["options"][name]
        assert given_options(name, first) == given_options(name, {}), "the defaults come first"
        (best,) = rows[rows["best"] == "yes"].to_dict("records")
        assert best["mean"] == rows["mean"].max()
        root = tuned / "trials" / f"{name}-{best['trial']}"
        assert plan["options"][name] == read_json(root / "run.json")["plan"]["options"][name]
        charge = plan["tuning"][name]
        assert charge["trials"] == 2
        assert charge["tokens"] == rows["tokens"].sum()
        assert charge["seconds"] == pytest.approx(rows["seconds"].sum(), abs=0.11)


def test_a_run_of_the_plan_shows_what_tuning_cost(tuned: Path, tmp_path: Path) -> None:
    plan, out = tuned / "plan.toml", tmp_path / "run"
    result = CliRunner().invoke(main, ["run", str(plan), "--out", str(out)])
    assert result.exit_code == 0, result.output
    table, charges = pd.read_csv(out / "leaderboard.csv"), read_toml(plan)["tuning"]
    assert set(table["split"]) == {"meta-test"}
    for _, row in table.iterrows():
        charge = charges[row["baseline"]]
        assert row["tune_trials"] == charge["trials"]
        assert row["tune_tokens"] == charge["tokens"]
        assert row["tune_seconds"] == charge["seconds"]
    alone = CliRunner().invoke(
        main, ["run", str(plan), "--baseline", "fine-tuned", "--out", str(tmp_path / "alone")]
    )
    assert alone.exit_code == 0, alone.output


def test_what_was_tried_is_not_tried_again(tuned: Path, checkpoint: str, tmp_path: Path) -> None:
    out = shutil.copytree(tuned, tmp_path / "copy")
    first = (out / "trials.csv").read_text()
    cells = sorted((out / "trials").rglob("*.jsonl"))
    before = {path: path.stat().st_mtime_ns for path in cells}
    cells[0].unlink()
    (out / "plan.toml").unlink()
    result = command(checkpoint, out)
    assert result.exit_code == 0, result.output
    assert (out / "plan.toml").is_file()
    changed = [path for path in cells if path.stat().st_mtime_ns != before[path]]
    assert changed == [cells[0]]
    columns = ["baseline", "trial", "setting", "translation", "writing", "best"]
    again = pd.read_csv(out / "trials.csv")[columns]
    pd.testing.assert_frame_equal(again, pd.read_csv(tuned / "trials.csv")[columns])
    assert first


def test_more_trials_go_on_and_other_plans_are_refused(
    tuned: Path, checkpoint: str, tmp_path: Path
) -> None:
    out = shutil.copytree(tuned, tmp_path / "copy")
    other = command(checkpoint, out, "--episodes", "2")
    assert other.exit_code == 2
    assert "holds trials of another plan" in other.output
    more = command(checkpoint, out, "--trials", "3")
    assert more.exit_code == 0, more.output
    table = pd.read_csv(out / "trials.csv")
    assert table.groupby("baseline").size().to_dict() == dict.fromkeys(CHOSEN, 3)
    old = pd.read_csv(tuned / "trials.csv").set_index(["baseline", "trial"])["mean"]
    new = table.set_index(["baseline", "trial"])["mean"]
    pd.testing.assert_series_equal(new.loc[old.index], old)
    fewer = command(checkpoint, out, "--trials", "2")
    assert fewer.exit_code == 2
    assert "holds 3 trials of fine-tuned, which all count" in fewer.output


def test_a_setting_off_the_space_is_tried_first(checkpoint: str, tmp_path: Path) -> None:
    plan = {
        "suites": ["translation"],
        "baselines": ["fine-tuned"],
        "options": {"fine-tuned": {"inner_rate": 0.01}},
        "backbone": checkpoint,
        "shots": [2, 3],
        "queries": 2,
        "episodes": 1,
        "max_new_tokens": 4,
        "out": str(tmp_path / "out"),
    }
    tune(plan, 2)
    table = pd.read_csv(tmp_path / "out" / "trials.csv")
    assert list(table["setting"].str.contains("inner_rate = 0.01, inner_steps = ")) == [True, False]
    for number, row in table.iterrows():
        measured = leaderboard([tmp_path / "out" / "trials" / f"fine-tuned-{number}"])
        assert len(measured) == 2, "one row for each K"
        assert row["mean"] == pytest.approx(measured["chrf"].mean())


@pytest.mark.parametrize("damage", ["half", "noise"])
def test_a_damaged_log_is_told_in_a_line(
    tuned: Path, checkpoint: str, tmp_path: Path, damage: str
) -> None:
    out = shutil.copytree(tuned, tmp_path / "copy")
    log = out / "studies.log"
    lines = log.read_text().splitlines(keepends=True)
    lines[1] = lines[1][: len(lines[1]) // 2] + "\n" if damage == "half" else "noise\n"
    log.write_text("".join(lines))
    result = command(checkpoint, out)
    assert result.exit_code == 2
    assert "studies.log: damaged" in result.output
    assert "Traceback" not in result.output
    log.unlink()
    again = command(checkpoint, out)
    assert again.exit_code == 0, again.output


def test_the_number_of_workers_changes_no_score(
    tuned: Path, checkpoint: str, tmp_path: Path
) -> None:
    result = command(checkpoint, tmp_path / "one", "--workers", "1")
    assert result.exit_code == 0, result.output
    columns = ["baseline", "trial", "setting", "translation", "writing", "mean", "best"]
    one, two = (pd.read_csv(d / "trials.csv")[columns] for d in (tmp_path / "one", tuned))
    pd.testing.assert_frame_equal(one, two)


def test_a_trial_that_fails_is_told_and_not_chosen(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rates of 1e30 stop meta-training: those trials fail, the last one is chosen."""
    kind = load("baseline", "fomaml")
    monkeypatch.setattr(kind, "search", {"inner_rate": (1e30, 1e-3), "inner_rule": ("sgd",)})
    plan: dict[str, Any] = {
        "suites": ["translation"],
        "baselines": ["fomaml"],
        "options": {"fomaml": {"inner_rate": 1e30, "inner_rule": "sgd"}},
        "backbone": checkpoint,
        "shots": [2],
        "queries": 2,
        "episodes": 1,
        "train_budget": 300,
        "max_new_tokens": 4,
    }
    told: list[str] = []
    made = tune({**plan, "out": str(tmp_path / "two")}, 2, told.append)
    assert [line.split(":")[0] for line in told if "failed" in line] == ["fomaml trial 0 failed"]
    charged = pd.read_csv(tmp_path / "two" / "trials.csv")["tokens"]
    assert charged[0] == 300, "the whole budget, for it ended before it told its cost"
    assert read_toml(made)["options"]["fomaml"]["inner_rate"] == 1e-3
    with pytest.raises(UserError, match="no trial of fomaml ended well"):
        tune({**plan, "out": str(tmp_path / "one")}, 1)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--baseline", "copy"], "unknown baseline with a search space 'copy'"),
        (["--baseline", "fomml"], "did you mean fomaml"),
        (["--baseline", "fomaml", "--trials", "999"], "fomaml has only"),
        (["--baseline", "fomaml", "--trials", "0"], "'--trials'"),
        (["pretrained.toml", "--baseline", "fomaml"], "every trial would pre-train anew"),
        (["--baseline", "fomaml", "--split", "meta-test"], "--split"),
    ],
)
def test_bad_words_are_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], told: str
) -> None:
    out = tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    Path("pretrained.toml").write_text("pretrain = { tokens = 1000 }")
    result = CliRunner().invoke(main, ["tune", *words, "--out", str(out)])
    assert result.exit_code == 2
    assert told in result.output
    assert not out.exists(), "a refused tuning leaves nothing"


def test_records_of_trials_are_those_of_runs(tuned: Path) -> None:
    for path in (tuned / "trials").rglob("*.jsonl"):
        header, records = read_cell(path)
        assert header["split"] == "meta-validation"
        assert len(records) == 1
    assert bench.leaderboard([tuned / "trials" / "fomaml-0"]).shape[0] == 2
