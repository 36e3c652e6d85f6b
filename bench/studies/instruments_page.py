"""What the study of instruments says: sentences, tables, figure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from bench.ranks import ALPHA
from bench.shown import SCORES, bracketed, title
from bench.statistics import holm
from bench.studies.figures import legend, panels, styles
from bench.studies.instruments_tables import (
    Fall,
    adjusted,
    fall_table,
    kind_table,
    lines_of,
    score_table,
    scores_of,
    tau_lines,
    tau_table,
    tau_text,
)
from bench.studies.study import Findings
from bench.tables import Row

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

APART = 0.12  # of two levels, between the baselines of one


def findings(
    plain: Sequence[Row],
    falls: Sequence[Fall],
    taus: "pd.DataFrame",
    least: Mapping[str, int | float],
    pretrained: int,
) -> Findings:
    """All that is told.

    Args:
        plain: rows of the suites as they are.
        falls: of every suite, dial and baseline.
        taus: of metrics with the one that knows (`bench.correlations`).
        least: by dial the first level that may be compared.
        pretrained: tokens of each level's backbone.
    """
    import pandas as pd

    knows = str(taus["with"].iloc[0])
    falls = adjusted(falls)
    known = [fall for fall in falls if fall.metric == knows]
    overall = taus[(taus["with"] == knows) & taus["metric"].isin(list(SCORES))]
    kinds = taus[(taus["with"] != knows) & (taus["level"] == "episodes")]
    kinds = kinds[kinds["metric"].isin(list(SCORES))]
    scores = list(scores_of(plain, knows))
    return Findings(
        _answer(known, overall, plain, knows),
        pd.DataFrame([*lines_of(falls), *scores, *tau_lines(taus)]),
        fall_table(known),
        _figure(known),
        _caption(knows),
        _changes(plain, pretrained),
        _notes(least, known, knows),
        {
            "The suites as they are": score_table(scores),
            f"Kendall's tau of metrics with {title(knows)}": tau_table(overall),
            "Which kind of error each suite's own metric sees least": kind_table(kinds, plain),
        },
    )


# -- sentences -----------------------------------------------------------------------------


def _answer(
    falls: Sequence[Fall], overall: "pd.DataFrame", plain: Sequence[Row], knows: str
) -> str:
    """On which suites a dial is shown to make all that has a model worse, and which metric is
    nearest to the one that knows."""
    told = []
    for dial in dict.fromkeys(fall.dial for fall in falls):
        suites: dict[str, list[bool]] = {}
        for fall in falls:
            if fall.dial == dial and not fall.floor:
                suites.setdefault(fall.suite, []).append(fall.shown)
        harder = [suite for suite, shown in suites.items() if all(shown)]
        where = f" ({', '.join(harder)})" if harder else ""
        told.append(f"{dial} on {len(harder)} of {len(suites)} suite(s){where}")
    primary = {row.header["suite"]: row.header["primary"] for row in plain}
    seen = "; ".join(_nearest(overall[overall["level"] == "episodes"], primary))
    return (
        f"By {title(knows)} the last level of a dial is shown to be harder than the first for "
        f"every baseline with a model: {', '.join(told)}. "
        + (
            f"Nearest to {title(knows)} over episodes: {seen}."
            if seen
            else "No metric could be ranked."
        )
    )


def _nearest(taus: "pd.DataFrame", primary: Mapping[str, str]) -> Iterator[str]:
    """Of each suite the metric with the largest tau, those that are not shown to be behind it, and
    by how much the suite's own is, if it is."""
    known = taus[taus["tau"].notna()]
    tested = known[known["behind_p"].notna()]
    shown = {
        place
        for place, p in zip(tested.index, holm(tested["behind_p"].tolist()), strict=True)
        if p < ALPHA
    }
    for suite, group in known.groupby("suite", sort=False):
        best, *others = [line for _, line in group.nlargest(len(group), "tau").iterrows()]
        like = [title(line["metric"]) for line in others if line.name not in shown]
        beside = f", not told apart from {', '.join(like)}" if like else ""
        for line in others:
            if line["metric"] == primary[str(suite)] and line.name in shown:
                far = bracketed(line["behind"], line["behind_low"], line["behind_high"], ".2f")
                beside += f"; the suite's own, {title(line['metric'])}, is {far} behind"
        yield f"{title(best['metric'])} on {suite} (tau {tau_text(best)}{beside})"


def _caption(knows: str) -> str:
    return (
        f"Points of {title(knows)}, the share of rule decisions that an answer takes as the "
        "reference does; brackets are 95 % intervals over tasks and train seeds. A dial leaves of "
        "a task what it is not about, so what it takes is paired by task; harder is shown at "
        f"{ALPHA:.0%} by p-values adjusted for all lines (Holm). "
        f"Tau-b between a metric and {title(knows)} ranks baselines over rows, every episode of "
        "every baseline over episodes; a dash where one of them ranks nothing. Metrics are told "
        "apart by differences of their taus on the same resampled tasks (Holm, over all suites). "
        f"{title(knows)}-rest counts what an answer says that its reference has no need of, the "
        "other kinds decisions of one sort; the largest of several taus was chosen after seeing "
        "them. "
        "instruments.csv holds every level, and the falls of the suites' primary metrics too."
    )


def _changes(plain: Sequence[Row], pretrained: int) -> list[str]:
    backbones = sorted({str(r.header["backbone"]) for r in plain if r.header.get("backbone")})
    return [
        "Options were chosen at the default levels: other steps and rates may suit others better.",
        f"Another pre-training: a level's backbone read {pretrained:,} tokens of that level's "
        "meta-train tasks, once, and one meta-training started from it. Intervals hold the luck of "
        "neither, so a dial whose levels have a backbone each is judged for these trainings alone. "
        "One that has read more, or the whole family, has another scale.",
        f"The tables of the suites as they are, and of metrics, are of one backbone "
        f"({', '.join(backbones) or 'none'}), pre-trained on all suites: their scores are not "
        "those of the levels.",
        "Other baselines make other errors, and a metric that is blind to one kind looks better "
        "where nobody makes it.",
    ]


def _notes(least: Mapping[str, int | float], falls: Sequence[Fall], knows: str) -> list[str]:
    dials = {fall.dial for fall in falls}
    return [
        *(
            f"The dial {dial} is compared from level {level:g} on: below, as the suite is, other "
            f"tasks are meta-trained on. From {level:g} on levels share these tasks and the "
            "backbone, so they differ by the tasks that are measured alone."
            for dial, level in least.items()
            if dial in dials
        ),
        *_below_floors(falls),
        *_harder_between(falls),
        f"A suite's own form score and {title(knows)} are no independent witnesses: both check "
        "refrain, rhymes and the number of lines, so part of their agreement is one decision "
        "counted twice.",
    ]


def _below_floors(falls: Sequence[Fall]) -> Iterator[str]:
    """Which dials leave every baseline with a model below one without, at their last level."""
    last: dict[tuple[str, str], dict[bool, list[float]]] = {}
    for fall in falls:
        sides = last.setdefault((fall.suite, fall.dial), {True: [], False: []})
        sides[fall.floor].append(fall.scores[-1].value)
    found: dict[str, list[str]] = {}
    for (suite, dial), sides in last.items():
        if sides[True] and sides[False] and max(sides[False]) < max(sides[True]):
            found.setdefault(suite, []).append(dial)
    if found:
        told = "; ".join(f"{suite} by {', '.join(dials)}" for suite, dials in found.items())
        yield (
            "At the last level every baseline with a model scores below the best one without: "
            f"{told}. There a fall tells what the level's backbone has not learned as much as what "
            "adaptation cannot."
        )


def _harder_between(falls: Sequence[Fall]) -> Iterator[str]:
    """Which dials have a level between whose interval lies below that of the last."""
    found = dict[str, list[str]]()
    for fall in falls:
        for level, score in list(zip(fall.levels, fall.scores, strict=True))[1:-1]:
            if score.high < fall.scores[-1].low:
                place = f"{fall.suite} {fall.dial} {level:g}"
                found.setdefault(place, []).append(fall.baseline)
    if found:
        told = "; ".join(f"{place} ({', '.join(names)})" for place, names in found.items())
        yield (
            f"A level between is lower than the last, their intervals apart: {told}. The answer "
            "compares the first and the last alone."
        )


# -- figure --------------------------------------------------------------------------------


def _figure(falls: Sequence[Fall]) -> "Figure":
    """A panel a suite; in it each dial's levels side by side, a line a baseline."""
    suites = list(dict.fromkeys(fall.suite for fall in falls))
    names = list(dict.fromkeys(fall.baseline for fall in falls))
    style = styles(names)
    figure, axes = panels(suites)
    for panel, suite in zip(axes, suites, strict=True):
        own = [fall for fall in falls if fall.suite == suite]
        starts = _named(panel, own)
        for fall in own:
            colour, marker = style[fall.baseline]
            aside = APART * names.index(fall.baseline)
            xs = [starts[fall.dial] + place + aside for place in range(len(fall.levels))]
            values, lows, highs = zip(*(vars(s).values() for s in fall.scores), strict=True)
            label = fall.baseline if fall.dial == own[0].dial else None
            panel.plot(xs, values, color=colour, marker=marker, markersize=4, label=label)
            panel.vlines(xs, lows, highs, color=colour, linewidth=1)
        panel.set_ylabel(title(own[0].metric))
        panel.set_ylim(0, 100)
    legend(figure, axes[0])
    return figure


def _named(panel: "Axes", falls: Sequence[Fall]) -> dict[str, int]:
    """Names levels and dials below an axis; where each dial begins on it."""
    starts, ticks = dict[str, int](), dict[int, str]()
    for dial, levels in {fall.dial: fall.levels for fall in falls}.items():
        starts[dial] = len(ticks) + len(starts)
        ticks.update({starts[dial] + n: f"{level:g}" for n, level in enumerate(levels)})
        place = (starts[dial] + (len(levels) - 1) / 2, -0.12)
        panel.text(*place, dial, transform=panel.get_xaxis_transform(), ha="center", va="top")
    panel.set_xticks(list(ticks), list(ticks.values()))
    return starts
