"""`fewgen study cost`: what quality costs, and from how many tasks on meta-training pays."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.errors import UserError
from bench.plan import resolve_options
from bench.registry import load, names
from bench.shown import MISSING
from bench.studies.study import Findings, Study, Values

if TYPE_CHECKING:
    import pandas as pd

    from bench.baseline import Baseline
    from bench.studies.cost_lines import Compared
    from bench.studies.payback import Payback

    Paybacks = Mapping[tuple[str, str], Payback]


class Cost(Study):
    """Quality per device-second and per operation, meta-training included.

    The rival, a baseline without meta-training, is named under `analysis`.
    """

    name: ClassVar[str] = "cost"
    question: ClassVar[str] = "From how many new tasks on does meta-training pay?"

    def plans(self, values: Values) -> dict[str, Values]:
        """One plan, which holds the rival and scores from step 0 on.

        Raises:
            UserError: the rival is left out or takes no inner steps, or none is meta-trained.
        """
        rival, chosen = self.analysis["rival"], values.get("baselines") or names("baseline")
        if rival not in chosen:
            raise UserError(
                f"study {self.name} holds every method against {rival}; add --baseline {rival}"
            )
        learners = {name: _made(name, values) for name in chosen}
        if not _steps(learners[rival]):
            raise UserError(
                f"study {self.name} reads the cost of quality off the inner steps of {rival}, "
                "which takes none; set its options to 1 or more"
            )
        trained = [m for m in learners.values() if m.init == "meta-trained" and _steps(m)]
        if not trained or values.get("train_budget") == 0:
            none = "; a train budget of 0 trains none" if trained else ": name one"
            raise UserError(
                f"study {self.name} needs a meta-trained baseline with inner steps beside "
                f"{rival}{none}"
            )
        steps = sorted({0, *values.get("score_steps", [])})
        return {"run": {**values, "score_steps": steps}}

    def analyse(self, runs: Mapping[str, Path]) -> Findings:
        """Costs, gains and N of every row, by block."""
        import pandas as pd

        from bench.studies.cost_figure import draw
        from bench.studies.cost_lines import Compared, lines_of
        from bench.studies.cost_tables import leads_of, near_of, shown_of
        from bench.tables import metrics, ranked

        made = []
        for block in ranked(list(runs.values())):
            rows = [row for row, _ in block.complete]
            scorer = next(m for m in metrics(rows[0]) if m.name == block.metric)
            rival, margin = self.analysis["rival"], self.analysis["margin"]
            made.append(Compared.of(rows, scorer, rival, margin))
        shares, panels = self.analysis["tasks"], self.analysis["panels"]
        table = pd.DataFrame([line for block in made for line in lines_of(block, shares)])
        return Findings(
            answer=answer(made),
            table=table,
            shown=_joined(shown_of, made),
            figure=draw(made, panels),
            caption=_caption(made[0]),
            changes=_changes(made),
            notes=_notes(made),
            further={
                f"To within {made[0].within} of the final score of {rival}": _joined(near_of, made),
                f"Points above {rival} after as many inner steps": _joined(leads_of, made),
            },
        )


def _joined(
    told: "Callable[[Compared], pd.DataFrame]", blocks: "Sequence[Compared]"
) -> "pd.DataFrame":
    import pandas as pd

    return pd.concat([told(block) for block in blocks], ignore_index=True).fillna(MISSING)


def _made(name: str, values: Values) -> "Baseline":
    kind = load("baseline", name)
    options = resolve_options(name, values.get("options", {}).get(name, {}))
    made: Baseline = kind(kind.Options.model_validate(options))
    return made


def _steps(method: "Baseline") -> int:
    return int(getattr(method, "steps_at_test", 0))


def answer(blocks: "Sequence[Compared]") -> str:
    """How many meta-trained methods are shown to pay, and from how many tasks on."""
    first = blocks[0]
    exact, near = ([getattr(block, kind) for block in blocks] for kind in ("paybacks", "near"))
    places = [block.place for block in blocks]
    return (
        f"To reach the final score of {first.rival.name}, each by its fewest steps, meta-training "
        f"is {_by_units(places, exact)}. To within {first.within} of it: "
        f"{_by_units(places, near)}."
    )


def _by_units(places: Sequence[str], found: "Sequence[Paybacks]") -> str:
    """What is shown by seconds, and by operations where that is something else."""
    from bench.studies.step_curves import FLOPS, SECONDS

    one, two = (_pairs(places, found, unit) for unit in (SECONDS, FLOPS))
    if {pair: (n.shown, n.refuted) for pair, n in one.items()} == {
        pair: (n.shown, n.refuted) for pair, n in two.items()
    }:
        return f"{verdicts(one)} (the same by operations)"
    return f"by seconds {verdicts(one)}; by operations {verdicts(two)}"


def _pairs(places: Sequence[str], found: "Sequence[Paybacks]", unit: str) -> "dict[str, Payback]":
    """N of each pair of a method and a block, in a unit."""
    return {
        f"{name} on {place}": n
        for place, paybacks in zip(places, found, strict=True)
        for (name, of), n in paybacks.items()
        if of == unit
    }


def verdicts(pairs: "Mapping[str, Payback]") -> str:
    """Of how many pairs of a method and a block meta-training is shown to pay, which these are, and
    what is known of the others."""
    from bench.studies.cost_tables import count

    if not pairs:
        return "measured for none"
    pay = [
        f"{pair}, from {count(n.high)} tasks on at the latest"
        for pair, n in pairs.items()
        if n.shown
    ]
    never = [pair for pair, n in pairs.items() if n.refuted]
    open_ = [n for n in pairs.values() if not n.shown and not n.refuted]
    told = [f"shown to pay in {len(pay)} of {len(pairs)} ({'; '.join(pay)})".removesuffix(" ()")]
    if never:
        told.append(f"shown never to pay in {len(never)} ({'; '.join(never)})")
    if open_:
        ends = sorted(n.tasks for n in open_ if n.tasks < math.inf)
        span = " to ".join(dict.fromkeys(count(end) for end in ends[:1] + ends[-1:]))
        best = [f"best estimates {span} tasks in {len(ends)}"] if ends else []
        best += [f"never in {len(open_) - len(ends)}"] if len(ends) < len(open_) else []
        told.append(f"not shown either way in {len(open_)} ({', '.join(best)})")
    return ", ".join(told)


def _caption(block: "Compared") -> str:
    from bench.studies.cost_tables import SHARED

    rival = block.rival.name
    return (
        "Brackets and shades are 95 % intervals: tasks resampled, crossed with train seeds; a "
        "figure without brackets has none that could be told. "
        "*s* and *GFLOP a task*: the adaptation to one task with all inner steps, in seconds on "
        "the device, which are shared out in a batch of tasks and so say nothing of how tasks "
        "differ, and in 10^9 operations of matrix products; *training*: one meta-training, or what "
        "else a method spends before its first task. "
        "*points per*: what adaptation gains over the backbone without any, divided by the cost of "
        f"adaptation, and by that with 1/{SHARED} of the training. *steps to equal*: the fewest "
        f"inner steps after which the score is at least that of {rival} after all of its own, "
        "interpolated between the scored ones. *N*: the smallest number of new tasks with "
        "training / N + adaptation by those steps at most the adaptation cost of "
        f"{rival} by its own fewest such steps; *never* is infinite. A method is shown to pay "
        "where the upper end of N is finite, and never to pay where its lower end is not; each N "
        "is judged by itself, adjusted for no other. A method of exactly the same quality is "
        "hardly ever shown to pay by N, as half of its leads are below 0, however many tasks there "
        f"are: to within {block.within} both sides are held to the final score of {rival} "
        f"less {block.margin:g}. N's "
        "interval holds what tasks and train seeds leave open of quality, of both numbers of steps "
        "and of operations; the cost of a training, and the seconds of a step on this machine "
        "under this load, it takes as measured. *after*: points above "
        f"{rival} with as many steps. The figure shows scores after inner steps against "
        "a task's share of the training, its adaptation and its answers; the dotted line is the "
        f"final score of {rival}."
    )


def _changes(blocks: "Sequence[Compared]") -> list[str]:
    """What would move N, the rival's own number of steps first."""
    from bench.studies.payback import fewest_steps
    from bench.studies.step_curves import SECONDS

    rival, shorter = blocks[0].rival, []
    for block in blocks:
        quality = float(block.rival.score().points.mean())
        own = block.own_steps
        near = fewest_steps(block.curves[rival.name, SECONDS], quality - 1)
        shorter.append(
            f"{block.place}: {own.value} [{own.low}, {own.high}] of {block.rival.steps}, "
            f"within 1 point after {near}"
        )
    return [
        f"The steps that {rival.name} is held to, the fewest with its final score "
        f"({'; '.join(shorter)}): N grows with every step that it saves.",
        "Another budget of meta-training: it moves the cost that has to be earned and the quality "
        "that is reached after few steps.",
        "Another machine or number of threads moves N by seconds, as meta-training and adaptation "
        "use it unequally; N by operations stays.",
        "Other numbers of shots than these.",
        "Rates of inner steps: where a method steps faster than its rival (the rates are in the "
        "table), part of what it saves may be the rate's and not the meta-training's.",
    ]


def _notes(blocks: "Sequence[Compared]") -> list[str]:
    from bench.studies.step_curves import busy

    head = blocks[0].rival.row.header
    seeds = {len(row.training("s")) for block in blocks for row in block.rows if row.trained}
    tasks = {b.place: len({r["task"] for r in b.rival.row.records()}) for b in blocks}
    notes = [
        f"Tasks measured: {', '.join(f'{place} {n}' for place, n in tasks.items())}.",
        f"Seconds are of {head['device']}, {head['dtype']}, {head['threads']} thread(s) a cell, "
        f"{head['workers']} cell(s) side by side: what a thread waited for a core that others had "
        "is left out where the system tells, what it lost to shared caches and memory is not.",
        "Adaptation is timed in batches of tasks and shared out among them; answers after fewer "
        "steps come from a second adaptation that no cost holds.",
        "Not counted: the pre-training of the backbone, which all methods share, and the choice of "
        "options. Answers are in the figure and not in N: a longer prompt makes them dearer, and "
        "methods without inner steps cost nothing else. Operations of answers are not counted.",
    ]
    if 1 in seeds:
        notes.append(
            "There is one train seed: every interval of a trained row is of that training."
        )
    notes += busy([row for block in blocks for row in block.rows])
    idle = [block.place for block in blocks if not block.own_steps.low]
    if idle:
        notes.append(
            f"{blocks[0].rival.name} is not shown to gain by adaptation in {'; '.join(idle)}: its "
            "quality may cost nothing, and then N is never, however good others are."
        )
    return notes + _diverged(blocks) + _left_out(blocks)


def _diverged(blocks: "Sequence[Compared]") -> list[str]:
    """Episodes whose inner loop ended worse than it began, by block and method."""
    return [
        f"{block.place}: {row.name}: {row.diverged} diverged."
        for block in blocks
        for row in block.rows
        if row.diverged
    ]


def _left_out(blocks: "Sequence[Compared]") -> list[str]:
    named = {row.name for block in blocks for row in block.rows if row.varies}
    lines = [f"{name} chooses its number of steps and has no curve." for name in sorted(named)]
    floors = blocks[0].left_out
    return lines + (
        [f"Without a model, and so without costs: {', '.join(floors)}."] if floors else []
    )
