"""Blocks of several suites side by side, each cell with the line of the report behind it."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.across import Aggregate
from bench.pivots import Pivot, pivoted, shared
from bench.report.blocks import Block, Line

TELLING = ("split", "decoding", "backbone", "backbone_identity")  # of tables of one K


@dataclass(frozen=True)
class Method:
    """A baseline over several suites.

    Attributes:
        label: unlike that of any other method of the table.
        lines: its lines by the headings of their columns.
        over: as in `bench.pivots.Method`.
    """

    label: str
    lines: dict[str, Line]
    over: Aggregate | None

    @property
    def first(self) -> Line:
        """Its line in the first suite that has one; those complete in all have unlike ones."""
        return next(iter(self.lines.values()))


@dataclass(frozen=True)
class OverSuites:
    """A table of several suites.

    Attributes:
        number: its place on the page, from 1.
        blocks: by the headings of their columns.
        methods: the rows of the pivot.
    """

    number: int
    title: str
    pivot: Pivot
    blocks: dict[str, Block]
    methods: list[Method]

    @property
    def shots(self) -> int:
        """K, the same in all its blocks."""
        return next(iter(self.blocks.values())).shots


def over_suites(blocks: Sequence[Block]) -> list[OverSuites]:
    """The tables of `fewgen leaderboard --pivot suite` that hold several suites."""
    lines = {id(line.values): (block, line) for block in blocks for line in block.lines}
    pivots = [
        pivot for pivot in pivoted([b.ranked for b in blocks], "suite") if len(pivot.columns) > 1
    ]
    made = []
    for number, (pivot, title) in enumerate(zip(pivots, _titles(pivots), strict=True), 1):
        behind = {
            heading: lines[id(column.lines[0])][0] for heading, column in pivot.columns.items()
        }
        methods = [
            Method(
                method.name,
                {heading: lines[id(values)][1] for heading, values in method.cells.items()},
                method.over,
            )
            for method in pivot.methods
        ]
        made.append(OverSuites(number, title, pivot, behind, methods))
    return made


def _titles(pivots: Sequence[Pivot]) -> list[str]:
    """What a reader calls each table: K, and what tells those of one K apart."""
    told = [shared(pivot) for pivot in pivots]
    titles = [f"Over suites, K = {values['shots']}" for values in told]
    for key in TELLING:
        longer = [
            title if titles.count(title) == 1 else f"{title}, {key} = {values[key]}"
            for title, values in zip(titles, told, strict=True)
        ]
        if len(set(longer)) > len(set(titles)):
            titles = longer
    return titles
