"""`fewgen variance`: what makes a score, or a difference of two baselines, vary."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from bench.answered import Answered, answered, named, pairs
from bench.cost_tables import _table, console
from bench.errors import UserError
from bench.records import write_json
from bench.variance import Component, Split, Values, split

HEADS = ("component", "standard deviation", "95 % interval", "share")


def variance(
    directories: Sequence[Path],
    metric: str | None,
    baseline: str | None,
    minus: str | None,
    out: Path | None,
) -> None:
    """Prints a table for each row, or for each paired difference, and writes them as JSON.

    Raises:
        UserError: nothing to split, or a baseline that is not there.
    """
    if minus and not baseline:
        raise UserError(f"--minus {minus}: of what? add --baseline")
    blocks = answered(directories, metric, lambda line: click.echo(line, err=True))
    found = []
    for one, two in chosen(blocks, baseline, minus):
        values = one.minus(two) if two else one.values()
        try:
            found.append((one, two, split(values)))
        except ValueError as error:
            click.echo(f"left out: {title(one, two)}: {error}", err=True)
        else:
            _print(one, two, found[-1][2], values)
    if not found:
        raise UserError("nothing could be split; run more episodes: --episodes, --seeds")
    if out:
        write_json(out, [{**about(o, t, s), "components": _listed(s)} for o, t, s in found])


def chosen(
    blocks: Sequence[Sequence[Answered]], baseline: str | None, minus: str | None
) -> list[tuple[Answered, Answered | None]]:
    """The rows that are asked for, with what is taken from each; every row once."""
    if baseline and minus:
        return list(pairs(blocks, baseline, minus))
    if baseline:
        named(blocks, baseline)
    rows = {id(row): row for block in blocks for row in block}
    return [(r, None) for r in rows.values() if baseline in (None, r.header["baseline"])]


def title(one: Answered, two: Answered | None) -> str:
    """What is split, and where."""
    return f"{one.name}{f' minus {two.name}' if two else ''} on {one.place}"


def about(one: Answered, two: Answered | None, found: Split) -> dict[str, Any]:
    """What the JSON says of a split beside its numbers."""
    keys = ("suite", "dataset", "revision", "split", "shots", "device", "threads")
    sizes = dict(zip(("tasks", "episodes", "train_seeds", "decodings"), found.sizes, strict=True))
    return {
        **{key: one.header.get(key) for key in keys},
        "metric": one.metric,
        "signature": one.header["signatures"][one.metric],
        "baseline": one.name,
        "minus": two and two.name,
        "value": found.value,
        **sizes,
        "unknown": found.unknown,
        "zero_by_construction": found.absent,
    }


def _listed(found: Split) -> list[dict[str, Any]]:
    total = sum(c.variance for c in found.components)
    return [{**asdict(c), "share": c.variance / total if total else None} for c in found.components]


def _print(one: Answered, two: Answered | None, found: Split, values: Values) -> None:
    tasks, episodes, train_seeds, decodings = found.sizes
    told = f"{tasks} task(s), {episodes} episode(s)"
    told += f", {train_seeds} train seed(s)" if train_seeds else ""
    told += f", {decodings} draw(s) of answers" if values.decodings != (None,) else ""
    screen = console()
    screen.print(f"\n{title(one, two)}: {found.value:.2f} from {told}\n", markup=False)
    total = sum(c.variance for c in found.components)
    screen.print(_table(HEADS, [_line(c, total) for c in found.components]))
    if any(component.estimate < 0 for component in found.components):
        screen.print("* Its estimate is below 0; the others are fitted without it.")
    for note in notes(found):
        screen.print(note, markup=False)


def _line(component: Component, total: float) -> list[str]:
    """Standard deviations in points: their squares add up."""
    value, low, high = (x**0.5 for x in (component.variance, component.low, component.high))
    return [
        " + ".join(component.factors),
        f"{value:.2f}" + " *" * (component.estimate < 0),
        f"[{low:.2f}, {high:.2f}]",
        f"{100 * component.variance / total:.0f} %" if total else "-",
    ]


def notes(found: Split) -> list[str]:
    """What the design cannot tell, a line each."""
    tasks, episodes, train_seeds, decodings = found.sizes
    lines = []
    if found.constant:
        lines.append(
            "All values are the same: the variances are 0 here, and their intervals say nothing "
            "about other tasks."
        )
    if episodes == tasks:
        lines.append(
            "Every task was visited once, so that tasks and support draws are not told apart: run "
            "more --episodes than there are tasks."
        )
    if tasks == 1:
        lines.append("There is one task, which tells nothing of others.")
    if train_seeds == 1:
        lines.append(
            "There is one train seed, and all is conditional on it: its own effect does not show, "
            "those with tasks and draws are part of theirs; run more --train-seeds."
        )
    if train_seeds == 0:
        lines.append("Nothing is trained: train seeds are 0 by construction.")
    if "decoding" in found.absent:
        lines.append("Answers are not sampled: decoding is 0 by construction.")
    elif decodings == 1:
        lines.append(
            "Answers were sampled once: decoding is not measured and is in the support draw; run "
            "the same plan with --decoding-seed 1 into another directory and name both."
        )
    return lines
