"""Writes a leaderboard as Markdown, CSV, LaTeX or JSON."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.records import write_whole
from bench.tables import leaderboard

if TYPE_CHECKING:
    import pandas as pd

SCORES = {"bleu": "BLEU", "chrf": "chrF", "rougeL": "ROUGE-L", "exact": "exact"}
MISSING = "–"  # noqa: RUF001, an en dash is what tables show for nothing


def _known(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _number(value: Any, digits: int = 1) -> str:
    return f"{value:,.{digits}f}" if _known(value) else MISSING


def _interval(line: Mapping[str, Any], name: str) -> str:
    if not _known(line.get(name)):
        return MISSING
    return f"{line[name]:.1f} [{line[f'{name}_low']:.1f}, {line[f'{name}_high']:.1f}]"


def _difference(line: Mapping[str, Any]) -> str:
    if not _known(line.get("to_best")):
        return MISSING
    if line["to_best"] == 0 == line["to_best_low"] == line["to_best_high"]:
        return "best"
    return f"{line['to_best']:+.1f} [{line['to_best_low']:+.1f}, {line['to_best_high']:+.1f}]"


def _leads(line: Mapping[str, Any]) -> bool:
    """Nothing in the block is better: the paired interval to the best does not exclude 0."""
    return _known(line.get("to_best")) and line["to_best_high"] >= 0


def _cells(line: Mapping[str, Any]) -> dict[str, str]:
    """A line as a reader sees it."""
    rank = line["rank_metric"]
    names = {**SCORES, rank: SCORES.get(rank, rank)}
    steps = MISSING
    if _known(line.get("inner_step_ms")):
        steps = _number(line["inner_step_ms"])
    return {
        "baseline": line["baseline"] + (f" ({line['options']})" if line["options"] else ""),
        "init": line["init"] or MISSING,
        "order": line["order"] or MISSING,
        **{title: _interval(line, name) for name, title in names.items()},
        f"{names[rank]} to best": _difference(line),
        "adapt ms": _number(line.get("adapt_ms")) + (" *" if line["rechunked"] else ""),
        "step ms": steps,
        "ms / token": _number(line.get("generate_ms_per_token"), 2),
        "train s": _number(line.get("train_s")) if line.get("train_s") else MISSING,
        "train tokens": f"{line['train_tokens']:,.0f}" if line.get("train_tokens") else MISSING,
        "failed": str(line["failed"]) if line["failed"] else "",
    }


def _tasks_at_once(scored: "pd.DataFrame") -> str:
    counts = sorted({int(n) for n in scored["tasks_at_once"] if _known(n)})
    return f"; {', '.join(map(str, counts))} task(s) adapted at once" if counts else ""


def _caption(block: "pd.DataFrame") -> str:
    """What all rows of a block share."""
    first = block.iloc[0]
    scored = block[block["episodes"] > 0]
    head = first if scored.empty else scored.iloc[0]
    backbones = sorted({str(b) for b in block["backbone"].dropna()})
    identities = sorted({str(b) for b in block["backbone_identity"] if b})
    where = f"{head['device']}, {head['dtype']}, {head['threads']:.0f} thread(s) a cell, "
    where += f"{head['workers']:.0f} worker(s)" if _known(head["workers"]) else ""
    train = sorted({str(t) for t in block["train_seeds"] if t})
    decoding = sorted({str(d) for d in block["decoding"].dropna()})
    lines = [
        f"{first['suite']} ({first['dataset']}, revision {first['revision']}, {first['split']}), "
        f"K = {first['shots']}, {head['episodes']:.0f} episodes over seeds {head['seeds']}"
        + (f", train seeds {'; '.join(train)}" if train else ""),
        f"Ranked by {first['rank_metric']}; brackets are 95 % intervals over tasks and episodes"
        + (
            "; those of trained rows are conditional on their one train seed"
            if (block["interval"] != "").any()
            else " and train seeds"
            if train
            else ""
        )
        + ". Bold: nothing is better, by the paired interval of the difference.",
        f"Backbone: {', '.join(backbones) or 'none'} ({', '.join(identities) or 'no weights'}). "
        + (f"Decoding: {'; '.join(decoding)}. " if decoding else "")
        + f"Device: {where}{_tasks_at_once(scored)}.",
        f"Signatures: {head['signature']}.",
    ]
    for name, what in (
        ("rechunked", "cells that adapted fewer at once than planned, for want of memory (*)"),
        ("diverged", "episodes whose inner loop ended worse than it began"),
        ("truncated", "inputs or targets cut to the context"),
        ("train_truncated", "inputs, targets or demonstrations cut in training, a train seed"),
        ("dropped", "demonstrations left out because the context was full"),
        ("cut_outputs", "answers cut at the maximum length"),
    ):
        counts = [f"{r['baseline']} {r[name]:.0f}" for _, r in block.iterrows() if r[name]]
        if counts:
            lines.append(f"{what.capitalize()}: {', '.join(counts)}.")
    tuned = [r for _, r in block.iterrows() if _known(r.get("tune_trials"))]
    if tuned:
        costs = [
            f"{r['baseline']} {r['tune_trials']:.0f} trials, {r['tune_tokens']:,.0f} tokens, "
            f"{r['tune_seconds']:,.0f} s"
            for r in tuned
        ]
        lines.append(f"Options chosen by tuning: {'; '.join(costs)}.")
    lines += [
        f"Unfinished, not ranked: {r['baseline']}: {r['missing']} cell(s) missing"
        for _, r in block.iterrows()
        if r["missing"]
    ]
    lines += [
        f"Failed: {r['baseline']}: {r['failed']} cell(s): {r['reason']}"
        for _, r in block.iterrows()
        if r["failed"]
    ]
    return "\n".join(lines)


def _blocks(frame: "pd.DataFrame") -> list[tuple[str, "pd.DataFrame"]]:
    """Captions and rows, shown as text, of each block."""
    import pandas as pd

    made = []
    for _, block in frame.groupby(["suite", "dataset", "shots", "block"], sort=False, dropna=False):
        rows = []
        for _, line in block.iterrows():
            cells = _cells(line)
            rows.append({**cells, "_leads": _leads(line)})
        shown = pd.DataFrame(rows)
        if not shown["failed"].any():
            shown = shown.drop(columns="failed")
        made.append((_caption(block), shown))
    return made


def _bold(shown: "pd.DataFrame", mark: Callable[[str], str]) -> "pd.DataFrame":
    plain = shown.drop(columns="_leads")
    plain.loc[shown["_leads"], "baseline"] = plain.loc[shown["_leads"], "baseline"].map(mark)
    return plain


def to_markdown(frame: "pd.DataFrame") -> str:
    """A table a block, its caption below it."""
    parts = []
    for caption, shown in _blocks(frame):
        table = _bold(shown, lambda text: f"**{text}**").to_markdown(
            index=False, disable_numparse=True
        )
        parts.append(f"{table}\n\n{caption}\n")
    return "\n".join(parts)


def _escape(text: str) -> str:
    for sign, escaped in (("\\", r"\textbackslash{}"), ("{", r"\{"), ("}", r"\}")):
        text = text.replace(sign, escaped) if sign != "\\" else text.replace(sign, "\0")
    text = text.replace("\0", r"\textbackslash{}")
    for sign in "&%$#_":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("~", r"\textasciitilde{}").replace("^", r"\textasciicircum{}")


def to_latex(frame: "pd.DataFrame") -> str:
    """A booktabs table a block; all text is escaped."""
    parts = []
    for caption, shown in _blocks(frame):
        safe = shown.map(lambda value: _escape(value) if isinstance(value, str) else value)
        safe.columns = [_escape(name) if name != "_leads" else name for name in shown.columns]
        safe = _bold(safe, lambda text: rf"\textbf{{{text}}}")
        parts.append(safe.to_latex(index=False, caption=_escape(caption).replace("\n", " ")))
    return "\n".join(parts)


def to_csv(frame: "pd.DataFrame") -> str:
    """All columns, full precision."""
    return str(frame.to_csv(index=False, lineterminator="\n"))


def to_json(frame: "pd.DataFrame") -> str:
    """A list of objects, full precision."""
    return str(frame.to_json(orient="records", indent=1, double_precision=15)) + "\n"


RENDERERS: dict[str, Callable[["pd.DataFrame"], str]] = {
    "md": to_markdown,
    "csv": to_csv,
    "tex": to_latex,
    "json": to_json,
}


def write_tables(root: Path) -> str:
    """Writes `leaderboard.csv`, `.md` and `.tex` of a run directory; returns the Markdown."""
    frame = leaderboard([root])
    for kind in ("csv", "md", "tex"):
        write_whole(root / f"leaderboard.{kind}", RENDERERS[kind](frame))
    return to_markdown(frame)
