"""A worker process: takes jobs as JSON lines on standard input, answers on standard output.

Its input closes when the parent dies, and then it ends at once, whatever it was doing.
"""

import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, TextIO

from bench.errors import CellError, UserError

TICK = 0.2  # seconds between two progress messages


class Reporter:
    """Sends messages to the parent, progress not more often than every `TICK` seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._last = stream, 0.0

    def send(self, **message: Any) -> None:
        """One message; texts may hold any character, so all are escaped to ASCII."""
        self._stream.write(json.dumps(message) + "\n")
        self._stream.flush()

    def pace(self, seconds: float) -> None:
        """What an episode of the present job takes."""
        self.send(kind="pace", seconds=seconds)

    def progress(self, fraction: float) -> None:
        """How much of the present job is done, 0 to 1."""
        now = time.monotonic()
        if now - self._last >= TICK:
            self._last = now
            self.send(kind="progress", fraction=fraction)


def _read_jobs(jobs: "queue.Queue[str]") -> None:
    for line in sys.stdin:
        jobs.put(line)
    os._exit(1)


def _work(context: Any, job: dict[str, Any], report: Reporter) -> dict[str, Any]:
    from bench import artefacts
    from bench.cells import run_cell
    from bench.records import Cell

    if job["kind"] == "cell":
        header, records = run_cell(context, Cell(**job["cell"]), report.progress, report.pace)
        return {"header": header, "records": records}
    if job["kind"] == "pretrain":
        artefacts.make_pretrained(context, job["train_seed"], report.progress)
    else:
        artefacts.make_initialisation(
            context, job["suites"], job["baseline"], job["train_seed"], report.progress
        )
    return {}


def main() -> None:
    """Works until the input closes. The first line says the number of threads; every job brings
    its plan and run directory."""
    # Asked to end, as Ctrl-C asks all processes of a terminal, the parent says how; we end with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Libraries may print; what they print must not stand between our messages.
    report = Reporter(os.fdopen(os.dup(1), "w", encoding="ascii"))
    os.dup2(2, 1)
    jobs: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read_jobs, args=(jobs,), daemon=True).start()
    first = json.loads(jobs.get())

    import torch

    from bench.context import Context
    from bench.plan import Plan
    from bench.timing import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(first["threads"])
    torch.set_num_interop_threads(1)
    report.send(kind="ready")
    known: Any = None
    context: Context | None = None
    while True:
        job = json.loads(jobs.get())
        try:
            run = (job["plan"], job["root"], job["backbones"])
            if run != known:
                known, plan = run, Plan.model_validate(job["plan"])
                places = Path(job["root"]), Path(job["backbones"])
                context = context.next(plan, *places) if context else Context(plan, *places)
            report.send(kind="done", **_work(context, job, report))
        except (CellError, UserError) as error:
            report.send(kind="failed", reason=str(error))
        except Exception as error:
            traceback.print_exc()
            report.send(kind="failed", reason=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
