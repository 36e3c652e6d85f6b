"""The figure of `fewgen study cost`: quality against all device-seconds of a task."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.shown import title
from bench.studies.cost_lines import Compared, answers_of
from bench.studies.figures import curve, legend, panels, styles
from bench.studies.step_curves import SECONDS, Measured, estimate_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Style = tuple[str, str]


def draw(blocks: Sequence[Compared], shares: Sequence[int]) -> "Figure":
    """A line of panels a block: one for each number of tasks that share a meta-training."""
    titles = [f"{block.place}: N = {tasks:,} tasks" for block in blocks for tasks in shares]
    figure, grid = panels(titles)
    names = dict.fromkeys(row.name for block in blocks for row in block.rows)
    looks = styles(sorted(names))
    places = [(block, tasks) for block in blocks for tasks in shares]
    for axes, (block, tasks) in zip(grid, places, strict=True):
        for row in sorted(block.rows, key=lambda row: row.name):
            _row(axes, row, tasks, looks[row.name])
        quality = float(block.rival.score().points.mean())
        told = f"{block.rival.name}, final score"
        axes.axhline(quality, color="#888888", linewidth=0.8, linestyle=":", label=told)
        _seconds(axes)
        axes.set_ylabel(title(block.rival.metric.name))
    legend(figure, grid[0])
    return figure


def _seconds(axes: "Axes") -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_xscale("log")
    axes.set_xlabel("device-seconds of a task: training / N + adaptation + answers")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _row(axes: "Axes", row: Measured, tasks: int, look: Style) -> None:
    """A row after each scored number of steps; one without steps is a point with its interval, one
    whose meta-training's seconds are not known is left out."""
    if row.prepared and not row.training(SECONDS).all():
        return
    fixed = float(answers_of(row).points.mean())
    fixed += float(row.training(SECONDS).mean()) / tasks if row.prepared else 0.0
    found = [estimate_of(row.score(steps)) for steps in row.knots]
    bounds = [estimate.interval().within(row.metric.limits) for estimate in found]
    xs = [float(row.cost(SECONDS, steps).points.mean()) + fixed for steps in row.knots]
    middle = [estimate.value for estimate in found]
    low, high = [b.low for b in bounds], [b.high for b in bounds]
    curve(axes, xs, middle, low, high, look, row.name)
