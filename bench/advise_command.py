"""`fewgen advise`: a recommendation as text and as JSON."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.advise import MARGIN, Advice, Asked, Candidate, advise, answers, device
from bench.advise_rows import shipped
from bench.errors import UserError
from bench.likeness import FEATURES, Pair
from bench.records import write_json
from bench.registry import load_suite, names
from bench.shown import MISSING, bracketed, title
from bench.sources import Source, read_records
from bench.statistics import Estimate, Interval

UNITS = {"s": 1, "m": 60, "h": 3600}


def budget_seconds(text: str) -> float:
    """The seconds of a text such as 90s, 2m or 1h.

    Raises:
        UserError: it is none.
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?([smh])", text.strip(), re.ASCII)
    seconds = float(found.group(1)) * UNITS[found.group(2)] if found else 0.0
    if not seconds:
        raise UserError(
            f"--budget {text!r}: a time above 0 with its unit is needed, as 90s, 2m, 1h"
        )
    return seconds


def read_texts(source: Source) -> dict[str, list[Pair]]:
    """Task to its examples, input and first target; the file's name where no task is told.

    Raises:
        UserError: as `bench.sources.open_dataset`.
    """
    known = {data.id: data for suite in names("suite") for data in load_suite(suite).public}
    name, _, kept, _ = read_records(source, list(known.values()))
    if not kept.records:
        raise UserError(f"{name}: no records; it needs at least one")
    tasks: dict[str, list[Pair]] = {}
    for record in sorted(kept.records, key=lambda record: record.id):
        pair = record.input, record.references[0]
        tasks.setdefault(record.task or record.table, []).append(pair)
    return tasks


def advice(
    directories: Sequence[Path],
    source: Source,
    shots: int,
    tasks: int,
    budget: str,
    margin: float = MARGIN,
) -> Advice:
    """What `fewgen advise` says; the records of the checkout where no directory is named.

    Raises:
        UserError: the budget or the data cannot be read, or there are no records.
    """
    if not margin > 0:
        raise UserError(f"--margin {margin:g}: points above 0 are needed, as {MARGIN:g}")
    asked = Asked(shots, tasks, budget_seconds(budget), margin)
    where = list(directories) or shipped()
    return advise(where, read_texts(source), asked)


def as_text(made: Advice) -> str:
    """The advice as a reader sees it: what to take, how far to trust it, what it rests on."""
    asked = made.asked
    spent = f"{asked.tasks:,} tasks of {asked.shots} examples within {seconds(asked.budget)}"
    parts = [
        f"**{_head(made)}**: {spent} on {device(made)}.",
        *([made.lacking] if made.lacking else []),
        _listed("The evidence is thin:", made.thin) or "The evidence is not thin.",
        f"Nearest suite: {made.like.nearest}.\n\n{_features(made)}",
        f"Rows of {made.place}, from {', '.join(made.directories)}:\n\n{_rows(made)}",
        _listed("To know:", [*_counted(made), *made.notes]),
    ]
    return "\n\n".join(parts) + "\n"


def _head(made: Advice) -> str:
    if made.lacking:
        return (
            "Evidence is lacking: no row that fits is shown to be within "
            f"{made.asked.margin:g} points of the best"
        )
    if not made.recommended:
        return "Nothing recorded fits"
    if made.grave:
        return f"Too thin to recommend; the nearest evidence says {made.recommended.name}"
    return f"Take {made.recommended.name}"


def _listed(head: str, lines: Sequence[str]) -> str:
    return "\n".join([head, "", *(f"- {line}" for line in lines)]) if lines else ""


def _features(made: Advice) -> str:
    import pandas as pd

    like = made.like
    lines: list[dict[str, str]] = [
        {
            "feature": name,
            "yours": f"{like.own[i]:.2f}",
            **{suite: f"{values[i]:.2f}" for suite, values in like.suites.items()},
        }
        for i, name in enumerate(FEATURES)
    ]
    far = {suite: f"{like.distances[suite]:.2f}" for suite in like.suites}
    reach = {suite: f"{like.reaches[suite]:.2f}" for suite in like.suites}
    lines.append({"feature": "distance of yours", "yours": MISSING, **far})
    lines.append({"feature": "distance of its farthest task", "yours": MISSING, **reach})
    return _markdown(pd.DataFrame(lines))


def _rows(made: Advice) -> str:
    import pandas as pd

    return _markdown(pd.DataFrame([_cells(candidate) for candidate in made.candidates]))


def _cells(candidate: Candidate) -> dict[str, str]:
    metric, behind = candidate.row.metric, candidate.behind
    bounds = candidate.score.interval()
    return {
        "baseline": candidate.name,
        title(metric.name): bracketed(candidate.score.value, bounds.low, bounds.high),
        "behind the best that fits": _behind(behind) if behind else MISSING,
        "needs": _needs(candidate),
        "verdict": candidate.verdict,
    }


def _behind(found: Estimate) -> str:
    bounds = found.interval()
    return bracketed(found.value, bounds.low, bounds.high)


def _needs(candidate: Candidate) -> str:
    """A time, and its interval where it has one."""
    told, spread = seconds(candidate.needs.value), candidate.spread
    return f"{told} [{seconds(spread.low)}, {seconds(spread.high)}]" if spread else told


def _markdown(frame: Any) -> str:
    text: str = frame.to_markdown(index=False, disable_numparse=True)
    return text


def _counted(made: Advice) -> list[str]:
    return [
        "Brackets are 95 % intervals, of trained rows with one train seed for that training alone. "
        f"Within {made.asked.margin:g} points of the best: shown to be less than that behind every "
        "row that fits, by one-sided paired tests at 5 % after Holm over these rows (--margin sets "
        "the points). Worse: behind the best by a paired difference with p < 5 % after Holm over "
        "all pairs of rows that fit.",
        f"Needs: one training, if any, and of every task its adaptation and {answers(made):,.0f} "
        "answers, as recorded on the device above. Tasks that adapt at once have equal shares of "
        "the time: no interval over tasks, and none at all with one train seed. Pre-training of "
        "the backbone and the choice of options are not in it.",
        "A distance is in standard deviations of a feature over the tasks of all suites; "
        "recorded suites are small and invented, and being near one in these features promises no "
        "scores.",
    ]


def seconds(value: float) -> str:
    """A time in its largest unit."""
    unit = next((u for u in ("h", "m") if value >= UNITS[u]), "s")
    return f"{value / UNITS[unit]:,.1f}{unit}"


def as_json(made: Advice) -> dict[str, Any]:
    """All that the text says, in numbers; None where there is no number."""
    like, asked = made.like, made.asked
    chosen = made.recommended.name if made.recommended else None
    return {
        "shots": asked.shots,
        "tasks": asked.tasks,
        "budget_s": asked.budget,
        "margin": asked.margin,
        "lacking": made.lacking or None,
        "recommended": chosen if not made.grave else None,
        "nearest_evidence": chosen,
        "too_thin": made.grave,
        "thin": made.thin,
        "notes": made.notes,
        "device": device(made),
        "nearest_suite": like.nearest,
        "rows_of": made.place,
        "directories": made.directories,
        "features": {
            name: {"own": like.own[i], **{s: float(v[i]) for s, v in like.suites.items()}}
            for i, name in enumerate(FEATURES)
        },
        "distances": like.distances,
        "distances_of_farthest_tasks": like.reaches,
        "rows": [
            {
                "baseline": candidate.name,
                "verdict": candidate.verdict,
                "metric": candidate.row.metric.name,
                "score": _plain(candidate.score),
                "behind": _plain(candidate.behind),
                "p_holm": candidate.p,
                "p_margin": candidate.p_margin,
                "needs_s": _of(candidate.needs.value, candidate.spread),
                "directories": candidate.directories,
            }
            for candidate in made.candidates
        ],
    }


def _plain(found: Estimate | None) -> dict[str, float | None] | None:
    return _of(found.value, found.interval()) if found else None


def _of(value: float, bounds: Interval | None) -> dict[str, float | None]:
    low, high = (bounds.low, bounds.high) if bounds else (math.nan, math.nan)
    told = {"value": value, "low": low, "high": high}
    return {key: number if math.isfinite(number) else None for key, number in told.items()}


def write_advice(made: Advice, out: Path) -> None:
    """Writes the JSON."""
    write_json(out, as_json(made))
