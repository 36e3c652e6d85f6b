"""Rows of a leaderboard as exports tell them: scores with error and interval, names of models."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.exports.runs import Run
from bench.places import Places
from bench.tables import Row, entries, metrics
from bench.unfinished import planned_rows
from bench.without_texts import without_texts

LEVEL = 0.95
UNKNOWN = "unknown"
UNIT = "resampled by task, crossed with train seeds"


@dataclass(frozen=True)
class Score:
    """A corpus score, 0 to 100; error and interval are None where nothing tells them."""

    value: float
    error: float | None
    low: float | None
    high: float | None


def scores(row: Row) -> dict[str, Score]:
    """Metric to score; values and intervals are those of the leaderboard."""
    from bench.statistics import estimate

    found = {}
    for metric in metrics(row):
        made = estimate(entries(row, metric.name), metric)
        bounds = made.interval(LEVEL)
        numbers = (n if math.isfinite(n) else None for n in (made.error, bounds.low, bounds.high))
        found[metric.name] = Score(made.value, *numbers)
    return found


def complete_rows(directories: Sequence[Path], texts: bool = True) -> tuple[list[Row], list[str]]:
    """The rows all of whose cells are finished, and a line for each other one.

    Args:
        directories: written by `run`.
        texts: whether rows keep theirs; else as `bench.without_texts` says.

    Raises:
        UserError: no row is finished, or the directories cannot be read.
    """
    rows = planned_rows(directories)
    notes = [
        f"left out: {title(row)}: {len(row.planned - set(row.cells))} cell(s) not finished"
        for row in rows
        if not row.complete
    ]
    kept = [row for row in (rows if texts else without_texts(rows)) if row.complete]
    if not kept:
        raise UserError(
            f"no row of {', '.join(map(str, directories))} has all its cells; give the same "
            "`fewgen run` again to finish them"
        )
    return kept, notes


def title(row: Row) -> str:
    """`suite / baseline / K = shots`."""
    head = row.header
    return f"{head['suite']} / {head['baseline']} / K = {head['shots']}"


def developer_of(run: Run, given: str | None = None) -> str:
    """Who made a row's model: who is given, else the owner of the backbone on the hub."""
    owner, _, _ = (run.places.hub_id("backbone") or UNKNOWN).partition("/")
    return given or owner


def part_of_id(text: str) -> str:
    """A text as a part of an id of the hub, or as a folder."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")


def model_name(header: Mapping[str, Any]) -> str:
    """A name for backbone and method that may be a folder: `tiny-maml`, `copy`."""
    parts = [header["backbone"], header["baseline"]]
    name = "-".join(str(part) for part in parts if part)
    return part_of_id(name) or "model"


def queries(row: Row) -> int:
    """How many answers the row's scores are made of, over all train seeds."""
    from bench.exports.slim import queries_of

    return sum(queries_of(record) for record in row.records())


def setting_texts(header: Mapping[str, Any], places: Places) -> dict[str, str]:
    """Options and settings that are set, as texts without the run's local paths."""
    options = places.shown(header["options"])
    told = {**header["settings"], **{f"option.{k}": v for k, v in options.items()}}
    return {key: str(value) for key, value in told.items() if value not in (None, [], {})}
