"""Quality against shots: whether meta-learning is always better, and where a rival overtakes."""

from collections.abc import Mapping, Sequence
from math import log2
from pathlib import Path
from typing import TYPE_CHECKING

from bench.context import Context
from bench.errors import UserError
from bench.exports.runs import read_run
from bench.plan import Plan, make_plan
from bench.registry import load
from bench.runner import pinned
from bench.shown import MISSING, title
from bench.statistics import Interval
from bench.studies.crossover_told import answer, caption, listed, notes, signed
from bench.studies.curves import MEAN, TO_CONTROL, Curve, read_curves
from bench.studies.figures import curve, legend, panels, styles
from bench.studies.held import held
from bench.studies.study import Findings, Study, Values

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

QUANTITIES = {MEAN: "mean difference", TO_CONTROL: "mean difference to control"}
MARKS = {1: " ahead", 0: "", -1: " behind"}  # of a mean difference that is shown
COLUMNS = (
    "suite dataset revision metric baseline init shots quantity value low high p p_holm".split()
)


class Crossover(Study):
    """Every method at every K, meta-trained once; the rival is the analysis's word."""

    name = "crossover"
    question = "Is meta-learning always better, and from how many examples on is it not?"

    def __init__(self) -> None:
        self._left_out: list[str] = []

    def plans(self, values: Values) -> dict[str, Values]:
        """Plans with every K that enough tasks hold, on the tasks that hold all of these.

        Raises:
            UserError: there are no two K, nothing to compare, or nothing that is meta-trained.
        """
        plan = make_plan(values, f"study {self.name}")
        self._refuse(plan)
        context = Context(pinned(plan), Path())
        kept = held(context)
        if len(kept.shots) < 2:
            why = next(iter(kept.reasons), "only one is named")
            raise UserError(f"study {self.name} needs two --shots or more: {why}")
        self._left_out = kept.told
        whole = {**values, "shots": kept.shots, **({"tasks": kept.tasks} if kept.tasks else {})}
        return self._by_size(whole, plan)

    def _by_size(self, values: Values, plan: Plan) -> dict[str, Values]:
        """One plan, or two where there are K from `analysis.many.from` on: adaptation takes longer
        with K, and many examples vary less, so that those K are measured on fewer episodes."""
        many = self.analysis["many"]
        few = [k for k in values["shots"] if k < many["from"]]
        rest = [k for k in values["shots"] if k >= many["from"]]
        if not (few and rest and many["episodes"] < plan.episodes):
            return {"run": values}
        shared = {**values, "train_shots": plan.trained_shots}
        return {
            "few": {**shared, "shots": few},
            "many": {**shared, "shots": rest, "episodes": many["episodes"]},
        }

    def _refuse(self, plan: Plan) -> None:
        """Raises where nothing answers the question."""
        rival = self.analysis["rival"]
        if rival not in plan.baselines or len(plan.baselines) < 2:
            raise UserError(
                f"study {self.name} compares with {rival!r}: --baseline {rival} and another are "
                "needed"
            )
        trained = [n for n in plan.baselines if load("baseline", n).init == "meta-trained"]
        if not set(trained) - {rival}:
            raise UserError(
                f"study {self.name} asks about meta-learning, and none of "
                f"{', '.join(plan.baselines)} is meta-trained: add a --baseline that is"
            )
        if not plan.train_budget:
            raise UserError(
                f"study {self.name} asks about meta-learning: --train-budget must be above 0"
            )

    def analyse(self, runs: Mapping[str, Path]) -> Findings:
        """Curves, differences to the rival at each K, and where it overtakes."""
        roots = list(runs.values())
        rival, control = self.analysis["rival"], self.analysis["control"]
        run = read_run(roots[0])
        plan = Plan.model_validate(run.plan)
        plan = plan.model_copy(update={"backbone": run.places.shown(plan.backbone)})
        suites = read_curves(roots, plan.suites, plan.baselines, rival, control)
        compared = [one for found in suites for one in found if one.differences]
        return Findings(
            answer(compared, rival, control),
            _table(suites),
            _shown(compared, rival, control, self.analysis["chosen_at"]),
            _figure(suites, rival),
            caption(compared, rival, control),
            self._changes(plan),
            [*self._left_out, *notes(suites, compared, plan)],
        )

    def _changes(self, plan: Plan) -> list[str]:
        """What would change the conclusion."""
        told = [
            f"The default steps and rates of inner loops were chosen at K = "
            f"{self.analysis['chosen_at']}, and the same are used at every K: choosing them for "
            "each K may move every crossing.",
            f"Meta-training drew K from {listed(plan.trained_shots)} and had "
            f"{plan.train_budget:,} tokens; other K or a larger budget may do better.",
            f"All methods start from the backbone {plan.backbone}; one that knows more "
            "of a task leaves less to learn from its examples.",
        ]
        if len(plan.train_seeds) == 1:
            told.append(
                "There is one meta-training of each method: all intervals are conditional on it, "
                "and another may lie outside of them."
            )
        return told


def _table(suites: Sequence[Sequence[Curve]]) -> "pd.DataFrame":
    """Every figure with its interval."""
    import pandas as pd

    lines = []
    for one in (one for some in suites for one in some):
        told = {key: one.head[key] for key in ("suite", "dataset", "revision", "baseline", "init")}
        told["metric"] = one.head["primary"]
        for k, (value, bounds) in one.scores.items():
            lines.append({**told, "shots": k, "quantity": "score", **_bounded(value, bounds)})
        for k, estimate in one.differences.items():
            figures = _bounded(estimate.value, one.bounds(estimate))
            ps = {"p": estimate.p(), "p_holm": one.adjusted[k]}
            lines.append({**told, "shots": k, "quantity": "difference", **figures, **ps})
        over = f"K = {one.alike[0]} to {one.alike[-1]}"
        for name, quantity in QUANTITIES.items():
            if found := one.tested.get(name):
                figures = _bounded(found.value, one.bounds(found))
                ps = {"p": found.p(), "p_holm": one.adjusted[name]}
                lines.append({**told, "quantity": f"{quantity}, {over}", **figures, **ps})
        if one.differences:
            crossing = one.crossing
            figures = _bounded(crossing.value, crossing.interval) if crossing.exists else {}
            lines.append({**told, "quantity": "crossing", **figures, "verdict": crossing.verdict})
    return pd.DataFrame(lines, columns=[*COLUMNS, "verdict"]).astype({"shots": "Int64"})


def _bounded(value: float, bounds: Interval) -> dict[str, float]:
    return {"value": value, "low": bounds.low, "high": bounds.high}


def _shown(compared: Sequence[Curve], rival: str, control: str, middle: int) -> "pd.DataFrame":
    """A line for each suite and method."""
    import pandas as pd

    lines = []
    for one in compared:
        near = min(one.shots, key=lambda k: abs(log2(k / middle)))
        over = f"K = {one.alike[0]} to {one.alike[-1]}"
        means = {MEAN: f"mean, {over}", TO_CONTROL: f"mean to {control}, {over}"}
        lines.append(
            {
                "suite": one.place,
                "method": one.baseline,
                "metric": title(one.head["primary"]),
                f"{rival} overtakes at K": str(one.crossing),
                "shown": one.crossing.verdict,
                **{
                    f"difference at K = {k}": signed(one, one.differences[k])
                    for k in sorted({one.shots[0], near, one.shots[-1]})
                },
                **{
                    told: _mean(one, name)
                    for name, told in means.items()
                    if any(name in other.tested for other in compared)
                },
            }
        )
    return pd.DataFrame(lines)


def _mean(one: Curve, name: str) -> str:
    """A mean difference, and what of it is shown."""
    found = one.tested.get(name)
    return signed(one, found) + MARKS[one.shown(name)] if found else MISSING


def _figure(suites: Sequence[Sequence[Curve]], rival: str) -> "Figure":
    """Two panels a suite: the scores of every method, and by how much those that are meta-trained
    differ from the rival."""
    style = styles(list(dict.fromkeys(one.baseline for found in suites for one in found)))
    titles = [text for found in suites for text in (found[0].place, f"less {rival}")]
    figure, axes = panels(titles)
    for place, found in enumerate(suites):
        scores, gaps = axes[2 * place : 2 * place + 2]
        for one in found:
            _line(scores, one, one.scores, style[one.baseline])
            if one.head["init"] == "meta-trained" and one.differences:
                between = {k: (d.value, one.bounds(d)) for k, d in one.differences.items()}
                _line(gaps, one, between, style[one.baseline])
        gaps.axhline(0, color="#888888", linewidth=0.8)
        for panel in (scores, gaps):
            panel.set_xscale("log", base=2)
            panel.set_xticks(found[0].shots, [str(k) for k in found[0].shots])
            panel.set_xlabel("K, support examples")
        scores.set_ylabel(title(found[0].head["primary"]))
        gaps.set_ylabel("points")
    legend(figure, axes[0])
    return figure


def _line(
    panel: "Axes",
    one: Curve,
    figures: Mapping[int, tuple[float, Interval]],
    style: tuple[str, str],
) -> None:
    """A method's figures by K, as a line through those K that have the same episodes."""
    for number, part in enumerate(one.parts):
        values, bounds = zip(*(figures[k] for k in part), strict=True)
        label = "" if number else one.baseline
        curve(panel, part, values, [b.low for b in bounds], [b.high for b in bounds], style, label)
