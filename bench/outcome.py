"""What a comparison found, in the form that all its outputs are made from."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from bench.clocks import Clock
from bench.gate import EXIT, LEVEL, Loss, Verdict, decide, more_needed, worst
from bench.matched import Pair
from bench.statistics import Estimate

Kind = Literal["quality", "speed"]
LARGEST = 700.0  # log ratio that is shown in per cent
UNITS: dict[Kind, str] = {"quality": "points", "speed": "%"}


@dataclass(frozen=True)
class Line:
    """One compared cell, in units that people read.

    Attributes:
        metric: the primary metric, or milliseconds.
        base: its score or time there, by the statistic that the loss compares.
        head: the same; not a number where head has none.
        loss: what head is worse by: points, or per cent of the base's time; not a number where
            head has none.
        lower: one-sided 95 % bound of it, not adjusted.
        upper: the other, one-sided as well.
        floor: the noise of this machine, in the loss's unit.
        p_adjusted: Holm-adjusted one-sided p-value of a loss of no more than the floor.
        identical: the primary metric's statistics, or the times, are equal in base and head.
        complete: head holds all that it was asked for.
        count: episodes, or rounds.
    """

    kind: Kind
    name: str
    metric: str
    base: float
    head: float
    loss: float
    lower: float
    upper: float
    margin: float
    floor: float
    p_adjusted: float
    verdict: Verdict
    identical: bool
    complete: bool
    count: int


@dataclass(frozen=True)
class Judged:
    """All cells of a kind.

    Attributes:
        needed: how often as many episodes or rounds would decide; None: none would, or there are
            not enough to say.
    """

    kind: Kind
    verdict: Verdict
    lines: tuple[Line, ...]
    needed: float | None

    @property
    def advice(self) -> str:
        """What would decide it, where it is not decided."""
        if self.verdict != "inconclusive":
            return ""
        what = "episodes" if self.kind == "quality" else "rounds"
        open_lines = [line for line in self.lines if line.verdict == "inconclusive"]
        if not all(line.complete for line in open_lines):
            did = "finished" if self.kind == "quality" else "measured"
            return f"what is not {did} in head, listed below, is needed"
        if self.needed is None and any(not math.isfinite(line.upper) for line in open_lines):
            thing = "task" if self.kind == "quality" else "round"
            return f"one {thing} shows no spread; more {thing}s are needed to tell its error"
        if self.needed is None:
            return f"no number of {what} would decide while estimates stay as they are"
        now = max(line.count for line in open_lines)
        more = math.ceil(self.needed * now) - now
        return (
            f"about {more} more {what} a cell, {self.needed:.1f} times as many, would decide if "
            "estimates stay as they are"
        )


@dataclass
class Outcome:
    """A whole comparison.

    Attributes:
        base: what was compared, as it was named.
        commits: of revisions.
        quality: None where it was not compared.
        speed: None where it was not measured.
        failed: rows that head tried in vain, with the reason; each is a regression.
        unfinished: what head's own plan asks for and head lacks, a line each.
        unmeasured: what base timed and head did not, a line each.
        left_out: what only one side holds, a line each.
        differences: of plans, code, packages and hardware, a line each.
        notes: what else a reader should know, a line each.
    """

    base: str
    head: str
    quality: Judged | None = None
    speed: Judged | None = None
    commits: tuple[str, str] | None = None
    failed: dict[str, str] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)
    unmeasured: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def judged(self) -> list[Judged]:
        """Quality and speed, those that there are."""
        return [judged for judged in (self.quality, self.speed) if judged]

    @property
    def verdict(self) -> Verdict:
        """Over everything."""
        if self.failed:
            return "regression"
        return worst([judged.verdict for judged in self.judged])

    @property
    def exit_code(self) -> int:
        """0 pass, 1 regression, 3 inconclusive; 2 is for what cannot be compared."""
        return EXIT[self.verdict]

    @property
    def headline(self) -> str:
        """The verdict and its parts on one line."""
        parts = [
            f"quality {self.quality.verdict if self.quality else 'not measured'}",
            f"speed {self.speed.verdict if self.speed else 'not measured'}",
        ]
        if self.failed:
            parts.append(f"{len(self.failed)} failed in head")
        return f"{self.verdict}: {', '.join(parts)}"


def judge(
    pairs: Sequence[Pair] = (), clocks: Sequence[Clock] = ()
) -> tuple[Judged | None, Judged | None]:
    """Decides over pairs of rows and clocks, all of them one family.

    Returns:
        Quality and speed; None for what nothing was compared of.
    """
    losses = [*(pair.loss for pair in pairs), *(clock.loss for clock in clocks)]
    lines = [
        _line("quality", pair.name, pair.metric, (pair.base, pair.head), pair.loss, pair.episodes)
        for pair in pairs
    ]
    lines += [
        _line("speed", clock.name, "ms", clock.typical, clock.loss, clock.rounds)
        for clock in clocks
    ]
    decision = decide(losses)
    decided = [
        replace(line, verdict=verdict, p_adjusted=p)
        for line, verdict, p in zip(lines, decision.cells, decision.adjusted, strict=True)
    ]
    return _judged("quality", decided, losses), _judged("speed", decided, losses)


def _line(
    kind: Kind, name: str, metric: str, sides: tuple[float, float], loss: Loss, count: int
) -> Line:
    """A line that still lacks what all cells together decide."""
    shown = _percent if kind == "speed" else float
    estimate = loss.estimate
    known = not math.isnan(sides[1])
    return Line(
        kind=kind,
        name=name,
        metric=metric,
        base=sides[0],
        head=sides[1],
        loss=shown(estimate.value) if known else math.nan,
        lower=shown(_cut(estimate.lower(LEVEL), estimate)),
        upper=shown(_cut(estimate.upper(LEVEL), estimate)),
        margin=shown(loss.margin),
        floor=shown(loss.floor),
        p_adjusted=1.0,
        verdict="pass",
        identical=loss.identical,
        complete=loss.complete,
        count=count,
    )


def _cut(bound: float, estimate: Estimate) -> float:
    """A bound within what the loss can be; infinite where nothing is known of it."""
    low, high = estimate.limits
    return min(max(bound, low), high) if math.isfinite(bound) else bound


def _judged(kind: Kind, decided: Sequence[Line], losses: Sequence[Loss]) -> Judged | None:
    """The cells of one kind among all that were decided together."""
    places = [i for i, line in enumerate(decided) if line.kind == kind]
    if not places:
        return None
    lines = tuple(decided[i] for i in places)
    verdict = worst([line.verdict for line in lines])
    needed = more_needed(losses, growing=places) if verdict == "inconclusive" else 1.0
    return Judged(kind, verdict, lines, needed)


def _percent(log: float) -> float:
    """A log ratio as per cent more; infinite where no number holds it."""
    if abs(log) > LARGEST:
        return math.inf if log > 0 else -100.0 if math.isfinite(log) else log
    return 100 * math.expm1(log)


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The content of `--json`.

    `verdict` (pass, regression, inconclusive), `exit_code`, `base`, `head`, `commits` (a pair, or
    null), `quality` and `speed`: each the text "not measured" or an object of `verdict`, `unit` (of
    losses: points or per cent), `advice` (what would decide it), `needed` (a factor; null where
    nothing would or it is unknown) and `cells`, a list of the fields of `Line`; `lower` and `upper`
    are one-sided 95 % bounds each, so that together they hold 90 %. `failed` is an object of names
    and reasons; `unfinished`, `unmeasured`, `left_out`, `differences` and `notes` are lists of
    lines. What is unknown is null: a score or time that head lacks, a bound for want of a spread.
    """
    return {
        "verdict": outcome.verdict,
        "exit_code": outcome.exit_code,
        "level": LEVEL,
        "base": outcome.base,
        "head": outcome.head,
        "commits": outcome.commits and list(outcome.commits),
        "quality": _judged_json(outcome.quality),
        "speed": _judged_json(outcome.speed),
        "failed": outcome.failed,
        "unfinished": outcome.unfinished,
        "unmeasured": outcome.unmeasured,
        "left_out": outcome.left_out,
        "differences": outcome.differences,
        "notes": outcome.notes,
    }


def failure_json(base: str, head: str, reason: str) -> dict[str, Any]:
    """The content of `--json` where nothing could be compared."""
    return {"verdict": "error", "exit_code": 2, "base": base, "head": head, "error": reason}


def _judged_json(judged: Judged | None) -> Any:
    if judged is None:
        return "not measured"
    return {
        "verdict": judged.verdict,
        "unit": UNITS[judged.kind],
        "advice": judged.advice,
        "needed": judged.needed,
        "cells": [
            {key: _finite(value) for key, value in asdict(line).items()} for line in judged.lines
        ],
    }


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
