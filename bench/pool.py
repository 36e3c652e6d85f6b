"""Processes that work on jobs side by side, and the order in which jobs may start."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import UserError

Message = dict[str, Any]

# glibc's mallopt(3): a worker keeps memory that it freed. By default vectors as long as a model's
# weights go back to the system at every step, and come again page by page.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**30)}


@dataclass(frozen=True)
class Job:
    """A unit for one worker.

    Attributes:
        key: names the job.
        message: what the worker is told, JSON.
        weight: expected work, in any unit that all jobs share.
        after: keys of the jobs that must have succeeded before.
    """

    key: tuple[Any, ...]
    message: Message
    weight: float
    after: tuple[Hashable, ...] = ()


@dataclass
class Events:
    """What the caller wants to hear: each is called in the caller's own thread."""

    done: Callable[[Job, Message], None]
    failed: Callable[[Job, str], None]
    progress: Callable[[float], None] = field(default=lambda work: None)


class Worker:
    """One process; its messages arrive in `inbox` as (worker, message or None at its end)."""

    def __init__(self, log: Path, inbox: "queue.Queue[Any]", threads: int) -> None:
        self.log = log
        self.job: Job | None = None
        self.fraction = 0.0
        here = str(Path(__file__).parent.parent)
        environment = {
            **KEEP_MEMORY,
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")])),
            "OMP_NUM_THREADS": str(threads),
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "TRANSFORMERS_VERBOSITY": "error",
        }
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bench.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                env=environment,
            )
        self._listener = threading.Thread(target=self._listen, args=(inbox,), daemon=True)
        self._listener.start()
        self.tell({"threads": threads})

    def _listen(self, inbox: "queue.Queue[Any]") -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            try:
                message = json.loads(line)
            except ValueError:  # the last line of a worker that was killed while it wrote
                break
            inbox.put((self, message))
        inbox.put((self, None))

    def tell(self, message: Message) -> None:
        """One line to the worker; a worker that has died is noticed by its end of output."""
        assert self.process.stdin
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def stop(self) -> None:
        """Ends the process at once and closes its pipes."""
        self.process.kill()
        self.process.wait()
        self._listener.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            with suppress(BrokenPipeError):
                pipe.close()


class Pool:
    """Keeps workers busy with jobs whose predecessors are done."""

    def __init__(self, count: int, logs: Path, threads: int) -> None:
        self._logs, self._threads = logs, threads
        self._inbox: queue.Queue[Any] = queue.Queue()
        try:
            logs.mkdir(parents=True, exist_ok=True)
            self._workers = [self._make(number) for number in range(count)]
        except OSError as error:
            raise UserError(f"cannot start workers: {error}") from None

    def _make(self, number: int) -> Worker:
        log = self._logs / f"worker-{number}.txt"
        return Worker(log, self._inbox, self._threads)

    def stop(self) -> None:
        """Ends all workers."""
        for worker in self._workers:
            worker.stop()

    def run(self, jobs: Sequence[Job], events: Events) -> None:
        """Runs all jobs; a job whose predecessor failed fails with the same reason."""
        waiting, done = list(jobs), set[Hashable]()
        reasons: dict[Hashable, str] = {}
        finished = 0.0
        while waiting or any(worker.job for worker in self._workers):
            waiting = self._fail_followers(waiting, reasons, events)
            self._assign(waiting, done)
            busy = [worker for worker in self._workers if worker.job]
            if not busy:
                break
            worker, message = self._inbox.get()
            job = worker.job
            if message is None:
                message = self._replace(worker)
            if job is None or message["kind"] == "ready":
                continue
            if message["kind"] == "progress":
                worker.fraction = message["fraction"]
            elif message["kind"] == "done":
                worker.job, finished = None, finished + job.weight
                done.add(job.key)
                events.done(job, message)
            else:
                worker.job, finished = None, finished + job.weight
                reasons[job.key] = message["reason"]
                events.failed(job, message["reason"])
            running = sum(w.job.weight * w.fraction for w in self._workers if w.job)
            events.progress(finished + running)

    def _fail_followers(
        self, waiting: list[Job], reasons: Mapping[Hashable, str], events: Events
    ) -> list[Job]:
        kept = []
        for job in waiting:
            broken = [reasons[key] for key in job.after if key in reasons]
            if broken:
                events.failed(job, broken[0])
            else:
                kept.append(job)
        return kept

    def _assign(self, waiting: list[Job], done: set[Hashable]) -> None:
        for worker in self._workers:
            ready = [job for job in waiting if done.issuperset(job.after)]
            if worker.job is None and ready:
                waiting.remove(ready[0])
                worker.job, worker.fraction = ready[0], 0.0
                worker.tell(ready[0].message)

    def _replace(self, worker: Worker) -> Message:
        """A new worker in the place of one that ended; the reason for its job's failure."""
        worker.stop()
        code = worker.process.returncode
        place = self._workers.index(worker)
        self._workers[place] = self._make(place)
        how = f"signal {-code}" if code < 0 else f"status {code}"
        return {"kind": "failed", "reason": f"its worker ended with {how}; see {worker.log}"}


@contextmanager
def pool(count: int, logs: Path, threads: int) -> Iterator[Pool]:
    """A pool whose workers end with the block."""
    made = Pool(count, logs, threads)
    try:
        yield made
    finally:
        made.stop()
