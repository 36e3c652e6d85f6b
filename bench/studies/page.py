"""Writes what a study found: NAME.csv, .svg, .png, and the page NAME.md that shows them."""

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.exports.runs import commit_of, read_run
from bench.facts import git_state
from bench.records import write_whole
from bench.studies.effort import effort
from bench.studies.stability import stability
from bench.studies.study import Findings, Study

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


SMOKE = "*Size smoke: to see what the study does. Its numbers are not for conclusions.*"
TAG = re.compile("<(?=[A-Za-z/!?])")
# Plan keys that tell how large a study was.
SIZE = "suites shots seeds train_seeds episodes queries train_budget backbone pretrain".split()


def write_findings(
    out: Path, study: Study, size: str, found: Findings, runs: Mapping[str, Path]
) -> None:
    """Writes the four files of a study into `out`, the page last."""
    pictures = {kind: picture(found.figure, kind, study.name) for kind in ("svg", "png")}
    text = page(study, size, found, list(runs.values()))
    write_whole(out / f"{study.name}.csv", str(found.table.to_csv(index=False)))
    for kind, content in pictures.items():
        write_whole(out / f"{study.name}.{kind}", content)
    write_whole(out / f"{study.name}.md", text)


def picture(figure: "Figure", kind: str, salt: str) -> bytes:
    """A figure as SVG or PNG; the same figure and salt give the same bytes."""
    from matplotlib import style

    file = io.BytesIO()
    metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {"Software": None}
    with style.context({"svg.hashsalt": salt, "svg.fonttype": "none"}):
        figure.savefig(file, format=kind, metadata=metadata, dpi=150, bbox_inches="tight")
    return file.getvalue()


def page(study: Study, size: str, found: Findings, roots: Sequence[Path]) -> str:
    """The page: answer, picture, table, what it rests on, what would change it."""
    further = [
        f"**{title}**\n\n{_table(table)}" for title, table in found.further.items() if len(table)
    ]
    parts = [
        f"# {study.question}",
        SMOKE if size == "smoke" else "",
        f"**{_plain(found.answer)}**",
        f"![{study.question}]({study.name}.svg)",
        _table(found.shown),
        *further,
        _plain(found.caption),
        _listed("What would change this", found.changes),
        _listed("To know", [*found.notes, *stability(roots)]),
        _made(roots),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _plain(text: str) -> str:
    """A text in one line, in which the names of data begin no tag."""
    return TAG.sub(r"\\<", " ".join(text.split()))


def _table(shown: "pd.DataFrame") -> str:
    cells = shown.map(lambda text: _plain(text).replace("|", r"\|"))
    return str(cells.to_markdown(index=False, disable_numparse=True))


def _listed(head: str, lines: Sequence[str]) -> str:
    return f"## {head}\n\n" + "\n".join(f"- {_plain(line)}" for line in lines) if lines else ""


def _made(roots: Sequence[Path]) -> str:
    """Command, commit, size and budget."""
    told, spent = [read_run(root) for root in roots], effort(roots)
    plans = [run.places.shown(run.plan) for run in told]
    sizes = {
        key: dict.fromkeys(_text(plan[key]) for plan in plans if plan.get(key) is not None)
        for key in SIZE
    }
    size = "; ".join(f"{key} {' | '.join(values)}" for key, values in sizes.items() if values)
    besides = ", besides pre-training" if sizes["pretrain"] else ""
    lines = [
        f"Command: `{told[0].command} --out DIR`",
        f"Commit: {_commit(told[0].commit)}",
        f"On: {told[0].hardware}",
        f"Size: {size}",
        f"Work: {spent.seconds / 60:,.1f} minutes of one process{besides}, {spent.tokens:,} tokens "
        "of meta-training",
    ]
    return _listed("Made by", lines)


def _commit(made: str) -> str:
    """The commit of the runs, and that of this page where it is another one's."""
    now = commit_of(git_state())
    return made if now == made else f"{made}; this page: {now}"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{_text(part)} {key}" for key, part in value.items())
    return ",".join(map(str, value)) if isinstance(value, list) else f"{value}"
