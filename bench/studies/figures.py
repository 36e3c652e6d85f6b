"""How the figures of studies look: matplotlib's, with colours that the colour-blind tell apart."""

from collections.abc import Sequence
from itertools import cycle
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito (2008), without yellow, which is weak on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
ACROSS = 2  # panels side by side, at most
WIDTH, HEIGHT = 5.2, 3.6  # inches of a panel


def panels(titles: Sequence[str]) -> "tuple[Figure, list[Axes]]":
    """A figure with a titled panel for each text."""
    from matplotlib.figure import Figure

    columns = min(ACROSS, len(titles))
    lines = ceil(len(titles) / columns)
    figure = Figure(figsize=(WIDTH * columns, HEIGHT * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False).flatten().tolist()
    for axes, title in zip(grid, titles, strict=False):
        axes.set_title(title, parse_math=False)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    for empty in grid[len(titles) :]:
        empty.set_axis_off()
    return figure, grid[: len(titles)]


def styles(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each name."""
    return dict(zip(names, zip(cycle(COLOURS), cycle(MARKERS), strict=False), strict=False))


def curve(
    axes: "Axes",
    xs: Sequence[float],
    middle: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    style: tuple[str, str],
    label: str,
) -> None:
    """A line with its interval shaded, drawn as a line where it is of one point."""
    colour, marker = style
    axes.plot(xs, middle, color=colour, marker=marker, markersize=4, linewidth=1.4, label=label)
    if len(xs) > 1:
        axes.fill_between(xs, low, high, color=colour, alpha=0.15, linewidth=0)
    else:
        axes.vlines(xs, low, high, color=colour, linewidth=1)


def legend(figure: "Figure", axes: "Axes") -> None:
    """One legend below all panels, of what one of them shows."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)


def heat_map(
    axes: "Axes",
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float]],
    texts: Sequence[Sequence[str]],
    most: float,
) -> None:
    """A matrix with a text in every cell; blue is above 0, red below, white is 0.

    Args:
        most: the value, up or down, of the darkest colour.
    """
    axes.imshow(values, cmap="RdBu", vmin=-most, vmax=most, aspect="auto")
    axes.grid(visible=False)
    axes.tick_params(length=0, labelsize=8)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    for y, line in enumerate(texts):
        for x, text in enumerate(line):
            dark = abs(values[y][x]) > 0.6 * most
            colour = "white" if dark else "black"
            axes.text(x, y, text, ha="center", va="center", color=colour, fontsize=9)
