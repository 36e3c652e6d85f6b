"""Kills runs at random moments and compares what is left with runs that nothing disturbed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.test_run import QUALITY

pytestmark = pytest.mark.slow
MOMENTS = 8


def start(checkpoint: str, out: Path, workers: int) -> subprocess.Popen[bytes]:
    words = [
        "run",
        "--backbone",
        checkpoint,
        "--suite",
        "translation",
        "--shots",
        "2",
        "--queries",
        "2",
        "--episodes",
        "3",
        "--seeds",
        "0,1",
        "--train-budget",
        "6000",
        "--workers",
        str(workers),
        "--out",
        str(out),
    ]
    for baseline in ("nearest", "in-context", "fine-tuned", "maml", "reptile"):
        words += ["--baseline", baseline]
    return subprocess.Popen(
        [sys.executable, "-m", "bench.cli", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # A shell's background job ignores the interrupt, and its children with it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def complete(checkpoint: str, out: Path, workers: int) -> float:
    began = time.monotonic()
    process = start(checkpoint, out, workers)
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    return time.monotonic() - began


def quality(out: Path) -> bytes:
    table = pd.read_csv(out / "leaderboard.csv", dtype=str)
    return table[["baseline", "seeds", *QUALITY]].to_csv(index=False).encode()


def children(parent: int) -> list[int]:
    path = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def kill(process: subprocess.Popen[bytes]) -> list[int]:
    """Kills the parent alone; its workers must notice by themselves."""
    workers = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    return workers


def test_killed_runs_end_as_if_nothing_had_happened(checkpoint: str, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    seconds = complete(checkpoint, whole, workers=2)
    expected = quality(whole)
    draw = random.Random(20)
    for moment in range(MOMENTS):
        out = tmp_path / f"killed-{moment}"
        workers = 1 + moment % 2
        process = start(checkpoint, out, workers)
        # Later moments fall among the cells; the first ones into start-up and meta-training.
        time.sleep(seconds * (moment + draw.random()) / MOMENTS)
        orphans = kill(process)
        cells = {p: p.stat().st_mtime_ns for p in out.rglob("cells/**/*.jsonl")}
        complete(checkpoint, out, workers)
        assert quality(out) == expected, f"moment {moment}"
        assert {p: p.stat().st_mtime_ns for p in cells} == cells, "a finished cell was repeated"
        assert not list(out.rglob("*.part"))
        assert not [p for p in orphans if alive(p)], "a worker outlived its parent"


def test_a_kill_while_a_cell_is_written_leaves_no_half(checkpoint: str, tmp_path: Path) -> None:
    """Stops the parent inside fsync, by a file system call that never returns."""
    out = tmp_path / "out"
    code = (
        "import os, signal, sys\n"
        "import bench.records as records\n"
        "real = os.fsync\n"
        "def dies(descriptor):\n"
        "    path = os.readlink(f'/proc/self/fd/{descriptor}')\n"
        "    if 'cells' in path: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    real(descriptor)\n"
        "os.fsync = dies\n"
        "from bench.cli import main\n"
        "main(sys.argv[1:])"
    )
    words = ["run", "--suite", "translation", "--baseline", "nearest", "--out", str(out)]
    words += ["--episodes", "2", "--queries", "2"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert list(out.rglob("*.part"))
    assert not list(out.rglob("cells/**/*.jsonl"))
    again = subprocess.run([sys.executable, "-m", "bench.cli", *words], capture_output=True)
    assert again.returncode == 0, again.stderr.decode()
    assert len(list(out.rglob("cells/**/*.jsonl"))) == 1
    assert not list(out.rglob("*.part"))


def test_an_interrupt_ends_with_one_line(checkpoint: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(checkpoint, out, 2)
    while not (out / "run.json").exists():
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(3)
    workers = children(process.pid)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert b"run the same command again" in errors
    time.sleep(1)
    assert not [p for p in workers if alive(p)]


def test_a_dead_worker_fails_its_cell_and_not_the_run(checkpoint: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(checkpoint, out, 1)
    while not (found := children(process.pid)) or not any("bench.worker" in name(p) for p in found):
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(4)
    for worker in children(process.pid):
        if "bench.worker" in name(worker):
            os.kill(worker, signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == 1, errors.decode()
    assert b"signal 9" in errors
    complete(checkpoint, out, 1)


def name(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""
