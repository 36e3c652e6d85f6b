"""What the page of the study of probes says: answer, table, figure, notes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.exports.runs import read_run
from bench.probes import OTHER_TASK, PROBES
from bench.shown import FLAG, MISSING, title
from bench.studies.figures import legend, panels, styles
from bench.studies.memory import OWN, Line, shows_memory
from bench.studies.study import Findings
from bench.tables import ALPHA

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = (
    "suite dataset shots baseline init metric measure support first second difference low high "
    "excess excess_low excess_high p tasks episodes flagged memorised"
).split()
LISTED = 8  # reasons that a page lists
REACH = 0.8  # of the room of a method, what its probes take
CAPTION = (
    "Own: the score under the own support. Behind it, what is lost under another support on the "
    f"same episodes, paired; {FLAG}: the loss is not shown to be above 0. Seen - unseen: the score "
    "on meta-train tasks minus that on meta-test tasks, under the own support, none, and another "
    "task's; * shows memorisation. Brackets are 95 % intervals over tasks and train seeds, not "
    "adjusted. The figure shows the losses; bars are their intervals."
)


@dataclass(frozen=True)
class Found:
    """The lines of an analysis: losses, memory, and the baseline that memory is held against."""

    losses: list[Line]
    memory: list[Line]
    reference: str


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


def _range(line: Mapping[str, Any]) -> str:
    return f"{line['difference']:+.1f} [{line['low']:+.1f}, {line['high']:+.1f}]"


def _listed(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


# -- the answer ----------------------------------------------------------------------------


def answer(found: Found) -> str:
    """The sentence that the figures give."""
    return f"{_on_use(found.losses)} {_on_memory(found)}"


def _on_use(losses: Sequence[Line]) -> str:
    """Who uses its support: shown to lose everywhere, not shown somewhere, the same whatever it
    is."""
    lines = [line for line in losses if line["support"] == OTHER_TASK]
    if not lines:
        return "No task could lend another its support, so who uses it is not known."
    methods = dict.fromkeys(line["baseline"] for line in lines)
    own = {name: [line for line in lines if line["baseline"] == name] for name in methods}
    deaf = [name for name, some in own.items() if all(line["ignores"] for line in some)]
    sure = [name for name, some in own.items() if not any(line["flagged"] for line in some)]
    parts = []
    if sure:
        lost = [line["difference"] for name in sure for line in own[name]]
        verb = "loses" if len(sure) == 1 else "lose"
        parts.append(
            f"{_listed(sure)} {verb} {min(lost):.1f} to {max(lost):.1f} points under another "
            "task's support, on every suite"
        )
    unsure = [
        f"{line['baseline']} on {line['suite']} ({_range(line)})"
        for line in lines
        if line["flagged"] and line["baseline"] not in deaf
    ]
    if unsure:
        parts.append(f"nothing shows that it is used by {_listed(unsure)}")
    if deaf:
        parts.append(f"the answers of {_listed(deaf)} do not depend on it")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _on_memory(found: Found) -> str:
    tested = [line for line in found.memory if "memorised" in line]
    if not tested:
        return f"Memory was not measured: it takes meta-trained methods and {found.reference}."
    some = [
        f"{line['baseline']} on {line['suite']} ({_support(line)}: {_range(line)})"
        for line in tested
        if shows_memory(line)
    ]
    if some:
        return f"Memorised meta-train tasks: {_listed(some)}."
    most = max(tested, key=lambda line: line["excess"])
    return (
        "Nothing shows memorised meta-train tasks: the largest advantage on them in excess of "
        f"{found.reference}'s is {most['excess']:+.1f} [{most['excess_low']:+.1f}, "
        f"{most['excess_high']:+.1f}] ({most['baseline']} on {most['suite']}, {_support(most)})."
    )


def _support(line: Line) -> str:
    told = {OTHER_TASK: "another task's support", "no-support": "no support", OWN: "own support"}
    return told[line["support"]]


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
                "own": f"{first['first']:.1f} ({title(first['metric'])})",
                **{f"lost, {probe}": _loss(lost.get(probe)) for probe in PROBES},
                **{
                    f"seen - unseen, {support}": _advantage(known.get(support))
                    for support in (OWN, "no-support", OTHER_TASK)
                },
            }
        )
    return pd.DataFrame(made)


def _key(line: Line) -> tuple[str, int, str]:
    return line["suite"], line["shots"], line["baseline"]


def _loss(line: Line | None) -> str:
    return _range(line) + (f" {FLAG}" if line["flagged"] else "") if line else MISSING


def _advantage(line: Line | None) -> str:
    return _range(line) + (" *" if shows_memory(line) else "") if line else MISSING


def figure(losses: Sequence[Line]) -> "Figure":
    """Losses with their intervals, a panel for each suite and K, a colour for each probe."""
    places = list(dict.fromkeys((line["suite"], line["shots"]) for line in losses))
    drawn, grid = panels([f"{suite}, K = {shots}" for suite, shots in places])
    style = styles(list(PROBES))
    for axes, where in zip(grid, places, strict=True):
        lines = [line for line in losses if (line["suite"], line["shots"]) == where]
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
    unsure = [
        line
        for line in found.losses
        if line["support"] == OTHER_TASK and line["flagged"] and not line["ignores"]
    ]
    if unsure:
        most = [
            f"{line['baseline']} on {line['suite']} could lose {line['high']:.1f} points "
            f"({line['episodes']} episodes)"
            for line in unsure
        ]
        yield f"More episodes: under another task's support {_listed(most)}."
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
    for root in roots:
        yield from _left_out(root)


def _left_out(root: Path) -> Iterator[str]:
    """What could not be probed or measured in a run."""
    suites = (read_run(root).content.get("facts") or {}).get("suites", {})
    for suite, told in suites.items():
        reasons = [
            *(("not probed", reason) for reason in told.get("not_probed", ())),
            *(("left out", reason) for some in told["left_out"].values() for reason in some),
        ]
        for what, reason in reasons[:LISTED]:
            yield f"{root.name}, {suite}: {what}: {reason}."
        if (more := len(reasons) - LISTED) > 0:
            yield f"{root.name}, {suite}: {more} more are left out; run.json lists them."
