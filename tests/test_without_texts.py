"""Reports and exports of private data: with `--no-texts` no byte of them is of the data."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from bench.cli import main
from bench.exports import KINDS
from bench.exports.folder import files_in
from bench.exports.runs import read_run
from bench.records import Cell, read_cell, read_json, write_failure, write_json
from bench.tables import Row, leaderboard, read_rows
from bench.without_texts import kind_of, options_without_texts, without_texts
from tests.report_runs import floor_run, learner

MARK = "zqmarker"
SCORE = re.compile(r"\d+\.\d")


def fewgen(*words: object) -> Result:
    return CliRunner().invoke(main, [*map(str, words)])


def private_data(path: Path) -> str:
    """Eleven tasks, of which every text begins with the marker."""
    rows = [
        {
            **{key: f"{MARK} {key} {task} {number}" for key in ("input", "target", "id", "group")},
            "references": [f"{MARK} reference {task} {'so ' * number}", f"{MARK} {number} {task}"],
            "task": f"{MARK} client {task}",
            "task_split": "meta-test",
            "split": "train" if number < 5 else "test",
        }
        for task in range(11)
        for number in range(8)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Floors, a learner whose option is a prompt, and a failure that quotes the data."""
    folder = tmp_path_factory.mktemp("private")
    data = private_data(folder / "data.jsonl")
    root = floor_run(folder / "run", data=data, episodes=11, shots=[2])
    told = {"prompt": f"{MARK} translate", "words": [f"{MARK}-a"], "rate": 0.5}
    learner(root, "learner", "nearest", [3.0, 2.0], changed=told, options=told)
    head, _ = read_cell(next(root.rglob("nearest/*/*.jsonl")))
    cell = Cell("translation", "lead", 2, None, 0)
    write_failure(root, cell, {**head, "baseline": "lead"}, f"{MARK} is no number")
    content = read_json(root / "run.json")
    content["command"] = ["fewgen", "run", "--set", f"learner.prompt={MARK} translate"]
    content["plan"]["tasks"] = [f"{MARK} client 1"]
    content["plan"]["columns"] = {"input": f"{MARK}-column"}
    content["plan"]["baselines"] = ["copy", "nearest", "lead"]
    content["plan"]["options"] |= {"learner": told}
    write_json(root / "run.json", content)
    return root


def with_marker(folder: Path) -> list[str]:
    """The files whose bytes, or values in Parquet, hold the marker."""
    return [
        path.relative_to(folder).as_posix()
        for path in files_in(folder)
        if MARK.encode() in path.read_bytes()
        or (path.suffix == ".parquet" and MARK in pd.read_parquet(path).to_csv())
    ]


def scores(pages: Sequence[Path]) -> list[str]:
    """All scores of the pages' tables."""
    cells = [re.findall(r'<td class="number.*?</td>', page.read_text()) for page in pages]
    return [score for found in cells for cell in found for score in SCORE.findall(cell)]


def test_a_report_without_texts_has_all_scores_and_no_text(run: Path, tmp_path: Path) -> None:
    plain, bare = tmp_path / "plain", tmp_path / "bare"
    done = fewgen("report", run, "--out", plain)
    assert done.exit_code == 3, done.output  # a cell failed
    assert len(with_marker(plain)) > 11 * 2
    done = fewgen("report", run, "--out", bare, "--no-texts")
    assert done.exit_code == 3
    assert MARK not in done.output
    assert with_marker(bare) == []
    names = [path.relative_to(plain) for path in files_in(plain)]
    assert names == [path.relative_to(bare) for path in files_in(bare)]
    pages = [name for name in names if name.suffix == ".html"]
    assert scores([plain / name for name in pages]) == scores([bare / name for name in pages])
    index = (bare / "index.html").read_text()
    assert "an error, whose message is not shown" in index
    assert "learner (prompt = (not shown), words = (not shown), rate = 0.5)" in index
    page = (bare / "1-translation-k2" / "episodes" / "s0-0.html").read_text()
    assert "Query 2" in page
    assert "task 0" in page or "task 1" in page
    assert "without texts" in page
    assert ">output<" not in page


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_without_texts_has_none(kind: str, run: Path, tmp_path: Path) -> None:
    done = fewgen("export", run, "--to", kind, "--out", tmp_path / "plain")
    assert done.exit_code == 3, done.output
    assert with_marker(tmp_path / "plain") != []
    done = fewgen("export", run, "--to", kind, "--out", tmp_path / "bare", "--no-texts")
    assert done.exit_code == 3, done.output
    assert with_marker(tmp_path / "bare") == []
    assert MARK not in done.output
    assert files_in(tmp_path / "bare") != []


def test_data_and_slim_records_without_texts_have_the_same_numbers(
    run: Path, tmp_path: Path
) -> None:
    for kind in ("records", "datasets"):
        done = fewgen("export", run, "--to", kind, "--out", tmp_path / kind, "--no-texts")
        assert done.exit_code == 3, done.output
    assert read_run(tmp_path / "records").command == "unknown"
    whole, slim = leaderboard([run]), leaderboard([tmp_path / "records"])
    told = pd.read_parquet(tmp_path / "datasets" / "leaderboard.parquet")
    for column in whole.columns.drop(["options", "reason", "interval"]):
        for other in (slim, told):
            assert other[column].astype(str).tolist() == whole[column].astype(str).tolist(), column
    records = pd.read_parquet(tmp_path / "datasets" / "records.parquet")
    assert len(records) == 3 * 11 * 2
    assert sorted(records["query"].unique()) == [0, 1]
    assert records["prediction"].isna().all()
    assert records["statistics_chrf"].map(len).min() > 1


def test_tasks_are_numbered_in_the_order_of_their_names(run: Path) -> None:
    before, after = read_rows([run]), without_texts(read_rows([run]))
    pairs = {
        (a["task"], b["task"])
        for one, other in zip(before, after, strict=True)
        for a, b in zip(one.records(), other.records(), strict=True)
    }
    assert sorted(pairs) == [
        (name, f"task {number:02}")
        for number, name in enumerate(sorted(f"{MARK} client {i}" for i in range(11)), 1)
    ]


def test_what_a_suite_embeds_keeps_its_names(tmp_path: Path) -> None:
    root = floor_run(tmp_path / "run", episodes=2, queries=1)
    rows = read_rows([root])
    assert [r["task"] for row in without_texts(rows) for r in row.records()] == [
        r["task"] for row in rows for r in row.records()
    ]


def test_options_that_are_choices_are_shown() -> None:
    given = {"adapt": "lora", "inner_steps": 3, "inner_rate": 0.1}
    assert options_without_texts("maml", given) == given
    assert options_without_texts("maml", {"adapt": "my words"}) == {"adapt": "(not shown)"}
    assert options_without_texts("unknown", {"a": ["x"], "b": True}) == {
        "a": "(not shown)",
        "b": True,
    }


def test_a_reason_is_told_by_its_kind() -> None:
    assert kind_of("ValueError: 'my text' is bad") == "ValueError, whose message is not shown"
    assert kind_of("my text: ValueError: x") == "an error, whose message is not shown"


def test_rows_are_not_changed_in_place(run: Path) -> None:
    rows = read_rows([run])
    without_texts(rows)
    assert any(MARK in str(row.records()) for row in rows)
    assert isinstance(rows[0], Row)
