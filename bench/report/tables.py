"""Leaderboards as the report shows them: the cells of `fewgen leaderboard`, with what they sort by
and where they lead."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench.pivots import OVER
from bench.probed import LOSS
from bench.publish import LOST, block_tables
from bench.report.blocks import Block, Line
from bench.report.over import OverSuites
from bench.shown import MISSING, SCORES, flag, leads

# Titles of `fewgen leaderboard` to the columns that they sort by; others sort as text.
NUMBERS = {
    LOST: LOSS,
    "adapt ms": "adapt_ms",
    "step ms": "inner_step_ms",
    "ms / token": "generate_ms_per_token",
    "train s": "train_s",
    "train tokens": "train_tokens",
    "outer steps": "train_steps",
    "failed": "failed",
}


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        value: what it sorts by, "" for nothing; None where its text does.
        link: the page that a score leads to.
        leads: whether it is marked as not different from the best.
    """

    text: str
    value: str | None
    link: str = ""
    leads: bool = False


@dataclass(frozen=True)
class Row:
    """The cells of a baseline.

    Attributes:
        label: what it is called.
        series: the number of its colour and sign.
        suite: whose scores these are; "" for several suites.
        leads: whether nothing is better.
    """

    label: str
    series: int
    baseline: str
    suite: str
    shots: int
    cells: list[Cell]
    leads: bool = False


@dataclass(frozen=True)
class Table:
    """A table of baselines.

    Attributes:
        titles: of the columns behind the label's.
        numeric: which of them hold numbers.
        caption: what all rows share, a sentence or more an item.
    """

    titles: list[str]
    numeric: list[bool]
    rows: list[Row]
    caption: list[str]


def leaderboard_table(block: Block) -> Table:
    """The cells of every line of a block."""
    (shown,) = block_tables(block.frame)
    titles = [str(title) for title in shown.cells.columns if title != "baseline"]
    columns = _columns(block)
    rows = [
        Row(
            line.label + flag(line.values),
            line.series,
            line.row.header["baseline"],
            block.suite,
            block.shots,
            [_cell(block, line, cells[title], columns.get(title)) for title in titles],
            leads(line.values),
        )
        for line, (_, cells) in zip(block.lines, shown.cells.iterrows(), strict=True)
    ]
    return Table(titles, [title in columns for title in titles], rows, list(shown.caption))


def over_table(over: OverSuites) -> Table:
    """The cells of `fewgen leaderboard --pivot suite`."""
    shown = over.pivot.shown
    titles = [str(title) for title in shown.cells.columns if title != "baseline"]
    rows = []
    for place, method in enumerate(over.methods):
        texts = shown.cells.iloc[place]
        found = {title: Cell(texts[title], None) for title in titles}
        for heading, title in over.pivot.titles.items():
            line, block = method.lines.get(heading), over.blocks[heading]
            made = _cell(block, line, texts[title], block.metric) if line else Cell(MISSING, "")
            found[title] = replace(made, leads=(place, title) in shown.bold)
        if OVER in found:
            found[OVER] = Cell(texts[OVER], repr(method.over.iqm) if method.over else "")
        first = method.first
        name = first.row.header["baseline"]
        rows.append(Row(method.label, first.series, name, "", over.shots, list(found.values())))
    numeric = [title == OVER or title in over.pivot.titles.values() for title in titles]
    return Table(titles, numeric, rows, list(shown.caption))


def _columns(block: Block) -> Mapping[str, str]:
    """Titles of columns that hold numbers, to their names."""
    scores = {title: name for name, title in SCORES.items()}
    rank = block.metric_title
    return {**scores, rank: block.metric, f"{rank} to best": "to_best", **NUMBERS}


def _cell(block: Block, line: Line, text: str, column: str | None) -> Cell:
    if column is None:
        return Cell(text, None)
    value = line.told(column)
    is_score = column in line.row.header["signatures"] and value is not None
    return Cell(
        text,
        "" if text == MISSING or value is None else repr(value),
        f"{block.folder}/index.html#line-{line.number}" if is_score else "",
    )
