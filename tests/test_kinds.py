"""Every baseline on every kind of backbone: trained from a recipe, then run as any other."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

import bench
from bench.baseline import GradientLearner
from bench.cli import main
from bench.registry import load, names

RECIPES = {
    "t5": 'model_type = "t5"\nd_model = 16\nd_kv = 8\nd_ff = 24\nnum_layers = 1\nnum_heads = 2\n'
    "decoder_start_token_id = 2",
    "lstm": 'model_type = "recurrent"\ncell = "lstm"\nhidden_size = 16\nnum_hidden_layers = 1',
    "gru": 'model_type = "recurrent"\ncell = "gru"\nhidden_size = 16\nnum_hidden_layers = 1',
}
REST = """
[tokenizer]
vocabulary = 400
[training]
tokens = 3000
rate = 1e-3
rows = 8
in_context = 0.5
examples = 3
tasks = 4
seed = 0
"""


def trains(name: str) -> bool:
    return bool(getattr(load("baseline", name), "trains", False))


@pytest.fixture(params=RECIPES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A backbone of that kind, written by `fewgen pretrain`."""
    recipe, out = tmp_path / "recipe.toml", tmp_path / f"small-{request.param}"
    recipe.write_text(f"[model]\n{RECIPES[request.param]}\n{REST}")
    words = ["pretrain", "--suite", "translation", "--backbone", str(recipe), "--out", str(out)]
    result = CliRunner().invoke(main, [*words, "--threads", "1"])
    assert result.exit_code == 0, result.output
    facts = json.loads((out / "training.json").read_text())
    assert facts["tokens"] >= 3000
    return out


@pytest.mark.slow
def test_every_baseline_runs_on_every_kind(folder: Path, tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "backbone": str(folder),
        "suites": ["translation"],
        "shots": [2],
        "queries": 2,
        "episodes": 1,
        "train_budget": 600,
        "max_new_tokens": 6,
        "options": {"*": {"inner_steps": 2}},
        "out": str(tmp_path / "run"),
    }
    outcome = bench.run(values)
    assert outcome.failures == {}
    table = pd.read_csv(tmp_path / "run" / "leaderboard.csv").set_index("baseline")
    assert sorted(table.index) == names("baseline")
    assert table["chrf"].notna().all()
    trained = table[table["train_tokens"] > 0]
    assert sorted(trained.index) == [n for n in names("baseline") if trains(n)]
    adapts = [n for n in names("baseline") if issubclass(load("baseline", n), GradientLearner)]
    assert (table.loc[adapts, "adapted_params"] > 0).all()
    assert (table.loc[adapts, "inner_step_ms"] > 0).all()
    kind = (
        folder.name.removeprefix("small-").replace("lstm", "recurrent").replace("gru", "recurrent")
    )
    identities = set(table["backbone_identity"].dropna())
    assert len(identities) == 1
    assert identities.pop().startswith(kind)
