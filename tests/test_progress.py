"""What is said while a command works: what episodes cost, and how far it has come."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.context import Context
from bench.forecast import Cost, cost_of, costs, lines, pace_line
from bench.jobs import grid
from bench.plan import make_plan
from bench.progress import Standing, duration
from bench.progress import lines as progress_lines
from bench.records import Cell, read_cell
from bench.runner import execute


def plan(**more: Any) -> Any:
    small = {
        "suites": ["translation"],
        "baselines": ["nearest", "zero-shot", "in-context", "fine-tuned", "fomaml"],
        "shots": [2, 4],
        "queries": 3,
        "episodes": 2,
        "max_new_tokens": 4,
        "train_budget": 300,
    }
    return make_plan({**small, **more})


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.2149, "0.21 s"),
        (9.4, "9.4 s"),
        (9.96, "10 s"),
        (59.6, "1 min 0 s"),
        (370, "6 min 10 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_the_cost_of_an_episode(tmp_path: Path) -> None:
    """Steps and tokens are those that the run then records."""
    made = plan(shots=[4], baselines=["fomaml"], out=str(tmp_path / "run"))
    cell = Cell("translation", "fomaml", 4, 0, 0)
    found = cost_of(Context(made, tmp_path), cell)
    execute(made)
    _, (first, _) = read_cell(cell.path(tmp_path / "run"))
    assert found.steps == len(first["costs"]["inner_steps_ms"]) > 1
    assert found.tokens == first["costs"]["support_tokens"] > 4
    assert str(found) == (
        f"an episode (translation, 4 shots) takes {found.steps} inner steps on {found.tokens} "
        "support tokens, then 3 answers of at most 4 tokens"
    )


def test_a_line_for_all_that_costs_the_same(tmp_path: Path) -> None:
    context = Context(plan(options={"fine-tuned": {"inner_steps": 36}}), tmp_path)
    found = costs(context, grid(context))
    assert set(found) == {"zero-shot", "in-context", "fine-tuned", "fomaml"}, "not the floor"
    assert {cost.shots for name, cost in found.items() if name != "zero-shot"} == {4}, "the dearest"
    told = lines(found)
    assert len(told) == 3
    assert told[2].startswith(
        "fine-tuned, fomaml: an episode (translation, 4 shots) takes 36 inner"
    )
    assert "tokens of demonstrations" in told[1]
    assert "inner step" not in told[0]


def test_a_backbone_that_is_yet_to_be_trained_counts_no_tokens(tmp_path: Path) -> None:
    context = Context(plan(pretrain={"tokens": 100}, baselines=["fine-tuned"]), tmp_path)
    (line,) = lines(costs(context, grid(context)))
    assert re.search(r"takes \d+ inner steps on 4 examples, then 3 answers", line)


def test_what_a_run_says_of_its_costs(tmp_path: Path) -> None:
    """Before anything is worked on, and once after the first batch of each baseline."""
    said: list[str] = []
    done: list[str] = []

    def progress(share: float, total: float = 1.0, detail: str = "") -> None:
        done.append(detail)

    made = plan(baselines=["nearest", "zero-shot", "fine-tuned"], out=str(tmp_path / "run"))
    execute(made, said.append, progress)
    before = [line for line in said if "an episode (" in line]
    after = [line for line in said if " s an episode, about " in line]
    assert len(before) == len(after) == 2
    assert said.index(before[-1]) < said.index(after[0])
    assert [line.split(":")[0] for line in after] == ["zero-shot", "fine-tuned"]
    assert all(line.endswith("for its 4 episodes") for line in after), "two cells of two"
    assert done[-1] == "6 of 6 cells done, 0 running"
    assert any(re.fullmatch(r"[1-5] of 6 cells done, [12] running", detail) for detail in done)
    again: list[str] = []
    execute(made, again.append)
    assert not again, "nothing is left, nothing will cost"


def test_the_pace() -> None:
    assert pace_line("fomaml", 12.34, 96) == (
        "fomaml: 12 s an episode, about 19 min 45 s for its 96 episodes"
    )
    assert Cost("s", 1, 1, 2, 0, 1, 9).work == 3 * 2 + 9


def test_a_line_tells_share_cells_and_time_left() -> None:
    now = 100.0
    standing = Standing("fewgen run quick", lambda: now)
    standing.update(0, 4, "0 of 8 cells done, 2 running")
    assert standing.line() == "fewgen run quick: 0 %, 0 of 8 cells done, 2 running"
    now = 130.0
    standing.update(1, 4, "2 of 8 cells done, 2 running")
    told = "fewgen run quick: 25 %, 2 of 8 cells done, 2 running, about 1 min 30 s left"
    assert standing.line() == told


def test_lines_come_by_themselves_and_end_with_the_block() -> None:
    """Every 20 ms, also where nothing new is heard; none before there is work."""
    written: list[str] = []
    with progress_lines("fewgen", written.append, every=0.02) as update:
        time.sleep(0.1)
        assert not written
        update(1, 2, "1 of 2 cells done")
        deadline = time.monotonic() + 20
        while len(written) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    count = len(written)
    assert count >= 3
    assert all(line.startswith("fewgen: 50 %, 1 of 2 cells done, about ") for line in written)
    assert all(line.endswith("left\n") for line in written)
    time.sleep(0.1)
    assert len(written) == count


PLAN = """
suite = "translation"
baseline = "fine-tuned"
shots = 2
episodes = 400
workers = 1
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status", "word"),
    [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "inter")],
)
def test_a_request_to_end_says_how_to_go_on(
    tmp_path: Path, number: int, status: int, word: str
) -> None:
    """To the whole group of processes, as a terminal and a scheduler send it. Workers end too."""
    (tmp_path / "p.toml").write_text(PLAN)
    with subprocess.Popen(
        [sys.executable, "-m", "bench.cli", "run", "p.toml", "--out", "run"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr
        line = ""
        while "an episode, about" not in line:  # it works
            line = process.stderr.readline()
            assert line, "it ended before"
        os.killpg(process.pid, number)
        rest = process.stderr.read()
        assert process.wait(60) == status
    assert rest.splitlines()[-1].startswith(word)
    assert "to go on, run the same command again (run)" in rest
    assert not list((tmp_path / "run").rglob("*.failed.json")), "a worker that ends is no failure"
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
