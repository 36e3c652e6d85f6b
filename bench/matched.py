"""Two run directories cell by cell: what both hold, what one lacks, and how they differ."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from bench.asked import Place, asks_for, failures, name_of, plan_of, told, unfinished
from bench.errors import UserError
from bench.gate import UNKNOWN, Loss
from bench.places import places_of
from bench.plan import FREE, differences
from bench.records import read_json
from bench.statistics import TIE, Estimate
from bench.tables import Row, entries, metrics, read_rows

FACTS = ("plan", "facts", "packages", "hardware", "git")  # of run.json
NAMED = 3  # reasons in an error message
DIGEST = re.compile(r"(facts\.\S+): '[0-9a-f]{32,}\S*' -> '[0-9a-f]{32,}\S*'")
SHOWN = 120  # characters of a difference


class Key(NamedTuple):
    """What two runs' rows must share to be one cell of a comparison."""

    suite: str
    dataset: str
    revision: str
    split: str
    baseline: str
    shots: int
    primary: str
    signature: str | None

    @property
    def name(self) -> str:
        """The row as people read it."""
        return name_of(self._asdict())


@dataclass(frozen=True)
class Pair:
    """A row of both runs, over what both finished of it.

    Attributes:
        base: the score of the base on the primary metric, 0 to 100.
        head: that of the head; not a number where it finished nothing of what base did.
        loss: base - head, in points.
        changed: tasks in which the two differ.
        episodes: how many are compared, over train seeds and seeds.
        train_seeds: how many; 0 of a row that is not trained.
    """

    name: str
    metric: str
    base: float
    head: float
    loss: Loss
    changed: int
    episodes: int
    train_seeds: int


@dataclass
class Match:
    """What two run directories have to say about each other.

    Attributes:
        failed: rows that the base finished and the head tried in vain, with the head's reason.
        unfinished: what the head's own plan asks for and the head lacks, a line each.
        left_out: what only one of them holds, a line each.
        differences: of plans, code, packages and hardware, a line each.
        notes: what else to know, a line each.
    """

    pairs: list[Pair] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _key(row: Row) -> Key:
    shared = {name: row.header[name] for name in Key._fields if name != "signature"}
    return Key(**shared, signature=row.header["signatures"].get(row.header["primary"]))


def rows_of(directory: Path) -> dict[Key, Row]:
    """The rows of a run directory.

    Raises:
        UserError: it is none, holds no finished or failed cell, a damaged one, or two rows that
            differ in their options alone.
    """
    if not directory.is_dir():
        what = "it is no directory; a run directory is needed"
        raise UserError(f"{directory}: {what if directory.exists() else 'no such run directory'}")
    found: dict[Key, Row] = {}
    for row in read_rows([directory]):
        if found.setdefault(_key(row), row) is not row:
            raise UserError(
                f"{directory}: two rows of {name_of(row.header)}; name a run of one plan"
            )
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
    there = {name_of(row.header) for row in heads.values()}
    for key, row in bases.items():
        if key in heads:
            _join(found, (row, base), (heads[key], head), margin, seed)
        elif row.cells and key.name not in there and asks_for(plan_of(head), row.header):
            found.unfinished.append(key.name)
            found.pairs.append(_without_head(row, margin))
        else:
            found.left_out.append(f"only in base: {_described_row(row)}")
    found.left_out += [
        f"only in head: {_described_row(row)}" for key, row in heads.items() if key not in bases
    ]
    if not any(pair.episodes for pair in found.pairs):
        lines = [f"{name} failed in head: {why}" for name, why in found.failed.items()]
        lines += [f"not finished in head: {line}" for line in found.unfinished]
        plans = [f"differs: {line}" for line in found.differences if line.startswith("plan.")]
        told = [*lines, *plans, *found.left_out, *found.notes]
        hint = "; ".join(told[:NAMED]) or "none is finished"
        raise UserError(f"{base} and {head} share no finished cell ({hint})")
    found.notes += _conditional(found.pairs)
    return found


def _conditional(pairs: Sequence[Pair]) -> list[str]:
    """A line on the trained rows that differ and have one train seed."""
    once = [pair.name for pair in pairs if pair.train_seeds == 1 and pair.changed]
    if not once:
        return []
    return [
        f"one train seed of {', '.join(once)}: the bounds are conditional on that training; what "
        "another training would do is not in them (`fewgen power --margin` tells how many it takes)"
    ]


def _described_row(row: Row) -> str:
    head = row.header
    where = f"{head['dataset']}, revision {head['revision']}, {head['split']}"
    return f"{name_of(head)} ({where}, {head['primary']})"


def _join(
    found: Match, base: tuple[Row, Path], head: tuple[Row, Path], margin: float, seed: int
) -> None:
    """Adds a row that both runs hold, given with their directories."""
    (ours, base_directory), (theirs, head_directory) = base, head
    name = name_of(ours.header)
    vain = failures(base_directory, ours), failures(head_directory, theirs)
    _tell_alone(found, name, (ours, theirs), vain)
    lacking = unfinished(head_directory, theirs) if ours.cells else []
    found.unfinished += [f"{name}: {line}" for line in lacking]
    left, right = _shared(found, name, ours, theirs)
    if left.cells:
        found.pairs.append(_pair(name, left, right, margin, seed, complete=not lacking))
    elif lacking:
        found.pairs.append(_without_head(ours, margin))


def _tell_alone(
    found: Match,
    name: str,
    rows: tuple[Row, Row],
    vain: tuple[Mapping[Place, str], Mapping[Place, str]],
) -> None:
    """Adds a line for what one side alone finished and for what failed.

    Args:
        rows: of base and head.
        vain: by place, the reasons of what failed in base and in head.
    """
    (base, head), (base_vain, head_vain) = rows, vain
    lost = [place for place in base.cells if place not in head.cells]
    if failed := [place for place in lost if place in head_vain]:
        found.failed[name] = head_vain[failed[0]]
    if unasked := [p for p in lost if p not in head_vain and p not in head.planned]:
        found.left_out.append(f"only in base: {name}: {told(unasked)}")
    more = [place for place in head.cells if place not in base.cells]
    for place in more:
        why = f" (failed in base: {base_vain[place]})" if place in base_vain else ""
        found.left_out.append(f"only in head: {name}: {told([place])}{why}")
    for place, reason in head_vain.items():
        where = f"{name}: {told([place])}"
        if place in base_vain:
            found.notes.append(f"failed in base and head: {where}: {reason}")
        elif place not in base.cells:
            found.left_out.append(f"only in head: {where} (failed there: {reason})")


def _shared(found: Match, name: str, base: Row, head: Row) -> tuple[Row, Row]:
    """Both rows, cut to the episodes that are in both."""
    both = [place for place in base.cells if place in head.cells]
    ours, theirs = ({place: _by_index(row, place) for place in both} for row in (base, head))
    for place in both:
        _check_digests(name, place, ours[place], theirs[place], found.differences)
        if lone := ours[place].keys() ^ theirs[place].keys():
            found.left_out.append(f"{name}: {told([place])}: {len(lone)} episode(s) of one run")
    kept = {place: sorted(ours[place].keys() & theirs[place].keys()) for place in both}
    kept = {place: indices for place, indices in kept.items() if indices}
    left, right = (
        replace(row, cells={place: [held[place][i] for i in kept[place]] for place in kept})
        for row, held in ((base, ours), (head, theirs))
    )
    return left, right


def _by_index(row: Row, place: Place) -> dict[int, dict[str, Any]]:
    return {record["index"]: record for record in row.cells[place]}


def _check_digests(
    name: str,
    place: Place,
    base: Mapping[int, Mapping[str, Any]],
    head: Mapping[int, Mapping[str, Any]],
    differences: Sequence[str],
) -> None:
    for index in sorted(base.keys() & head.keys()):
        if base[index]["digest"] != head[index]["digest"]:
            raise UserError(
                f"{name}, {told([place])}, episode {index}: base and head were asked other "
                f"questions, so nothing can be compared; {_why(differences)}"
            )


def _why(differences: Sequence[str]) -> str:
    """What may have changed the episodes: plan keys, else whatever differs."""
    plans = [line for line in differences if line.startswith("plan.")]
    if plans:
        return f"the plans differ in {'; '.join(line.removeprefix('plan.') for line in plans)}"
    if differences:
        return f"the plans are alike, but not {'; '.join(differences[:NAMED])}"
    return "plans, code and packages are alike: the data changed without a new revision"


def _pair(name: str, base: Row, head: Row, margin: float, seed: int, complete: bool = True) -> Pair:
    from bench.statistics import corpus_score, difference, differences_of

    metric = next(m for m in metrics(base) if m.name == base.header["primary"])
    old, new = entries(base, metric.name), entries(head, metric.name)
    changed = {a.task for a, b in zip(old, new, strict=True) if (a.sums != b.sums).any()}
    before, after = corpus_score(old, metric), corpus_score(new, metric)
    if not changed:
        estimate = TIE
    elif len({entry.task for entry in old}) < 2:  # one task tells of no spread over tasks
        limits = differences_of(metric.limits)
        estimate = Estimate(before - after, math.inf, 1.0, limits=limits)
    else:
        estimate = difference(old, new, metric, seed=seed)
    loss = Loss(estimate, margin, identical=not changed, complete=complete)
    trained = {train for train, _ in base.cells if train is not None}
    return Pair(name, metric.name, before, after, loss, len(changed), len(old), len(trained))


def _without_head(base: Row, margin: float) -> Pair:
    """A row of which the head, though asked for it, holds nothing that the base does."""
    from bench.statistics import corpus_score

    metric = next(m for m in metrics(base) if m.name == base.header["primary"])
    score = corpus_score(entries(base, metric.name), metric)
    loss = Loss(UNKNOWN, margin, complete=False)
    return Pair(name_of(base.header), metric.name, score, math.nan, loss, 0, 0, 0)


def _differences(base: Path, head: Path) -> list[str]:
    """How two runs' `run.json` differ, long lines cut."""
    old, new = (_described(directory) for directory in (base, head))
    lines = [DIGEST.sub(r"\1 differs", line) for line in differences(old, new)]
    return [line if len(line) <= SHOWN else f"{line[: SHOWN - 3]}..." for line in lines]


def _described(directory: Path) -> dict[str, Any]:
    run = read_json(directory / "run.json")
    kept = {key: run[key] for key in FACTS if isinstance(run.get(key), dict)}
    kept["plan"] = {key: value for key, value in run["plan"].items() if key not in FREE}
    shown: dict[str, Any] = places_of(run).shown(kept)
    return shown
