"""The page of the study of probes: table, figure, caption, notes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.exports.runs import read_run
from bench.probes import OTHER_TASK, PROBES
from bench.ranks import ALPHA
from bench.shown import FLAG, MISSING, bracketed, title
from bench.studies.figures import legend, panels, styles
from bench.studies.memory import OWN, Line, shows_memory
from bench.studies.probes_answer import Found, answer, listed, place_of, ranged, row_of
from bench.studies.study import Findings

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = (
    "suite dataset shots baseline init metric measure support first first_low first_high second "
    "difference low high excess excess_low excess_high p tasks episodes flagged shown memorised"
).split()
LISTED = 8  # reasons that a page lists
REACH = 0.8  # of the room of a method, what its probes take
CAPTION = (
    "Own: the score under the own support. Behind it, what is lost under another support on the "
    f"same episodes, paired; {FLAG}: the loss is not shown to be above 0. Seen - unseen: the score "
    "on meta-train tasks minus that on meta-test tasks, under the own support, none, and another "
    "task's; * shows memorisation. Brackets are 95 % intervals over tasks and train seeds; they "
    f"and {FLAG} are not adjusted. The losses that the answer tells are shown at {ALPHA:.0%} by "
    "p-values adjusted for all losses under the same support (Holm), the p of probes.csv. The "
    "figure shows the losses; bars are their intervals."
)


def findings(found: Found, roots: Sequence[Path]) -> Findings:
    """All of a page."""
    return Findings(
        answer(found),
        _table(found),
        shown(found),
        figure(found.losses),
        CAPTION,
        list(changes(found)),
        list(notes(found, roots)),
    )


def _table(found: Found) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame([*found.losses, *found.memory]).reindex(columns=COLUMNS)


# -- table and figure ----------------------------------------------------------------------


def shown(found: Found) -> "pd.DataFrame":
    """A line for each method of each suite, as texts."""
    import pandas as pd

    keys = dict.fromkeys(_key(line) for line in found.losses)
    made = []
    for key in keys:
        lost = {line["support"]: line for line in found.losses if _key(line) == key}
        known = {line["support"]: line for line in found.memory if _key(line) == key}
        first = next(iter(lost.values()))
        suite, shots, baseline = key
        made.append(
            {
                "suite": suite,
                "K": str(shots),
                "method": baseline,
                "own": f"{title(first['metric'])} {_own(first)}",
                **{f"lost, {probe}": _loss(lost.get(probe)) for probe in PROBES},
                **{
                    f"seen - unseen, {support}": _advantage(known.get(support))
                    for support in (OWN, "no-support", OTHER_TASK)
                },
            }
        )
    return pd.DataFrame(made)


def _own(line: Line) -> str:
    return bracketed(line["first"], line["first_low"], line["first_high"])


def _key(line: Line) -> tuple[str, int, str]:
    return place_of(line), line["shots"], line["baseline"]


def _loss(line: Line | None) -> str:
    return ranged(line) + (f" {FLAG}" if line["flagged"] else "") if line else MISSING


def _advantage(line: Line | None) -> str:
    return ranged(line) + (" *" if shows_memory(line) else "") if line else MISSING


def figure(losses: Sequence[Line]) -> "Figure":
    """Losses with their intervals, a panel for each suite and K, a colour for each probe."""
    places = list(dict.fromkeys((place_of(line), line["shots"]) for line in losses))
    drawn, grid = panels([f"{suite}, K = {shots}" for suite, shots in places])
    style = styles(list(PROBES))
    for axes, where in zip(grid, places, strict=True):
        lines = [line for line in losses if (place_of(line), line["shots"]) == where]
        _panel(axes, lines, style)
    legend(drawn, grid[0])
    return drawn


def _panel(axes: "Axes", lines: Sequence[Line], style: Mapping[str, tuple[str, str]]) -> None:
    methods = list(dict.fromkeys(line["baseline"] for line in lines))
    for number, (probe, (colour, marker)) in enumerate(style.items()):
        own = [line for line in lines if line["support"] == probe]
        shift = REACH * ((number + 0.5) / len(style) - 0.5)
        values = [line["difference"] for line in own]
        axes.errorbar(
            values,
            [methods.index(line["baseline"]) + shift for line in own],
            xerr=[
                [v - line["low"] for v, line in zip(values, own, strict=True)],
                [line["high"] - v for v, line in zip(values, own, strict=True)],
            ],
            color=colour,
            marker=marker,
            markersize=4,
            linestyle="none",
            linewidth=1.2,
            label=probe,
        )
    axes.axvline(0, color="#555555", linewidth=0.8)
    axes.set_yticks(range(len(methods)), methods)
    axes.invert_yaxis()
    axes.set_xlabel(f"{title(lines[0]['metric'])} lost, own minus wrong support")


# -- what else is to be known --------------------------------------------------------------


def changes(found: Found) -> Iterator[str]:
    """What would change the conclusion."""
    asked = [line for line in found.losses if line["support"] == OTHER_TASK]
    unsure = [line for line in asked if not line["shown"] and not line["ignores"]]
    if unsure:
        most = [
            f"{row_of(line, asked)} could lose {line['high']:.1f} points "
            f"({line['episodes']} episodes)"
            for line in unsure
        ]
        yield f"More episodes: under another task's support {listed(most)}."
    tested = [line for line in found.memory if "memorised" in line]
    if tested and not any(map(shows_memory, tested)):
        most = max(line["excess_high"] for line in tested)
        yield (
            f"More tasks of each split: an advantage on meta-train tasks of up to {most:.1f} over "
            f"{found.reference}'s is not excluded everywhere."
        )
    if found.memory:
        yield (
            "Fewer meta-train tasks or a larger training budget: what is met again and again is "
            "easier to memorise."
        )
    yield "Another K: with fewer examples there is less support to use."


def notes(found: Found, roots: Sequence[Path]) -> Iterator[str]:
    """What was left out, and how to take the numbers."""
    yield (
        "A mark is absence of evidence: on few episodes a small loss is not shown. Sampled answers "
        "are drawn by the same numbers under every support."
    )
    if found.memory:
        yield (
            "Meta-train tasks are asked queries of their test part, which no training reads. They "
            "may be easier for other reasons, or known from pre-training, to "
            f"{found.reference} as well: what counts is the excess over it, shown at {ALPHA:.0%} "
            "by p-values adjusted for all methods, suites and both supports (Holm)."
        )
        yield (
            "A meta-training draws its tasks at random, and need not have met every one that is "
            "asked here: that makes memorisation look smaller."
        )
    yield "The work below counts no answers under wrong supports."
    if found.not_probed:
        yield (
            "Left out, as it learns a task from more than a support set: "
            f"{listed(found.not_probed)}."
        )
    for root in roots:
        yield from _left_out(root)


def _left_out(root: Path) -> Iterator[str]:
    """What could not be probed or measured in a run."""
    suites = (read_run(root).content.get("facts") or {}).get("suites", {})
    for suite, told in suites.items():
        reasons = [
            *(("not probed", reason) for reason in told.get("not_probed", ())),
            *(
                ("left out", reason)
                for some in told.get("left_out", {}).values()
                for reason in some
            ),
        ]
        for what, reason in reasons[:LISTED]:
            yield f"{root.name}, {suite}: {what}: {reason}."
        if (more := len(reasons) - LISTED) > 0:
            yield f"{root.name}, {suite}: {more} more are left out; run.json lists them."
