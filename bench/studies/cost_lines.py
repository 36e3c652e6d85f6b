"""The figures of `fewgen study cost`: scores, costs, gains and N of the rows of one block."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bench.costs import own_ms
from bench.errors import UserError
from bench.shown import title
from bench.statistics import (
    Estimate,
    Resampled,
    differences_of,
    of_resamples,
    of_train_seeds,
)
from bench.studies.payback import Curve, Payback, Steps, fewest_steps, own_steps, payback
from bench.studies.step_curves import COUNTED, SECONDS, Measured, estimate_of
from bench.tables import Row

if TYPE_CHECKING:
    from bench.metrics import Metric

Line = dict[str, Any]
FREE, POSITIVE = (-math.inf, math.inf), (0.0, math.inf)
Limits = tuple[float, float]
ALIKE = 1e-9  # of a value: rounding of a mean of equal values


@dataclass(frozen=True)
class Compared:
    """The rows of a block beside their rival.

    Attributes:
        rows: best first, the rival among them.
        rival: has no meta-training.
        margin: points below the rival's final score that count as equal to it in `near`.
        left_out: baselines without costs.
    """

    rows: Sequence[Measured]
    rival: Measured
    margin: float
    left_out: Sequence[str] = ()

    @classmethod
    def of(cls, rows: Sequence[Row], metric: "Metric", rival: str, margin: float) -> "Compared":
        """The finished rows of a block.

        Raises:
            UserError: the rival is not among them, or cannot be one.
        """
        costly = [row for row in rows if "costs" in row.records()[0]]
        measured = [Measured(row, metric) for row in costly]
        found = next((row for row in measured if row.name == rival), None)
        if found is None or found.prepared or not found.steps or found.varies:
            raise UserError(
                f"{rival} is what others are held to: it needs a row with inner steps and without "
                "meta-training in every block"
            )
        left_out = [row.header["baseline"] for row in rows if row not in costly]
        return cls(measured, found, margin, left_out)

    @property
    def place(self) -> str:
        """The suite and the shots."""
        head = self.rival.row.header
        return f"{head['suite']}, K = {head['shots']}"

    @property
    def within(self) -> str:
        """The margin in words."""
        return f"{self.margin:g} point{'' if self.margin == 1 else 's'}"

    @cached_property
    def curves(self) -> dict[tuple[str, str], Curve]:
        """(baseline, unit) to curve, of rows with inner steps whose costs are known."""
        return {
            (row.name, unit): row.curve(unit)
            for row in self.rows
            for unit in COUNTED
            if counted(row, unit) and not row.varies
        }

    @cached_property
    def paybacks(self) -> dict[tuple[str, str], Payback]:
        """(baseline, unit) to N, of meta-trained rows."""
        return self._paybacks(0.0)

    @cached_property
    def near(self) -> dict[tuple[str, str], Payback]:
        """The same to within the margin of the rival's final score."""
        return self._paybacks(self.margin)

    def _paybacks(self, margin: float) -> dict[tuple[str, str], Payback]:
        return {
            (name, unit): payback(
                float(row.training(unit).mean()),
                curve,
                self.curves[self.rival.name, unit],
                margin=margin,
            )
            for row in self.rows
            for (name, unit), curve in self.curves.items()
            if name == row.name
            and row.trained
            and prepared(row, unit)
            and (self.rival.name, unit) in self.curves
        }

    @cached_property
    def bare(self) -> Resampled:
        """The backbone's score without adaptation: the rival's before its first step."""
        return self.rival.score(0)

    @cached_property
    def own_steps(self) -> Steps:
        """The fewest steps with which the rival scores what it does after all."""
        return own_steps(self.curves[self.rival.name, SECONDS])

    def steps_to(self, row: Measured, margin: float = 0.0) -> int | None:
        """The fewest steps with which a row scores as much as the rival, less a margin."""
        curve = self.curves.get((row.name, SECONDS))
        goal = float(self.rival.score().points.mean()) - margin
        return fewest_steps(curve, goal) if curve else None

    def lead(self, row: Measured, steps: int) -> Estimate:
        """Points above the rival after the same scored number of steps."""
        mine, other = row.score(steps), self.rival.score(steps)
        limits = differences_of(row.metric.limits)
        return of_resamples(
            mine.points - other.points, mine.draws - other.draws, mine.units, limits
        )

    def gain(self, row: Measured, unit: str | None = None, tasks: float = math.inf) -> Estimate:
        """Points above the backbone without adaptation; with a unit, per unit of a task's cost with
        its share of a meta-training that so many tasks share."""
        scored = row.score()
        points, draws = scored.points - self.bare.points, scored.draws - self.bare.draws
        limits = differences_of(row.metric.limits)
        if unit:
            limits = FREE
            cost, training = row.cost(unit, row.steps), row.training(unit)
            points = points / (cost.points + training / tasks)
            draws = draws / (cost.draws + training[:, None] / tasks)
        return of_resamples(points, draws, scored.units, limits)


def counted(row: Measured, unit: str) -> bool:
    """Whether the cost of a row's adaptation is known in a unit."""
    flops = (record["costs"]["inner_step_flops"] for record in row.row.records())
    return row.steps > 0 and (unit == SECONDS or None not in flops)


def prepared(row: Measured, unit: str) -> bool:
    """Whether what a row spent before its first task is known in a unit: operations may be
    uncounted, and no second is left where a thread seems to have waited all the time."""
    return row.prepared and bool(row.training(unit).all())


def whole(row: Measured, unit: str) -> bool:
    """Whether all that a row costs is known in a unit."""
    return counted(row, unit) and (prepared(row, unit) or not row.prepared)


def lines_of(block: Compared, shares: Sequence[int]) -> Iterator[Line]:
    """Every figure of a block, a line each."""
    head = block.rival.row.header
    for row in block.rows:
        about = {"suite": head["suite"], "shots": head["shots"], "baseline": row.name}
        lines = [*_scores(row), *_leads(block, row), *_costs(row), *_gains(block, row, shares)]
        lines += _ns(block, row)
        for line in lines + ([_own_steps(block)] if row is block.rival else []):
            yield {**about, **dict.fromkeys(("steps", "tasks")), **line}


def known(found: Estimate) -> Estimate:
    """An estimate without end where values do not vary, which tells nothing of others."""
    alike = found.error <= ALIKE * abs(found.value)
    return Estimate(found.value, math.inf, 1.0) if alike else found


def _timed(figure: Resampled, apart: bool) -> Estimate:
    """Seconds of a task; of shares in a batch's time nothing tells how far tasks differ."""
    found = estimate_of(figure)
    return found if apart else Estimate(found.value, math.inf, 1.0)


def cost_of(row: Measured, unit: str, steps: int) -> Estimate:
    """The mean cost of a task's adaptation with so many steps."""
    return _timed(row.cost(unit, steps), unit != SECONDS or row.timed_apart("adapt"))


def _line(quantity: str, unit: str, found: Estimate, limits: Limits = FREE, **more: Any) -> Line:
    bounds = known(found).interval().within(limits)
    return {
        "quantity": quantity,
        **more,
        "unit": unit,
        "value": found.value,
        "low": bounds.low,
        "high": bounds.high,
    }


def _scores(row: Measured) -> Iterator[Line]:
    for steps in row.knots:
        found = estimate_of(row.score(steps))
        yield _line("score", title(row.metric.name), found, row.metric.limits, steps=steps)


def _leads(block: Compared, row: Measured) -> Iterator[Line]:
    what = f"lead over {block.rival.name}"
    for steps in shared_knots(block, row):
        yield _line(what, title(row.metric.name), block.lead(row, steps), steps=steps)


def shared_knots(block: Compared, row: Measured) -> list[int]:
    """The scored numbers of steps of a row with inner steps that the rival was scored after too;
    none of a row that is no other's."""
    if row is block.rival or not row.steps or row.varies:
        return []
    return [steps for steps in row.knots if steps in block.rival.knots]


def _costs(row: Measured) -> Iterator[Line]:
    for unit in COUNTED:
        for steps in filter(None, row.knots if counted(row, unit) else ()):
            found = cost_of(row, unit, steps)
            yield _line("adaptation of a task", unit, found, POSITIVE, steps=steps)
        if prepared(row, unit):
            what = "meta-training" if row.trained else "choice of options"
            yield _line(what, unit, training_of(row, unit), POSITIVE)
    found = _timed(answers_of(row), row.timed_apart("generate"))
    yield _line("answers of a task", SECONDS, found, POSITIVE)


def training_of(row: Measured, unit: str) -> Estimate:
    """The mean of what was spent before the first task."""
    return of_train_seeds(row.training(unit))


def answers_of(row: Measured) -> Resampled:
    """Device-seconds of a task's answers, prompts included, without what their thread waited."""
    return row.mean(lambda record: own_ms(record["costs"], "generate") / 1e3)


def _gains(block: Compared, row: Measured, shares: Sequence[int]) -> Iterator[Line]:
    name = title(row.metric.name)
    yield _line("gain over no adaptation", name, block.gain(row), steps=row.steps)
    for unit in COUNTED:
        if not counted(row, unit):
            continue
        per = f"{name} per {unit}"
        yield _line("gain per adaptation", per, block.gain(row, unit), steps=row.steps)
        for tasks in shares if prepared(row, unit) else ():
            found = block.gain(row, unit, tasks)
            yield _line("gain per whole cost", per, found, steps=row.steps, tasks=tasks)


def _ns(block: Compared, row: Measured) -> Iterator[Line]:
    kinds = ("N", block.paybacks, 0.0), (near_name(block), block.near, block.margin)
    for quantity, paybacks, margin in kinds:
        for unit in COUNTED:
            if found := paybacks.get((row.name, unit)):
                yield {
                    "quantity": quantity,
                    "unit": f"tasks, by {unit}",
                    "steps": block.steps_to(row, margin),
                    "value": found.tasks,
                    "low": found.low,
                    "high": found.high,
                }


def near_name(block: Compared) -> str:
    """What N to within the margin is called."""
    return f"N within {block.within}"


def _own_steps(block: Compared) -> Line:
    found = block.own_steps
    return {
        "quantity": "fewest steps to the final score",
        "unit": "steps",
        "value": found.value,
        "low": found.low,
        "high": found.high,
    }
