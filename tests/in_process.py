"""A stand-in for worker processes: jobs run in this one, with the same messages."""

import json
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import bench.pool
from bench import worker
from bench.context import Context
from bench.errors import CellError, UserError
from bench.plan import Plan
from bench.pool import Job

PROCESS = bench.pool.Worker


@contextmanager
def workers_are(kind: type) -> Iterator[None]:
    """Pools that are made inside have workers of this kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.pool, "Worker", kind)
        yield


class InProcessWorker:
    """`bench.pool.Worker` without a process, which would spend five seconds on imports.

    What passes in either direction is JSON, as between processes.
    """

    def __init__(
        self, log: Path, inbox: "queue.Queue[Any]", threads: int, gpu: str | None = None
    ) -> None:
        self.log = log
        self.job: Any = None
        self.fraction = 0.0
        self._inbox = inbox
        self._known: Any = None
        self._context: Context | None = None

    def send(self, **message: Any) -> None:
        self._inbox.put((self, json.loads(json.dumps(message))))

    def progress(self, fraction: float) -> None:
        self.send(kind="progress", fraction=fraction)

    def pace(self, seconds: float) -> None:
        self.send(kind="pace", seconds=seconds)

    def assign(self, job: Job) -> None:
        self.job, self.fraction = job, 0.0
        self._work(json.loads(json.dumps(job.message)))

    def release(self) -> None:
        self.job = None

    def _work(self, job: dict[str, Any]) -> None:
        try:
            self.send(kind="done", **worker._work(self._of(job), job, self))  # type: ignore[arg-type]
        except (CellError, UserError) as error:
            self.send(kind="failed", reason=str(error))
        except Exception as error:
            self.send(kind="failed", reason=f"{type(error).__name__}: {error}")

    def _of(self, job: dict[str, Any]) -> Context:
        """What the job works with; kept from one job of a run to the next, as a process does."""
        run = (job["plan"], job["root"], job["backbones"])
        if run != self._known or self._context is None:
            plan, places = Plan.model_validate(job["plan"]), map(Path, run[1:])
            last, self._known = self._context, run
            self._context = last.next(plan, *places) if last else Context(plan, *places)
        return self._context

    def stop(self) -> None:
        pass
