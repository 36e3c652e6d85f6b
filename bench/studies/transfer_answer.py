"""What a transfer study says in words, all of it counted from its cells."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.records import read_json
from bench.registry import backbone_path
from bench.shown import title
from bench.studies.study import Findings
from bench.studies.transfer_cells import GIVEN, LEFT_OUT, Cells
from bench.studies.transfer_picture import draw
from bench.studies.transfer_told import APART, LEAK, VERDICTS, Told

if TYPE_CHECKING:
    import pandas as pd

    from bench.overlap import Overlap


def findings(
    cells: Cells,
    overlaps: "Mapping[tuple[str, str], Overlap]",
    plan: Mapping[str, Any],
    pretrained: int,
    leak: float,
) -> Findings:
    """The findings of a study.

    Args:
        overlaps: of (suite of meta-training, measured suite).
        plan: of the floor's run.
        pretrained: tokens of each pre-training.
        leak: the share of held-out inputs, or of targets, that marks a cell.
    """
    made = cells.made(overlaps)
    told = Told(made, cells.suites, leak)
    return Findings(
        answer=answer(told),
        table=told.table(),
        shown=told.shown(),
        figure=draw(told),
        caption=_caption(told, plan),
        changes=_changes(plan, pretrained),
        notes=[_adjusted(told), *_overlap_notes(told, overlaps), *_seen(plan, told), *_seeds(plan)],
    )


def answer(told: Told) -> str:
    """Who gains and who loses; whether the own suite is best; what a text left out costs."""
    table = told.table()
    given = [cell for cell in told.cells if cell.start == GIVEN and cell.source]
    single = [cell for cell in given if len(cell.source) == 1]
    other = [cell for cell in single if not cell.own]
    kinds = {
        "Meta-training on one other suite": other,
        "on the measured suite itself": [cell for cell in single if cell.own],
        "on all suites": [cell for cell in given if cell.source == tuple(told.suites)],
        "on all but the measured one": [
            cell
            for cell in given
            if len(cell.source) > 1 and cell.source == told.others(cell.target)
        ],
    }
    verdicts = dict(zip(map(id, told.cells), table["minus_floor_verdict"], strict=True))
    parts = [
        f"{name}: {_counts([verdicts[id(cell)] for cell in found])}"
        for name, found in kinds.items()
        if found
    ]
    values = [cell.over_floor.value for cell in given if cell.over_floor]
    gains = (
        f"Against {told.floor} from the same backbone, by tests adjusted for all cells (Holm). "
        f"{'; '.join(parts)}. Their differences: {min(values):+.1f} to {max(values):+.1f} points."
    )
    return " ".join([gains, _diagonal(table), _text_left_out(table)])


def _counts(verdicts: Sequence[str]) -> str:
    gain, loss, neither = (verdicts.count(VERDICTS[sign]) for sign in (1, -1, 0))
    return f"{gain} of {len(verdicts)} cells gain, {loss} lose, {neither} are not shown to differ"


def _diagonal(table: "pd.DataFrame") -> str:
    """In how many columns the own suite is the best one to train on."""
    columns = table[table["own_lead"].notna()].groupby(["method", "measured_on"])
    best = columns["own_lead"].min() > 0
    sure = columns["own_lead_verdict"].agg(lambda verdicts: {*verdicts} == {VERDICTS[1]})
    return (
        f"The measured suite's own training scores higher than each other single suite's in "
        f"{best.sum()} of {len(columns)} columns, shown in {sure.sum()}."
    )


def _text_left_out(table: "pd.DataFrame") -> str:
    """What the target's text in pre-training is worth."""
    lines = table[table["minus_with_text"].notna()]
    values, verdicts = lines["minus_with_text"], lines["minus_with_text_verdict"].tolist()
    return (
        "Leaving the measured suite's text out of pre-training, with as many tokens, changes "
        f"scores by {values.min():+.1f} to {values.max():+.1f} points: "
        f"{verdicts.count(VERDICTS[-1])} of {len(lines)} cells lose, "
        f"{verdicts.count(VERDICTS[1])} gain."
    )


def _caption(told: Told, plan: Mapping[str, Any]) -> str:
    measured = {cell.target: title(cell.metric) for cell in told.cells}
    return (
        f"Of each cell the score with its 95 % interval, then the difference to {told.floor} from "
        "the same backbone on the same episodes, with its own, which no other cell adjusts. "
        f"{APART} the interval of the difference excludes 0: below it, transfer is negative. "
        f"{LEAK} more than {100 * told.leak:g} % of the held-out inputs, or of the targets, have a "
        "run of 13 words, or all their words if fewer, in common with the text of meta-training. "
        "In the picture "
        f"differences alone; its last part shows those of backbones without and with the measured "
        f"suite's text, the methods trained on all others. Scores: "
        f"{', '.join(f'{suite} {name}' for suite, name in measured.items())}; K = "
        f"{plan['shots'][0]}, {plan['episodes'] * len(plan['seeds'])} episodes a cell."
    )


def _changes(plan: Mapping[str, Any], pretrained: int) -> list[str]:
    return [
        f"Longer meta-training: {plan['train_budget']:,} tokens here, whatever the number of "
        "suites, so that of several each has fewer.",
        f"Longer pre-training: {pretrained:,} tokens where a text is left out or its like is kept, "
        "far fewer than a shipped backbone's. That work is not among what is told below.",
        "Options chosen for transfer: these were tuned with training and test of one suite.",
        "Suites that are not made by rules, or that share words.",
    ]


def _adjusted(told: Told) -> str:
    table = told.table()
    ups, downs = ((table["minus_floor_verdict"] == VERDICTS[sign]).sum() for sign in (1, -1))
    return (
        f"Of all {table['minus_floor'].count()} differences to {told.floor}, {ups} gains and "
        f"{downs} losses remain at 5 % with Holm's adjustment."
    )


def _overlap_notes(told: Told, overlaps: "Mapping[tuple[str, str], Overlap]") -> list[str]:
    """The overlaps that are not 0, and that the others are."""
    lines, none = [], 0
    for (source, target), found in overlaps.items():
        share = found.share()
        if not any(share.values()):
            none += 1
            continue
        lines.append(
            f"Held-out text of {target} in common with meta-train text of {source}: inputs "
            f"{100 * share['inputs']:.2f} %, targets {100 * share['targets']:.2f} %, both of one "
            f"example {100 * share['both']:.2f} %{_marked(told.leak_of(share))}."
        )
    if none:
        lines.append(f"No text in common: {none} of {len(overlaps)} pairs of suites.")
    return lines


def _marked(kind: str) -> str:
    return f"; {LEAK} by {kind}" if kind else ""


def _seen(plan: Mapping[str, Any], told: Told) -> list[str]:
    """Which suites the given backbone has read, if it is ours."""
    place = backbone_path(plan["backbone"])
    if place is None or not (place / "training.json").is_file():
        return []
    read = [s for s in read_json(place / "training.json")["sources"] if s in told.suites]
    return [
        f"The backbone {plan['backbone']} has read meta-train text of {', '.join(read)}; only "
        f"rows of the kind {LEFT_OUT!r} have never read the measured suite's."
    ]


def _seeds(plan: Mapping[str, Any]) -> Iterable[str]:
    if len(plan["train_seeds"]) == 1:
        yield "One train seed: the intervals are conditional on that training."
