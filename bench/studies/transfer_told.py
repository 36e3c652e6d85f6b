"""The cells of a transfer study as a matrix, and as tables."""

from collections.abc import Mapping, Sequence
from itertools import starmap
from typing import TYPE_CHECKING, Any

from bench.shown import bracketed
from bench.statistics import holm
from bench.studies.transfer_cells import (
    ALL_TEXT,
    GIVEN,
    LEFT_OUT,
    NONE,
    Cell,
    Difference,
    Start,
    Suites,
)

if TYPE_CHECKING:
    import pandas as pd

APART, LEAK = "*", "‡"  # an interval without 0; text in common above the threshold
VERDICTS = {1: "gain", -1: "loss", 0: "not shown to differ"}


class Told:
    """The cells of a study in order.

    Attributes:
        cells: all of them.
        suites: measured and trained on.
        methods: in the order of the plan.
        leak: the share of held-out inputs, or of targets, with text in common with training that
            marks a cell.
    """

    def __init__(self, cells: Sequence[Cell], suites: Sequence[str], leak: float) -> None:
        self.cells, self.suites, self.leak = cells, suites, leak
        self.methods = list(dict.fromkeys(cell.method for cell in cells if cell.source))
        self.floor = next(cell.method for cell in cells if not cell.source)
        self._by_place = {(c.method, c.start, c.source, c.target): c for c in cells}

    def find(self, method: str, start: Start, source: Suites, target: str) -> Cell:
        """The cell of that place."""
        return self._by_place[method, start, source, target]

    def others(self, target: str) -> Suites:
        """All suites but one."""
        return tuple(suite for suite in self.suites if suite != target)

    def leaks(self, cell: Cell) -> bool:
        """Whether a cell is marked."""
        return bool(self.leak_of(cell.overlap))

    def leak_of(self, shares: Mapping[str, float] | None) -> str:
        """By which of inputs and targets shares mark a cell, the larger one; empty if by none."""
        if shares is None:
            return ""
        larger = max(("inputs", "targets"), key=lambda kind: shares[kind])
        return larger if shares[larger] > self.leak else ""

    def lines(self, method: str) -> dict[str, list[Cell]]:
        """The matrix of a method from the given backbone: what it was trained on, to a cell for
        each measured suite."""
        sources = {suite: (suite,) for suite in self.suites} | {"all": tuple(self.suites)}
        made = {
            name: [self.find(method, GIVEN, source, target) for target in self.suites]
            for name, source in sources.items()
        }
        if len(self.suites) > 2:
            made["all others"] = self.line(method, GIVEN)
        return made

    def line(self, method: str, start: Start) -> list[Cell]:
        """A cell for each measured suite, trained on all others; the floor on none."""
        return [
            self.find(method, start, NONE if method == self.floor else self.others(target), target)
            for target in self.suites
        ]

    def without_text(self) -> dict[str, list[Cell]]:
        """The floor and each method on backbones that never read the measured suite's text."""
        return {name: self.line(name, LEFT_OUT) for name in [self.floor, *self.methods]}

    def table(self) -> "pd.DataFrame":
        """A line for each cell, with every figure; p-values of each kind of difference are adjusted
        for all of that kind (Holm, 1979), and verdicts are by those."""
        import pandas as pd

        columns = [
            _figures("minus_floor", [cell.over_floor for cell in self.cells]),
            _figures("minus_with_text", [cell.minus_text for cell in self.cells]),
            _figures("own_lead", [cell.own_lead for cell in self.cells]),
        ]
        return pd.DataFrame(starmap(self._line, zip(self.cells, *columns, strict=True)))

    def _line(self, cell: Cell, *differences: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "method": cell.method,
            "backbone": cell.start,
            "trained_on": " + ".join(cell.source),
            "measured_on": cell.target,
            "metric": cell.metric,
            "score": cell.score,
            "score_low": cell.interval.low,
            "score_high": cell.interval.high,
            **{name: value for figures in differences for name, value in figures.items()},
            **{f"overlap_{kind}": share for kind, share in (cell.overlap or {}).items()},
            "leak": self.leaks(cell),
        }

    def shown(self) -> "pd.DataFrame":
        """The matrix as texts: score, and difference to the floor."""
        import pandas as pd

        lines = [self._shown(self.floor, "none", self.line(self.floor, GIVEN))]
        for method in self.methods:
            for name, cells in self.lines(method).items():
                lines.append(self._shown(method, name, cells))
        for start, name in ((ALL_TEXT, "all text"), (LEFT_OUT, "others' text alone")):
            for method in [self.floor, *self.methods]:
                source = "none" if method == self.floor else "all others"
                source += f"; pre-trained on {name}"
                lines.append(self._shown(method, source, self.line(method, start)))
        return pd.DataFrame(lines)

    def _shown(self, method: str, source: str, cells: Sequence[Cell]) -> dict[str, str]:
        texts = dict(zip(self.suites, map(self.text, cells), strict=True))
        return {"method": method, "trained on": source, **texts}

    def text(self, cell: Cell) -> str:
        """Score, difference to the floor, marks."""
        text = bracketed(cell.score, cell.interval.low, cell.interval.high)
        if gain := cell.over_floor:
            low, high = gain.interval.low, gain.interval.high
            text += f"; {bracketed(gain.value, low, high, '+.1f')}{APART * bool(gain.sign)}"
        return text + LEAK * self.leaks(cell)


def _figures(name: str, found: Sequence[Difference | None]) -> list[dict[str, Any]]:
    """Of each cell a kind of difference; nothing where it has none."""
    adjusted = iter(holm([one.p for one in found if one]))
    return [
        {
            name: one and one.value,
            f"{name}_low": one and one.interval.low,
            f"{name}_high": one and one.interval.high,
            f"{name}_p": one and one.p,
            f"{name}_p_holm": (p := next(adjusted) if one else None),
            f"{name}_verdict": VERDICTS[one.shown_by(p)] if one and p is not None else "",
        }
        for one in found
    ]
