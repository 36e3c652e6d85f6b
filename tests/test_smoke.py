"""The preset `smoke` shows what an inner loop gains, so that a spoiled one is seen."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_fine_tuning_exceeds_zero_shot_on_translation(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.cli", "run", "smoke", "--out", str(tmp_path / "smoke")]
    root = Path(__file__).parent.parent
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    with (tmp_path / "smoke" / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["suite"] == "translation"]
    bleu = {row["baseline"]: float(row["bleu"]) for row in rows}
    assert bleu["fine-tuned"] - bleu["zero-shot"] >= 3
