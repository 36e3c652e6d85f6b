"""Kills runs at moments spread over their course and compares what a resumed run leaves with a run
that nothing disturbed.

Moments are named by what the run directory holds, so that they do not depend on the machine's
speed. Most runs are resumed in this process, without the seconds that workers spend on imports.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest

from tests.test_run import QUALITY, command

pytestmark = pytest.mark.slow
PATIENCE = 300.0  # seconds for what takes a few
ALL = ("nearest", "in-context", "fine-tuned", "maml", "reptile")
TRAINED, SEEDS = 2, 2
CELLS = len(ALL) * SEEDS


def words(checkpoint: str, out: Path, workers: int, baselines: Sequence[str] = ALL) -> list[str]:
    found = ["run", "--backbone", checkpoint, "--suite", "translation", "--shots", "2"]
    found += ["--queries", "2", "--episodes", "2", "--seeds", "0,1", "--train-budget", "2000"]
    found += ["--workers", str(workers), "--out", str(out)]
    return found + [word for name in baselines for word in ("--baseline", name)]


def start(words: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "bench.cli", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # A shell's background job ignores the interrupt, and its children with it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def run_apart(words: Sequence[str]) -> None:
    """In processes of its own."""
    process = start(words)
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()


def run_here(words: Sequence[str]) -> None:
    """In this process."""
    result = command(*words)
    assert result.exit_code == 0, result.output


def quality(out: Path) -> bytes:
    table = pd.read_csv(out / "leaderboard.csv", dtype=str)
    return table[["baseline", "seeds", *QUALITY]].to_csv(index=False).encode()


def cells_in(out: Path) -> list[Path]:
    return sorted(out.rglob("cells/**/*.jsonl"))


def done_in(out: Path) -> int:
    """What a run has finished: its start, each initialisation and each cell count one."""
    trained = list(out.glob("artefacts/*-*/cost.json"))
    return (out / "run.json").exists() + len(trained) + len(cells_in(out))


def children(parent: int) -> list[int]:
    path = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def workers_of(parent: int) -> list[int]:
    return [process for process in children(parent) if "bench.worker" in name(process)]


def name(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until(met: Callable[[], object], process: subprocess.Popen[bytes] | None = None) -> None:
    """Waits for a condition, as long as a process runs that is to bring it about."""
    deadline = time.monotonic() + PATIENCE
    while not met():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        time.sleep(0.01)


def all_end(workers: Sequence[int]) -> None:
    """Workers notice by themselves that their parent has gone."""
    wait_until(lambda: not any(map(alive, workers)))


def kill(process: subprocess.Popen[bytes]) -> list[int]:
    """Kills the parent alone."""
    workers = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    return workers


def test_killed_runs_end_as_if_nothing_had_happened(checkpoint: str, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    run_here(words(checkpoint, whole, 2))
    expected = quality(whole)
    everything = done_in(whole)
    assert everything == 1 + TRAINED + CELLS
    # Before the start, while workers start, in meta-training, among the cells, at the last.
    for place, moment in enumerate([0, 1, 2, everything // 2, everything - 1]):
        out = tmp_path / f"killed-{moment}"
        again = words(checkpoint, out, 1 + place % 2)
        process = start(again)
        wait_until((out / ".lock").exists, process)
        wait_until(lambda out=out, moment=moment: done_in(out) >= moment, process)
        orphans = kill(process)
        assert done_in(out) < everything, "killed too late to show anything"
        cells = {path: path.stat().st_mtime_ns for path in cells_in(out)}
        (run_apart if moment == everything // 2 else run_here)(again)
        assert quality(out) == expected, f"moment {moment}"
        assert {path: path.stat().st_mtime_ns for path in cells} == cells, "a cell was repeated"
        assert not list(out.rglob("*.part"))
        all_end(orphans)


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
    assert not cells_in(out)
    run_here(words)
    assert len(cells_in(out)) == 1
    assert not list(out.rglob("*.part"))


def test_an_interrupt_ends_with_one_line(checkpoint: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(words(checkpoint, out, 2))
    wait_until(lambda: done_in(out) > 1, process)
    workers = workers_of(process.pid)
    assert len(workers) == 2
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert b"run the same command again" in errors
    all_end(workers)


def test_a_dead_worker_fails_its_cell_and_not_the_run(checkpoint: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    short = words(checkpoint, out, 1, ["nearest", "in-context"])
    process = start(short)
    wait_until(lambda: cells_in(out), process)
    [worker] = workers_of(process.pid)
    os.kill(worker, signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == 1, errors.decode()
    assert b"signal 9" in errors
    assert len(cells_in(out)) == 2 * SEEDS - 1
    run_here(short)
    assert len(cells_in(out)) == 2 * SEEDS
