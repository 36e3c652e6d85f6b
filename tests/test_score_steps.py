"""Answers scored after some inner steps: they tell more and change nothing."""

from pathlib import Path
from typing import Any

import pytest

from bench.records import read_cell
from bench.tables import leaderboard
from tests.test_cli import command

pytestmark = pytest.mark.slow

BASELINES = ["zero-shot", "nearest", "fine-tuned", "meta-sgd", "early-stopped"]
QUALITY = [
    "baseline",
    "group",
    "to_best",
    "bleu",
    "chrf",
    "rouge1",
    "rouge2",
    "rougeL",
    "rougeLsum",
    "exact",
    "diverged",
]


def run(out: Path, *words: str) -> dict[str, list[dict[str, Any]]]:
    """The records of each baseline."""
    chosen = [word for name in BASELINES for word in ("--baseline", name)]
    sizes = ["--episodes", "3", "--queries", "3", "--train-budget", "2000"]
    done = command("run", "--suite", "translation", *chosen, *sizes, "--out", str(out), *words)
    assert done.exit_code == 0, done.output
    return {
        head["baseline"]: records for head, records in map(read_cell, out.rglob("cells/**/*.jsonl"))
    }


def test_scored_steps_are_of_the_same_loop_and_change_no_score(tmp_path: Path) -> None:
    plain = run(tmp_path / "plain")
    scored = run(tmp_path / "scored", "--score-steps", "0,2,36,1000")
    tables = [leaderboard([tmp_path / name])[QUALITY].to_csv() for name in ("plain", "scored")]
    assert tables[0] == tables[1]
    for name in BASELINES:
        for before, record in zip(plain[name], scored[name], strict=True):
            assert "after" not in before
            assert {**record, "costs": 0, "after": 0} == {**before, "costs": 0, "after": 0}
            steps = len(record.get("costs", {}).get("inner_steps_ms", []))
            found = record.get("after", {})
            assert set(found) == {str(step) for step in (0, 2, 36) if 0 < steps >= step}
            if str(steps) in found:
                assert found[str(steps)] == record["statistics"]
            if steps:
                assert found["2"] != found["0"]
    for untrained, tuned in zip(scored["zero-shot"], scored["fine-tuned"], strict=True):
        assert tuned["after"]["0"] == untrained["statistics"]
        assert len(tuned["costs"]["inner_steps_ms"]) == 36
