"""The tables of `fewgen study cost`, as texts: a line for each suite and method."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench.shown import MISSING, bracketed, title
from bench.statistics import Estimate
from bench.studies.cost_lines import (
    FREE,
    POSITIVE,
    Compared,
    Limits,
    cost_of,
    counted,
    known,
    prepared,
    shared_knots,
    training_of,
    whole,
)
from bench.studies.payback import Payback
from bench.studies.step_curves import COUNTED, FLOPS, SECONDS, Measured, estimate_of

if TYPE_CHECKING:
    import pandas as pd

SHARED = 100  # tasks that share a meta-training, in what the page shows


def shown_of(block: Compared) -> "pd.DataFrame":
    """What the page shows of a block."""
    import pandas as pd

    return pd.DataFrame([_cells(block, row) for row in block.rows])


def _cells(block: Compared, row: Measured) -> Mapping[str, str]:
    def gained(unit: str, tasks: float) -> str:
        priced = counted(row, unit) if math.isinf(tasks) else whole(row, unit)
        return _told(block.gain(row, unit, tasks)) if priced else MISSING

    def spent(unit: str) -> str:
        priced = counted(row, unit)
        return _told(cost_of(row, unit, row.steps), POSITIVE) if priced else MISSING

    def training(unit: str) -> str:
        return _told(training_of(row, unit), POSITIVE) if prepared(row, unit) else MISSING

    usual = block.steps_to(row)
    return {
        **_place(block, row),
        "score": f"{title(row.metric.name)} {_told(estimate_of(row.score()), row.metric.limits)}",
        "s a task": spent(SECONDS),
        "GFLOP a task": spent(FLOPS),
        **{f"training {u}": training(u) for u in COUNTED},
        "points per s": gained(SECONDS, math.inf),
        "points per GFLOP": gained(FLOPS, math.inf),
        f"points per s, {SHARED} tasks": gained(SECONDS, SHARED),
        f"points per GFLOP, {SHARED} tasks": gained(FLOPS, SHARED),
        "steps to equal": MISSING if usual is None else f"{usual} of {row.steps}",
        **{f"N by {u}": told_n(block.paybacks.get((row.name, u))) for u in COUNTED},
    }


def near_of(block: Compared) -> "pd.DataFrame":
    """N to within the margin, of meta-trained rows."""
    import pandas as pd

    lines = []
    for row in block.rows:
        found = {f"N by {unit}": block.near.get((row.name, unit)) for unit in COUNTED}
        if any(found.values()):
            steps = [block.steps_to(one, block.margin) for one in (row, block.rival)]
            told = [MISSING if s is None else str(s) for s in steps]
            own = {"steps": told[0], f"steps of {block.rival.name}": told[1]}
            ns = {name: told_n(n) for name, n in found.items()}
            lines.append({**_place(block, row), **own, **ns})
    return pd.DataFrame(lines)


def leads_of(block: Compared) -> "pd.DataFrame":
    """Points above the rival after the same number of steps, and the rates that both step at."""
    import pandas as pd

    lines = []
    for row in block.rows:
        if knots := shared_knots(block, row):
            rates = {f"rate of {block.rival.name}": _rate(block.rival), "rate": _rate(row)}
            leads = {f"after {steps}": _signed(block.lead(row, steps)) for steps in knots}
            lines.append({**_place(block, row), **rates, **leads})
    return pd.DataFrame(lines)


def _place(block: Compared, row: Measured) -> dict[str, str]:
    head = block.rival.row.header
    return {"suite": str(head["suite"]), "K": str(head["shots"]), "baseline": row.name}


def _rate(row: Measured) -> str:
    found = row.row.header["options"].get("inner_rate")
    return MISSING if found is None else f"{found:g}"


def _signed(found: Estimate) -> str:
    bounds = known(found).interval()
    if math.isinf(bounds.high):
        return f"{found.value:+.1f}"
    return bracketed(found.value, bounds.low, bounds.high, "+.1f")


def _told(found: Estimate, limits: Limits = FREE) -> str:
    """A figure of three digits with its interval; without one where nothing tells it."""
    if math.isinf(known(found).error):
        return format(found.value, digits(found.value))
    bounds = found.interval().within(limits)
    largest = found.value or max(-bounds.low, bounds.high)
    return bracketed(found.value, bounds.low, bounds.high, digits(largest))


def digits(value: float) -> str:
    """The format of three digits of a number."""
    places = max(2 - math.floor(math.log10(abs(value))), 0) if value else 0
    return f",.{min(places, 4)}f"


def told_n(found: Payback | None) -> str:
    """N with its interval; infinite is never."""
    if found is None:
        return MISSING
    value, low, high = (count(n) for n in (found.tasks, found.low, found.high))
    return value if low == high else f"{value} [{low}, {high}]"


def count(tasks: float) -> str:
    """A number of tasks."""
    return "never" if math.isinf(tasks) else f"{tasks:,.0f}"
