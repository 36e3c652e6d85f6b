"""A block's leaderboard as the report shows it: the cells of `fewgen leaderboard`, with what they
sort by and where they lead."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.publish import block_tables
from bench.report.blocks import Block, Line
from bench.shown import MISSING, SCORES, leads

# Titles of `fewgen leaderboard` to the columns that they sort by; others sort as text.
NUMBERS = {
    "adapt ms": "adapt_ms",
    "step ms": "inner_step_ms",
    "ms / token": "generate_ms_per_token",
    "train s": "train_s",
    "train tokens": "train_tokens",
    "failed": "failed",
}


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        value: what it sorts by, "" for nothing; None where its text does.
        leads: whether it is a score, which leads to the scores of tasks.
    """

    text: str
    value: str | None
    leads: bool


@dataclass(frozen=True)
class Table:
    """A block's leaderboard.

    Attributes:
        titles: of the columns behind the label's.
        numeric: which of them hold numbers.
        rows: lines with their cells, and whether nothing is better.
        caption: what all rows share, a sentence or more an item.
    """

    titles: list[str]
    numeric: list[bool]
    rows: list[tuple[Line, list[Cell], bool]]
    caption: list[str]


def leaderboard_table(block: Block) -> Table:
    """The cells of every line of a block."""
    (shown,) = block_tables(block.frame)
    titles = [str(title) for title in shown.cells.columns if title != "baseline"]
    columns = _columns(block)
    rows = [
        (
            line,
            [_cell(line, cells[title], columns.get(title)) for title in titles],
            leads(line.values),
        )
        for line, (_, cells) in zip(block.lines, shown.cells.iterrows(), strict=True)
    ]
    return Table(titles, [title in columns for title in titles], rows, list(shown.caption))


def _columns(block: Block) -> Mapping[str, str]:
    """Titles of columns that hold numbers, to their names."""
    scores = {title: name for name, title in SCORES.items()}
    rank = block.metric_title
    return {**scores, rank: block.metric, f"{rank} to best": "to_best", **NUMBERS}


def _cell(line: Line, text: str, column: str | None) -> Cell:
    if column is None:
        return Cell(text, None, False)
    value: Any = line.told(column)
    is_score = column in line.row.header["signatures"] and value is not None
    return Cell(text, "" if text == MISSING or value is None else repr(value), is_score)
