"""The pool: every job ends as done or failed with a reason; workers see no modules of a user's."""

import queue
from pathlib import Path
from typing import Any

import pytest

from bench.pool import Events, Job, Pool, Worker, pool

BROKEN = "the disk is full"


class Answering:
    """In place of a process: a worker that answers each job at once, in the caller's thread."""

    def __init__(
        self, log: Path, inbox: "queue.Queue[Any]", threads: int, gpu: str | None = None
    ) -> None:
        self.job: Job | None = None
        self.fraction, self._inbox = 0.0, inbox

    def assign(self, job: Job) -> None:
        self.job = job
        failed = {"kind": "failed", "reason": BROKEN}
        self._inbox.put((self, failed if job.message.get("fails") else {"kind": "done"}))

    def release(self) -> None:
        self.job = None

    def stop(self) -> None:
        pass


def job(key: str, *after: str, fails: bool = False) -> Job:
    return Job((key,), {"fails": fails}, 1.0, tuple((other,) for other in after))


def ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, jobs: list[Job]) -> dict[str, str]:
    """Job to "done" or the reason of its failure; a job that ends twice fails the test."""
    monkeypatch.setattr("bench.pool.Worker", Answering)
    ended: dict[str, str] = {}
    work: list[float] = []

    def end(job: Job, how: str) -> None:
        assert job.key[0] not in ended
        ended[job.key[0]] = how

    events = Events(
        lambda job, message: end(job, "done"), end, lambda done, running: work.append(done)
    )
    Pool(2, tmp_path, 1).run(jobs, events)
    assert work[-1] == len(jobs), "a bar that stays below the end"
    return ended


def test_between_two_jobs_a_worker_counts_as_running(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("bench.pool.Worker", Answering)
    told: list[tuple[float, int]] = []
    events = Events(lambda *_: None, lambda *_: None, lambda *heard: told.append(heard))
    Pool(2, tmp_path, 1).run([job(key) for key in "abcd"], events)
    assert told == [(0, 2), (1, 2), (2, 2), (3, 1), (4, 0)]


@pytest.mark.parametrize("turned", [False, True])
def test_all_that_follows_a_failure_fails_for_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, turned: bool
) -> None:
    """Pre-training, meta-training, cell: a chain of three, and of four."""
    jobs = [
        job("pretrain", fails=True),
        job("train", "pretrain"),
        job("cell", "pretrain", "train"),
        job("far", "cell"),
        job("farther", "far"),
        job("other"),
    ]
    found = ends(monkeypatch, tmp_path, jobs[::-1] if turned else jobs)
    assert found == {"other": "done"} | dict.fromkeys(
        ["pretrain", "train", "cell", "far", "farther"], BROKEN
    )


def test_a_job_that_can_never_start_fails_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    jobs = [job("a"), job("b", "gone"), job("c", "b"), job("x", "y"), job("y", "x"), job("z", "x")]
    found = ends(monkeypatch, tmp_path, jobs)
    assert found.pop("a") == "done"
    assert set(found) == {"b", "c", "x", "y", "z"}
    assert "gone" in found["b"]
    assert all("can never start" in reason for reason in found.values())


def broken_torch(folder: Path, monkeypatch: pytest.MonkeyPatch, does: str) -> None:
    """Lets workers import a torch that does this."""
    folder.mkdir()
    (folder / "torch.py").write_text(does, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(folder))


def reason_of_death(tmp_path: Path) -> str:
    """Why the only job of a pool of real processes failed."""
    reasons: list[str] = []
    events = Events(lambda job, message: None, lambda job, reason: reasons.append(reason))
    with pool(1, tmp_path / "log", 1) as workers:
        workers.run([job("a")], events)
    (reason,) = reasons
    return reason


@pytest.mark.usefixtures("worker_processes")
def test_the_last_error_of_a_worker_is_in_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_torch(tmp_path / "path", monkeypatch, "raise ImportError('libfewer.so.3 is gone')")
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "worker-0.txt").write_text("ValueError: of an older run\n")
    reason = reason_of_death(tmp_path)
    assert "status 1" in reason
    assert "ImportError: libfewer.so.3 is gone" in reason
    assert "older run" not in reason
    assert str(tmp_path / "log" / "worker-0.txt") in reason


@pytest.mark.usefixtures("worker_processes")
def test_a_killed_worker_is_probably_one_without_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_torch(tmp_path / "path", monkeypatch, "import os; os.kill(os.getpid(), 9)")
    reason = reason_of_death(tmp_path)
    assert "signal 9" in reason
    assert "memory" in reason
    assert "--workers" in reason


@pytest.mark.usefixtures("worker_processes")
def test_modules_of_the_working_directory_do_not_reach_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's own bench.py, and folders named as ours are."""
    place = tmp_path / "work"
    for name in ("baselines", "suites"):
        (place / name).mkdir(parents=True)
        (place / name / "__init__.py").write_text("raise SystemExit(7)")
    for name in ("bench", "json", "torch"):
        (place / f"{name}.py").write_text("raise SystemExit(7)")
    seen = "import baselines.copy, suites; raise ImportError(baselines.__file__)"
    broken_torch(tmp_path / "path", monkeypatch, seen)
    monkeypatch.chdir(place)
    reason = reason_of_death(tmp_path)
    assert str(Path(__file__).parent.parent / "baselines") in reason


def test_what_an_earlier_job_wrote_is_not_told_of_a_later_one(tmp_path: Path) -> None:
    worker = object.__new__(Worker)
    worker.log, worker.job, worker.fraction = tmp_path / "log.txt", job("a"), 0.5
    worker.log.write_text("ValueError: of the first job\n")
    worker.release()
    assert worker.last_words() == ""
    with worker.log.open("a") as file:
        file.write("loading:   1 %\rloading: 100 %\nKeyError: 'b'\n\n")
    assert worker.last_words() == "KeyError: 'b'"
