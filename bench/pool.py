"""Processes that work on jobs side by side, and the order in which jobs may start."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.machine import VISIBLE

Message = dict[str, Any]
GRACE = 10.0  # seconds that a worker has to end by itself once its output has ended
SHOWN = 200  # characters of a worker's last line
KILLED = (
    "the system probably ran out of memory; lower --workers, --tasks-at-once or --tokens-at-once"
)

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
    #: The weight of what is done, and how many jobs are running.
    progress: Callable[[float, int], None] = field(default=lambda work, running: None)
    #: Seconds that an episode of a job took, once they are known.
    pace: Callable[[Job, float], None] = field(default=lambda job, seconds: None)


class Worker:
    """One process; its messages arrive in `inbox` as (worker, message or None at its end).

    The working directory is not on its path (`-P`): a user's own `bench.py` or `baselines/` there
    would hide ours. Plug-ins must be installed, or be on `PYTHONPATH`.
    """

    def __init__(
        self, log: Path, inbox: "queue.Queue[Any]", threads: int, gpu: str | None = None
    ) -> None:
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
            **({} if gpu is None else {VISIBLE: gpu}),
        }
        with log.open("ab") as errors:
            self._written = errors.tell()  # where what belongs to its job begins
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "bench.worker"],
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

    def assign(self, job: Job) -> None:
        """Gives it a job."""
        self.job, self.fraction = job, 0.0
        self.tell(job.message)

    def release(self) -> None:
        """Its job has ended; what it writes from here on belongs to the next."""
        self.job = None
        with suppress(OSError):  # a log that somebody deleted
            self._written = self.log.stat().st_size

    def last_words(self) -> str:
        """The last line that it wrote into its log since its job began; empty if there is none."""
        try:
            with self.log.open("rb") as file:
                file.seek(self._written)
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return ""
        # A progress bar writes over its own line.
        lines = [line.rstrip().rpartition("\r")[2].strip() for line in text.split("\n")]
        last = next((line for line in reversed(lines) if line), "")
        return last if len(last) <= SHOWN else f"{last[:SHOWN]}..."

    def death(self) -> str:
        """How its process ended, which it is left some time to do by itself, and what it wrote
        last."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE)
        self.stop()
        code = self.process.returncode
        how = f"signal {-code}" if code < 0 else f"status {code}"
        if code == -signal.SIGKILL:
            how += f" ({KILLED})"
        words = self.last_words()
        return f"its worker ended with {how}{f': {words}' if words else ''}; see {self.log}"

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

    def __init__(self, count: int, logs: Path, threads: int, gpus: Sequence[str] = ()) -> None:
        self._logs, self._threads, self._gpus = logs, threads, gpus
        self._inbox: queue.Queue[Any] = queue.Queue()
        try:
            logs.mkdir(parents=True, exist_ok=True)
            self._workers = [self._make(number) for number in range(count)]
        except OSError as error:
            raise UserError(f"cannot start workers: {error}") from None

    def _make(self, number: int) -> Worker:
        log = self._logs / f"worker-{number}.txt"
        gpu = self._gpus[number % len(self._gpus)] if self._gpus else None
        return Worker(log, self._inbox, self._threads, gpu)

    def stop(self) -> None:
        """Ends all workers."""
        for worker in self._workers:
            worker.stop()

    def run(self, jobs: Sequence[Job], events: Events) -> None:
        """Runs all jobs. A job whose predecessor failed fails with the same reason, and so does
        what follows it; a job that can never start fails too."""
        waiting, done = list(jobs), set[Hashable]()
        reasons: dict[Hashable, str] = {}
        finished = 0.0

        def fail(job: Job, reason: str) -> None:
            nonlocal finished
            finished += job.weight
            reasons[job.key] = reason
            events.failed(job, reason)

        while True:
            while broken := [(job, why) for job in waiting if (why := _broken(job, reasons))]:
                for job, reason in broken:
                    waiting.remove(job)
                    fail(job, reason)
            self._assign(waiting, done)
            busy = [(w.job, w.fraction) for w in self._workers if w.job]
            begun = sum(job.weight * fraction for job, fraction in busy)
            events.progress(finished + begun, len(busy))
            if not busy and not waiting:
                return
            if not busy:
                for job, reason in _stuck(waiting, done):
                    waiting.remove(job)
                    fail(job, reason)
                continue
            worker, message = self._inbox.get()
            job = worker.job
            if message is None:
                message = self._replace(worker)
            if job is None or message["kind"] == "ready":
                continue
            if message["kind"] == "progress":
                worker.fraction = message["fraction"]
            elif message["kind"] == "pace":
                events.pace(job, message["seconds"])
            else:
                worker.release()
                if message["kind"] == "done":
                    finished += job.weight
                    done.add(job.key)
                    events.done(job, message)
                else:
                    fail(job, message["reason"])

    def _assign(self, waiting: list[Job], done: set[Hashable]) -> None:
        for worker in self._workers:
            ready = [job for job in waiting if done.issuperset(job.after)]
            if worker.job is None and ready:
                waiting.remove(ready[0])
                worker.assign(ready[0])

    def _replace(self, worker: Worker) -> Message:
        """A new worker in the place of one that ended; the reason for its job's failure."""
        reason = worker.death()
        place = self._workers.index(worker)
        self._workers[place] = self._make(place)
        return {"kind": "failed", "reason": reason}


def _broken(job: Job, reasons: Mapping[Hashable, str]) -> str | None:
    """The reason of the first predecessor that failed."""
    return next((reasons[key] for key in job.after if key in reasons), None)


def _stuck(waiting: Sequence[Job], done: set[Hashable]) -> list[tuple[Job, str]]:
    """Why jobs that wait while no worker is busy can never start: first those behind a job that is
    not there, which all that follows then fails with; else those that wait for one another."""
    known = {job.key for job in waiting} | done
    lost = [(job, key) for job in waiting for key in job.after if key not in known]
    lost = lost or [(job, next(k for k in job.after if k not in done)) for job in waiting]
    whys = {job.key: f"it can never start: it waits for {key}" for job, key in reversed(lost)}
    return [(job, whys[job.key]) for job in waiting if job.key in whys]


@contextmanager
def pool(count: int, logs: Path, threads: int, gpus: Sequence[str] = ()) -> Iterator[Pool]:
    """A pool whose workers end with the block.

    Args:
        count: of workers.
        logs: a folder for what they write on standard error.
        threads: of each.
        gpus: what `CUDA_VISIBLE_DEVICES` is set to, in turn; empty leaves it.
    """
    made = Pool(count, logs, threads, gpus)
    try:
        yield made
    finally:
        made.stop()
