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
from bench.shown import title
from bench.statistics import Interval
from bench.studies.crossover_told import answer, caption, listed, mean, notes, signed
from bench.studies.curves import MEAN, Curve, read_curves
from bench.studies.figures import curve, legend, panels, styles
from bench.studies.held import held
from bench.studies.study import Findings, Study, Values

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

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
        roots, rival = list(runs.values()), self.analysis["rival"]
        plan = Plan.model_validate(read_run(roots[0]).plan)
        suites = read_curves(roots, plan.suites, plan.baselines, rival)
        compared = [one for found in suites for one in found if one.differences]
        return Findings(
            answer(compared, rival),
            _table(suites),
            _shown(compared, rival, self.analysis["chosen_at"]),
            _figure(suites),
            caption(compared, rival),
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
            f"All methods start from the backbone {Path(plan.backbone).name}; one that knows more "
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
    for one in (one for found in suites for one in found):
        told = {key: one.head[key] for key in ("suite", "dataset", "revision", "baseline", "init")}
        told["metric"] = one.head["primary"]
        for k, (value, bounds) in one.scores.items():
            lines.append({**told, "shots": k, "quantity": "score", **_bounded(value, bounds)})
        for k, estimate in one.differences.items():
            figures = _bounded(estimate.value, one.bounds(estimate))
            ps = {"p": estimate.p(), "p_holm": one.adjusted[k]}
            lines.append({**told, "shots": k, "quantity": "difference", **figures, **ps})
        if one.mean:
            figures = _bounded(one.mean.value, one.bounds(one.mean))
            told_at = f"mean difference, K = {one.alike[0]} to {one.alike[-1]}"
            lines.append(
                {
                    **told,
                    "quantity": told_at,
                    **figures,
                    "p": one.mean.p(),
                    "p_holm": one.adjusted[MEAN],
                }
            )
            crossing = one.crossing
            figures = _bounded(crossing.value, crossing.interval) if crossing.exists else {}
            lines.append({**told, "quantity": "crossing", **figures, "verdict": crossing.verdict})
    return pd.DataFrame(lines, columns=[*COLUMNS, "verdict"]).astype({"shots": "Int64"})


def _bounded(value: float, bounds: Interval) -> dict[str, float]:
    return {"value": value, "low": bounds.low, "high": bounds.high}


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
                    f"difference at K = {k}": signed(one, one.differences[k])
                    for k in sorted({one.shots[0], near, one.shots[-1]})
                },
                f"mean, K = {one.alike[0]} to {one.alike[-1]}": mean(one) + MARKS[one.shown],
            }
        )
    return pd.DataFrame(lines)


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
