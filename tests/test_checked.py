"""Cells that say what no run says are refused, with the file and the place in it."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.errors import UserError
from bench.records import Cell, read_cell
from bench.streams import digest_of
from tests.runs import write_run

COMMANDS = (["leaderboard"], ["paired"], ["variance"], ["power", "--difference", "1"])


def forged(root: Path, change: Any) -> Path:
    """The first cell of a run, changed and signed anew."""
    path = Cell("translation", "good", 8, None, 0).path(root)
    header, records = read_cell(path)
    change(header, records)
    lines = [{"sha256": digest_of(header, records), "cell": header}, *records]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", {"good": 0.9, "fair": 0.7})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda h, r: r[3]["statistics"]["rougeL"][0].__setitem__(0, math.nan),
            "statistics.rougeL.0",
        ),
        (lambda h, r: r[3]["statistics"]["chrf"][0].__setitem__(0, math.inf), "statistics.chrf.0"),
        (lambda h, r: r[3]["statistics"].pop("chrf"), "statistics of chrf are missing"),
        (lambda h, r: r[3]["statistics"]["chrf"][1].pop(), "of several lengths"),
        (lambda h, r: r[3].pop("statistics"), "records.3.statistics"),
        (lambda h, r: r[3].__setitem__("digest", None), "records.3.digest"),
        (lambda h, r: r[3].__setitem__("index", 2), "an episode is there twice"),
        (lambda h, r: h.pop("signatures"), "header.signatures"),
        (lambda h, r: r.clear(), "records"),
        (lambda h, r: h.__setitem__("baseline", "../../../../evil"), "holds the records of"),
        (lambda h, r: h.__setitem__("shots", 4), "holds the records of"),
    ],
)
def test_what_no_run_writes_is_refused_by_whoever_reads(run: Path, change: Any, told: str) -> None:
    path = forged(run, change)
    with pytest.raises(UserError, match=told) as found:
        read_cell(path)
    assert str(path) in found.value.message
    for words in COMMANDS:
        done = CliRunner().invoke(main, [*words, str(run)])
        assert done.exit_code == 2, words
        assert told in done.output
    out = run.parent / "slim"
    done = CliRunner().invoke(main, ["export", str(run), "--to", "records", "--out", str(out)])
    assert done.exit_code == 2
    assert sorted(run.parent.iterdir()) == [run]


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_what_is_no_file_is_told_in_one_line(run: Path, kind: str) -> None:
    path = Cell("translation", "good", 8, None, 0).path(run)
    path.unlink()
    path.mkdir() if kind == "folder" else path.symlink_to(run / "nowhere")
    done = CliRunner().invoke(main, ["leaderboard", str(run)])
    assert done.exit_code == 2
    assert f"{path}: cannot be read" in done.output


def test_seeds_of_a_plan_are_integers(run: Path) -> None:
    (run / "run.json").write_text(json.dumps({"plan": {"seeds": None, "train_seeds": [0]}}))
    assert "holds no plan" in CliRunner().invoke(main, ["leaderboard", str(run)]).output
    (run / "run.json").write_text(json.dumps({"plan": {"seeds": ["0"], "train_seeds": [0]}}))
    assert "seeds are integers" in CliRunner().invoke(main, ["leaderboard", str(run)]).output


def test_episodes_of_other_tasks_do_not_stand_together(run: Path) -> None:
    """Whatever their digests say."""
    forged(run, lambda header, records: [r.__setitem__("task", f"x{r['index']}") for r in records])
    done = CliRunner().invoke(main, ["leaderboard", str(run), "--format", "json"])
    assert {line["block"] for line in json.loads(done.output)} == {"1", "2"}
