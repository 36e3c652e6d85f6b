"""The figures of blocks, each with its numbers as a table."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.across import THRESHOLDS, Aggregate
from bench.costs import inner_steps
from bench.report.blocks import Block, Line
from bench.report.figures import (
    Curve,
    Picture,
    Point,
    cost_figure,
    curve_figure,
)
from bench.report.over import OverSuites

NONE = "none"
Curves = Sequence[tuple[str, Curve]]  # with their labels
LACKS = "lacks cells of a suite, or its train seeds differ or met different tasks"
SHOWN_STEPS = 10  # in the table of a figure


@dataclass(frozen=True)
class Plot:
    """A figure, or the sentence that stands in its place.

    Attributes:
        label: what the figure shows, for who cannot see it.
        note: how to read it.
        legend: labels and series of what is drawn.
        head: of the table.
        rows: of the table, the label first.
    """

    title: str
    note: str
    picture: Picture | None = None
    label: str = ""
    legend: Sequence[tuple[str, int]] = ()
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def cost_plot(block: Block) -> Plot:
    """Quality against adaptation cost."""
    title = "Quality against adaptation cost"
    shown = [(line, point) for line in block.lines if (point := _point(line))]
    if not shown:
        return Plot(title, "No row of this block is scored.")
    points = [point for _, point in shown]
    if not any(point.cost for point in points):
        return Plot(title, "No row of this block adapts weights, so there is no cost to compare.")
    ahead = ", ".join(line.label for line in block.lines if line.on_front) or "none"
    return Plot(
        title,
        f"{block.metric_title} over milliseconds that the adaptation of an episode takes. Bars: "
        "95 % intervals of the score and of the median cost (of fewer than six episodes, the least "
        "and the most). Dashed: the Pareto front, by the values alone. What takes no inner step "
        "stands at the left.",
        cost_figure(points, f"{block.folder} cost"),
        f"{block.metric_title} against adaptation cost of {len(points)} rows; on the Pareto front: "
        f"{ahead}",
        [(line.label, line.series) for line, _ in shown],
        ["baseline", "ms, median [95 %]", f"{block.metric_title} [95 %]", "on the front"],
        [
            [
                line.label,
                _between(point.cost[1], point.cost[0], point.cost[2]) if point.cost else NONE,
                _between(point.score[1], point.score[0], point.score[2]),
                "yes" if point.on_front else "",
            ]
            for line, point in shown
        ],
    )


def _point(line: Line) -> Point | None:
    score = _told(line, line.metric.name, ("_low", "", "_high"))
    if score is None:
        return None
    cost = _cost(line) if line.told("inner_step_ms") is not None else None
    where = " ".join(str(line.values.get(key)) for key in ("device", "dtype", "threads"))
    return Point(line.series, cost, score, line.on_front, where)


def _cost(line: Line) -> tuple[float, float, float] | None:
    """The median time of an adaptation in ms with the distribution-free 95 % interval of a median
    (Conover, 1999, section 3.2); fewer than six episodes have none: from the least to the most."""
    from scipy.stats import quantile_test

    middle = line.told("adapt_ms")
    if middle is None:
        return None
    times = [record["costs"]["adapt_ms"] for record in line.row.records()]
    low, high = quantile_test(times, p=0.5).confidence_interval(0.95)
    if not (math.isfinite(low) and math.isfinite(high)):
        low, high = min(times), max(times)
    return float(low), middle, float(high)


def _told(line: Line, name: str, ends: tuple[str, str, str]) -> tuple[float, float, float] | None:
    low, middle, high = (line.told(f"{name}{end}") for end in ends)
    if low is None or middle is None or high is None:
        return None
    return low, middle, high


def loss_plot(block: Block) -> Plot:
    """The support loss after each inner step."""
    import numpy as np

    title = "Support loss after each inner step"
    curves: list[tuple[str, Curve]] = []
    for line in block.lines:
        losses = [record["losses"] for record in line.row.records() if record.get("losses")]
        if not losses:
            continue
        found = []
        for step in range(max(map(len, losses))):
            known = [loss[step] for loss in losses if step < len(loss)]
            found.append(np.percentile(known, [25, 50, 75]).tolist())
        low, middle, high = (list(part) for part in zip(*found, strict=True))
        curves.append((line.label, Curve(line.series, range(len(found)), middle, low, high)))
    if not curves:
        return Plot(title, "Not shown: the records of this block hold no losses of inner steps.")
    return Plot(
        title,
        "What the inner loop lowers, on the support set: medians over episodes and train seeds, "
        "quartiles shaded or in brackets; step 0 is before the first. A method that adds a penalty "
        "is shown with it.",
        curve_figure(
            [curve for _, curve in curves], f"{block.folder} loss", "inner step", "support loss"
        ),
        f"Support loss after each inner step of {len(curves)} rows",
        _legend(curves),
        *_table(curves, "step", _fine, _steps(curves)),
    )


def score_plot(block: Block) -> Plot:
    """Quality after each inner step that a run scored."""
    title = "Quality after each inner step"
    curves = [(line.label, curve) for line in block.lines if (curve := _score_curve(line))]
    if not curves:
        return Plot(
            title,
            "Not measured: the records of this block hold scores of the last step alone. "
            "A run with --score-steps 0,1,2,4,8 also scores after those steps.",
        )
    return Plot(
        title,
        f"{block.metric_title} of what is answered after so many inner steps, 0 before the first; "
        "95 % intervals shaded or in brackets.",
        curve_figure([c for _, c in curves], f"{block.folder} steps", "inner step", "score"),
        f"{block.metric_title} after inner steps of {len(curves)} rows",
        _legend(curves),
        *_table(curves, "step", _coarse, _steps(curves)),
    )


def _score_curve(line: Line) -> Curve | None:
    """Scores after the steps that all records of a row hold, and after its last."""
    records = line.row.records()
    held = [set(record.get("after") or {}) for record in records]
    steps = set.intersection(*held) if held else set()
    if not steps:
        return None
    points = {int(step): line.score_after(step) for step in steps}
    taken = {inner_steps(record["costs"]) for record in records}
    final = _told(line, line.metric.name, ("_low", "", "_high"))
    if len(taken) == 1 and final:
        points[taken.pop()] = final
    xs = sorted(points)
    low, middle, high = ([points[x][end] for x in xs] for end in range(3))
    return Curve(line.series, xs, middle, low, high)


def shots_plot(family: Sequence[Block]) -> Plot:
    """Quality against shots over blocks that differ in nothing else."""
    title = f"Quality against shots: {family[0].suite}"
    shots = [block.shots for block in family]
    if len(shots) < 2:
        return Plot(title, f"{family[0].suite}: one number of shots was run, K = {shots[0]}.")
    if len(set(shots)) < len(shots):
        return Plot(
            title, f"{family[0].suite}: rows of one K saw other episodes; see their blocks."
        )
    found: dict[str, list[tuple[Line, int, tuple[float, float, float]]]] = {}
    for block in family:
        for line in block.lines:
            score = _told(line, block.metric, ("_low", "", "_high"))
            if score:
                found.setdefault(line.label, []).append((line, block.shots, score))
    curves = [
        (
            label,
            Curve(
                points[0][0].series,
                [k for _, k, _ in points],
                [score[1] for *_, score in points],
                [score[0] for *_, score in points],
                [score[2] for *_, score in points],
            ),
        )
        for label, points in found.items()
    ]
    if not curves:
        return Plot(title, f"{family[0].suite}: no row is scored.")
    return Plot(
        title,
        f"{family[0].metric_title} of each baseline by K, support examples. Bars: 95 % intervals. "
        "Each K is a block of its own: its rows are compared with one another, not with those of "
        "another K.",
        curve_figure(
            [curve for _, curve in curves],
            f"{family[0].folder} shots",
            "K, support examples",
            "score",
            sorted(set(shots)),
        ),
        f"{family[0].metric_title} against shots of {len(curves)} rows, K = "
        + ", ".join(map(str, sorted(set(shots)))),
        _legend(curves),
        *_table(curves, "K =", _coarse, sorted(set(shots))),
    )


def profile_plot(over: OverSuites) -> Plot:
    """Performance profiles over suites."""
    title = "Performance profiles"
    curves = [(m.label, _profile(m.first.series, m.over)) for m in over.methods if m.over]
    if not curves:
        return Plot(title, f"Not shown: every baseline {LACKS}.")
    lacking = ", ".join(method.label for method in over.methods if not method.over)
    return Plot(
        title,
        "The share of all suites' tasks with a score above each value, every task on its suite's "
        "metric (Agarwal et al., 2021); a task counts once a train seed. A higher line is better. "
        "Shaded or in brackets: 95 % intervals that resample tasks within each suite, "
        "crossed with train seeds." + (f" Not drawn, as it {LACKS}: {lacking}." if lacking else ""),
        curve_figure(
            [curve for _, curve in curves],
            f"over {over.number}",
            "score",
            "share of tasks above it",
            span=(0, 1),
        ),
        f"Share of tasks above each score of {len(curves)} baselines over "
        + ", ".join(over.pivot.names),
        _legend(curves),
        *_table(curves, ">", _share, THRESHOLDS),
    )


def _profile(series: int, found: Aggregate) -> Curve:
    return Curve(
        series,
        [point.threshold for point in found.profile],
        [point.share for point in found.profile],
        [point.interval.low for point in found.profile],
        [point.interval.high for point in found.profile],
    )


def _legend(curves: Curves) -> list[tuple[str, int]]:
    return [(label, curve.series) for label, curve in curves]


def _steps(curves: Curves) -> list[float]:
    """All steps of some curves, or some of them where they are many."""
    every = sorted({x for _, curve in curves for x in curve.xs})
    if len(every) <= SHOWN_STEPS:
        return every
    last = {curve.xs[-1] for _, curve in curves}
    return [x for x in every if x in (0, 1, 2, 4, 8, 16, 32) or x in last]


def _table(
    curves: Curves, what: str, text: Callable[[float], str], shown: Sequence[float]
) -> tuple[list[str], list[list[str]]]:
    """Head and rows: what each curve has at the places that are shown."""
    rows = []
    for label, curve in curves:
        points = {x: i for i, x in enumerate(curve.xs)}
        cells = [
            _between(curve.middle[i], curve.low[i], curve.high[i], text)
            if (i := points.get(x)) is not None
            else ""
            for x in shown
        ]
        rows.append([label, *cells])
    return ["baseline", *(f"{what} {x:g}" for x in shown)], rows


def _coarse(value: float) -> str:
    return f"{value:,.1f}"


def _share(value: float) -> str:
    return f"{value:.2f}"


def _fine(value: float) -> str:
    return f"{value:.3g}"


def _between(middle: float, low: float, high: float, text: Callable[[float], str] = _coarse) -> str:
    return f"{text(middle)} [{text(low)}, {text(high)}]"
