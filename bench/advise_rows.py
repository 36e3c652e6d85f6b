"""The recorded rows that advice may rest on: few-shot methods on a suite's own meta-test tasks."""

import math
from collections.abc import Sequence
from pathlib import Path

from bench.answered import Answered
from bench.errors import UserError
from bench.registry import load, load_suite, names

RECORDS = Path(__file__).parents[1] / "results" / "records"
Rows = Sequence[Answered]


def shipped() -> list[Path]:
    """The run directories that come with a checkout.

    Raises:
        UserError: there are none.
    """
    found = sorted(path.parent for path in RECORDS.glob("*/run.json"))
    if not found:
        raise UserError(
            "no records come with this installation; name run directories, as `fewgen advise "
            "results/quick ...` after `fewgen run quick`"
        )
    return found


def usable(blocks: Sequence[Rows], notes: list[str]) -> list[Rows]:
    """Rows of few-shot methods on meta-test tasks whose texts can be drawn here, by block.

    Args:
        notes: told of what is left out.

    Raises:
        UserError: nothing is left.
    """
    kept: list[Rows] = []
    foreign, others, upper = dict[str, None](), dict[str, None](), dict[str, None]()
    for block in blocks:
        head = block[0].header
        if head["dataset"] != "embedded" or not _drawn_here(head["suite"], head["revision"]):
            foreign[f"{head['suite']} ({head['dataset']}, revision {head['revision']})"] = None
        elif head["split"] != "meta-test":
            others[f"{head['suite']} ({head['split']})"] = None
        else:
            own = [line for line in block if next(iter(line.rows.values())).few_shot]
            upper |= {line.name: None for line in block if line not in own}
            kept += [own] if own else []
    reasons = [
        f"Left out, {why}: {', '.join(found)}."
        for why, found in (
            ("as their texts cannot be drawn here", foreign),
            ("as their tasks are not meta-test tasks", others),
            ("as these are no few-shot methods", upper),
        )
        if found
    ]
    if not kept:
        raise UserError(
            "no finished row of a few-shot method on a suite's embedded meta-test tasks, so "
            f"nothing tells what suits your data. {' '.join(reasons)} Name a run without "
            "--data, and of the split meta-test"
        )
    notes += reasons
    return kept


def _drawn_here(suite: str, revision: str) -> bool:
    return suite in names("suite") and load_suite(suite).embedded().revision == revision


def nearest(blocks: Sequence[Rows], suite: str, shots: int, notes: list[str]) -> Rows:
    """The block of a suite with the nearest shots, that of the most tasks and rows."""
    own = [block for block in blocks if block[0].header["suite"] == suite]
    away = {id(block): abs(math.log(block[0].header["shots"] / shots)) for block in own}
    near = [block for block in own if away[id(block)] == min(away.values())]
    if len(near) > 1:
        notes.append(
            f"The largest of {len(near)} tables of {suite} is used; the others have other shots, "
            "backbones, decodings or episodes: name only the directories that count."
        )
    return max(near, key=lambda block: (len(tasks_of(block)), len(block)))


def tasks_of(block: Rows) -> set[str]:
    """The names of a block's tasks."""
    return {record["task"] for row in block[0].rows.values() for record in row.records()}


def unmeasured(block: Rows) -> list[str]:
    """The few-shot methods without a row in a block."""
    missing = set(names("baseline")) - {row.header["baseline"] for row in block}
    return sorted(name for name in missing if getattr(load("baseline", name), "few_shot", True))
