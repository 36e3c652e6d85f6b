"""What the plans of some run directories ask for and the directories do not hold."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from bench.asked import Place, name_of, plan_of, told
from bench.errors import UserError
from bench.places import places_of
from bench.records import Cell, failed_path, read_json
from bench.registry import load, load_suite
from bench.tables import Row, read_rows

SHOWN = 3  # cells that a line names


class Asked(NamedTuple):
    """A row of a plan's grid."""

    suite: str
    baseline: str
    shots: int


def _asked(directory: Path) -> dict[Asked, list[Cell]]:
    """The cells that a directory's plan asks for, by row; nothing where it names no row."""
    plan = plan_of(directory)
    axes = (plan.get(key) or [] for key in ("suites", "baselines", "shots"))
    return {row: list(_cells(directory, plan, row)) for row in map(Asked._make, product(*axes))}


def _cells(directory: Path, plan: Mapping[str, Any], row: Asked) -> Iterator[Cell]:
    """The cells of a row; whether they have train seeds is told by those that are there."""
    folder = Cell(*row, None, 0).path(directory).parent
    if any(folder.glob("t*-s*.*")):
        trained = True
    else:
        trained = not any(folder.glob("s*.*")) and _trains(row.baseline, bool(plan.get("pretrain")))
    for train_seed in plan["train_seeds"] if trained else [None]:
        for seed in plan["seeds"]:
            yield Cell(*row, train_seed, seed)


def _path(directory: Path, cell: Cell) -> Path:
    return cell.path(directory)


@cache
def _trains(baseline: str, pretrained: bool) -> bool:
    """Whether the cells of a baseline depend on the train seed; of one that is not installed here
    nothing is known."""
    try:
        kind = load("baseline", baseline)
    except UserError:
        return False
    trains = getattr(kind, "trains", None)  # floors have none
    return bool(trains) or (pretrained and trains is not None)


def unfinished(directories: Sequence[Path]) -> list[str]:
    """A line for each row of the directories' plans that lacks cells or whose cells failed; what
    one directory lacks may be in another."""
    wanted: dict[Asked, dict[Place, str]] = {}
    there: set[tuple[Asked, Place]] = set()
    for directory in directories:
        for row, cells in _asked(directory).items():
            for cell in cells:
                place = cell.train_seed, cell.seed
                if cell.path(directory).is_file():
                    there.add((row, place))
                state = "failed" if failed_path(directory, cell).is_file() else "missing"
                wanted.setdefault(row, {}).setdefault(place, state)
    lines = []
    for row, places in wanted.items():
        lacking = {p: state for p, state in places.items() if (row, p) not in there}
        for state in dict.fromkeys(lacking.values()):
            some = [place for place, found in lacking.items() if found == state]
            which = told(some) if len(some) <= SHOWN else f"{len(some)} of {len(places)} cells"
            lines.append(f"{name_of(row._asdict())}: {state}: {which}")
    return lines


def planned_rows(directories: Sequence[Path]) -> list[Row]:
    """The rows of `read_rows`, and one without cells for each that a plan asks for and of which no
    cell has ended.

    Raises:
        UserError: as `read_rows`.
    """
    rows = read_rows(directories)
    started = list(rows)
    for directory in directories:
        plan = plan_of(directory)
        for asked, cells in _asked(directory).items():
            if any(
                c.path(directory).is_file() or failed_path(directory, c).is_file() for c in cells
            ):
                continue
            places = {(cell.train_seed, cell.seed) for cell in cells}
            header = _header(directory, plan, asked, started)
            if header is None:
                continue
            row = next((row for row in rows if _same(row.header, header)), None)
            if row is None:
                rows.append(row := Row(header))
            row.planned |= places
    return rows


def _same(found: Mapping[str, Any], made: Mapping[str, Any]) -> bool:
    """Whether a row is the one that a header is made for: another directory may hold it."""
    keys = ("suite", "baseline", "shots", "dataset", "revision", "split", "options")
    return all(found.get(key) == made.get(key) for key in keys)


def _header(
    directory: Path, plan: Mapping[str, Any], asked: Asked, rows: Sequence[Row]
) -> dict[str, Any] | None:
    """What a row that no cell tells of has in common with those that ran beside it; None where
    none did."""
    kind = _kind(asked.baseline)
    floor = kind is not None and kind.init == "none"
    near = sorted(
        rows,
        key=lambda row: (
            directory in row.directories,
            row.header["suite"] == asked.suite,
            row.header["shots"] == asked.shots,
            (row.header["init"] == "none") == floor,
        ),
    )
    if not near:
        return None
    other = near[-1].header
    keys = "split language signatures primary device dtype threads workers".split()
    run = read_json(directory / "run.json")
    facts = run.get("facts") or {}
    backbone = places_of(run).shown(str(plan.get("backbone", "")))
    header = {
        **asked._asdict(),
        **{key: other.get(key) for key in keys},
        "dataset": other["dataset"],
        "revision": other["revision"],
        "init": kind.init if kind else other["init"],
        "order": kind.order if kind else None,
        "backbone": None if floor else other["backbone"] or backbone,
        "backbone_identity": None if floor else other["backbone_identity"] or facts.get("backbone"),
        "settings": dict(other["settings"]),
        "options": (plan.get("options") or {}).get(asked.baseline, {}),
    }
    if not floor and other["init"] == "none":  # no model has ended beside it
        header["settings"]["decoding"] = plan.get("decoding", "greedy")
    if asked.suite != other["suite"]:
        told = (facts.get("suites") or {}).get(asked.suite, {})
        header |= {key: told.get(key, header[key]) for key in ("dataset", "revision", "language")}
        header |= {"signatures": {}, "primary": _primary(asked.suite, other["primary"])}
    return header


def _kind(baseline: str) -> Any:
    try:
        return load("baseline", baseline)
    except UserError:
        return None


def _primary(suite: str, other: str) -> str:
    try:
        return load_suite(suite).primary
    except UserError:
        return other
