"""Variants of one method in one table: their rows say what differs."""

from pathlib import Path
from typing import Any

import bench
from bench.tables import leaderboard


def values(checkpoint: str, out: Path, **more: Any) -> dict[str, Any]:
    plan = {"backbone": checkpoint, "suites": ["translation"], "shots": [2], "queries": 2}
    plan |= {"episodes": 1, "train_budget": 500, "max_new_tokens": 4, "out": str(out)}
    return plan | {"baselines": ["fomaml"]} | more


def test_options_and_budgets_tell_rows_of_a_method_apart(checkpoint: str, tmp_path: Path) -> None:
    lora = {"fomaml": {"adapt": "lora", "rank": 2, "inner_steps": 1}}
    bench.run(values(checkpoint, tmp_path / "all"))
    bench.run(values(checkpoint, tmp_path / "lora", options=lora))
    bench.run(values(checkpoint, tmp_path / "none", train_budget=0))
    table = leaderboard([tmp_path / name for name in ("all", "lora", "none")])
    found = {(r["options"], r["init"]): r for _, r in table.iterrows()}
    changed = "adapt = lora, base = frozen, inner_steps = 1, rank = 2, test_steps = 9"
    named = {", ".join(sorted(options.split(", "))): options for options, _ in found}
    assert set(named) == {"", changed}
    plain, small = found["", "meta-trained"], found[named[changed], "meta-trained"]
    none = found["", "pretrained"]
    assert none["train_tokens"] == none["train_steps"] == 0
    assert plain["train_tokens"] >= 500
    assert plain["train_steps"] >= 1
    assert small["adapted_params"] < plain["adapted_params"]
    assert small["meta_params"] == small["adapted_params"], "adapters alone are meta-trained"
    assert set(table["block"]) == {"1"}, "they may be compared"
    shown = (tmp_path / "lora" / "leaderboard.md").read_text()
    assert f"fomaml ({named[changed]})" in shown


def test_what_tuning_cost_stands_below_the_table(checkpoint: str, tmp_path: Path) -> None:
    cost = {"trials": 8, "seconds": 12.5, "tokens": 4000}
    bench.run(values(checkpoint, tmp_path / "with", tuning={"fomaml": cost}))
    bench.run(values(checkpoint, tmp_path / "without", seeds=[1]))
    shown = (tmp_path / "with" / "leaderboard.md").read_text()
    assert "Options chosen by tuning: fomaml 8 trials, 4,000 tokens, 12 s." in shown
    for order in (["with", "without"], ["without", "with"]):
        table = leaderboard([tmp_path / name for name in order])
        assert sorted(table["tune_trials"].fillna(0)) == [0, 8], "never one row of both"


def test_what_training_cut_is_told(checkpoint: str, tmp_path: Path) -> None:
    plan = values(checkpoint, tmp_path / "out", baselines=["metaicl"], shots=[12])
    outcome = bench.run(plan)
    (row,) = leaderboard([outcome.root]).to_dict("records")
    assert row["train_truncated"] > 0
    assert "cut in training" in (outcome.root / "leaderboard.md").read_text()


def test_a_damaged_artefact_is_told_with_its_place(checkpoint: str, tmp_path: Path) -> None:
    outcome = bench.run(values(checkpoint, tmp_path / "out"))
    (stored,) = (outcome.root / "artefacts").glob("*/initialisation.safetensors")
    stored.write_bytes(stored.read_bytes()[:100])
    outcome.cells[0].path(outcome.root).unlink()
    again = bench.run(values(checkpoint, tmp_path / "out"))
    (reason,) = again.failures.values()
    assert str(stored) in reason
    assert f"delete {stored.parent} and run again" in reason
