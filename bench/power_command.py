"""`fewgen power`: the size of a comparison, or of the gate, from finished runs."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.markup import escape

from bench.answered import Answered, answered, named, pairs, tasks_there
from bench.cost_tables import _table, console
from bench.errors import UserError
from bench.gate_power import GateSize, Goal, gate_sizes
from bench.power import MOST_TASKS, Noise, Size, limits, noise_of, redrawn, sizes
from bench.records import write_json
from bench.variance import Split, split
from bench.variance_command import about, notes, title

SIZE = ("train seeds", "episodes a task", "tasks", "tasks, 95 % interval")


def comparisons(
    directories: Sequence[Path],
    difference: float,
    power: float,
    level: float,
    metric: str | None,
    baseline: str | None,
    minus: str | None,
    out: Path | None,
) -> None:
    """Sizes at which a difference of two baselines is found, for each pair.

    Raises:
        UserError: no pair, or records that tell nothing of other tasks.
    """
    blocks = answered(directories, metric, lambda line: click.echo(line, err=True))
    made = []
    for one, two in _chosen(blocks, baseline, minus):
        found, noise = _noise(one, two)
        named_sizes = sizes(noise, limits(noise, found), difference, power, level)
        there = tasks_there(directories, one.header["suite"], one.header["shots"])
        _print_sizes(one, two, found, noise, named_sizes, there, (difference, power, level))
        made.append(
            {
                **about(one, two, found),
                "noise": asdict(noise),
                "sizes": [{**asdict(s), "seconds": _seconds([one, two], s)} for s in named_sizes],
            }
        )
    if out:
        goal = {"difference": difference, "power": power, "level": level}
        write_json(out, {**goal, "comparisons": made})


def _chosen(
    blocks: Sequence[Sequence[Answered]], baseline: str | None, minus: str | None
) -> list[tuple[Answered, Answered]]:
    """The named pairs; the best row of a block in place of one that is not named."""
    if baseline and minus:
        return list(pairs(blocks, baseline, minus))
    if minus:
        raise UserError(f"--minus {minus}: of what? add --baseline")
    if baseline:
        named(blocks, baseline)
    made = []
    for block in blocks:
        best = sorted(block, key=lambda row: -float(row.values().scores.mean()))
        ours = [row for row in best if baseline in (None, row.header["baseline"])]
        for one in ours[: None if baseline else 1]:
            others = [row for row in best if row is not one]
            made += [(one, others[0])] if others else []
    if not made:
        raise UserError("no two finished rows stand in one block; run two baselines")
    return made


def _noise(one: Answered, two: Answered) -> tuple[Split, Noise]:
    try:
        found = split(one.minus(two))
        noise = noise_of(found)
        if found.constant:
            raise ValueError(
                f"the difference is {found.value:.2f} in every episode: there is no variance from "
                "which a size follows"
            )
        return found, noise
    except ValueError as error:
        raise UserError(f"{title(one, two)}: {error}; run more --episodes") from None


def _print_sizes(
    one: Answered,
    two: Answered,
    found: Split,
    noise: Noise,
    named_sizes: Sequence[Size],
    there: int | None,
    goal: tuple[float, float, float],
) -> None:
    difference, power, level = goal
    screen = console()
    screen.print(
        f"\n{title(one, two)}: {found.value:.2f} in the records. A true difference of "
        f"{difference:g} is found (p < {level:g}, two-sided) with probability {power:g} at:\n",
        markup=False,
    )
    rows = [
        [*_size(size), f"{size.error:.3f}", f"{size.power:.2f}", _short(_seconds([one, two], size))]
        for size in named_sizes
    ]
    screen.print(_table([*SIZE, "standard error", "power", "seconds"], rows))
    if noise.trained:
        screen.print("With 1 train seed a conclusion holds for that training alone.")
    lines = [
        *_cheapest([one, two], named_sizes, there),
        *notes(found),
        *_limits_told(named_sizes, there),
        _cost([one, two]),
    ]
    for line in lines:
        screen.print(line, markup=False)
    screen.print(
        "Only sizes that save a fifth of the tasks are listed. The interval is that of the "
        "variances in the records."
    )


def _size(size: Size | GateSize) -> list[str]:
    """The columns of `SIZE`."""
    tasks = _count(size.tasks)
    interval = f"[{_count(size.tasks_low)}, {_count(size.tasks_high)}]"
    if size.tasks_low is None:
        interval = "never"  # a bracket before a letter is a style to rich
    return [str(size.train_seeds or "-"), str(size.episodes), tasks, interval]


def _count(tasks: int | None) -> str:
    return "never" if tasks is None else f"{tasks:,}"


def _limits_told(named_sizes: Sequence[Size | GateSize], there: int | None) -> Iterator[str]:
    """What stands in the way of some sizes."""
    if any(size.tasks is None for size in named_sizes):
        yield (
            f"Never: no number of tasks up to {MOST_TASKS:,} is enough, as what train seeds do "
            "stays; the other columns are what so many come to."
        )
    if there and any((size.tasks or 0) > there for size in named_sizes):
        yield f"The suite has {there} tasks: more visits of each must stand for more tasks."


def _seconds(rows: Sequence[Answered], size: Size | GateSize) -> float | None:
    """What a run of these rows would take, cells one after the other."""
    if size.tasks is None:
        return None
    total = 0.0
    for row in rows:
        episode, training = row.seconds()
        seeds = max(size.train_seeds, 1) if row.trained else 1
        total += seeds * (size.tasks * size.episodes * episode + training * row.trained)
    return total


def _cheapest(
    rows: Sequence[Answered], found: Sequence[Size | GateSize], there: int | None
) -> Iterator[str]:
    """The sizes that take least time among those that the suite has tasks for: over train seeds,
    and with one of them."""
    held = [s for s in found if s.tasks and s.tasks <= (there or s.tasks)]
    if not held:
        yield "None of these sizes has so few tasks as the suite."
    for alone in (False, True):
        some = [size for size in held if (size.train_seeds == 1) == alone]
        if not some:
            continue
        best = min(some, key=lambda size: _seconds(rows, size) or 0.0)
        seeds = f"{best.train_seeds} train seed(s), " if best.train_seeds else ""
        yield (
            f"Cheapest{' with one train seed' * alone}: {seeds}{best.tasks} tasks, {best.episodes} "
            f"episode(s) of each, {_short(_seconds(rows, best))} s."
        )


def _short(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:,.0f}"


def _cost(rows: Sequence[Answered]) -> str:
    heads = {(row.header.get("device"), row.header.get("threads")) for row in rows}
    where = "; ".join(
        f"{device}, {threads} thread(s)" for device, threads in sorted(heads, key=str)
    )
    return f"Seconds: training, adaptation and answers as in these records ({where}), one worker."


# -- the gate ------------------------------------------------------------------------------


def gate(directories: Sequence[Path], goal: Goal, metric: str | None, out: Path | None) -> None:
    """The size at which `fewgen compare` decides, over all rows of the records.

    Raises:
        UserError: no row tells what an unchanged head may do.
    """
    blocks = answered(directories, metric, lambda line: click.echo(line, err=True))
    rows = {id(row): row for block in blocks for row in block}
    cells: list[Answered] = []
    noises: list[Noise] = []
    scales: list[tuple[float, float]] = []
    splits: list[Split] = []
    for row in rows.values():
        try:
            found = split(row.values())
            noise = redrawn(found)
        except ValueError as error:
            click.echo(f"left out: {title(row, None)}: {error}", err=True)
            continue
        cells.append(row)
        splits.append(found)
        noises.append(noise)
        scales.append(limits(noise, found))
    if not any(noise.trained for noise in noises):
        raise UserError(
            "no trained row has more than one train seed, so that nothing tells what a harmless "
            "change may do: run with --train-seeds 0,1,2,3"
        )
    found_sizes = gate_sizes(noises, scales, goal)
    _print_gate(cells, noises, found_sizes, goal, directories)
    if left := len(rows) - len(cells):
        click.echo(
            f"The {left} row(s) left out are not among the cells: these sizes do not hold them."
        )
    if out:
        write_json(
            out,
            {
                "goal": asdict(goal),
                "cells": [
                    {**about(row, None, found), "noise": asdict(noise)}
                    for row, found, noise in zip(cells, splits, noises, strict=True)
                ],
                "sizes": [{**asdict(s), "seconds": _seconds(cells, s)} for s in found_sizes],
            },
        )


def _print_gate(
    cells: Sequence[Answered],
    noises: Sequence[Noise],
    found: Sequence[GateSize],
    goal: Goal,
    directories: Sequence[Path],
) -> None:
    screen = console()
    screen.print("Between two trainings of the same row, standard deviations in points:\n")
    heads = ("row", "train seed", "with task", "with draw")
    lines = [
        [escape(title(row, None)), *(f"{v**0.5:.2f}" for v in (n.seed, n.both, n.rest))]
        if n.trained
        else [escape(title(row, None)), *["0"] * 3]
        for row, n in zip(cells, noises, strict=True)
    ]
    screen.print(_table(heads, lines))
    screen.print(
        f"\nThe gate over {len(cells)} cells with a margin of {goal.margin:g}: an unchanged head "
        f"passes with probability {goal.passing:g}, and a loss of {2 * goal.margin:g} in one cell "
        f"is called with {goal.calling:g}, at:\n"
    )
    rows = [
        [
            *_size(size),
            f"{size.error:.3f}",
            f"{size.chances.passing:.2f}",
            f"{size.chances.wrong:.3f}",
            f"{size.chances.calling:.2f}",
            _short(_seconds(cells, size)),
        ]
        for size in found
    ]
    columns = [*SIZE, "largest error", "passes", "wrongly called", "loss called", "seconds a run"]
    screen.print(_table(columns, rows))
    counts = [tasks_there(directories, c.header["suite"], c.header["shots"]) for c in cells]
    there = min((count for count in counts if count), default=None)
    for line in (*_cheapest(cells, found, there), *_limits_told(found, there), _cost(cells)):
        screen.print(line, markup=False)
    screen.print(
        "An unchanged head is taken as if all its trainings were drawn anew, the most that a "
        "harmless change\ndoes; rows that are not trained have no such noise, and rounding is not "
        "measured. Tasks are of each suite."
    )
