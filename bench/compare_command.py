"""`fewgen compare`: compares, prints, writes what it was asked to, and says how it ended."""

import math
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

from bench.errors import UserError
from bench.outcome import Outcome, as_json, judge_quality, judge_speed
from bench.records import check_files, read_cell, write_json, write_whole
from bench.verdicts import as_junit, as_markdown, as_text

CANNOT = 2  # exit code where nothing could be compared
PLAN, ROUNDS = "gate", 5
MEASURES = {  # by whether times are the work's own
    True: "means of the work's own time, without what it waited for cores that others had",
    False: "means of the clock's time, others' work on this machine included",
}


def compare(
    base: str,
    head: str,
    quality_margin: float,
    speed_margin: float,
    interleave: bool,
    repository: Path | None,
    plan: str | None,
    rounds: int | None,
    files: dict[str, Path | None],
) -> int:
    """Compares, prints and writes.

    Args:
        base: a run directory, a pytest-benchmark file, or a git revision.
        head: another of the kind.
        quality_margin: points of the primary metric.
        speed_margin: a share, 0.1 for 10 %.
        interleave: base and head are revisions.
        repository: of revisions.
        plan: that revisions run.
        rounds: how often each revision runs.
        files: by option: json, junit, markdown, benchmark-json (a directory).

    Returns:
        The exit code: 0 pass, 1 regression, 3 inconclusive.

    Raises:
        UserError: nothing could be compared, which exits with 2.
    """
    check_files({option: path for option, path in files.items() if option != "benchmark-json"})
    _check_options(interleave, {"repository": repository, "plan": plan, "rounds": rounds}, files)
    limit = math.log1p(speed_margin)
    try:
        if interleave:
            place, saved = repository or Path(), files["benchmark-json"]
            outcome = _revisions(
                (base, head), place, plan or PLAN, rounds or ROUNDS, quality_margin, limit, saved
            )
        elif Path(base).is_file() and Path(head).is_file():
            outcome = _benchmark_files(Path(base), Path(head), limit)
        else:
            outcome = _directories(Path(base), Path(head), quality_margin)
        click.echo(as_text(outcome), nl=False)
        _write(outcome, files)
    except (click.ClickException, KeyboardInterrupt):
        raise
    except Exception:  # Python's own exit code would read as a regression
        traceback.print_exc()
        click.echo("fewgen compare met an error of its own; nothing was compared", err=True)
        return CANNOT
    return outcome.exit_code


def _check_options(
    interleave: bool, given: dict[str, object], files: dict[str, Path | None]
) -> None:
    if not interleave:
        for option, value in {**given, "benchmark-json": files["benchmark-json"]}.items():
            if value is not None:
                raise UserError(f"--{option} goes with --interleave")
    folder = files["benchmark-json"]
    if folder and folder.exists() and not folder.is_dir():
        raise UserError(f"--benchmark-json {folder}: a file; name a directory")


def _directories(base: Path, head: Path, margin: float) -> Outcome:
    """Runs that are there: their quality alone, as their times are of other hours."""
    from bench.matched import match

    found = match(base, head, margin)
    return Outcome(
        str(base),
        str(head),
        quality=judge_quality(found.pairs),
        failed=found.failed,
        left_out=found.left_out,
        differences=found.differences,
    )


def _benchmark_files(base: Path, head: Path, margin: float) -> Outcome:
    from bench.benchmark_json import compare_files

    clocks, left_out = compare_files(base, head, margin)
    note = (
        "the files were not measured in turn: the spread within each is all that tells of noise, "
        "and a machine that was slower at one hour reads as a slower head"
    )
    return Outcome(str(base), str(head), speed=judge_speed(clocks), left_out=left_out, notes=[note])


def _revisions(
    named: tuple[str, str],
    repository: Path,
    plan: str,
    rounds: int,
    quality_margin: float,
    speed_margin: float,
    saved: Path | None,
) -> Outcome:
    """Two revisions run in turn."""
    from bench.benchmark_json import content
    from bench.clocks import speed
    from bench.interleave import interleaved
    from bench.matched import match
    from bench.progress import progress_bar

    with (
        progress_bar("fewgen compare --interleave") as update,
        interleaved(repository, named, plan, rounds, update) as ran,
    ):
        found = match(ran.base[0], ran.head[0], quality_margin)
        clocks, own = speed(ran.base, ran.head, speed_margin)
        notes = [
            *_unstable("base", ran.base),
            *_unstable("head", ran.head),
            f"speed: {rounds} round(s) of the plan {plan}, base and head in turn; {MEASURES[own]}",
        ]
    if saved:
        for side, commit in zip(("base", "head"), ran.commits, strict=True):
            times = {clock.name: getattr(clock, side) for clock in clocks}
            write_json(saved / f"{side}.json", content(times, commit))
    return Outcome(
        *named,
        quality=judge_quality(found.pairs),
        speed=judge_speed(clocks) if clocks else None,
        commits=ran.commits,
        failed=found.failed,
        left_out=found.left_out,
        differences=found.differences,
        notes=notes,
    )


def _answers(directory: Path) -> dict[str, list[object]]:
    return {
        path.relative_to(directory).as_posix(): [r["predictions"] for r in read_cell(path)[1]]
        for path in (directory / "cells").rglob("*.jsonl")
    }


def _unstable(side: str, directories: Sequence[Path]) -> list[str]:
    """A line where rounds of one revision did not answer alike."""
    first = _answers(directories[0])
    if all(_answers(directory) == first for directory in directories[1:]):
        return []
    return [f"{side} answers otherwise from round to round; quality is that of its first round"]


def _write(outcome: Outcome, files: dict[str, Path | None]) -> None:
    if path := files["json"]:
        write_json(path, as_json(outcome))
    if path := files["junit"]:
        write_whole(path, as_junit(outcome))
    if path := files["markdown"]:
        write_whole(path, as_markdown(outcome))
