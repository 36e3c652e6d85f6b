"""`fewgen compare` where one side lacks something: what head lacks never passes."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import t

from bench.clocks import Clock, speed
from bench.gate import Loss
from bench.matched import Pair
from bench.outcome import Outcome, judge
from bench.records import Cell, write_cell, write_failure
from bench.statistics import Estimate
from bench.verdicts import as_junit, as_markdown, as_text
from tests.runs import header
from tests.test_compare import (
    FULL,
    HALF,
    MIXED,
    TASKS,
    add,
    command,
    describe,
    records,
    rounds,
    saved,
)

ROW = "translation / maml / K = 8"
META = {"init": "meta-trained"}


def plan(baselines: Sequence[str], **more: Any) -> dict[str, Any]:
    return {"suites": ["translation"], "baselines": list(baselines), "shots": [8], **more}


def two_runs(tmp_path: Path) -> tuple[Path, Path]:
    """Equal runs of a floor, to which rows are added."""
    return add(tmp_path / "a", FULL, "lead"), add(tmp_path / "b", FULL, "lead")


def test_a_cell_that_head_did_not_finish_is_inconclusive(tmp_path: Path) -> None:
    base, head = two_runs(tmp_path)
    for seed in (0, 1):
        add(base, FULL, "maml", train_seed=seed)
    add(head, FULL, "maml", train_seed=0)
    done = command(base, head, "--json", tmp_path / "found.json")
    assert done.exit_code == 3, done.output
    assert f"not finished in head: {ROW}: train seed 1 seed 0" in done.output
    assert "quality: what is not finished in head, listed below, is needed" in done.output
    found = json.loads((tmp_path / "found.json").read_text())
    cells = {cell["name"]: cell for cell in found["quality"]["cells"]}
    assert not cells[ROW]["complete"]
    assert cells[ROW]["verdict"] == "inconclusive"
    assert cells["translation / lead / K = 8"]["verdict"] == "pass"
    assert command(head, base).exit_code == 0
    describe(head, train_seeds=[0])  # its own plan asks for no more
    done = command(base, head)
    assert done.exit_code == 0, done.output
    assert f"left out: only in base: {ROW}: train seed 1 seed 0" in done.output


def test_a_loss_in_what_head_did_finish_is_still_a_regression(tmp_path: Path) -> None:
    base, head = two_runs(tmp_path)
    for seed in (0, 1):
        add(base, FULL, "maml", train_seed=seed)
    add(head, HALF, "maml", train_seed=0)
    assert command(base, head).exit_code == 1


def test_a_failed_cell_beside_an_unfinished_one_is_told_as_failed(tmp_path: Path) -> None:
    base, head = two_runs(tmp_path)
    for seed in (0, 1):
        add(base, FULL, "maml", train_seed=seed, **META)
    write_failure(head, Cell("translation", "maml", 8, 1, 0), header(**META), "loss is NaN")
    done = command(base, head)
    assert done.exit_code == 1
    assert f"failed in head: {ROW}: loss is NaN" in done.output
    assert f"not finished in head: {ROW}: train seed 0 seed 0" in done.output
    assert f"{ROW}: train seed 1" not in done.output


def test_a_row_that_head_never_began_is_inconclusive(tmp_path: Path) -> None:
    base, head = two_runs(tmp_path)
    add(base, FULL, "maml", train_seed=0)
    describe(head, **plan(["lead", "maml"]))
    done = command(base, head, "--json", tmp_path / "found.json", "--junit", tmp_path / "j.xml")
    assert done.exit_code == 3, done.output
    assert f"not finished in head: {ROW}\n" in done.output
    (line,) = [line for line in done.output.splitlines() if f"  {ROW}" in line]
    assert line.startswith("inconclusive")
    assert line.count("unknown") == 3
    cells = json.loads((tmp_path / "found.json").read_text())["quality"]["cells"]
    cell = next(cell for cell in cells if cell["name"] == ROW)
    assert cell["base"] == pytest.approx(100)
    assert cell["head"] is cell["loss"] is cell["upper"] is None
    assert "head has none; chrf 100.00 in base" in (tmp_path / "j.xml").read_text()
    describe(head, **plan(["lead"]))
    done = command(base, head)
    assert done.exit_code == 0
    assert f"left out: only in base: {ROW}" in done.output


def test_a_row_on_other_data_is_left_out(tmp_path: Path) -> None:
    base, head = two_runs(tmp_path)
    add(base, FULL, "maml", train_seed=0), add(head, FULL, "maml", train_seed=0, revision="2")
    describe(head, **plan(["lead", "maml"], train_seeds=[0]))
    done = command(base, head)
    assert done.exit_code == 0, done.output
    assert f"left out: only in base: {ROW} (embedded, revision 1" in done.output
    assert f"left out: only in head: {ROW} (embedded, revision 2" in done.output


def test_a_cell_of_fewer_episodes_than_planned_is_inconclusive(tmp_path: Path) -> None:
    base, head = add(tmp_path / "a", FULL), add(tmp_path / "b", FULL[:-2])
    for episodes, code in ((TASKS - 2, 0), (TASKS, 3)):
        describe(head, episodes=episodes)
        assert command(base, head).exit_code == code
    done = command(base, head)
    row = "translation / fine-tuned / K = 8"
    assert f"not finished in head: {row}: seed 0: 8 of 10 episodes" in done.output


@pytest.mark.parametrize("wrong", [{"episodes": "8"}, {"baselines": None}, {"shots": 8}])
def test_a_plan_that_cannot_be_read_exits_with_2(wrong: dict[str, Any], tmp_path: Path) -> None:
    base, head = two_runs(tmp_path)
    add(base, FULL, "maml", train_seed=0)
    describe(head, **{**plan(["lead", "maml"]), **wrong})
    done = command(base, head)
    assert done.exit_code == 2
    assert f"damaged, its plan has {next(iter(wrong))} = " in done.output
    assert "Traceback" not in done.output


def test_a_cell_that_failed_in_both_is_noted(tmp_path: Path) -> None:
    base, head = two_runs(tmp_path)
    for side, reason in ((base, "no memory"), (head, "loss is NaN")):
        write_failure(side, Cell("translation", "maml", 8, 0, 0), header(**META), reason)
        describe(side, train_seeds=[0])
    done = command(base, head)
    assert done.exit_code == 0, done.output
    line = f"failed in base and head: {ROW}: train seed 0 seed 0: loss is NaN"
    assert line in done.output.splitlines()


def test_one_training_is_said_to_be_one(tmp_path: Path) -> None:
    base, head = two_runs(tmp_path)
    for seed in (0, 1):
        add(base, MIXED, "maml", train_seed=seed), add(head, FULL, "maml", train_seed=seed)
    assert "one train seed" not in command(base, head).output
    for side in (base, head):
        Cell("translation", "maml", 8, 1, 0).path(side).unlink()
        describe(side, train_seeds=[0])
    done = command(base, head)
    assert f"one train seed of {ROW}: the bounds are conditional on that training" in done.output
    assert "fewgen power --margin" in done.output


def adapted(tmp_path: Path, base: Sequence[int] = (), head: Sequence[int] = ()) -> Any:
    """Three rounds; those named did not time the adaptation."""
    zeros: list[float | None] = [0.0] * 3
    old, new = (
        rounds(tmp_path / side, 1.0, zeros, lacking) for side, lacking in (("a", base), ("b", head))
    )
    return speed(old, new, 0.5)


@pytest.mark.parametrize("lacking", [[1], [0, 1, 2]])
def test_a_clock_that_head_lost_is_inconclusive(lacking: list[int], tmp_path: Path) -> None:
    timed = adapted(tmp_path, head=lacking)
    assert timed.unmeasured == ["fine-tuned adapt: translation / fine-tuned / K = 8"]
    _, judged = judge(clocks=timed.clocks)
    assert judged
    cells = {line.name: line.verdict for line in judged.lines}
    assert cells == {"fine-tuned adapt": "inconclusive", "fine-tuned generate a token": "pass"}
    outcome = Outcome("a", "b", speed=judged, unmeasured=timed.unmeasured)
    assert outcome.exit_code == 3
    for shown in (as_text(outcome), as_markdown(outcome)):
        assert "not measured in head: fine-tuned adapt" in shown
        assert "unknown %" not in shown


def test_a_clock_that_stands_still_in_head_is_inconclusive(tmp_path: Path) -> None:
    base = rounds(tmp_path / "a", 1.0, [0.0] * 3)
    head = rounds(tmp_path / "b", 0.0, [0.0] * 3)
    timed = speed(base, head, 0.5)
    assert [line.split(":")[0] for line in timed.unmeasured] == ["fine-tuned adapt"]


def test_a_clock_lost_in_one_row_leaves_its_cell_incomplete(tmp_path: Path) -> None:
    base = rounds(tmp_path / "a", 1.0, [0.0] * 3)
    head = rounds(tmp_path / "b", 1.0, [0.0] * 3)
    for place in base:
        write_cell(place, Cell("dialogue", "fine-tuned", 8, None, 0), header(), records(FULL, 0.0))
    timed = speed(base, head, 0.5)
    row = "dialogue / fine-tuned / K = 8"
    assert timed.unmeasured == [
        f"fine-tuned adapt: {row}", f"fine-tuned generate a token: {row}"
    ]  # fmt: skip
    clock = next(clock for clock in timed.clocks if clock.name == "fine-tuned adapt")
    assert clock.loss.estimate.value == pytest.approx(0)  # of the row that both have
    assert not clock.loss.complete
    _, judged = judge(clocks=timed.clocks)
    assert judged
    assert judged.verdict == "inconclusive"


def test_nothing_timed_in_head_is_inconclusive(tmp_path: Path) -> None:
    base = rounds(tmp_path / "a", 1.0, [0.0] * 2)
    head = [add(tmp_path / f"b{i}", FULL, "other") for i in range(2)]
    _, judged = judge(clocks=speed(base, head, 0.5).clocks)
    assert judged
    assert {line.verdict for line in judged.lines} == {"inconclusive"}


def test_what_base_did_not_time_is_a_note(tmp_path: Path) -> None:
    row = "fine-tuned adapt: translation / fine-tuned / K = 8"
    timed = adapted(tmp_path / "some", base=[2])
    assert timed.notes == [f"{row}: not timed in every round of base; not compared"]
    assert [clock.name for clock in timed.clocks] == ["fine-tuned generate a token"]
    assert not timed.unmeasured
    timed = adapted(tmp_path / "all", base=[0, 1, 2])
    assert timed.notes == [f"{row}: timed in head only; not compared"]


def test_a_base_that_timed_some_rounds_only_is_not_called_unmeasured(tmp_path: Path) -> None:
    head = rounds(tmp_path / "b", 1.0, [0.0] * 2)
    base = [head[0], add(tmp_path / "a", FULL, "other")]
    _, judged = judge(clocks=speed(base, head, 0.5).clocks)
    assert judged
    assert "fine-tuned adapt" in {line.name for line in judged.lines}
    assert judged.verdict == "inconclusive"


def test_quality_and_speed_are_one_family() -> None:
    pair = Pair("row", "chrf", 50, 48, Loss(Estimate(2.0, 1.0, 9), 0.5), 3, 10, 0)
    slow = Loss(Estimate(0.25, 0.1, 9), 0.1)
    clocks = [Clock(name, (10.0,) * 10, (12.8,) * 10, slow) for name in ("adapt", "train")]
    ps = [t.sf(2.0, 9), t.sf(2.5, 9)]
    alone, none = judge([pair])
    assert none is None
    assert alone
    assert alone.lines[0].p_adjusted == pytest.approx(ps[0])
    assert alone.verdict == "regression"
    quality, speeds = judge([pair], clocks)
    assert quality
    assert speeds
    assert speeds.lines[0].p_adjusted == pytest.approx(3 * ps[1])
    assert quality.lines[0].p_adjusted == pytest.approx(3 * ps[1])  # Holm's steps never fall
    assert (quality.verdict, speeds.verdict) == ("inconclusive", "inconclusive")
    assert judge() == (None, None)


def test_what_would_decide_quality_does_not_ask_for_speed() -> None:
    pair = Pair("row", "chrf", 50, 50, Loss(Estimate(0.0, 1.0, 9), 0.5), 3, 10, 0)
    clock = Clock("adapt", (10.0,), (10.0,), Loss(Estimate(0.0, math.inf, 1), 0.1))
    quality, speeds = judge([pair], [clock])
    assert quality
    assert speeds
    assert quality.needed is not None
    assert "more episodes a cell" in quality.advice
    assert speeds.needed is None
    assert "one round shows no spread" in speeds.advice


def test_bounds_are_said_to_be_one_sided(tmp_path: Path) -> None:
    base, head = add(tmp_path / "a", FULL), add(tmp_path / "b", HALF)
    files = tmp_path / "m.md", tmp_path / "j.xml"
    done = command(base, head, "--markdown", files[0], "--junit", files[1])
    for text in (done.output, *(path.read_text() for path in files)):
        assert "one-sided 95 % bounds" in text


def test_absurd_times_are_shown_as_they_are() -> None:
    clock = Clock("adapt", (1e-300,), (1e308,), Loss(Estimate(1400.0, math.inf, 1.0), 0.1))
    outcome = Outcome("a", "b", speed=judge(clocks=[clock])[1])
    shown = as_text(outcome)
    assert "+inf %" in shown
    assert "1e+308" in shown
    assert "1400" not in shown
    assert max(map(len, shown.splitlines())) < 200
    assert "+inf %" in as_junit(outcome)


def test_a_file_beside_a_directory_is_told_as_what_it_is(tmp_path: Path) -> None:
    run, table = add(tmp_path / "a", FULL), tmp_path / "table.csv"
    table.write_text("a,b\n")
    times = saved(tmp_path / "times.json", {"loop": [1.0, 2.0]})
    for pair in ((table, run), (run, table), (table, table)):
        done = command(*pair)
        assert done.exit_code == 2
        assert f"{table}: no JSON" in done.output
        assert "JSON of pytest-benchmark is needed, or two run directories" in done.output
    done = command(run / "run.json", times)
    assert f"{run / 'run.json'}: it holds no benchmarks; JSON of pytest-" in done.output
    for pair in ((times, run), (run, times)):
        done = command(*pair)
        assert done.exit_code == 2
        assert f"{run}: it is a directory, and {times} is JSON of pytest-benchmark" in done.output
    done = command(times, tmp_path / "none")
    assert done.exit_code == 2
    assert f"{tmp_path / 'none'}: there is no such file" in done.output
