"""`fewgen study cost`: what quality costs, and from how many tasks on meta-training pays."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.errors import UserError
from bench.studies.study import Findings, Study, Values

if TYPE_CHECKING:
    from bench.studies.cost_lines import Compared


class Cost(Study):
    """Quality per device-second and per operation, meta-training included.

    The rival, a baseline without meta-training, is named under `analysis`.
    """

    name: ClassVar[str] = "cost"
    question: ClassVar[str] = "From how many new tasks on does meta-training pay?"

    def plans(self, values: Values) -> dict[str, Values]:
        """One plan, which holds the rival and scores from step 0 on.

        Raises:
            UserError: the rival is left out.
        """
        rival, chosen = self.analysis["rival"], values.get("baselines")
        if chosen and rival not in chosen:
            raise UserError(
                f"study {self.name} holds every method against {rival}; add --baseline {rival}"
            )
        steps = sorted({0, *values.get("score_steps", [])})
        return {"run": {**values, "score_steps": steps}}

    def analyse(self, runs: Mapping[str, Path]) -> Findings:
        """Costs, gains and N of every row, by block."""
        import pandas as pd

        from bench.studies.cost_figure import draw
        from bench.studies.cost_lines import Compared, lines_of, shown_of
        from bench.tables import metrics, ranked

        made = []
        for block in ranked(list(runs.values())):
            rows = [row for row, _ in block.complete]
            scorer = next(m for m in metrics(rows[0]) if m.name == block.metric)
            made.append(Compared.of(rows, scorer, self.analysis["rival"]))
        shares, panels = self.analysis["tasks"], self.analysis["panels"]
        table = pd.DataFrame([line for block in made for line in lines_of(block, shares)])
        return Findings(
            answer=answer(made),
            table=table,
            shown=pd.concat([shown_of(block) for block in made], ignore_index=True),
            figure=draw(made, panels),
            caption=_caption(made[0]),
            changes=_changes(made),
            notes=_notes(made),
        )


def answer(blocks: "Sequence[Compared]") -> str:
    """From how many tasks on the cheapest meta-trained method pays, by block."""
    from bench.studies.step_curves import FLOPS, SECONDS

    rival = blocks[0].rival.name
    parts = [f"{block.place}: {_first(block, SECONDS)}" for block in blocks]
    operations = [f"{block.place}: {_first(block, FLOPS)}" for block in blocks]
    return (
        f"At the quality of {rival}, a meta-training has paid for itself in device-seconds after "
        f"so many new tasks: {'; '.join(parts)}. In operations: {'; '.join(operations)}."
    )


def _first(block: "Compared", unit: str) -> str:
    """The smallest N of a block, with the name of its method and how many never pay."""
    from bench.studies.cost_lines import told_n

    found = {name: n for (name, of), n in block.paybacks.items() if of == unit}
    if not found:
        return "not measured"
    never = sum(n.tasks == float("inf") for n in found.values())
    if never == len(found):
        low = min(n.low for n in found.values())
        return "never" + (f" (for some perhaps from {low:,.0f} on)" if low < float("inf") else "")
    name = min(found, key=lambda name: (found[name].tasks, found[name].high))
    others = f", {never} of {len(found)} methods never" if never else ""
    return f"{told_n(found[name])} ({name}{others})"


def _caption(block: "Compared") -> str:
    from bench.studies.cost_lines import SHARED

    rival = block.rival.name
    return (
        "Brackets and shades are 95 % intervals: tasks resampled, crossed with train seeds. "
        "*s* and *GFLOP a task*: the adaptation to one task with all inner steps, in seconds on "
        "the device and in 10^9 operations of matrix products; *training*: one meta-training. "
        "*points per*: what adaptation gains over the backbone without any, divided by the cost of "
        f"adaptation, and by that with 1/{SHARED} of a meta-training. *steps to equal*: the fewest "
        f"inner steps after which the score is at least that of {rival} after all of its own, "
        "interpolated between the scored ones. *N*: the smallest number of new tasks with "
        "training / N + adaptation by those steps at most the adaptation cost of "
        f"{rival}; *never* is infinite. Its interval holds what tasks and train seeds leave open "
        "of quality and of adaptation costs, and takes the cost of a meta-training as known. The "
        "figure shows scores after inner steps against a task's share of the meta-training, its "
        "adaptation and its answers; the dotted line is the score of "
        f"{rival}."
    )


def _changes(blocks: "Sequence[Compared]") -> list[str]:
    """What would move N, the rival's own shorter adaptation first."""
    from bench.studies.payback import fewest_steps
    from bench.studies.step_curves import SECONDS

    rival, shorter = blocks[0].rival, []
    for block in blocks:
        quality = float(block.rival.score().points.mean())
        steps = fewest_steps(block.curves[rival.name, SECONDS], quality - 1)
        shorter.append(f"{block.place}: {steps} of {block.rival.steps}")
    return [
        f"A shorter adaptation of {rival.name}: it comes within 1 point of its own score after so "
        f"many inner steps ({'; '.join(shorter)}), and N grows with every step that it saves.",
        "Another budget of meta-training: it moves the cost that has to be earned and the quality "
        "that is reached after few steps.",
        "Another machine or number of threads moves N by seconds, as meta-training and adaptation "
        "use it unequally; N by operations stays.",
        "Other numbers of shots: with more of them adaptation alone comes closer and costs more.",
    ]


def _notes(blocks: "Sequence[Compared]") -> list[str]:
    from bench.studies.step_curves import busy

    head = blocks[0].rival.row.header
    seeds = {len(row.training("s")) for block in blocks for row in block.rows if row.trained}
    notes = [
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
    return notes + _left_out(blocks)


def _left_out(blocks: "Sequence[Compared]") -> list[str]:
    named = {row.name for block in blocks for row in block.rows if row.varies}
    lines = [f"{name} chooses its number of steps and has no curve." for name in sorted(named)]
    floors = blocks[0].left_out
    return lines + (
        [f"Without a model, and so without costs: {', '.join(floors)}."] if floors else []
    )
