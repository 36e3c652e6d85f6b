"""The preset `smoke` shows what an inner loop gains, so that a spoiled one is seen."""

import csv
from pathlib import Path

import pytest

from tests.test_cli import command

pytestmark = pytest.mark.slow


def test_fine_tuning_exceeds_zero_shot_on_translation(tmp_path: Path) -> None:
    """On every suite, with a few of its baselines."""
    few = ["--baseline", "zero-shot", "--baseline", "fine-tuned", "--baseline", "fomaml"]
    result = command("run", "smoke", *few, "--out", str(tmp_path / "smoke"))
    assert result.exit_code == 0, result.output
    with (tmp_path / "smoke" / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["suite"] == "translation"]
    bleu = {row["baseline"]: float(row["bleu"]) for row in rows}
    assert bleu["fine-tuned"] - bleu["zero-shot"] >= 3
