"""Figures as SVG for a page: colours are the page's own, so that they suit light and dark.

No text of the data goes into a figure; names stand in the legend and the table below it.
"""

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = 8  # `--series-0` and so on in style.css
MARKERS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "P": "✚", "*": "★"}
INK, RULE = "#fd0000", "#fd0001"  # stand-ins: text, and the lines behind the data


def colour(series: int) -> int:
    """The number of a series' colour."""
    return series % COLOURS


def marker(series: int) -> str:
    """The sign of a series, as text shows it; with its colour it is one of 56."""
    return list(MARKERS.values())[series % len(MARKERS)]


def _colour(series: int) -> str:
    return f"#fe00{colour(series):02x}"


def _marker(series: int) -> str:
    return list(MARKERS)[series % len(MARKERS)]


@dataclass(frozen=True)
class Point:
    """A row in the plane of cost and quality.

    Attributes:
        cost: the median of milliseconds in its interval; None where nothing adapts.
        score: with its interval.
        on_front: whether it is on the Pareto front.
        where: what the cost was measured on.
    """

    series: int
    cost: tuple[float, float, float] | None
    score: tuple[float, float, float]
    on_front: bool = False
    where: str = ""

    @property
    def price(self) -> float:
        """The cost, 0 where nothing adapts."""
        return self.cost[1] if self.cost else 0.0


@dataclass(frozen=True)
class Curve:
    """A row's values over some numbers, each with both ends of an interval or of quartiles."""

    series: int
    xs: Sequence[float]
    middle: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


@dataclass(frozen=True)
class Picture:
    """An SVG element: its `viewBox` and what stands in it."""

    box: str
    body: str


def cost_figure(points: Sequence[Point], salt: str) -> Picture:
    """Score over adaptation cost with intervals both ways and the Pareto front; what does not adapt
    stands in a strip of its own, where a logarithmic axis has no place for it."""
    with _style(salt):
        return _svg(_cost_figure(points))


def _cost_figure(points: Sequence[Point]) -> "Figure":
    figure, (strip, plane) = _figure(columns=[1, 5])
    free = [point for point in points if not point.cost]
    for place, point in enumerate(free):
        _point(strip, point, (place + 1) / (len(free) + 1))
    for point in points:
        if point.cost:
            _point(plane, point, point.cost[1], point.cost)
    _logarithmic(plane, [p.cost for p in points if p.cost])
    left, right = plane.get_xlim()
    if len({point.where for point in points if point.cost}) == 1:  # else there is no one front
        front = sorted((point for point in points if point.on_front), key=lambda p: p.price)
        _front(strip, plane, front, left, right)
    plane.set_xlim(left, right)
    strip.set_xlim(0, 1)
    strip.set_xticks([0.5], ["none"])
    strip.set_ylabel("score")
    plane.set_xlabel("adaptation, ms an episode")
    return figure


def _front(strip: "Axes", plane: "Axes", front: Sequence[Point], left: float, right: float) -> None:
    """The best score that a cost buys, from the left end of the plane to its right one."""
    if not front:
        return
    xs = [*(point.price if point.cost else left for point in front), right]
    ys = [point.score[1] for point in front]
    line: dict[str, Any] = {"color": INK, "linewidth": 1, "linestyle": (0, (4, 2)), "zorder": 1}
    plane.step(xs, [*ys, ys[-1]], where="post", **line)
    if not front[0].cost:
        strip.axhline(ys[0], **line)


def _within(low: float, middle: float, high: float) -> tuple[float, float]:
    """How far an interval reaches down and up; an end that there is none of is not drawn."""
    down, up = middle - low, high - middle
    return (down if math.isfinite(down) else 0.0, up if math.isfinite(up) else 0.0)


def _point(axes: "Axes", point: Point, x: float, cost: Sequence[float] | None = None) -> None:
    down, up = _within(*point.score)
    axes.errorbar(
        [x],
        [point.score[1]],
        yerr=[[max(down, 0)], [max(up, 0)]],
        xerr=[[x - cost[0]], [cost[2] - x]] if cost else None,
        color=_colour(point.series),
        marker=_marker(point.series),
        markersize=6,
        elinewidth=1,
        capsize=2,
    )


def _logarithmic(axes: "Axes", costs: Sequence[tuple[float, float, float]]) -> None:
    """A logarithmic axis where the costs differ tenfold."""
    low, high = min(cost[0] for cost in costs), max(cost[2] for cost in costs)
    if low > 0 and high > 10 * low:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.5, high * 1.5)
    else:
        axes.set_xlim(0, high * 1.1 or 1)


def curve_figure(
    curves: Sequence[Curve],
    salt: str,
    x_label: str,
    y_label: str,
    ticks: Sequence[float] = (),
    span: tuple[float, float] | None = None,
) -> Picture:
    """Lines with what their intervals hold shaded, or as bars where `ticks` names all points.

    Args:
        span: lowest and highest of what may be; without it the values choose the axis.
    """
    with _style(salt):
        return _svg(_curve_figure(curves, x_label, y_label, ticks, span))


def _curve_figure(
    curves: Sequence[Curve],
    x_label: str,
    y_label: str,
    ticks: Sequence[float],
    span: tuple[float, float] | None,
) -> "Figure":
    figure, (axes,) = _figure(columns=[1])
    for curve in curves:
        reach = [_within(*ends) for ends in zip(curve.low, curve.middle, curve.high, strict=True)]
        lows = [y - down for y, (down, _) in zip(curve.middle, reach, strict=True)]
        highs = [y + up for y, (_, up) in zip(curve.middle, reach, strict=True)]
        shown: dict[str, Any] = {
            "color": _colour(curve.series),
            "marker": _marker(curve.series),
            "markersize": 5,
            "linewidth": 1.4,
            "markevery": max(1, len(curve.xs) // 8),
        }
        axes.plot(curve.xs, curve.middle, **shown)
        if not ticks:
            shade: dict[str, Any] = {"color": _colour(curve.series), "alpha": 0.12, "linewidth": 0}
            axes.fill_between(curve.xs, lows, highs, **shade)
        else:
            for x, low, high in zip(curve.xs, lows, highs, strict=True):
                axes.plot([x, x], [low, high], color=_colour(curve.series), linewidth=1)
    every = [value for curve in curves for value in curve.low]
    if span:
        axes.set_ylim(span[0], span[1] + 0.02 * (span[1] - span[0]))
    elif min(every) > 0 and max(value for c in curves for value in c.high) > 20 * min(every):
        axes.set_yscale("log")
    if ticks:
        axes.set_xticks(list(ticks), [f"{tick:g}" for tick in ticks])
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    return figure


def _figure(columns: Sequence[float]) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2, 3.9), layout="constrained")
    figure.patch.set_visible(False)
    shape: dict[str, Any] = {"width_ratios": columns, "wspace": 0.02}
    grid = figure.add_gridspec(1, len(columns), **shape)
    made: list[Axes] = []
    for place in range(len(columns)):
        axes = figure.add_subplot(grid[place], sharey=made[0] if made else None)
        axes.patch.set_visible(False)
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(which="both", color=RULE, labelcolor=INK, labelleft=not made, left=False)
        axes.xaxis.label.set_color(INK)
        axes.yaxis.label.set_color(INK)
        for side, spine in axes.spines.items():
            spine.set_color(RULE)
            spine.set_visible(side == "bottom" or (side == "left" and not made))
        made.append(axes)
    return figure, made


@contextmanager
def _style(salt: str) -> Iterator[None]:
    """matplotlib as it is without a user's settings; the same figure and salt give the same
    bytes."""
    from matplotlib import style

    with style.context(["default", {"svg.fonttype": "none", "svg.hashsalt": salt}]):
        yield


def _svg(figure: "Figure") -> Picture:
    file = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(file, format="svg", metadata=nothing)
    head, body = file.getvalue().split("<svg", 1)[1].split(">", 1)
    body = body.rsplit("</svg>", 1)[0]
    body = re.sub(r"<style.*?</style>|<metadata>.*?</metadata>|<!--.*?-->", "", body, flags=re.S)
    used = set(re.findall(r"#(\w+)[)\"]", body))
    body = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used else "", body)
    body = re.sub(r"#fe00([0-9a-f]{2})", lambda m: f"var(--series-{int(m[1], 16)})", body)
    body = body.replace(INK, "currentColor").replace(RULE, "var(--rule)")
    body = re.sub(r"font: [^;\"]*?(\d[\d.]*px)[^;\"]*", r"font-size: \1", body)
    box = re.search(r'viewBox="([^"]*)"', head)
    assert box is not None
    return Picture(box[1], body.strip())
