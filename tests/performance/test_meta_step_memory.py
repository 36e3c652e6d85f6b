"""How peak memory grows with inner steps, kept and taken anew: reported, never pass or fail."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).parent / "meta_step_memory.py"
FEW, MANY, TASKS = 5, 50, 2


def measured(steps: int, *flags: str) -> dict[str, Any]:
    """In a process of its own."""
    command = [sys.executable, str(SCRIPT), "--steps", str(steps), "--tasks", str(TASKS), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_memory_of_inner_steps_taken_anew(benchmark: Any) -> None:
    kept = measured(FEW)
    few = benchmark.pedantic(lambda: measured(FEW, "--checkpoint-steps"), rounds=1)
    many = measured(MANY, "--checkpoint-steps")
    assert few["gradient"] == pytest.approx(kept["gradient"], rel=1e-4)
    benchmark.extra_info |= {
        "kept": kept,
        "anew": few,
        f"anew, {MANY} steps": many,
        f"peak, {MANY} steps over {FEW}": many["peak_mib"] / few["peak_mib"],
        "seconds, anew over kept": few["seconds"] / kept["seconds"],
    }
