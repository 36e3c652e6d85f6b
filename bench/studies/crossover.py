"""Quality against shots: whether meta-learning is always better, and where a rival overtakes."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import log2
from pathlib import Path
from typing import TYPE_CHECKING

from bench.context import Context
from bench.episodes import usable_tasks
from bench.errors import UserError
from bench.exports.runs import read_run
from bench.plan import Plan, make_plan
from bench.runner import pinned
from bench.shown import title
from bench.statistics import Estimate, Interval, holm
from bench.studies.crossing import OVERTAKEN, THROUGHOUT, VERDICTS
from bench.studies.curves import Curve, read_curves
from bench.studies.figures import curve, legend, panels, styles
from bench.studies.study import Findings, Study, Values
from bench.tables import ALPHA

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
COLUMNS = (
    "suite dataset revision metric baseline init shots quantity value low high p p_holm".split()
)
SKIPPED = 3  # reasons that are told of a K that is left out


class Crossover(Study):
    """Every method at every K, meta-trained once; the rival is the analysis's word."""

    name = "crossover"
    question = "Is meta-learning always better, and from how many examples on is it not?"

    def __init__(self) -> None:
        self._left_out: list[str] = []

    def plans(self, values: Values) -> dict[str, Values]:
        """One plan, without each K that not all of the tasks hold which hold the smallest one.

        Raises:
            UserError: there are no two K, or nothing to compare.
        """
        plan = make_plan(values, f"study {self.name}")
        rival = self.analysis["rival"]
        if rival not in plan.baselines or len(plan.baselines) < 2:
            raise UserError(
                f"study {self.name} compares with {rival!r}: --baseline {rival} and another are "
                "needed"
            )
        context = Context(pinned(plan), Path())
        shots = sorted(plan.shots)
        missing = {k: list(_missing(context, shots[0], k)) for k in shots}
        held = [k for k in shots if not missing[k]]
        if len(held) < 2:
            why = next((lines[0] for lines in missing.values() if lines), "only one is named")
            raise UserError(f"study {self.name} needs two --shots or more: {why}")
        self._left_out = [
            f"K = {k} is left out, as not all tasks hold it: {_first(lines)}."
            for k, lines in missing.items()
            if lines
        ]
        return {"run": {**values, "shots": held}}

    def analyse(self, runs: Mapping[str, Path]) -> Findings:
        """Curves, differences to the rival at each K, and where it overtakes."""
        root, rival = runs["run"], self.analysis["rival"]
        plan = Plan.model_validate(read_run(root).plan)
        suites = read_curves(root, plan.suites, plan.baselines, rival)
        compared = [one for found in suites for one in found if one.differences]
        return Findings(
            _answer(compared, rival),
            _table(suites),
            _shown(compared, rival, self.analysis["chosen_at"]),
            _figure(suites),
            _caption(compared, rival),
            self._changes(plan),
            [*self._left_out, *_notes(suites, compared, plan)],
        )

    def _changes(self, plan: Plan) -> list[str]:
        """What would change the conclusion."""
        told = [
            f"The default steps and rates of inner loops were chosen at K = "
            f"{self.analysis['chosen_at']}, and the same are used at every K: choosing them for "
            "each K may move every crossing.",
            f"Meta-training drew K from {_listed(plan.trained_shots)} and had "
            f"{plan.train_budget:,} tokens; other K or a larger budget may do better.",
            f"All methods start from the backbone {Path(plan.backbone).name}; one that knows more "
            "of a task leaves less to learn from its examples.",
        ]
        if len(plan.train_seeds) == 1:
            told.append(
                "There is one meta-training of each method: all intervals are conditional on it, "
                "and another may lie outside of them."
            )
        return told


# -- what is read --------------------------------------------------------------------------


def _missing(context: Context, fewest: int, shots: int) -> Iterator[str]:
    """A reason for each task that is measured with the fewest examples and cannot be with
    `shots`."""
    for suite in context.plan.suites:
        usable, reasons = usable_tasks(context.dataset(suite), context.plan.split, shots)
        for name in context.tasks(suite, fewest)[0]:
            if name not in usable:
                yield f"{suite}: {next(r for r in reasons if r.startswith(f'{name}: '))}"


def _first(lines: Sequence[str]) -> str:
    more = f" and {len(lines) - SKIPPED} more" if len(lines) > SKIPPED else ""
    return "; ".join(lines[:SKIPPED]) + more


# -- what is told --------------------------------------------------------------------------


def _answer(compared: Sequence[Curve], rival: str) -> str:
    """Whether meta-trained methods are always ahead, counted; all methods where none is
    meta-trained."""
    trained = [one for one in compared if one.head["init"] == "meta-trained"]
    counted = trained or compared
    found = Counter(one.crossing.verdict for one in counted)
    worse = [one for one in counted if any(one.crossing.behind)]
    if found[THROUGHOUT] == len(counted):
        lead = "Yes, as far as K was measured"
    else:
        lead = "No" if worse else "Not shown either way"
    told = [f"{found[verdict]} {verdict}" for verdict in VERDICTS if found[verdict]]
    overtaken = [one for one in counted if one.crossing.verdict == OVERTAKEN]
    where = [f"{one.baseline} on {one.head['suite']} {one.crossing}" for one in overtaken]
    return (
        f"{lead}: of {len(counted)} pairs of a suite and a {'meta-trained ' if trained else ''}"
        f"method, against {rival} at K = {_listed(counted[0].shots)}: {', '.join(told)}"
        + (f". It overtakes at K = {'; '.join(where)}" if where else "")
        + (f". It is shown ahead somewhere in {len(worse)}" if worse else "")
        + "."
    )


def _table(suites: Sequence[Sequence[Curve]]) -> "pd.DataFrame":
    """Every figure with its interval."""
    import pandas as pd

    compared = [one for found in suites for one in found if one.differences]
    adjusted = iter(_adjusted(compared))
    lines = []
    for one in (one for found in suites for one in found):
        told = {key: one.head[key] for key in ("suite", "dataset", "revision", "baseline", "init")}
        told["metric"] = one.head["primary"]
        for k, (value, bounds) in one.scores.items():
            lines.append({**told, "shots": k, "quantity": "score", **_bounded(value, bounds)})
        for k, estimate in one.differences.items():
            figures = _bounded(estimate.value, estimate.interval(1 - ALPHA))
            ps = {"p": estimate.p(), "p_holm": next(adjusted)}
            lines.append({**told, "shots": k, "quantity": "difference", **figures, **ps})
        if one.mean:
            figures = _bounded(one.mean.value, one.mean.interval(1 - ALPHA))
            lines.append({**told, "quantity": "mean difference", **figures, "p": one.mean.p()})
            figures = _bounded(one.crossing.value, one.crossing.interval)
            lines.append({**told, "quantity": "crossing", **figures})
            lines[-1]["verdict"] = one.crossing.verdict
    return pd.DataFrame(lines, columns=[*COLUMNS, "verdict"]).astype({"shots": "Int64"})


def _bounded(value: float, bounds: Interval) -> dict[str, float]:
    return {"value": value, "low": bounds.low, "high": bounds.high}


def _adjusted(compared: Sequence[Curve]) -> list[float]:
    """The p-values of all differences, adjusted together (Holm, 1979)."""
    return holm([found.p() for one in compared for found in one.differences.values()])


def _shown(compared: Sequence[Curve], rival: str, middle: int) -> "pd.DataFrame":
    """A line for each suite and method."""
    import pandas as pd

    lines = []
    for one in compared:
        near = min(one.shots, key=lambda k: abs(log2(k / middle)))
        assert one.mean
        lines.append(
            {
                "suite": one.place,
                "method": one.baseline,
                "metric": title(one.head["primary"]),
                f"{rival} overtakes at K": str(one.crossing),
                "shown": one.crossing.verdict,
                **{
                    f"difference at K = {k}": _signed(one.differences[k])
                    for k in sorted({one.shots[0], near, one.shots[-1]})
                },
                "mean difference": _signed(one.mean),
            }
        )
    return pd.DataFrame(lines)


def _signed(estimate: Estimate) -> str:
    bounds = estimate.interval(1 - ALPHA)
    return f"{estimate.value:+.1f} [{bounds.low:+.1f}, {bounds.high:+.1f}]"


def _figure(suites: Sequence[Sequence[Curve]]) -> "Figure":
    """A panel a suite, a line a method."""
    names = list(dict.fromkeys(one.baseline for found in suites for one in found))
    style = styles(names)
    figure, axes = panels([found[0].place for found in suites])
    for panel, found in zip(axes, suites, strict=True):
        for one in found:
            values, bounds = zip(*one.scores.values(), strict=True)
            lows, highs = [b.low for b in bounds], [b.high for b in bounds]
            curve(panel, one.shots, values, lows, highs, style[one.baseline], one.baseline)
        panel.set_xscale("log", base=2)
        panel.set_xticks(found[0].shots, [str(k) for k in found[0].shots])
        panel.set_xlabel("K, support examples")
        panel.set_ylabel(title(found[0].head["primary"]))
    legend(figure, axes[0])
    return figure


def _caption(compared: Sequence[Curve], rival: str) -> str:
    first, last = compared[0].shots[0], compared[0].shots[-1]
    return (
        f"Points of each suite's primary metric; a difference is the method less {rival} on the "
        "same episodes, and the mean difference is over log2 K. Brackets are 95 % intervals, over "
        f"tasks and train seeds, at each K by itself. {rival} overtakes at the last place "
        "where the difference, a line between measured K on log2 K, comes down to 0 and from where "
        "on it stays below; the interval is that of all K at which 0 is not refuted, behind the "
        "last K at which the method is shown ahead; none: it is at no K. "
        f"< {first} and > {last}: outside of what was measured, or an interval open to that side; "
        f"in {Crossover.name}.csv 0 and inf."
    )


def _notes(
    suites: Sequence[Sequence[Curve]], compared: Sequence[Curve], plan: Plan
) -> Iterator[str]:
    """What else a reader must know."""
    yield from _dropped(suites)
    counts = ", ".join(f"{found[0].place} {len(found[0].tasks)}" for found in suites)
    yield f"Tasks measured at every K: {counts}."
    raw = [found.p() for one in compared for found in one.differences.values()]
    yield (
        f"Of {len(raw)} differences {sum(p < ALPHA for p in raw)} are shown at {ALPHA:.0%} by "
        f"themselves, of which chance alone would show {ALPHA * len(raw):.1f} if no method "
        f"differed, and {sum(p < ALPHA for p in _adjusted(compared))} after Holm's adjustment "
        "for all."
    )
    drawn = [one.baseline for one in compared if "train_shots" in one.head["settings"]]
    if drawn:
        yield (
            f"One meta-training with K drawn from {_listed(plan.train_shots)} serves all K: "
            f"{', '.join(dict.fromkeys(drawn))}."
        )


def _dropped(suites: Sequence[Sequence[Curve]]) -> Iterator[str]:
    """From which K on the prompts of a method lack examples."""
    for one in (one for found in suites for one in found):
        lost = [k for k, row in one.rows.items() if any(r.get("dropped") for r in row.records())]
        if lost:
            yield (
                f"{one.baseline} on {one.place} leaves out the examples that the context does not "
                f"hold from K = {lost[0]} on."
            )


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))
