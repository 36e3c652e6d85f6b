"""`fewgen compare`: compares, writes what it was asked to, prints, and says how it ended."""

import contextlib
import json
import math
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.clocks import Clock
from bench.errors import UserError
from bench.outcome import Outcome, as_json, failure_json, judge
from bench.places import Places
from bench.readers import own_name
from bench.records import check_files, read_cell, write_json, write_whole
from bench.verdicts import as_junit, as_markdown, as_text, failure_junit, failure_markdown

if TYPE_CHECKING:
    from bench.matched import Match

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
    """Compares, writes and prints; 1 is the exit code of a regression and of nothing else.

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
        The exit code: 0 pass, 1 regression, 3 inconclusive; 2 where nothing could be compared.

    Raises:
        KeyboardInterrupt: what is temporary is then removed.
    """
    sides = (base, head) if interleave else _named(Path(base), Path(head))
    try:
        check_files({option: path for option, path in files.items() if option != "benchmark-json"})
        revisions = {"repository": repository, "plan": plan, "rounds": rounds}
        _check_options(interleave, revisions, files)
        limit = math.log1p(speed_margin)
        clocks: Sequence[Clock] = ()
        if interleave:
            place = repository or Path()
            outcome, clocks = _revisions(
                (base, head), place, plan or PLAN, rounds or ROUNDS, quality_margin, limit
            )
        elif Path(base).is_file() or Path(head).is_file():
            outcome = _benchmark_files(Path(base), Path(head), limit)
        else:
            outcome = _directories(Path(base), Path(head), quality_margin)
        try:
            _write(outcome, clocks, files)
        finally:
            say(as_text(outcome))
    except click.ClickException as error:
        say(f"Error: {error.format_message()}\n", err=True)
        paths = {} if interleave else {side: os.path.abspath(side) for side in (base, head)}
        _write_failure(sides, Places(paths, {}).shown(error.format_message()), files)
        return CANNOT
    except Exception:  # Python's own exit code would read as a regression
        lines = f"{traceback.format_exc()}fewgen compare met an error of its own"
        say(f"{lines}; nothing was compared\n", err=True)
        _write_failure(sides, "fewgen compare met an error of its own", files)
        return CANNOT
    return outcome.exit_code


def say(text: str, err: bool = False) -> None:
    """Prints to the screen or gives up: a closed pipe or a full disk changes no exit code, also
    not when Python flushes at its end."""
    try:
        click.echo(text, nl=False, err=err)
    except UnicodeEncodeError:
        say(text.encode("ascii", "backslashreplace").decode(), err)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, (sys.stderr if err else sys.stdout).fileno())
        os.close(nowhere)


def _check_options(
    interleave: bool, given: Mapping[str, object], files: dict[str, Path | None]
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
    quality, _ = judge(found.pairs)
    return Outcome(*_named(base, head), quality=quality, **_told(found))


def _named(base: Path, head: Path) -> tuple[str, str]:
    """What two paths are called: by their last parts, as reports of a comparison are published."""
    return own_name(base), own_name(head)


def _told(found: "Match") -> dict[str, Any]:
    """What an outcome tells of a match beside its cells."""
    kept = ("failed", "unfinished", "left_out", "differences", "notes")
    return {name: getattr(found, name) for name in kept}


def _benchmark_files(base: Path, head: Path, margin: float) -> Outcome:
    from bench.benchmark_json import compare_files, read

    for file, other in ((base, head), (head, base)):
        if not other.is_file():
            read(file)
            what = "it is a directory" if other.is_dir() else "there is no such file"
            raise UserError(
                f"{other}: {what}, and {file} is JSON of pytest-benchmark; name two such files, "
                "or two run directories"
            )
    clocks, unmeasured, more = compare_files(base, head, margin)
    typical = (
        "times are 20 % trimmed means of the rounds' logarithms where both files hold the rounds "
        "(--benchmark-save-data), else medians; losses and bounds are of the same"
    )
    note = (
        "the files were not measured in turn: the spread within each is all that tells of noise, "
        "and a machine that was slower at one hour reads as a slower head"
    )
    return Outcome(
        *_named(base, head),
        speed=judge(clocks=clocks)[1],
        unmeasured=unmeasured,
        left_out=[f"only in head: {name}" for name in more],
        notes=[typical, note],
    )


def _revisions(
    named: tuple[str, str],
    repository: Path,
    plan: str,
    rounds: int,
    quality_margin: float,
    speed_margin: float,
) -> tuple[Outcome, list[Clock]]:
    """Two revisions run in turn, and their clocks."""
    from bench.clocks import speed
    from bench.interleave import interleaved
    from bench.matched import match
    from bench.progress import shown_progress

    with (
        shown_progress("fewgen compare --interleave") as update,
        interleaved(repository, named, plan, rounds, update) as ran,
    ):
        found = match(ran.base[0], ran.head[0], quality_margin)
        timed = speed(ran.base, ran.head, speed_margin)
        found.notes += [
            *_unstable("base", ran.base),
            *_unstable("head", ran.head),
            *timed.notes,
            f"speed: {rounds} round(s) of the plan {Path(plan).name}, base and head in turn; "
            f"{MEASURES[timed.own]}",
        ]
    quality, speeds = judge(found.pairs, timed.clocks)
    outcome = Outcome(
        *named,
        quality=quality,
        speed=speeds,
        commits=ran.commits,
        unmeasured=timed.unmeasured,
        **_told(found),
    )
    return outcome, timed.clocks


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


def _write_failure(sides: tuple[str, str], reason: str, files: Mapping[str, Path | None]) -> None:
    """Writes why nothing was compared to the files that were asked for, so that none of an earlier
    comparison is taken for this one's; a file that cannot be written is let go."""
    made: dict[str, Callable[[], str]] = {
        "json": lambda: json.dumps(failure_json(*sides, reason), indent=1) + "\n",
        "junit": lambda: failure_junit(reason),
        "markdown": lambda: failure_markdown(*sides, reason),
    }
    paths = [path for path in files.values() if path]
    for option, content in made.items():
        path = files.get(option)
        if path and paths.count(path) == 1:
            with contextlib.suppress(OSError, UserError):
                check_files({option: path})
                write_whole(path, content())


def _write(outcome: Outcome, clocks: Sequence[Clock], files: dict[str, Path | None]) -> None:
    from bench.benchmark_json import content

    if path := files["json"]:
        write_json(path, as_json(outcome))
    if path := files["junit"]:
        write_whole(path, as_junit(outcome))
    if path := files["markdown"]:
        write_whole(path, as_markdown(outcome))
    if (folder := files["benchmark-json"]) and outcome.commits:
        for side, commit in zip(("base", "head"), outcome.commits, strict=True):
            times = {clock.name: getattr(clock, side) for clock in clocks}
            write_json(folder / f"{side}.json", content(times, commit))
