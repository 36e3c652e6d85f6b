"""Writes leaderboards: Markdown, LaTeX and HTML to be read, CSV, JSON and Parquet to be used."""

import io
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.captions import facts
from bench.metrics import BUILT_IN
from bench.probed import is_probed
from bench.records import write_whole
from bench.shown import (
    FLAG,
    FRONT,
    MISSING,
    SCORES,
    Shown,
    difference,
    flag,
    known,
    leads,
    loss,
    number,
    outer_steps,
    score,
    title,
)
from bench.tables import leaderboard

if TYPE_CHECKING:
    import pandas as pd


LOST = "lost, wrong support"


def _cells(line: Mapping[str, Any]) -> dict[str, str]:
    """A line as a reader sees it."""
    rank = line["rank_metric"]
    front = FRONT if known(line["pareto"]) and line["pareto"] else ""
    return {
        "baseline": line["baseline"]
        + (f" ({line['options']})" if line["options"] else "")
        + flag(line),
        "group": line["group"] or MISSING,
        "init": line["init"] or MISSING,
        "order": line["order"] or MISSING,
        **{title(name): score(line, name) for name in dict.fromkeys([*SCORES, rank])},
        f"{title(rank)} to best": difference(line),
        LOST: loss(line),
        "Pareto": front if known(line["pareto"]) else MISSING,
        "adapt ms": number(line.get("adapt_ms")) + (" *" if line["rechunked"] else ""),
        "step ms": number(line.get("inner_step_ms")),
        "ms / token": number(line.get("generate_ms_per_token"), 2),
        "train s": number(line.get("train_s")) if line.get("train_s") else MISSING,
        "train tokens": f"{line['train_tokens']:,.0f}" if line.get("train_tokens") else MISSING,
        "outer steps": number(outer_steps(line), 0),
        "failed": str(line["failed"]) if line["failed"] else "",
    }


def _unmeasured(block: "pd.DataFrame") -> list[str]:
    """Scores of some suites that no row of a block has."""
    own = [name for name in SCORES if name not in BUILT_IN]
    return [name for name in own if name not in block or block[name].isna().all()]


def block_tables(frame: "pd.DataFrame") -> list[Shown]:
    """The blocks of a leaderboard."""
    import pandas as pd

    tables = []
    for _, block in frame.groupby("block", sort=False):
        lines = [line for _, line in block.iterrows()]
        cells = pd.DataFrame([_cells(line) for line in lines])
        if not cells["failed"].any():
            cells = cells.drop(columns="failed")
        if not any(map(is_probed, lines)):
            cells = cells.drop(columns=LOST)
        ranking = title(lines[0]["rank_metric"])
        cells = cells.drop(
            columns=[title(name) for name in _unmeasured(block) if title(name) != ranking]
        )
        best = [place for place, line in enumerate(lines) if leads(line)]
        bold = frozenset((place, column) for place in best for column in ("baseline", ranking))
        tables.append(Shown(cells, bold, list(chain.from_iterable(facts(block).values()))))
    return tables


def _markdown_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def markdown(tables: Sequence[Shown]) -> str:
    """Each table with its caption below it."""
    parts = []
    for table in tables:
        cells = table.marked(_markdown_cell, lambda text: f"**{text}**")
        text = cells.to_markdown(index=False, disable_numparse=True)
        parts.append("\n".join([text, "", *table.caption, ""]))
    return "\n".join(parts)


LATEX = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        FRONT: r"\textbullet{}",
        FLAG: r"\textdagger{}",
        MISSING: "--",
    }
)


def _latex(text: str) -> str:
    return " ".join(text.split()).translate(LATEX)


def latex(tables: Sequence[Shown]) -> str:
    """Tables for LaTeX's package booktabs; all text is escaped."""
    parts = [r"% In the preamble: \usepackage[T1]{fontenc} \usepackage{booktabs}" + "\n"]
    for place, table in enumerate(tables, 1):
        cells = table.marked(_latex, lambda text: rf"\textbf{{{text}}}")
        caption = _latex(". ".join(line.rstrip(".") for line in table.caption) + ".")
        label = f"tab:fewgen-{table.slug}-{place}"
        parts.append(
            cells.to_latex(index=False, caption=(caption, _latex(table.caption[0])), label=label)
        )
    return "\n".join(parts)


def html(tables: Sequence[Shown]) -> str:
    """A page that asks for nothing from outside; all text is escaped."""
    from bench.html_page import page

    return page(tables)


def to_csv(frame: "pd.DataFrame") -> str:
    """All columns, full precision."""
    return str(frame.to_csv(index=False, lineterminator="\n"))


def to_json(frame: "pd.DataFrame") -> str:
    """A list of objects, full precision."""
    return str(frame.to_json(orient="records", indent=1, double_precision=15)) + "\n"


def to_parquet(frame: "pd.DataFrame") -> bytes:
    """All columns with their types."""
    file = io.BytesIO()
    frame.to_parquet(file, index=False)
    return file.getvalue()


READ: dict[str, Callable[[Sequence[Shown]], str]] = {"md": markdown, "tex": latex, "html": html}
USED: dict[str, Callable[["pd.DataFrame"], str | bytes]] = {
    "csv": to_csv,
    "json": to_json,
    "parquet": to_parquet,
}


def render(
    kind: str, frame: "pd.DataFrame", tables: Sequence[Shown] | None = None
) -> "str | bytes":
    """A leaderboard, or a pivot with its tables, in a format of `READ` or `USED`."""
    if kind in USED:
        return USED[kind](frame)
    return READ[kind](block_tables(frame) if tables is None else tables)


def to_markdown(frame: "pd.DataFrame") -> str:
    """A leaderboard as Markdown."""
    return markdown(block_tables(frame))


def write_tables(root: Path) -> str:
    """Writes `leaderboard.csv`, `.md` and `.tex` of a run directory; returns the Markdown."""
    frame = leaderboard([root])
    for kind in ("csv", "md", "tex"):
        write_whole(root / f"leaderboard.{kind}", render(kind, frame))
    return to_markdown(frame)
