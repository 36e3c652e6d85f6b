"""What a run's own plan asks for, and what of it the run does not hold."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.places import places_in
from bench.records import Cell, read_failure, read_json
from bench.tables import Row

Place = tuple[int | None, int]  # train seed and seed


def name_of(header: Mapping[str, Any]) -> str:
    """A row as people read it."""
    return f"{header['suite']} / {header['baseline']} / K = {header['shots']}"


def told(places: list[Place]) -> str:
    """Cells of one row as people read them."""
    return ", ".join(
        f"seed {seed}" if train is None else f"train seed {train} seed {seed}"
        for train, seed in places
    )


def plan_of(directory: Path) -> dict[str, Any]:
    """The plan that a run directory, which `read_rows` takes, was made by.

    Raises:
        UserError: what it asks for cannot be read.
    """
    path = directory / "run.json"
    plan: dict[str, Any] = read_json(path)["plan"]
    for key, kind in {"suites": list, "baselines": list, "shots": list, "episodes": int}.items():
        if not isinstance(plan.get(key, kind()), kind):
            raise UserError(f"{path}: damaged, its plan has {key} = {plan[key]!r}")
    return plan


def asks_for(plan: Mapping[str, Any], header: Mapping[str, Any]) -> bool:
    """Whether a plan asks for the row that a header is of, whatever the data."""
    kinds = {"suites": "suite", "baselines": "baseline", "shots": "shots"}
    return all(header[one] in plan.get(many, []) for many, one in kinds.items())


def failures(directory: Path, row: Row) -> dict[Place, str]:
    """The reason of each cell of a row that a run tried in vain."""
    head = row.header
    cell = Cell(head["suite"], head["baseline"], head["shots"], None, 0)
    found = map(read_failure, cell.path(directory).parent.glob("*.failed.json"))
    places = places_in(directory)
    return {(head["train_seed"], head["seed"]): places.shown(reason) for head, reason in found}


def unfinished(directory: Path, row: Row) -> list[str]:
    """What the run's plan asks for of a row and the run neither holds nor noted as failed, a line
    each: cells, and cells of too few episodes."""
    lacking = row.planned - row.cells.keys() - failures(directory, row).keys()
    lines = [told([place]) for place in sorted(lacking, key=lambda place: (place[0] or 0, place))]
    asked = plan_of(directory).get("episodes", 0)
    return lines + [
        f"{told([place])}: {len(records)} of {asked} episodes"
        for place, records in row.cells.items()
        if len(records) < asked
    ]
