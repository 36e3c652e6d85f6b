"""How many workers a machine carries: cores, memory, containers, GPUs; and its slow dtypes."""

from pathlib import Path
from typing import Any

import joblib
import psutil
import pytest

from bench import forecast, machine, timing
from bench.context import Context
from bench.doctor import report
from bench.errors import UserError
from bench.forecast import Cost, costs, worker_memory, workers_for
from bench.jobs import grid
from bench.machine import free_memory, gpus, workers_that_fit
from bench.plan import make_plan
from bench.pool import Pool
from bench.records import read_cell
from bench.runner import execute

GIB = 2**30


@pytest.mark.parametrize(
    ("cores", "threads", "free", "each", "workers"),
    [
        (2, 1, 100, 10, 2),
        (16, 4, 100, 10, 4),
        (16, 1, 35, 10, 3),
        (2, 4, 100, 10, 1),  # one at least, with more threads than cores
        (8, 1, 5, 10, 1),  # and with too little memory
    ],
)
def test_workers_that_fit(cores: int, threads: int, free: int, each: int, workers: int) -> None:
    assert workers_that_fit(cores, threads, free, each) == workers


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_memory_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control groups 2, 1 and none; what the kernel caches of files is free."""

    class Memory:
        available = 50 * GIB

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    assert free_memory(tmp_path / "none") == 50 * GIB
    two, one = tmp_path / "two", tmp_path / "one"
    for folder, limit, use in (
        (two, "memory.max", "memory.current"),
        (one / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        folder.mkdir(parents=True)
        (folder / limit).write_text(f"{8 * GIB}\n")
        (folder / use).write_text(f"{3 * GIB}\n")
        (folder / "memory.stat").write_text(f"anon 5\ninactive_file {GIB}\n")
    assert free_memory(two) == free_memory(one) == 6 * GIB
    (two / "memory.max").write_text("max\n")
    assert free_memory(two) == 50 * GIB
    Memory.available = GIB
    assert free_memory(one) == GIB, "the machine itself may have less"


@pytest.mark.parametrize(
    ("visible", "count", "found"),
    [
        (None, 2, ["0", "1"]),
        ("", 0, []),
        ("3,1", 2, ["3", "1"]),
        ("GPU-aa, GPU-bb", 2, ["GPU-aa", "GPU-bb"]),
        ("2,3,-1,4", 2, ["2", "3"]),  # CUDA ends the list where a name is none
    ],
)
def test_gpus(visible: str | None, count: int, found: list[str]) -> None:
    assert gpus(visible, count) == found


def test_each_gpu_has_a_worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[Any] = []

    class Seen:
        def __init__(self, log: Path, inbox: Any, threads: int, gpu: str | None) -> None:
            given.append(gpu)

    monkeypatch.setattr("bench.pool.Worker", Seen)
    Pool(3, tmp_path, 1, ["4", "7"])
    assert given == ["4", "7", "4"]


def test_a_worker_process_sees_its_gpu_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: dict[str, Any] = {}

    class Stopped(Exception):
        pass

    def popen(*words: Any, **more: Any) -> Any:
        made.update(more)
        raise Stopped

    from tests.in_process import PROCESS

    monkeypatch.setattr("bench.pool.subprocess.Popen", popen)
    for gpu, expected in ((None, "0,1"), ("1", "1")):
        monkeypatch.setenv(machine.VISIBLE, "0,1")
        with pytest.raises(Stopped):
            PROCESS(tmp_path / "log.txt", None, 1, gpu)
        assert made["env"][machine.VISIBLE] == expected


def plan(**more: Any) -> Any:
    small = {
        "suites": ["translation"],
        "baselines": ["nearest", "zero-shot", "fine-tuned", "fomaml"],
        "shots": [2],
        "queries": 2,
        "episodes": 1,
        "max_new_tokens": 4,
        "train_budget": 300,
    }
    return make_plan({**small, **more})


def test_workers_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: 12)
    monkeypatch.setattr(forecast, "free_memory", lambda: 64 * GIB)

    def workers(**more: Any) -> int:
        context = Context(plan(**more), tmp_path)
        return workers_for(context, costs(context, grid(context)))

    assert workers() == 12
    assert workers(threads=4) == 3
    assert workers(workers=5) == 5
    monkeypatch.setattr(forecast, "free_memory", lambda: 3.5 * GIB)
    assert workers() == 3


def test_memory_follows_the_copies_of_weights(tmp_path: Path) -> None:
    """By hand: weights alone; weights and gradients of each task at once; four more in training."""

    def copies(baseline: str, tokens: int = 10, **more: Any) -> float:
        given = {"baselines": [baseline], "tokens_at_once": 100, **more}
        context = Context(plan(**given), tmp_path)
        weights = sum(4 * w.numel() for w in context.backbone(None).weights().values())
        cost = Cost("translation", 2, 1, tokens, 0, 2, 4)
        return (worker_memory(context, {baseline: cost}) - GIB) / weights

    assert copies("zero-shot") == 1
    assert copies("fine-tuned") == 1 + 2 * 8
    assert copies("fine-tuned", tokens=50) == 1 + 2 * 2, "of so many tokens two go at once"
    assert copies("fine-tuned", tasks_at_once=3) == 1 + 2 * 3
    assert copies("fomaml") == 1 + 2 * 8 + 4
    assert copies("fomaml", options={"fomaml": {"adapt": "lora"}}) == 1


def test_records_have_the_number_that_ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(forecast, "cores", lambda: 3)
    execute(plan(baselines=["nearest", "lead", "copy"], out=str(tmp_path / "run")))
    headers = [read_cell(path)[0] for path in (tmp_path / "run" / "cells").rglob("*.jsonl")]
    assert [header["workers"] for header in headers] == [3, 3, 3]


def rates(monkeypatch: pytest.MonkeyPatch, slow: float) -> None:
    """A CPU with 90 GFLOP/s in float32 and `slow` in bfloat16, as `dtype_rates` measures it."""
    side = timing.SMALL

    def product_ms(device: Any, dtype: Any, rows: int) -> list[float]:
        rate = {"torch.float32": 90.0, "torch.bfloat16": slow}[str(dtype)]
        return [2 * side**3 / (rate * 1e6)] * 3

    timing.dtype_rates.cache_clear()
    monkeypatch.setattr(timing, "_product_ms", product_ms)


def test_a_slow_dtype_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rates(monkeypatch, 0.74)
    asked = {"dtype": "bfloat16", "baselines": ["zero-shot"], "out": str(tmp_path / "run")}
    with pytest.raises(UserError, match=r"0\.74 GFLOP/s in bfloat16, 90 in float32.*--allow-slow"):
        execute(plan(**asked))
    assert not (tmp_path / "run").exists(), "a refused run leaves nothing"
    assert not execute(plan(**asked, allow_slow_dtype=True)).failures
    floors = {**asked, "baselines": ["nearest"], "out": str(tmp_path / "floors")}
    assert not execute(plan(**floors)).failures, "no model, nothing slow"
    assert any("too slow for --dtype bfloat16" in line for line, _ in report())


def test_a_fast_dtype_is_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rates(monkeypatch, 30)
    asked = plan(dtype="bfloat16", baselines=["zero-shot"], out=str(tmp_path / "run"))
    assert not execute(asked).failures
    shown = [line for line, _ in report() if line.startswith("cpu:")]
    assert shown == ["cpu: 90 GFLOP/s in float32, 30 GFLOP/s in bfloat16"]


@pytest.fixture(autouse=True)
def _fresh_rates() -> Any:
    yield
    timing.dtype_rates.cache_clear()


def test_rates_are_of_one_thread_and_measured() -> None:
    import torch

    torch.set_num_threads(2)
    found = timing.dtype_rates()
    assert torch.get_num_threads() == 2
    assert set(found) == {"float32", "bfloat16"}
    assert all(0.01 < rate < 100_000 for rate in found.values())
