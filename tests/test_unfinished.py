"""What a plan asks for and a directory lacks is named by every command that reads runs."""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bench.cli import main
from bench.publish import READ, render, to_markdown
from bench.records import Cell, read_json, write_failure, write_json
from bench.tables import leaderboard, ranked, read_rows
from bench.unfinished import planned_rows, unfinished
from tests.runs import header, write_run

SHARES = {"zero-shot": 0.9, "in-context": 0.5, "fine-tuned": 0.2}
RECORDS = Path(__file__).parent.parent / "results" / "records" / "quick"


def command(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def asks_for(root: Path, **keys: Any) -> Path:
    """Adds keys to the plan of a run directory."""
    run = read_json(root / "run.json")
    plan = {"suites": ["translation"], "baselines": list(SHARES), "shots": [8], **run["plan"]}
    write_json(root / "run.json", {**run, "plan": {**plan, **keys}})
    return root


def killed(root: Path, shares: Mapping[str, float] = SHARES, **more: Any) -> Path:
    """A run of which some baselines ended and `copy` and `maml`, for two train seeds, did not
    begin."""
    write_run(root, shares, seeds=(0, 1), **more)
    return asks_for(root, baselines=[*shares, "copy", "maml"], train_seeds=[0, 1])


def test_a_row_that_no_cell_is_of_is_in_the_table(tmp_path: Path) -> None:
    root = killed(tmp_path / "run")
    table = leaderboard([root]).set_index("baseline")
    assert set(table.index) == {*SHARES, "copy", "maml"}
    assert table["block"].nunique() == 1
    assert table["missing"].to_dict() == {**dict.fromkeys(SHARES, 0), "copy": 2, "maml": 4}
    assert table["group"].loc[["copy", "maml"]].tolist() == ["", ""]
    assert (table.loc["maml", "order"], table.loc["copy", "init"]) == ("2", "none")
    for text in map(str, (render(kind, leaderboard([root])) for kind in READ)):
        assert "maml: 4 cell(s) missing" in text
        assert "This table is incomplete" in text
    whole = write_run(tmp_path / "whole", SHARES, seeds=(0, 1))
    shared = ["chrf", "to_best", "group"]
    alone = leaderboard([whole]).set_index("baseline")
    assert table.loc[list(SHARES), shared].equals(alone.loc[list(SHARES), shared])
    assert "incomplete" not in to_markdown(leaderboard([whole]))


@pytest.mark.parametrize(
    "words",
    [
        ["leaderboard"],
        ["leaderboard", "--pivot", "suite"],
        ["paired"],
        ["variance"],
        ["power", "--difference", "1"],
        ["export", "--to", "every-eval-ever", "--out", "OUT"],
        ["report", "--out", "OUT"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_every_command_names_it_and_ends_with_3(tmp_path: Path, words: Sequence[str]) -> None:
    root = killed(tmp_path / "run")
    done = command(*[tmp_path / "out" if word == "OUT" else word for word in words], root)
    assert done.exit_code == 3, done.output
    assert "unfinished: translation / copy / K = 8: missing: seed 0, seed 1" in done.stderr
    assert "unfinished: translation / maml / K = 8: missing: 4 of 4 cells" in done.stderr


def test_a_whole_run_ends_with_0(tmp_path: Path) -> None:
    root = asks_for(write_run(tmp_path / "run", SHARES))
    done = command("leaderboard", root)
    assert (done.exit_code, done.stderr) == (0, "")


def test_failed_and_half_finished_rows_are_named(tmp_path: Path) -> None:
    root = asks_for(write_run(tmp_path / "run", SHARES, seeds=(0, 1)))
    cells = [Cell("translation", "fine-tuned", 8, None, seed) for seed in (0, 1)]
    for cell in cells:
        cell.path(root).unlink()
    write_failure(root, cells[0], header(), "the loss is nan")
    assert unfinished([root]) == [
        "translation / fine-tuned / K = 8: failed: seed 0",
        "translation / fine-tuned / K = 8: missing: seed 1",
    ]
    (line,) = leaderboard([root]).query("baseline == 'fine-tuned'").to_dict("records")
    assert (line["failed"], line["missing"]) == (1, 1)


def test_a_suite_of_which_nothing_ended_is_a_table_behind_the_others(tmp_path: Path) -> None:
    root = asks_for(write_run(tmp_path / "run", SHARES), suites=["dialogue", "translation"])
    first, second = ranked([root])
    assert {row.header["suite"] for row in first.rows} == {"translation"}
    assert [row.missing for row in second.rows] == [1, 1, 1]
    assert "dialogue (embedded" in to_markdown(leaderboard([root]))


def test_what_another_directory_holds_is_not_lacking(tmp_path: Path) -> None:
    one = killed(tmp_path / "one")
    two = asks_for(
        write_run(tmp_path / "two", {"copy": 0.1}, seeds=(0, 1), init="none"), baselines=["copy"]
    )
    assert [line.split(" / ")[1] for line in unfinished([one])] == ["copy", "maml"]
    assert [line.split(" / ")[1] for line in unfinished([one, two])] == ["maml"]
    rows = {row.header["baseline"]: row for row in planned_rows([one, two])}
    assert rows["copy"].complete
    assert len(rows) == 5


def test_plans_without_these_keys_and_committed_records_are_read_as_before(tmp_path: Path) -> None:
    root = write_run(tmp_path / "run", SHARES)
    assert unfinished([root]) == unfinished([RECORDS]) == []
    for directory in (root, RECORDS):
        assert len(planned_rows([directory])) == len(read_rows([directory]))
        table = leaderboard([directory])
        assert not {"apart", "made_otherwise"} & set(table.columns)


def test_a_cell_that_failed_here_and_ended_or_failed_there_is_one_cell(tmp_path: Path) -> None:
    cell = Cell("translation", "fine-tuned", 8, None, 0)
    done = write_run(tmp_path / "done", SHARES)
    for name in ("a", "b"):
        write_failure(tmp_path / name, cell, header(), f"lost in {name}")
        write_json(tmp_path / name / "run.json", {"plan": {"seeds": [0], "train_seeds": [0]}})

    def line(*names: str) -> dict[str, Any]:
        frame = leaderboard([tmp_path / name for name in names])
        (found,) = frame.query("baseline == 'fine-tuned'").to_dict("records")
        return {str(key): value for key, value in found.items()}

    both = line("a", "b")
    assert (both["missing"], both["failed"], both["reason"]) == (0, 1, "lost in a")
    for order in (("a", "done"), ("done", "a")):
        ended = line(*order)
        assert (ended["missing"], ended["failed"], ended["episodes"]) == (0, 0, 12)
        assert ended["group"], "it is ranked"
    assert done.is_dir()


def test_a_row_that_lacks_a_seed_says_why_it_is_in_another_table(tmp_path: Path) -> None:
    write_run(tmp_path / "two", {"zero-shot": 0.9, "in-context": 0.5}, seeds=(0, 1))
    write_run(tmp_path / "one", {"fine-tuned": 0.2}, seeds=(0,))
    text = to_markdown(leaderboard([tmp_path / "two", tmp_path / "one"]))
    assert text.count("A table of its own:") == 1
    found = re.search(r"A table of its own: unlike in table 1, seeds = (.*)[.]", text)
    assert found
    assert found[1] in ("0 (there 0,1)", "0,1 (there 0)")


def test_data_that_changed_without_a_revision_says_so(tmp_path: Path) -> None:
    root = write_run(tmp_path / "a", {"zero-shot": 0.9})
    other = write_run(tmp_path / "b", {"in-context": 0.9}, queries=2)
    text = to_markdown(leaderboard([root, other]))
    assert "its episodes differ from those of table 1" in text


def made_with(root: Path, **more: Any) -> Path:
    run = read_json(root / "run.json")
    packages = {
        "fewgen": "0.1.0",
        "torch": "2.13",
        "sacrebleu": "2.6.0",
        **more.pop("packages", {}),
    }
    git = {"commit": "a" * 40, "dirty": False, **more}
    write_json(root / "run.json", {**run, "packages": packages, "git": git})
    return root


def test_directories_of_other_versions_are_marked(tmp_path: Path) -> None:
    def caption(**more: Any) -> str:
        for name in ("a", "b"):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
        one = made_with(write_run(tmp_path / "a", {"zero-shot": 0.9}))
        two = made_with(write_run(tmp_path / "b", {"in-context": 0.5}), **more)
        lines = to_markdown(leaderboard([one, two])).splitlines()
        return "".join(line for line in lines if line.startswith("Made with different"))

    assert caption() == ""
    assert caption(packages={"torch": "2.14"}) == (
        "Made with different code or libraries: torch 2.13 (a), 2.14 (b)."
    )
    assert "sacrebleu 2.6.0 (a), 2.5.1 (b)" in caption(packages={"sacrebleu": "2.5.1"})
    # An old run that tells no packages is not called alike.
    assert "pandas unknown (a), 3.1 (b)" in caption(packages={"pandas": "3.1"})
    assert "commit aaaaaaaaaaaa (a), bbbbbbbbbbbb (b)" in caption(commit="b" * 40)
    assert "aaaaaaaaaaaa with changes (b)" in caption(dirty=True)
    assert json.loads((tmp_path / "b" / "run.json").read_text())["git"]["dirty"]


def test_a_backbone_of_other_files_is_marked(tmp_path: Path) -> None:
    """The weights are one, the tokenizer cuts otherwise."""
    runs = [write_run(tmp_path / "a", {"copy": 0.9}), write_run(tmp_path / "b", {"lead": 0.5})]
    for directory, digest in zip(runs, ("1", "2"), strict=True):
        run = json.loads((directory / "run.json").read_text())
        run["facts"] = {"backbone": "gpt2-12", "backbone_files": digest}
        (directory / "run.json").write_text(json.dumps(run))
    shown = to_markdown(leaderboard(runs))
    assert "files of backbone gpt2-12 differ (a and b)" in shown
