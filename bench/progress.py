"""How far a command has come: a bar on a terminal, else a line every half minute."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

EVERY = 30.0  # seconds between two lines


class Progress(Protocol):
    """Told how far the work has come, in any unit, and in words."""

    def __call__(self, done: float, total: float = 1.0, detail: str = "") -> None:
        """`done` of `total`."""


def unseen(done: float, total: float = 1.0, detail: str = "") -> None:
    """A `Progress` that shows nothing."""


def duration(seconds: float) -> str:
    """A time as people say it: `0.21 s`, `48 s`, `6 min 10 s`, `2 h 5 min`."""
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {left} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


@contextmanager
def shown_progress(label: str) -> Iterator[Progress]:
    """Shows on standard error what it is told inside the block. Nothing before there is work: an
    error in the plan then stands alone on its line."""
    shown = bar(label) if sys.stderr.isatty() else lines(label, sys.stderr.write)
    with shown as update:
        yield update


@contextmanager
def bar(label: str) -> Iterator[Progress]:
    """A bar with the time left."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
        TextColumn("{task.fields[detail]}"),
    )
    shown = Progress(*columns, console=Console(stderr=True))
    task = shown.add_task(label, total=1.0, detail="")
    started = False

    def update(done: float, total: float = 1.0, detail: str = "") -> None:
        nonlocal started
        if not started:
            shown.start()
            started = True
        shown.update(task, completed=done / total, detail=detail)

    try:
        yield update
    finally:
        if started:
            shown.stop()


class Standing:
    """How far the work has come since it began.

    Attributes:
        begun: seconds on `clock` of the first word; None before.
    """

    def __init__(self, label: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._label, self._clock = label, clock
        self.begun: float | None = None
        self._share, self._detail = 0.0, ""

    def update(self, done: float, total: float = 1.0, detail: str = "") -> None:
        """Takes note of it."""
        if self.begun is None:
            self.begun = self._clock()
        self._share, self._detail = done / total, detail

    def line(self) -> str:
        """`fewgen run quick: 25 %, 12 of 48 cells done, 2 running, 6 min 10 s left`."""
        spent = self._clock() - (self._clock() if self.begun is None else self.begun)
        left = f"about {duration(spent * (1 / self._share - 1))} left" if self._share else ""
        parts = [f"{self._share:.0%}".replace("%", " %"), self._detail, left]
        return f"{self._label}: {', '.join(filter(None, parts))}"


@contextmanager
def lines(
    label: str,
    write: Callable[[str], object],
    every: float = EVERY,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Progress]:
    """A line every so many seconds, also while nothing new is heard of."""
    standing, ended = Standing(label, clock), threading.Event()

    def tell() -> None:
        while not ended.wait(every):
            if standing.begun is not None:
                write(standing.line() + "\n")

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield standing.update
    finally:
        ended.set()
        teller.join()
