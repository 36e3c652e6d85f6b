"""Two run directories cell by cell: what both hold, what one lacks, and how they differ."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.gate import SAME, Loss
from bench.plan import differences
from bench.records import read_json
from bench.statistics import Estimate
from bench.tables import Row, entries, metrics, read_rows

FREE = ("out", "workers")  # plan keys that change no result
FACTS = ("plan", "facts", "packages", "hardware", "git")  # of run.json
SHOWN = 120  # characters of a difference

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Pair:
    """A row of both runs, over what both finished of it.

    Attributes:
        base: the score of the base on the primary metric, 0 to 100.
        head: that of the head.
        loss: base - head, in points.
        changed: tasks in which the two differ.
        episodes: how many are compared, over train seeds and seeds.
    """

    name: str
    metric: str
    base: float
    head: float
    loss: Loss
    changed: int
    episodes: int


@dataclass
class Match:
    """What two run directories have to say about each other.

    Attributes:
        failed: rows that the base finished and the head tried in vain, with the head's reason.
        left_out: what only one of them holds, a line each.
        differences: of plans, code, packages and hardware, a line each.
    """

    pairs: list[Pair] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


def name_of(row: Row) -> str:
    """A row as people read it."""
    head = row.header
    return f"{head['suite']} / {head['baseline']} / K = {head['shots']}"


def _key(row: Row) -> Key:
    """What two runs' rows must share to be one cell of a comparison."""
    head = row.header
    same = ("suite", "dataset", "revision", "split", "baseline", "shots", "primary")
    return (*(head[key] for key in same), head["signatures"].get(head["primary"]))


def rows_of(directory: Path) -> dict[Key, Row]:
    """The rows of a run directory.

    Raises:
        UserError: it is none, holds no finished or failed cell, a damaged one, or two rows that
            differ in their options alone.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: no such run directory")
    found: dict[Key, Row] = {}
    for row in read_rows([directory]):
        if found.setdefault(_key(row), row) is not row:
            raise UserError(f"{directory}: two rows of {name_of(row)}; name a run of one plan")
    if not found:
        raise UserError(f"{directory}: an empty run; no cell of it is finished")
    return found


def match(base: Path, head: Path, margin: float, seed: int = 0) -> Match:
    """The cells of two run directories that can be compared, with their losses of quality.

    Args:
        base: a run directory.
        head: another.
        margin: in points of the primary metric.
        seed: of the resampling.

    Raises:
        UserError: a directory is no run, empty or damaged; two episodes that should be the same
            differ; or no finished cell is in both.
    """
    bases, heads = rows_of(base), rows_of(head)
    found = Match(differences=_differences(base, head))
    for key, row in bases.items():
        if key in heads:
            _join(found, row, heads[key], margin, seed)
        else:
            found.left_out.append(f"only in base: {_told(row)}")
    found.left_out += [f"only in head: {_told(heads[key])}" for key in heads if key not in bases]
    if not found.pairs:
        told = [f"{name} failed in head: {why}" for name, why in found.failed.items()]
        hint = "; ".join([*told, *found.left_out][:3]) or "none is finished"
        raise UserError(f"{base} and {head} share no finished cell ({hint})")
    return found


def _told(row: Row) -> str:
    head = row.header
    where = f"{head['dataset']}, revision {head['revision']}, {head['split']}"
    return f"{name_of(row)} ({where}, {head['primary']})"


def _join(found: Match, base: Row, head: Row, margin: float, seed: int) -> None:
    name = name_of(base)
    lost = [place for place in base.cells if place not in head.cells]
    if lost and head.failures:
        found.failed[name] = head.failures[0]
    elif lost:
        found.left_out.append(f"only in base: {name}: {_places(lost)}")
    if more := [place for place in head.cells if place not in base.cells]:
        why = f" (failed in base: {base.failures[0]})" if base.failures else ""
        found.left_out.append(f"only in head: {name}: {_places(more)}{why}")
    both = [place for place in base.cells if place in head.cells]
    ours, theirs = ({place: _by_index(row, place) for place in both} for row in (base, head))
    for place in both:
        _check_digests(name, place, ours[place], theirs[place])
        if lone := ours[place].keys() ^ theirs[place].keys():
            found.left_out.append(f"{name}: {_places([place])}: {len(lone)} episode(s) of one run")
    kept = {place: sorted(ours[place].keys() & theirs[place].keys()) for place in both}
    kept = {place: indices for place, indices in kept.items() if indices}
    if kept:
        left, right = (
            replace(row, cells={place: [held[place][i] for i in kept[place]] for place in kept})
            for row, held in ((base, ours), (head, theirs))
        )
        found.pairs.append(_pair(name, left, right, margin, seed))


def _by_index(row: Row, place: tuple[int | None, int]) -> dict[int, dict[str, Any]]:
    return {record["index"]: record for record in row.cells[place]}


def _places(places: list[tuple[int | None, int]]) -> str:
    return ", ".join(
        f"seed {seed}" if train is None else f"train seed {train} seed {seed}"
        for train, seed in places
    )


def _check_digests(
    name: str,
    place: tuple[int | None, int],
    base: Mapping[int, Mapping[str, Any]],
    head: Mapping[int, Mapping[str, Any]],
) -> None:
    for index in sorted(base.keys() & head.keys()):
        old, new = base[index]["digest"], head[index]["digest"]
        if old != new:
            raise UserError(
                f"{name}, {_places([place])}, episode {index}: its digest is {old[:12]} in base "
                f"and {new[:12]} in head; the episodes differ, so nothing can be compared"
            )


def _pair(name: str, base: Row, head: Row, margin: float, seed: int) -> Pair:
    from bench.statistics import corpus_score, difference

    metric = next(m for m in metrics(base) if m.name == base.header["primary"])
    old, new = entries(base, metric.name), entries(head, metric.name)
    changed = {a.task for a, b in zip(old, new, strict=True) if (a.sums != b.sums).any()}
    before, after = corpus_score(old, metric), corpus_score(new, metric)
    if not changed:
        estimate = SAME
    elif len({entry.task for entry in old}) < 2:  # one task tells of no spread over tasks
        estimate = Estimate(before - after, math.inf, 1.0)
    else:
        estimate = difference(old, new, metric, seed=seed)
    loss = Loss(estimate, margin, identical=not changed)
    return Pair(name, metric.name, before, after, loss, len(changed), len(old))


def _differences(base: Path, head: Path) -> list[str]:
    """How two runs' `run.json` differ, long lines cut."""
    old, new = (_described(directory) for directory in (base, head))
    return [
        line if len(line) <= SHOWN else f"{line[: SHOWN - 3]}..." for line in differences(old, new)
    ]


def _described(directory: Path) -> dict[str, Any]:
    run = read_json(directory / "run.json")
    kept = {key: run[key] for key in FACTS if isinstance(run.get(key), dict)}
    kept["plan"] = {key: value for key, value in run["plan"].items() if key not in FREE}
    return kept
