"""`fewgen compare` on directories and files: exit statuses, what is told, what others read."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import sacrebleu
from click.testing import CliRunner, Result

from bench.benchmark_json import content
from bench.cli import main
from bench.clocks import speed
from bench.outcome import Outcome
from bench.records import Cell, write_cell, write_failure, write_json
from bench.verdicts import as_junit, as_markdown, as_text
from tests.runs import METRICS, header

TASKS = 10
REFERENCE = "the goat sees a red lamp near the river at night {}"
HOSTILE = 'a|b<script>]]>\x1b[2J\x00"&[x](http://e.e)`@all\n# \ud800 \uffff'


def command(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, words)])


def records(words: Sequence[int], waited: float | None = 1.0) -> list[dict[str, Any]]:
    """Episodes whose answers have the first so many words right."""
    found = []
    for index, count in enumerate(words):
        reference = REFERENCE.format(index)
        text = " ".join(reference.split()[:count])
        costs = {
            "adapt_ms": 21.0,
            "adapt_waited_ms": waited,
            "inner_steps_ms": [2.0],
            "generate_ms": 11.0,
            "generate_waited_ms": waited,
            "generated_tokens": 10,
        }
        found.append(
            {
                "index": index,
                "task": f"t{index}",
                "seed": 0,
                "digest": f"d{index}",
                "predictions": [text],
                "statistics": {m.name: [m.statistics(text, [reference])] for m in METRICS},
                "costs": costs,
            }
        )
    return found


def add(
    root: Path,
    words: Sequence[int],
    baseline: str = "fine-tuned",
    plan: dict[str, Any] | None = None,
    train_seed: int | None = None,
    **more: Any,
) -> Path:
    cell = Cell("translation", baseline, 8, train_seed, 0)
    write_cell(root, cell, header(**more), records(words))
    describe(root, **(plan or {}))
    return root


def describe(root: Path, **plan: Any) -> None:
    write_json(root / "run.json", {"plan": {"seeds": [0], "train_seeds": [0, 1], **plan}})


FULL, HALF = [12] * TASKS, [5, 6, 5, 4, 5, 6, 5, 4, 5, 6]
MIXED = [11, 5, 11, 10, 4, 11, 11, 6, 11, 11]


def test_identical_runs_pass(tmp_path: Path) -> None:
    base, head = add(tmp_path / "a", MIXED), add(tmp_path / "b", MIXED)
    done = command(base, head, "--quality-margin", "0")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("pass: quality pass, speed not measured\n")


def test_a_spoiled_head_is_a_regression_and_the_other_way_a_pass(tmp_path: Path) -> None:
    base, head = add(tmp_path / "a", FULL), add(tmp_path / "b", HALF)
    found = tmp_path / "found.json"
    done = command(base, head, "--json", found)
    assert done.exit_code == 1, done.output
    assert done.output.startswith("regression: quality regression")
    cell = json.loads(found.read_text())["quality"]["cells"][0]
    texts = [" ".join(REFERENCE.format(i).split()[:n]) for i, n in enumerate(HALF)]
    references = [REFERENCE.format(i) for i in range(TASKS)]
    score = sacrebleu.corpus_chrf(texts, [references]).score
    assert (cell["verdict"], cell["count"]) == ("regression", TASKS)
    assert cell["base"] == pytest.approx(100)
    assert cell["head"] == pytest.approx(score)
    assert cell["loss"] == pytest.approx(cell["base"] - cell["head"])
    assert 0 < cell["lower"] < cell["loss"] < cell["upper"]
    assert command(head, base).exit_code == 0


def test_little_data_is_inconclusive_and_says_what_would_decide(tmp_path: Path) -> None:
    other = [5, 11, 10, 11, 11, 4, 6, 11, 11, 11]
    base, head = add(tmp_path / "a", MIXED), add(tmp_path / "b", other)
    done = command(base, head)
    assert done.exit_code == 3, done.output
    assert "more episodes a cell" in done.output


def test_one_task_shows_no_spread(tmp_path: Path) -> None:
    base, head = add(tmp_path / "a", [12]), add(tmp_path / "b", [2])
    found = tmp_path / "found.json"
    done = command(base, head, "--json", found)
    assert done.exit_code == 3, done.output
    assert "one task shows no spread" in done.output
    assert json.loads(found.read_text())["quality"]["cells"][0]["upper"] is None


def losing(tmp_path: Path, tasks: int) -> tuple[Path, Path]:
    """Runs whose episodes all have the same texts, so that every task loses the same."""
    sides = []
    for name, count in (("a", 12), ("b", 6)):
        root = add(tmp_path / name, [count] * tasks)
        cell = Cell("translation", "fine-tuned", 8, None, 0)
        same = [{**r, "index": i, "task": f"t{i}"} for i, r in enumerate(records([count]) * tasks)]
        write_cell(root, cell, header(), same)
        sides.append(root)
    return sides[0], sides[1]


@pytest.mark.parametrize(("tasks", "code"), [(2, 3), (4, 3), (5, 1), (12, 1)])
def test_equal_losses_are_called_where_sign_flips_allow_it(
    tasks: int, code: int, tmp_path: Path
) -> None:
    """One-sided: 1 / 2^5 is below 5 %, 1 / 2^4 is not."""
    found = tmp_path / "found.json"
    done = command(*losing(tmp_path, tasks), "--json", found)
    assert done.exit_code == code, done.output
    cell = json.loads(found.read_text())["quality"]["cells"][0]
    assert cell["p_adjusted"] == 1 / 2**tasks
    if code == 3:
        assert "more episodes a cell" in done.output
        assert cell["upper"] is None


def test_bounds_of_a_loss_stay_within_what_scores_can_differ_by(tmp_path: Path) -> None:
    base, head = add(tmp_path / "a", [12, 12]), add(tmp_path / "b", [0, 12])
    found = tmp_path / "found.json"
    assert command(base, head, "--json", found).exit_code == 3
    cell = json.loads(found.read_text())["quality"]["cells"][0]
    assert cell["upper"] == 100
    assert -100 <= cell["lower"] < cell["loss"]


def test_a_cell_that_head_cannot_finish_is_a_regression(tmp_path: Path) -> None:
    base, head = add(tmp_path / "a", FULL), add(tmp_path / "b", FULL)
    add(base, FULL, "maml", train_seed=0, init="meta-trained")
    write_failure(
        head, Cell("translation", "maml", 8, 0, 0), header(init="meta-trained"), "loss is NaN"
    )
    done = command(base, head)
    assert done.exit_code == 1, done.output
    assert "failed in head: translation / maml / K = 8: loss is NaN" in done.output
    done = command(head, base)
    assert done.exit_code == 0
    assert "only in head: translation / maml / K = 8: train seed 0 seed 0 (failed in base" in (
        done.output
    )


def test_what_only_one_run_holds_is_told(tmp_path: Path) -> None:
    base, head = add(tmp_path / "a", FULL), add(tmp_path / "b", FULL[:-2])
    add(base, FULL, "copy")
    add(head, FULL, "lead")
    add(head, FULL, "maml", train_seed=1, plan={"train_seeds": [1]})
    add(base, FULL, "maml", train_seed=0, plan={"train_seeds": [0]})
    done = command(base, head)
    assert done.exit_code == 0
    assert "only in base: translation / copy" in done.output
    assert "only in head: translation / lead" in done.output
    assert "seed 0: 2 episode(s) of one run" in done.output
    assert "only in base: translation / maml / K = 8: train seed 0 seed 0" in done.output


def test_plans_may_differ_and_it_is_said(tmp_path: Path) -> None:
    base = add(tmp_path / "a", FULL, plan={"dtype": "float32", "out": "x"})
    head = add(tmp_path / "b", FULL, plan={"dtype": "bfloat16", "out": "y"}, dtype="bfloat16")
    done = command(base, head)
    assert done.exit_code == 0
    assert "differs: plan.dtype: float32 -> bfloat16" in done.output
    assert "plan.out" not in done.output


def test_other_episodes_cannot_be_compared(tmp_path: Path) -> None:
    base = add(tmp_path / "a", FULL)
    changed = [{**r, "digest": "else"} if r["index"] == 3 else r for r in records(FULL)]
    write_cell(tmp_path / "b", Cell("translation", "fine-tuned", 8, None, 0), header(), changed)
    describe(tmp_path / "b")
    done = command(base, tmp_path / "b")
    assert done.exit_code == 2
    assert "translation / fine-tuned / K = 8, seed 0, episode 3: base and head" in done.output
    assert "the data changed without a new revision" in done.output


def test_a_plan_key_that_changes_the_episodes_is_named(tmp_path: Path) -> None:
    """Not the digests, which nobody can read."""
    base = add(tmp_path / "a", FULL, plan={"queries": 16, "workers": 1})
    changed = [{**r, "digest": f"e{r['index']}" * 20} for r in records(FULL)]
    write_cell(tmp_path / "b", Cell("translation", "fine-tuned", 8, None, 0), header(), changed)
    describe(tmp_path / "b", queries=8, workers=2)
    done = command(base, tmp_path / "b")
    assert done.exit_code == 2
    assert "the plans differ in queries: 16 -> 8" in done.output
    assert "e0e0" not in done.output
    assert "workers" not in done.output


def test_where_no_cell_is_shared_plan_keys_are_named(tmp_path: Path) -> None:
    base = add(tmp_path / "a", FULL, plan={"shots": [8]})
    write_cell(tmp_path / "b", Cell("translation", "copy", 4, None, 0), header(), records(FULL))
    describe(tmp_path / "b", shots=[4])
    done = command(base, tmp_path / "b")
    assert done.exit_code == 2
    assert "differs: plan.shots: [8] -> [4]" in done.output


def _nothing(path: Path) -> None:
    pass


def _empty(path: Path) -> None:
    path.mkdir()


def _no_cells(path: Path) -> None:
    describe(path)


def _damaged(path: Path) -> None:
    file = next((add(path, FULL) / "cells").rglob("*.jsonl"))
    file.write_text(file.read_text()[:-40])


def _binary(path: Path) -> None:
    next((add(path, FULL) / "cells").rglob("*.jsonl")).write_bytes(bytes(range(256)))


def _no_plan(path: Path) -> None:
    add(path, FULL)
    (path / "run.json").write_text("[1]")


def _other_suite(path: Path) -> None:
    add(path, FULL, revision="2")


def _folder_for_a_file(path: Path) -> None:
    file = next((add(path, FULL) / "cells").rglob("*.jsonl"))
    file.unlink()
    file.mkdir()


def _all_failed(path: Path) -> None:
    write_failure(path, Cell("translation", "fine-tuned", 8, None, 0), header(), "no memory")
    describe(path)


BROKEN = [
    _nothing, _empty, _no_cells, _damaged, _binary, _no_plan, _other_suite, _folder_for_a_file,
    _all_failed,
]  # fmt: skip


@pytest.mark.parametrize("spoil", BROKEN)
def test_what_cannot_be_compared_exits_with_2(spoil: Any, tmp_path: Path) -> None:
    base, head = add(tmp_path / "a", FULL), tmp_path / "b"
    spoil(head)
    for pair in ((base, head), (head, base)):
        done = command(*pair)
        assert done.exit_code == 2, done.output
        assert done.output.strip()


@pytest.mark.parametrize(
    "words",
    [
        ["--quality-margin", "-1"],
        ["--quality-margin", "nan"],
        ["--quality-margin", "much"],
        ["--speed-margin", "0.1"],
        ["--speed-margin", "-5%"],
        ["--speed-margin", "nan%"],
        ["--speed-margin", "ten%"],
        ["--rounds", "3"],
        ["--plan", "smoke"],
        ["--benchmark-json", "there"],
        ["--json", "no/such/folder/x.json"],
        ["--json", "same", "--junit", "same"],
    ],
)
def test_nonsense_is_refused(words: list[str], tmp_path: Path) -> None:
    base = add(tmp_path / "a", FULL)
    done = command(base, base, *words)
    assert done.exit_code == 2
    assert words[0] in done.output


def hostile_outcome(tmp_path: Path) -> Outcome:
    from bench.matched import match
    from bench.outcome import judge

    base, head = add(tmp_path / "a", FULL), add(tmp_path / "b", HALF)
    found = match(base, head, 0.5)
    pairs = [found.pairs[0].__class__(**{**vars(found.pairs[0]), "name": HOSTILE})]
    return Outcome(
        HOSTILE,
        "head",
        quality=judge(pairs)[0],
        failed={HOSTILE: HOSTILE},
        left_out=[HOSTILE],
        differences=[HOSTILE],
        notes=[HOSTILE],
    )


def test_hostile_names_break_no_output(tmp_path: Path) -> None:
    outcome = hostile_outcome(tmp_path)
    root = ElementTree.fromstring(as_junit(outcome))
    cases = list(root.iter("testcase"))
    assert len(cases) == 2
    assert all(case.get("name", "").startswith('a|b<script>]]> [2J "&[x]') for case in cases)
    text, markdown = as_text(outcome), as_markdown(outcome)
    for shown in (text, markdown):
        shown.encode()
        assert "\x1b" not in shown
        assert "\x00" not in shown
    assert "<script" not in markdown
    assert "[x](http" not in markdown
    assert not [line for line in markdown.splitlines()[1:] if line.startswith("#")]
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1


def test_junit_says_which_cells_failed_and_which_are_open(tmp_path: Path) -> None:
    other = [5, 11, 10, 11, 11, 4, 6, 11, 11, 11]
    base, head = add(tmp_path / "a", FULL), add(tmp_path / "b", HALF)
    add(base, MIXED, "maml"), add(head, other, "maml")
    add(base, MIXED, "copy"), add(head, MIXED, "copy")
    done = command(base, head, "--junit", tmp_path / "j.xml", "--markdown", tmp_path / "m.md")
    assert done.exit_code == 1, done.output
    root = ElementTree.parse(tmp_path / "j.xml").getroot()
    (suite,) = root.iter("testsuite")
    assert {key: suite.get(key) for key in ("tests", "failures", "skipped", "errors")} == {
        "tests": "3", "failures": "1", "skipped": "1", "errors": "0",
    }  # fmt: skip
    kinds = {case.get("name"): [child.tag for child in case] for case in root.iter("testcase")}
    assert kinds == {
        "translation / fine-tuned / K = 8": ["failure"],
        "translation / maml / K = 8": ["skipped"],
        "translation / copy / K = 8": [],
    }
    markdown = (tmp_path / "m.md").read_text()
    assert "regression: quality regression" in markdown.splitlines()[0]
    assert "the same score statistics in base and head: 1 cell(s)" in markdown


def saved(path: Path, times: dict[str, list[float]], data: bool = True) -> Path:
    made = content(times, "0" * 40)
    if not data:
        for benchmark in made["benchmarks"]:
            del benchmark["stats"]["data"]
    write_json(path, made)
    return path


@pytest.mark.parametrize("data", [True, False])
def test_benchmark_files_are_compared(data: bool, tmp_path: Path) -> None:
    ms = [10.0, 10.1, 9.9, 10.05, 9.95]
    base = saved(tmp_path / "base.json", {"loop": ms, "rest": ms, "old": ms}, data)
    slow = {"loop": [1.3 * v for v in ms], "rest": [v + 0.01 for v in ms], "new": ms}
    head = saved(tmp_path / "head.json", slow, data)
    done = command(base, head, "--json", tmp_path / "found.json")
    assert done.exit_code == 1, done.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["quality"] == "not measured"
    cells = {cell["name"]: cell for cell in found["speed"]["cells"]}
    assert cells["loop"]["loss"] == pytest.approx(30)
    assert (cells["loop"]["verdict"], cells["rest"]["verdict"]) == ("regression", "pass")
    assert found["left_out"] == ["only in head: new"]
    assert found["unmeasured"] == ["old"]
    assert cells["old"]["verdict"] == "inconclusive"
    assert command(base, base).exit_code == 0
    assert command(head, base, "--speed-margin", "5%").exit_code == 3  # base lacks new


@pytest.mark.parametrize("mean", ["0", "NaN", "-1", '"x"', "null", "1e308", "1e-300"])
def test_times_that_are_none_exit_with_2(mean: str, tmp_path: Path) -> None:
    base, head = saved(tmp_path / "base.json", {"loop": [1.0, 2.0]}), tmp_path / "head.json"
    head.write_text(
        '{"benchmarks": [{"fullname": "loop", "stats": {"mean": MEAN}}]}'.replace("MEAN", mean)
    )
    done = command(base, head)
    assert done.exit_code == 2
    assert "benchmarks.0.stats.mean" in done.output


@pytest.mark.parametrize("text", ["", "{}", '{"benchmarks": []}', "[1]", "\x00"])
def test_damaged_benchmark_files_exit_with_2(text: str, tmp_path: Path) -> None:
    base = saved(tmp_path / "base.json", {"loop": [1.0, 2.0]})
    (tmp_path / "head.json").write_text(text)
    assert command(base, tmp_path / "head.json").exit_code == 2
    assert command(base, tmp_path).exit_code == 2


def test_what_pytest_benchmark_saves_is_read_and_reads_ours(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(benchmark):\n    benchmark(sum, range(99))\n")
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    more = ["--benchmark-json", "theirs.json", "--benchmark-max-time", "0.05"]
    # Under pytest-xdist, which it is not run by, pytest-benchmark would measure nothing.
    alone = {key: value for key, value in os.environ.items() if "XDIST" not in key}
    words = [*run, *more, "test_it.py"]
    subprocess.run(words, cwd=tmp_path, env=alone, check=True, capture_output=True)
    assert command(tmp_path / "theirs.json", tmp_path / "theirs.json").exit_code == 0
    for side in ("base", "head"):
        saved(tmp_path / f"{side}.json", {"fine-tuned adapt": [10.0, 11.0, 12.5]})
    words = ["-m", "pytest_benchmark", "compare", "base.json", "head.json", "--columns", "median"]
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "fine-tuned adapt" in done.stdout
    assert "11.0000" in done.stdout  # the median, in milliseconds
    (ours,) = json.loads((tmp_path / "base.json").read_text())["benchmarks"]
    (theirs,) = json.loads((tmp_path / "theirs.json").read_text())["benchmarks"]
    assert ours.keys() == theirs.keys() - {"cprofile"}
    assert ours["stats"].keys() - {"data"} == theirs["stats"].keys() - {"data"}


def rounds(
    root: Path, factor: float, waited: list[float | None], lacking: Sequence[int] = ()
) -> list[Path]:
    """Runs whose adaptation takes 20 ms, by the factor; those lacking tell no adaptation."""
    made = []
    for number, wait in enumerate(waited):
        found = records(FULL, wait)
        for record in found:
            wall = 20.0 * factor * (1 + 0.01 * (number % 2)) + (wait or 0.0)
            record["costs"]["adapt_ms"] = wall
            if number in lacking:
                record["costs"]["inner_steps_ms"] = []
        place = root / str(number)
        write_cell(place, Cell("translation", "fine-tuned", 8, None, 0), header(), found)
        describe(place)
        made.append(place)
    return made


def test_time_that_others_took_is_no_loss_of_speed(tmp_path: Path) -> None:
    base = rounds(tmp_path / "a", 1.0, [0.0, 5.0, 9.0])
    head = rounds(tmp_path / "b", 1.0, [50.0, 60.0, 90.0])
    timed = speed(base, head, 0.1)
    adapt = next(clock for clock in timed.clocks if clock.name == "fine-tuned adapt")
    assert timed.own
    assert adapt.loss.estimate.value == pytest.approx(0)
    assert adapt.typical[0] == pytest.approx(20 * 1.01 / 1 - 20 * 0.01 * 2 / 3, rel=1e-4)
    assert adapt.typical[1] / adapt.typical[0] == pytest.approx(math.exp(adapt.loss.estimate.value))
    unknown = rounds(tmp_path / "c", 1.0, [None] * 3)
    timed = speed(base, unknown, 0.1)
    adapt = next(clock for clock in timed.clocks if clock.name == "fine-tuned adapt")
    assert not timed.own
    assert adapt.loss.estimate.value < 0  # the clock's time, with what base waited


def test_a_slower_head_is_a_loss_of_speed(tmp_path: Path) -> None:
    from bench.outcome import judge

    base, head = rounds(tmp_path / "a", 1.0, [0.0] * 4), rounds(tmp_path / "b", 1.3, [0.0] * 4)
    _, judged = judge(clocks=speed(base, head, 0.1).clocks)
    assert judged
    cells = {line.name: line for line in judged.lines}
    assert cells["fine-tuned adapt"].loss == pytest.approx(30)
    assert cells["fine-tuned adapt"].verdict == "regression"
    assert cells["fine-tuned generate a token"].verdict == "pass"
