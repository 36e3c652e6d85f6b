"""The cells of a transfer study: what a method that was trained on some suites does on another."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.ranks import ALPHA
from bench.statistics import Estimate, Interval, difference, estimate
from bench.tables import Row, entries, metrics

if TYPE_CHECKING:
    from bench.metrics import Metric
    from bench.overlap import Overlap

Suites = tuple[str, ...]
Start = Literal["given", "all text", "text left out"]
# Given: the plan's backbone. Else pre-trained with one budget, on all suites or on those of
# meta-training alone.
GIVEN: Start = "given"
ALL_TEXT: Start = "all text"
LEFT_OUT: Start = "text left out"
NONE: Suites = ()  # of a row that was not meta-trained


@dataclass(frozen=True)
class Difference:
    """A paired difference of two rows in points."""

    value: float
    interval: Interval
    p: float

    @classmethod
    def of(cls, found: Estimate) -> "Difference":
        """With its 95 % interval."""
        return cls(found.value, found.interval(), found.p())

    @property
    def sign(self) -> int:
        """1 or -1 where the interval lies on one side of 0, else 0."""
        return (self.interval.low > 0) - (self.interval.high < 0)

    def shown_by(self, p: float) -> int:
        """1 or -1 where an adjusted p-value shows it, else 0."""
        return ((self.value > 0) - (self.value < 0)) * (p < ALPHA)


@dataclass(frozen=True)
class Cell:
    """One method on one suite.

    Attributes:
        start: the backbone that it starts from.
        source: the suites of its meta-training; none of the floor.
        target: the suite that is measured.
        over_floor: the difference to the floor from the same backbone; None of the floor itself.
        minus_text: of cells whose backbone never read the target's text: the difference to the cell
            whose backbone has read it.
        own_lead: of cells trained on one other suite alone, from the given backbone: how far the
            cell trained on the target's own suite is ahead of it.
        overlap: of the target's held-out text with the text of meta-training.
    """

    method: str
    start: Start
    source: Suites
    target: str
    metric: str
    score: float
    interval: Interval
    over_floor: Difference | None = None
    minus_text: Difference | None = None
    own_lead: Difference | None = None
    overlap: Mapping[str, float] | None = None

    @property
    def own(self) -> bool:
        """Whether it was meta-trained on the suite that is measured, and on no other."""
        return self.source == (self.target,)


class Cells:
    """Rows of a study's runs by method, start, source and target.

    Attributes:
        suites: measured and trained on, in the order of the plan.
        floor: the name of the baseline without meta-training.
    """

    def __init__(self, rows: Iterable[Row], suites: Sequence[str], floor: str) -> None:
        self.suites, self.floor = suites, floor
        self._rows = {self._key(row): row for row in rows}

    def _key(self, row: Row) -> tuple[str, Start, Suites, str]:
        head, settings = row.header, row.header["settings"]
        source = NONE if head["baseline"] == self.floor else tuple(settings["train_suites"])
        anew = settings["pretrain"]
        start = GIVEN if not anew else ALL_TEXT if "suites" in anew else LEFT_OUT
        return head["baseline"], start, source, head["suite"]

    def made(self, overlaps: Mapping[tuple[str, str], "Overlap"]) -> list[Cell]:
        """All cells with what is compared.

        Args:
            overlaps: of (suite of meta-training, measured suite).
        """
        return [self._cell(key, overlaps) for key in self._rows]

    def _cell(
        self,
        key: tuple[str, Start, Suites, str],
        overlaps: Mapping[tuple[str, str], "Overlap"],
    ) -> Cell:
        method, start, source, target = key
        row = self._rows[key]
        scorer = _scorer(row)
        found = estimate(entries(row, scorer.name), scorer)
        shared = [overlaps[suite, target] for suite in source]
        other = start == GIVEN and len(source) == 1 and source != (target,)
        return Cell(
            *key,
            metric=scorer.name,
            score=found.value,
            interval=found.interval(),
            over_floor=self.minus(key, (self.floor, start, NONE, target)) if source else None,
            minus_text=(
                self.minus(key, (method, ALL_TEXT, source, target)) if start == LEFT_OUT else None
            ),
            own_lead=self.minus((method, GIVEN, (target,), target), key) if other else None,
            overlap=any_of(shared).share() if shared else None,
        )

    def minus(
        self, one: tuple[str, Start, Suites, str], other: tuple[str, Start, Suites, str]
    ) -> Difference:
        """The difference of two rows on the same episodes."""
        rows = self._rows[one], self._rows[other]
        scorer = _scorer(rows[0])
        a, b = (entries(row, scorer.name) for row in rows)
        return Difference.of(difference(a, b, scorer))


def any_of(overlaps: Sequence["Overlap"]) -> "Overlap":
    """The overlap with any of several training texts."""
    found = overlaps[0]
    for other in overlaps[1:]:
        found = found | other
    return found


def _scorer(row: Row) -> "Metric":
    """The suite's primary metric."""
    return next(metric for metric in metrics(row) if metric.name == row.header["primary"])
