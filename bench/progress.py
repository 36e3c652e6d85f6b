"""How far a command has come, on the screen."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress_bar(label: str) -> Iterator[Any]:
    """A bar with the time left, on standard error; yields its update(done, total)."""
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
    )
    progress = Progress(*columns, console=Console(stderr=True))
    bar = progress.add_task(label, total=1.0)
    started = False

    def update(done: float, total: float = 1.0) -> None:
        nonlocal started
        if not started:
            # Not before there is work: an error in the plan stands alone on its line.
            progress.start()
            started = True
        progress.update(bar, completed=done / total)

    try:
        yield update
    finally:
        if started:
            progress.stop()
