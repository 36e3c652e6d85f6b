"""`fewgen paired`: every row of a block against one of them, by several paired tests."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.blocks import blocks
from bench.errors import UserError, unknown
from bench.ranks import FEWEST_TASKS
from bench.tables import Row, entries, metrics, pair_key
from bench.unfinished import planned_rows

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from bench.metrics import Metric

HEADINGS = {
    "suite": "suite",
    "shots": "K",
    "baseline": "baseline",
    "minus": "minus",
    "metric": "metric",
    "tasks": "tasks",
    "difference": "difference",
    "p": "p",
    "p_holm": "p (Holm)",
    "p_randomised": "p (tasks swapped)",
    "g": "Hedges' g",
    "p_segments_bootstrap": "p (segments, bootstrap)",
    "p_segments_randomised": "p (segments, swapped)",
}


def paired_table(
    directories: Sequence[Path],
    baselines: Sequence[str] = (),
    minus: str | None = None,
    metric: str | None = None,
    segments: bool = False,
) -> "pd.DataFrame":
    """Differences of rows that may stand together, with intervals, p-values and effect sizes.

    Args:
        directories: run directories.
        baselines: what is compared; every few-shot baseline if empty, as in the leaderboard.
        minus: what it is compared to; the best row of each block if None.
        metric: in place of each suite's primary one.
        segments: adds the tests of single segments, as sacreBLEU's.

    Returns:
        One row a comparison: `difference` with `_low` and `_high` (95 %), `p` by Student's t over
        resampled tasks, `p_holm` over every comparison of the table once, missing of fewer than
        six tasks, `p_randomised` by swaps of whole tasks, `g` with `_low` and `_high`.

    Raises:
        UserError: a name is unknown, nothing can be compared, or segments are asked for of records
            that hold sums alone.
    """
    import pandas as pd

    rows = planned_rows(directories)
    known = sorted({row.header["baseline"] for row in rows})
    for name in [*baselines, *([minus] if minus else [])]:
        if name not in known:
            raise unknown("baseline", name, known)
    found = [pair for block in blocks(rows) for pair in _pairs(block, baselines, minus, metric)]
    lines = [_compared(row, against, scorer, segments) for row, against, scorer in found]
    if not lines:
        raise UserError(
            "nothing to compare: no two finished rows of one block are named; `fewgen leaderboard` "
            "shows which rows stand together"
        )
    frame = pd.DataFrame(lines)
    keys = [pair_key(row, against) for row, against, _ in found]
    frame.insert(frame.columns.get_loc("p") + 1, "p_holm", _adjusted(lines, keys))
    return frame


def _adjusted(
    lines: Sequence[Mapping[str, Any]], keys: Sequence[frozenset[object]]
) -> list[float | None]:
    """Holm's p-values of comparisons with enough tasks; what several blocks hold is one of them,
    and a floor beside itself, run on another device, is none."""
    from bench.statistics import holm

    pairs = list(zip(keys, lines, strict=True))
    enough = [line["tasks"] >= FEWEST_TASKS for line in lines]
    raw = {
        key: line["p"]
        for (key, line), told in zip(pairs, enough, strict=True)
        if told and len(key) == 2
    }
    adjusted = dict(zip(raw, holm(list(raw.values())), strict=True))
    return [
        adjusted.get(key, 1.0) if told else None for key, told in zip(keys, enough, strict=True)
    ]


def _pairs(
    block: Sequence[Row], baselines: Sequence[str], minus: str | None, metric: str | None
) -> "Iterator[tuple[Row, Row, Metric]]":
    from bench.statistics import corpus_score

    whole = [row for row in block if row.complete]
    if not whole:
        return
    name = metric or whole[0].header["primary"]
    found = {m.name: m for m in metrics(whole[0])}
    if name not in found:
        raise unknown("metric", name, found)
    scorer = found[name]
    against = [row for row in whole if row.header["baseline"] == minus]
    if minus is None:
        ranked = [row for row in whole if row.few_shot] or whole
        against = [max(ranked, key=lambda row: corpus_score(entries(row, name), scorer))]
    for other in against:
        for row in whole:
            wanted = row.header["baseline"] in baselines
            if not baselines:
                wanted = row.few_shot or minus is not None
            if row is not other and wanted:
                yield row, other, scorer


def _compared(row: Row, other: Row, metric: "Metric", segments: bool) -> dict[str, Any]:
    from bench.paired import (
        effect,
        randomised_p,
        sacrebleu_seed,
        segment_bootstrap_p,
        segment_randomised_p,
    )
    from bench.statistics import difference

    a, b = entries(row, metric.name), entries(other, metric.name)
    found = difference(a, b, metric)
    bounds = found.interval()
    line: dict[str, Any] = {
        "suite": row.header["suite"],
        "dataset": row.header["dataset"],
        "shots": row.header["shots"],
        "baseline": _name(row),
        "minus": _name(other),
        "metric": metric.name,
        "tasks": row.tasks,
        "difference": found.value,
        "difference_low": bounds.low,
        "difference_high": bounds.high,
        "p": found.p(),
    }
    try:
        size = effect(a, b, metric)
        line["p_randomised"] = randomised_p(a, b, metric)
        line |= {"g": size.value, "g_low": size.interval.low, "g_high": size.interval.high}
    except ValueError:  # other train seeds: nothing to swap or to take differences of
        line |= {"p_randomised": None, "g": None, "g_low": None, "g_high": None}
    if segments:
        first, second = _segments(row, other, metric)
        seed = sacrebleu_seed()
        line["p_segments_bootstrap"] = segment_bootstrap_p(first, second, metric, seed=seed)
        line["p_segments_randomised"] = segment_randomised_p(first, second, metric, seed=seed)
    return line


def _name(row: Row) -> str:
    changed = row.header.get("changed") or {}
    options = ", ".join(f"{k} = {v}" for k, v in changed.items())
    return str(row.header["baseline"]) + (f" ({options})" if options else "")


def _segments(row: Row, other: Row, metric: "Metric") -> "tuple[np.ndarray, np.ndarray]":
    """Statistics of all queries of both rows in the same order, for the train seeds of both."""
    import numpy as np

    first, second = [], []
    for (train, seed), records in sorted(row.cells.items(), key=str):
        place = next((p for p in ((train, seed), (None, seed)) if p in other.cells), None)
        if place is None:
            raise UserError(
                f"{_name(row)} and {_name(other)} have other train seeds; --segments compares the "
                "same"
            )
        again = {record["index"]: record for record in other.cells[place]}
        for record in records:
            first += record["statistics"][metric.name]
            second += again[record["index"]]["statistics"][metric.name]
            if len(record["query_ids"]) != len(record["statistics"][metric.name]):
                raise UserError("these records hold sums, not segments; leave out --segments")
    return np.array(first), np.array(second)


def as_markdown(frame: "pd.DataFrame") -> str:
    """The table as a reader sees it, and what its columns mean."""
    shown = frame.assign(
        difference=[_with(*t, "+.1f") for t in _triples(frame, "difference")],
        g=[_with(*t, "+.2f") for t in _triples(frame, "g")],
    )
    for column in shown.columns[shown.columns.str.startswith("p")]:
        shown[column] = [f"{p:.4f}" if p is not None and p == p else "" for p in frame[column]]
    kept = {name: title for name, title in HEADINGS.items() if name in shown}
    few = sorted({int(count) for count in frame["tasks"] if count < FEWEST_TASKS})
    compared = int(frame["p_holm"].notna().sum())
    table = shown[list(kept)].rename(columns=kept).to_markdown(index=False, disable_numparse=True)
    return (
        f"{table}\n\nBrackets are 95 % intervals. p: Student's t over resampled tasks (and train "
        f"seeds); Holm: over the {compared} comparison(s) above; tasks swapped: approximate "
        "randomisation of whole tasks; g: of the tasks' own scores, whose mean differs from a "
        "difference of corpus scores. Both are left empty where train seeds differ."
        + (
            f" Too few tasks to separate rows: {', '.join(map(str, few))}, and {FEWEST_TASKS} are "
            "the least, as an exact sign-flip test of n tasks has no p-value below 2 / 2^n."
            if few
            else ""
        )
        + (
            " Segments: sacreBLEU's tests, which take segments of a task for independent."
            if "p_segments_bootstrap" in frame
            else ""
        )
        + "\n"
    )


def _triples(frame: "pd.DataFrame", name: str) -> Iterator[tuple[float, float, float]]:
    columns = (frame[name], frame[f"{name}_low"], frame[f"{name}_high"])
    return zip(*columns, strict=True)


def _with(value: float, low: float, high: float, form: str) -> str:
    if value is None or value != value:
        return ""
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"
