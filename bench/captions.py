"""What stands below a table: what all its rows share, how to read it, and what went wrong."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.probed import LOSS, flagged, is_probed
from bench.ranks import ALPHA, FEWEST_TASKS, fewest_tasks
from bench.shown import FLAG, FRONT, SCORES, known, loss, many, outer_steps, title

if TYPE_CHECKING:
    import pandas as pd

WARNING = "Warning:"
FEW_STEPS = 20  # of an outer loop; fewer are hardly a meta-training
FEWEST, MOST = "learned_from_fewest", "learned_from_most"
COUNTS = {
    "rechunked": "cells that adapted fewer at once than planned, for want of memory (*)",
    "diverged": "episodes whose inner loop ended worse than it began",
    "truncated": "inputs or targets cut to the context",
    "train_truncated": "inputs, targets or demonstrations cut in training, a train seed",
    "dropped": "demonstrations left out because the context was full",
    "cut_outputs": "answers cut at the maximum length",
}

SLOWER = (
    "Backbone on a slower path, so that its times are not those of other models (run.json says why)"
)
PROBED = (
    "Lost under a wrong support: the score under the own one minus that under another task's, on "
    f"the same episodes, with its 95 % interval, paired, not adjusted. {FLAG} marks a row whose "
    "interval is not above 0: nothing shows that it uses its support."
)
PARTIAL = (
    "This table is incomplete: letters, bold type and differences are those of the finished rows, "
    "and may change when the others are finished."
)
BESIDE = (
    'The intervals of "to best" are not adjusted. '
    f"{FRONT} marks the Pareto front, by the values alone: no other row scores higher at the same "
    "or less adaptation time, nor as high at less."
)


def facts(block: "pd.DataFrame") -> dict[str, list[str]]:
    """The lines of a block's caption, by what they tell; the first says what the block is."""
    told = {
        "asked": [_asked(block)],
        "drawn": _drawn(block),
        "apart": [f"A table of its own: {text}." for text in _one(block, "apart")],
        "ranked": [f"Ranked by {title(block.iloc[0]['rank_metric'])}."],
        "read": [_how_to_read(block)],
        "beside": [BESIDE],
        "probed": _probed(block),
        "made": [_made(block)],
        "otherwise": [
            f"Made with different code or libraries: {text}."
            for text in _one(block, "made_otherwise")
        ],
        "signatures": [f"Signatures: {_signatures(block)}."],
        "tokenizers": _mixed(block),
        "barely": _barely_trained(block),
    }
    for name, what in COUNTS.items():
        found = [f"{r['baseline']} {r[name]:.0f}" for _, r in block.iterrows() if r[name]]
        told[name] = [f"{what.capitalize()}: {', '.join(found)}."] if found else []
    tuned = [
        f"{r['baseline']} {r['tune_trials']:.0f} trials, {r['tune_tokens']:,.0f} tokens, "
        f"{r['tune_seconds']:,.0f} s"
        for _, r in block.sort_values("baseline").iterrows()
        if known(r.get("tune_trials"))
    ]
    told["learned"] = [_learned(r) for _, r in block.iterrows() if known(r.get(FEWEST))]
    slower = [r["baseline"] for _, r in block.iterrows() if known(r.get("slower_path"))]
    told["slower"] = [f"{SLOWER}: {', '.join(slower)}."] if slower else []
    told["tuned"] = [f"Options chosen by tuning: {'; '.join(tuned)}."] if tuned else []
    told["missing"] = [
        f"Unfinished, not ranked: {r['baseline']}: {r['missing']} cell(s) missing"
        for _, r in block.iterrows()
        if r["missing"]
    ]
    told["failed"] = [
        f"Failed: {r['baseline']}: {r['failed']} cell(s): {r['reason']}"
        for _, r in block.iterrows()
        if r["failed"]
    ]
    told["partial"] = [PARTIAL] if told["missing"] or told["failed"] else []
    return {kind: [" ".join(line.split()) for line in lines] for kind, lines in told.items()}


def _barely_trained(block: "pd.DataFrame") -> list[str]:
    """A warning about rows whose outer loop took so few steps that its length, not the method, may
    make the score."""
    steps = ((row["baseline"], outer_steps(row)) for _, row in block.iterrows())
    found = [f"{name} {count:.0f}" for name, count in steps if count and count < FEW_STEPS]
    if not found:
        return []
    return [
        f"{WARNING} fewer than {FEW_STEPS} outer steps of meta-training: {', '.join(found)}. Such "
        "scores may be those of a short training rather than of the method; raise train_budget."
    ]


def _one(block: "pd.DataFrame", column: str) -> list[str]:
    """What a column says of the whole block, if anything."""
    return [str(block.iloc[0][column])] if column in block and known(block.iloc[0][column]) else []


def _learned(row: "pd.Series[Any]") -> str:
    """What an upper reference learned from."""
    few, many = (f"{row[key]:,.0f}" for key in (FEWEST, MOST))
    return (
        f"No few-shot method: {row['baseline']} learned from "
        f"{many if few == many else f'{few} to {many}'} examples of each task; it is not ranked."
    )


def _probed(block: "pd.DataFrame") -> list[str]:
    """How to read losses under another task's support, which rows are marked for theirs and which
    have none; nothing where no row was probed."""
    rows = [row for _, row in block.iterrows()]
    if not any(map(is_probed, rows)):
        return []
    marked = [_loss_of(row) for row in rows if flagged(row)]
    bare = [row["baseline"] for row in rows if not is_probed(row)]
    return [
        PROBED,
        *([f"{FLAG} {'; '.join(marked)}."] if marked else []),
        *([f"Not probed: {', '.join(bare)}."] if bare else []),
    ]


def losses(block: "pd.DataFrame") -> list[str]:
    """What the rows without a mark lose, for tables that have no column of it."""
    found = [_loss_of(row) for _, row in block.iterrows() if is_probed(row) and not flagged(row)]
    return [f"Lost by others: {'; '.join(found)}."] if found else []


def _loss_of(row: "pd.Series[Any]") -> str:
    return f"{row['baseline']} {loss(row)} on {row[f'{LOSS}_episodes']:.0f} episode(s)"


def side_by_side(columns: Mapping[str, Mapping[str, list[str]]]) -> list[str]:
    """The facts of a table whose columns are blocks; what is not true of all is said of some."""
    lines = []
    for kind in next(iter(columns.values())):
        headings: dict[str, list[str]] = {}
        for heading, told in columns.items():
            for line in told[kind]:
                headings.setdefault(line, []).append(heading)
        for line, found in headings.items():
            whose = "" if len(found) == len(columns) else f"{', '.join(found)}: "
            lines.append(whose + line)
    return lines


def _scored(block: "pd.DataFrame") -> "pd.DataFrame":
    """The rows that have a finished cell; all if none has."""
    scored = block[block["episodes"] > 0]
    return block if scored.empty else scored


def _signatures(block: "pd.DataFrame") -> str:
    """Of the metrics that are shown."""
    shown = {*SCORES, block.iloc[0]["rank_metric"]}
    every = str(_scored(block).iloc[0]["signature"]).split("; ")
    return "; ".join(text for text in every if text.partition("=")[0] in shown)


def _mixed(block: "pd.DataFrame") -> list[str]:
    """Which scores pool texts that were split by several tokenizers; mostly none."""
    found = re.findall(r"([\w-]+)=[^;]*\btok:([^|;]*\+[^|;]*)", _signatures(block))
    return [
        f"{title(name)} mixes tokenizers ({tokenizers.replace('+', ', ')}), one for each language, "
        "and pools their counts: languages with more tokens per text weigh more. Do not compare it "
        "with scores of a single language."
        for name, tokenizers in found
    ]


def _asked(block: "pd.DataFrame") -> str:
    first, head = block.iloc[0], _scored(block).iloc[0]
    train = sorted({str(t) for t in block["train_seeds"] if t})
    return (
        f"{first['suite']} ({first['dataset']}, revision {first['revision']}, {first['split']}), "
        f"K = {first['shots']}, {many(head['episodes'], 'episode')} of "
        f"{many(head['tasks'], 'task')} over seeds {head['seeds']}"
        + (f", train seeds {'; '.join(train)}" if train else "")
    )


def _drawn(block: "pd.DataFrame") -> list[str]:
    """The K of meta-training of rows whose plan sets it apart from the K that is measured."""
    if "train_shots" not in block:
        return []
    found = block.dropna(subset="train_shots").groupby("train_shots", sort=True)["baseline"]
    return [
        f"Meta-trained with K drawn from {shots}: {', '.join(sorted(names))}."
        for shots, names in found
    ]


def _how_to_read(block: "pd.DataFrame") -> str:
    over = "tasks"
    if (block["interval"] != "").any():
        over += "; those of trained rows are conditional on their one train seed"
    elif block["train_seeds"].any():
        over += " and train seeds"
    return f"Brackets are 95 % intervals over {over}. {_how_compared(block)}"


def _how_compared(block: "pd.DataFrame") -> str:
    """What letters and bold mean, or why there are none."""
    ranked = block[block["to_best"].notna()] if "to_best" in block else block[:0]
    if ranked.empty:
        return ""
    tasks, comparisons = (int(ranked.iloc[0][key]) for key in ("tasks", "comparisons"))
    if tasks < FEWEST_TASKS:
        return (
            f"Too few tasks to separate rows: {tasks}, and {FEWEST_TASKS} are the least, as an "
            "exact sign-flip test of n tasks has no p-value below 2 / 2^n. There are no letters "
            "and no bold, and the table concludes nothing."
        )
    if not comparisons:
        return ""
    best = ranked.iloc[0]["compared"] == "best"
    with_best = f"comparison{'s' * (comparisons != 1)} of a row with the best of its table"
    pairs = with_best if best else f"pair{'s' * (comparisons != 1)} of rows"
    rule = (
        f"paired differences, 5 %, Holm's adjustment over the {comparisons:,} {pairs} in all "
        "tables made with this one"
    )
    told = (
        f"Bold: not shown to differ from the best ({rule})."
        if best
        else f"Rows that share a letter were not shown to differ ({rule}); bold: not shown to "
        "differ from the best."
    )
    needed = fewest_tasks(ALPHA / comparisons)
    if tasks < needed:
        told += (
            f" With so many, the smallest p-value of an exact sign-flip test needs {needed} tasks "
            f"to stay below 5 % after the adjustment; with {tasks}, verdicts rest on Student's t."
        )
    return told


def _made(block: "pd.DataFrame") -> str:
    backbones = sorted({str(b) for b in block["backbone"].dropna()})
    identities = sorted({str(b) for b in block["backbone_identity"] if b})
    decoding = sorted({str(d) for d in block["decoding"].dropna()})
    scored = _scored(block)
    counts = sorted({int(n) for n in scored["tasks_at_once"] if known(n)})
    devices = dict.fromkeys(
        f"{r['device']}, {r['dtype']}, {r['threads']:.0f} thread(s) a cell, "
        + (f"{r['workers']:.0f} worker(s)" if known(r["workers"]) else "")
        for _, r in scored.iterrows()
    )
    return (
        f"Backbone: {', '.join(backbones) or 'none'} ({', '.join(identities) or 'no weights'}). "
        + (f"Decoding: {'; '.join(decoding)}. " if decoding else "")
        + f"Device: {' and '.join(devices)}"
        + (f"; {', '.join(map(str, counts))} task(s) adapted at once" if counts else "")
        + "."
    )
