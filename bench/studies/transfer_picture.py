"""The picture of a transfer study: heat maps of differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.studies.figures import heat_map, panels
from bench.studies.transfer_cells import Cell, Difference
from bench.studies.transfer_told import APART, LEAK, Told

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class _Map:
    """One heat map.

    Attributes:
        lines: a name to the cells of a line.
        figure: of each cell.
    """

    title: str
    lines: Mapping[str, Sequence[Cell]]
    figure: Literal["over_floor", "minus_text"]

    def of(self, cell: Cell) -> Difference:
        """What is shown of a cell."""
        found: Difference = getattr(cell, self.figure)
        return found

    @property
    def most(self) -> float:
        """The largest difference, up or down."""
        return max(abs(self.of(cell).value) for line in self.lines.values() for cell in line)


def draw(told: Told) -> "Figure":
    """A heat map for each method, in one scale, and one of what a text left out of pre-training
    costs."""
    methods = [
        _Map(f"{method} minus {told.floor}", told.lines(method), "over_floor")
        for method in told.methods
    ]
    text = _Map("Target's text out of pre-training", told.without_text(), "minus_text")
    scales = {"over_floor": max(shown.most for shown in methods), "minus_text": text.most}
    figure, grid = panels([shown.title for shown in [*methods, text]])
    for axes, shown in zip(grid, [*methods, text], strict=True):
        heat_map(
            axes,
            list(shown.lines),
            told.suites,
            [[shown.of(cell).value for cell in line] for line in shown.lines.values()],
            [[_text(told, shown, cell) for cell in line] for line in shown.lines.values()],
            scales[shown.figure] or 1.0,
        )
        axes.set_xlabel("measured on")
        axes.set_ylabel("" if shown is text else "trained on")
    return figure


def _text(told: Told, shown: _Map, cell: Cell) -> str:
    gap = shown.of(cell)
    return f"{gap.value:+.1f}" + APART * bool(gap.sign) + LEAK * told.leaks(cell)
