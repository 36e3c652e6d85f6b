"""What the cells of a transfer study tell: table, picture, sentence."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.statistics import Interval, holm
from bench.studies.figures import heat_map, panels
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
    from matplotlib.figure import Figure

APART, LEAK = "*", "†"  # an interval without 0; text in common above the threshold
VERDICTS = {1: "gain", -1: "loss", 0: "not shown to differ"}


class Told:
    """The cells of a study as texts.

    Attributes:
        cells: all of them.
        suites: measured and trained on.
        methods: in the order of the plan.
        leak: the share of held-out inputs with text in common with training that marks a cell.
    """

    def __init__(self, cells: Sequence[Cell], suites: Sequence[str], leak: float) -> None:
        self.cells, self.suites, self.leak = cells, suites, leak
        self.methods = list(dict.fromkeys(cell.method for cell in cells if cell.source))
        self.floor = next(cell.method for cell in cells if not cell.source)
        self._by_place = {(c.method, c.start, c.source, c.target): c for c in cells}

    def find(self, method: str, start: Start, source: Suites, target: str) -> Cell | None:
        """The cell of that place, if it was run."""
        return self._by_place.get((method, start, source, target))

    def others(self, target: str) -> Suites:
        """All suites but one."""
        return tuple(suite for suite in self.suites if suite != target)

    def leaks(self, cell: Cell) -> bool:
        """Whether a cell is marked."""
        return cell.overlap is not None and cell.overlap["inputs"] > self.leak

    def lines(self, method: str) -> dict[str, list[Cell | None]]:
        """The matrix of a method from the given backbone: what it was trained on, to a cell for
        each measured suite."""
        given: dict[str, list[Suites]] = {
            suite: [(suite,)] * len(self.suites) for suite in self.suites
        }
        given["all"] = [tuple(self.suites)] * len(self.suites)
        if len(self.suites) > 2:
            given["all others"] = [self.others(target) for target in self.suites]
        return {
            name: [
                self.find(method, GIVEN, source, target)
                for source, target in zip(sources, self.suites, strict=True)
            ]
            for name, sources in given.items()
        }

    def without_text(self) -> dict[str, list[Cell | None]]:
        """The cells whose backbone never read the target's text: a line for the floor and for each
        method, trained on all others."""
        return {
            name: [
                self.find(name, LEFT_OUT, NONE if name == self.floor else self.others(t), t)
                for t in self.suites
            ]
            for name in [self.floor, *self.methods]
        }

    def table(self) -> "pd.DataFrame":
        """A line for each cell, with every figure."""
        import pandas as pd

        compared = [cell for cell in self.cells if cell.over_floor]
        adjusted = holm([cell.over_floor.p for cell in compared if cell.over_floor])
        of_all = dict(zip(map(id, compared), adjusted, strict=True))
        return pd.DataFrame([self._line(cell, of_all.get(id(cell))) for cell in self.cells])

    def _line(self, cell: Cell, adjusted: float | None) -> dict[str, Any]:
        gain = cell.over_floor
        return {
            "method": cell.method,
            "backbone": cell.start,
            "trained_on": " + ".join(cell.source),
            "measured_on": cell.target,
            "metric": cell.metric,
            "score": cell.score,
            "score_low": cell.interval.low,
            "score_high": cell.interval.high,
            **_figures("minus_floor", gain),
            "p": gain.p if gain else None,
            "p_holm": adjusted,
            "verdict": VERDICTS[gain.sign] if gain else "",
            **_figures("minus_with_text", cell.minus_text),
            **{f"overlap_{kind}": share for kind, share in (cell.overlap or {}).items()},
            "leak": self.leaks(cell),
        }

    def shown(self) -> "pd.DataFrame":
        """The matrix as texts: score, and difference to the floor."""
        import pandas as pd

        lines: list[dict[str, str]] = []
        floors = [self.find(self.floor, GIVEN, NONE, target) for target in self.suites]
        lines.append(self._shown(self.floor, "none", floors))
        for method in self.methods:
            lines += [
                self._shown(method, name, found) for name, found in self.lines(method).items()
            ]
        for start, name in ((ALL_TEXT, "all text"), (LEFT_OUT, "others' text alone")):
            for method in [self.floor, *self.methods]:
                sources = [NONE if method == self.floor else self.others(t) for t in self.suites]
                found = [
                    self.find(method, start, s, t)
                    for s, t in zip(sources, self.suites, strict=True)
                ]
                source = "none" if method == self.floor else "all others"
                lines.append(self._shown(method, f"{source}; pre-trained on {name}", found))
        return pd.DataFrame(lines)

    def _shown(self, method: str, source: str, cells: Iterable[Cell | None]) -> dict[str, str]:
        line = {"method": method, "trained on": source}
        for target, cell in zip(self.suites, cells, strict=True):
            line[target] = self.text(cell) if cell else ""
        return line

    def text(self, cell: Cell) -> str:
        """Score, difference to the floor, marks."""
        text = f"{cell.score:.1f} {_brackets(cell.interval)}"
        if gain := cell.over_floor:
            text += f"; {gain.value:+.1f} {_brackets(gain.interval, '+')}"
            text += APART * bool(gain.sign)
        return text + LEAK * self.leaks(cell)

    def figure(self) -> "Figure":
        """A heat map for each method, and one of what a text left out of pre-training costs."""
        maps: dict[str, tuple[dict[str, list[Cell | None]], str]] = {
            f"{method} minus {self.floor}": (self.lines(method), "over_floor")
            for method in self.methods
        }
        maps["Target's text out of pre-training"] = self.without_text(), "minus_text"
        gains = {title: _gains(lines, of) for title, (lines, of) in maps.items()}
        most = {"over_floor": 0.0, "minus_text": 0.0}  # one scale for all methods
        for title, (_, of) in maps.items():
            sizes = [abs(g.value) for line in gains[title] for g in line if g]
            most[of] = max([most[of], *sizes])
        figure, grid = panels(list(maps))
        for axes, (title, (lines, of)) in zip(grid, maps.items(), strict=True):
            values = [[g.value if g else None for g in line] for line in gains[title]]
            texts = [
                [
                    f"{g.value:+.1f}{APART * bool(g.sign)}" + LEAK * self.leaks(cell)
                    if g and cell
                    else ""
                    for g, cell in zip(line, cells, strict=True)
                ]
                for line, cells in zip(gains[title], lines.values(), strict=True)
            ]
            heat_map(axes, list(lines), self.suites, values, texts, most[of] or 1.0)
            axes.set_xlabel("measured on")
            axes.set_ylabel("trained on" if of == "over_floor" else "")
        return figure


def _gains(lines: Mapping[str, Sequence[Cell | None]], of: str) -> list[list[Difference | None]]:
    """A figure of each cell."""
    return [[getattr(cell, of) if cell else None for cell in line] for line in lines.values()]


def _figures(name: str, found: Difference | None) -> dict[str, float | None]:
    return {
        name: found.value if found else None,
        f"{name}_low": found.interval.low if found else None,
        f"{name}_high": found.interval.high if found else None,
    }


def _brackets(interval: Interval, sign: str = "") -> str:
    return f"[{interval.low:{sign}.1f}, {interval.high:{sign}.1f}]"
