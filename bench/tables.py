"""Tables from run directories: one row for each (suite, dataset, baseline, shots)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError, unknown
from bench.records import read_cell, read_json
from bench.streams import digest_of

if TYPE_CHECKING:
    import pandas as pd

    from bench.metrics import Metric
    from bench.statistics import Entry

FORMATS = ("md", "csv", "tex", "json")
EXEMPT = ("none", "scratch")  # rows that may stand beside any backbone


@dataclass
class Row:
    """The cells that make one row, with what they share.

    Attributes:
        header: of the first cell.
        cells: (train seed, seed) to records.
        headers: one a cell.
        failures: reasons of failed cells.
        episodes: digest of all episodes of the row's run, for its suite and shots.
    """

    header: dict[str, Any]
    episodes: str = ""
    cells: dict[tuple[int | None, int], list[dict[str, Any]]] = field(default_factory=dict)
    headers: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def records(self) -> list[dict[str, Any]]:
        """All records of the row."""
        return [record for cell in self.cells.values() for record in cell]


def _row_key(header: Mapping[str, Any]) -> str:
    """Cells with the same key are repetitions of one another over seeds."""
    keys = "suite dataset revision split baseline shots backbone options signatures dtype device"
    values = {key: header.get(key) for key in keys.split()}
    # A backbone that was pre-trained per train seed differs in weights, not in name.
    return json.dumps(values, sort_keys=True)


def read_rows(directories: Iterable[Path]) -> list[Row]:
    """The rows of all finished and failed cells of some run directories.

    Raises:
        UserError: no run directory, a damaged file, or two directories that hold one cell.
    """
    rows: dict[str, Row] = {}
    for directory in directories:
        if not (directory / "run.json").is_file():
            raise UserError(f"{directory} is not a run directory: it has no run.json")
        found = [read_cell(path) for path in sorted((directory / "cells").rglob("*.jsonl"))]
        episodes = _episode_digests(found)
        for header, records in found:
            row = rows.setdefault(_row_key(header), Row(header))
            place = (header["train_seed"], header["seed"])
            if place in row.cells:
                raise UserError(
                    f"{directory} repeats {header['suite']} / {header['baseline']} seed "
                    f"{header['seed']} of another directory; name one of the two"
                )
            row.cells[place] = records
            row.headers.append(header)
            row.episodes = episodes[header["suite"], header["shots"]]
        _add_failures(directory, rows)
    return list(rows.values())


def _episode_digests(
    found: Iterable[tuple[dict[str, Any], list[dict[str, Any]]]],
) -> dict[tuple[str, int], str]:
    seen: dict[tuple[str, int], set[str]] = {}
    for header, records in found:
        digests = seen.setdefault((header["suite"], header["shots"]), set())
        digests.update(f"{r['seed']} {r['index']} {r['digest']}" for r in records)
    return {key: digest_of(sorted(digests))[:12] for key, digests in seen.items()}


def _add_failures(directory: Path, rows: dict[str, Row]) -> None:
    for path in sorted((directory / "cells").rglob("*.failed.json")):
        failure = read_json(path)
        row = rows.setdefault(_row_key(failure["cell"]), Row(failure["cell"]))
        row.failures.append(failure["reason"])


def _entries(row: Row, metric: str) -> "list[Entry]":
    import numpy as np

    from bench.statistics import Entry

    return [
        Entry(r["task"], train, seed, r["index"], np.sum(np.array(r["statistics"][metric]), axis=0))
        for (train, seed), records in row.cells.items()
        for r in records
    ]


def _metrics(row: Row) -> "list[Metric]":
    """The metrics that the row's cells were scored with; extras need no library to be summed."""
    from bench.metrics import metrics_of

    return metrics_of(row.header["language"], list(row.header["signatures"]))


def _costs(row: Row) -> dict[str, Any]:
    """Cost columns: medians over episodes, quartiles of adaptation, the largest peak."""
    import numpy as np

    costs = [record["costs"] for record in row.records() if "costs" in record]
    if not costs:
        return {}
    adapt = [cost["adapt_ms"] for cost in costs]
    steps = [step for cost in costs for step in cost["inner_steps_ms"]]
    peaks = [cost["adapt_peak_mib"] for cost in costs if cost["adapt_peak_mib"] is not None]
    tokens = sum(cost["generated_tokens"] for cost in costs)
    generate = sum(cost["generate_ms"] for cost in costs)
    q1, median, q3 = (float(value) for value in np.percentile(adapt, [25, 50, 75]))
    return {
        "adapt_ms": median,
        "adapt_ms_q1": q1,
        "adapt_ms_q3": q3,
        "inner_step_ms": float(np.median(steps)) if steps else None,
        "adapt_peak_mib": max(peaks) if peaks else None,
        "generate_ms_per_token": generate / tokens if tokens else None,
    }


def _training(row: Row) -> dict[str, Any]:
    """Means over the train seeds of what meta-training took; 0 where there was none."""
    by_seed = {header["train_seed"]: header.get("train") or {} for header in row.headers}
    names = {"train_s": "seconds", "train_tokens": "tokens", "train_flops": "flops"}
    count = max(len(by_seed), 1)
    return {
        column: sum(cost.get(name, 0) for cost in by_seed.values()) / count
        for column, name in names.items()
    }


def _scores(row: Row) -> dict[str, Any]:
    from bench.statistics import corpus_score, interval

    scores: dict[str, Any] = {}
    for metric in _metrics(row):
        entries = _entries(row, metric.name)
        scores[metric.name] = corpus_score(entries, metric)
        bounds = interval(entries, metric)
        scores[f"{metric.name}_low"], scores[f"{metric.name}_high"] = bounds.low, bounds.high
    return scores


def _seeds(values: Iterable[int | None]) -> str:
    return ",".join(str(value) for value in sorted({v for v in values if v is not None}))


def _line(row: Row) -> dict[str, Any]:
    """One line of `leaderboard.csv`."""
    head, records = row.header, row.records()
    shared = "suite dataset revision split baseline init backbone shots order primary".split()
    train_seeds = _seeds(train for train, _ in row.cells)
    scored = bool(row.cells)
    return {
        **{key: head.get(key) for key in shared},
        "backbone_identity": ",".join(
            sorted({h["backbone_identity"] for h in row.headers if h.get("backbone_identity")})
        ),
        "seeds": _seeds(seed for _, seed in row.cells),
        "train_seeds": train_seeds,
        "interval": "conditional on its train seed" if len(train_seeds) == 1 else "",
        "episodes": len(records),
        "support_part": ",".join(sorted({r["support_part"] for r in records})),
        "adapted_params": head.get("adapted_params"),
        **(_scores(row) if scored else {}),
        **_costs(row),
        "inner_step_flops": head.get("inner_step_flops"),
        "tasks_at_once": head.get("tasks_at_once"),
        **_training(row),
        **{
            key: sum(r.get(key, 0) for r in records)
            for key in ("truncated", "dropped", "cut_outputs")
        },
        **{key: head.get(key) for key in ("device", "dtype", "threads", "workers")},
        "failed": len(row.failures),
        "reason": row.failures[0] if row.failures else "",
        "signature": "; ".join(f"{k}={v}" for k, v in head.get("signatures", {}).items()),
    }


def _block_key(row: Row) -> str:
    """Rows with the same key saw the same episodes and were scored alike."""
    head = row.header
    keys = ["suite", "dataset", "revision", "split", "shots", "signatures"]
    return json.dumps([*(head.get(key) for key in keys), row.episodes], sort_keys=True)


def _blocks(rows: Sequence[Row]) -> list[list[int]]:
    """Indices of rows that may be ranked together: equal episodes, scores and backbone; rows
    without pre-trained weights stand in every block of their episodes."""
    blocks = []
    for key in dict.fromkeys(_block_key(row) for row in rows if row.cells):
        members = [i for i, row in enumerate(rows) if row.cells and _block_key(row) == key]
        exempt = [i for i in members if rows[i].header["init"] in EXEMPT]
        others: dict[str, list[int]] = {}
        for i in members:
            if i not in exempt:
                identities = sorted({h["backbone_identity"] for h in rows[i].headers})
                others.setdefault(",".join(identities), []).append(i)
        blocks += [sorted([*exempt, *group]) for group in others.values()] or [exempt]
    return blocks


def _compare(rows: Sequence[Row], lines: list[dict[str, Any]], metric: str | None) -> None:
    """Adds each row's paired difference to the best complete row of its block."""
    from bench.statistics import paired_interval

    for number, block in enumerate(_blocks(rows), 1):
        for i in block:
            lines[i].setdefault("block", str(number))
        name = metric or lines[block[0]]["primary"]
        complete = [i for i in block if not rows[i].failures]
        if not complete:
            continue
        best = max(complete, key=lambda i: lines[i][name])
        scorer = next(m for m in _metrics(rows[best]) if m.name == name)
        reference = _entries(rows[best], name)
        for i in complete:
            bounds = paired_interval(_entries(rows[i], name), reference, scorer)
            lines[i].setdefault("to_best", lines[i][name] - lines[best][name])
            lines[i].setdefault("to_best_low", bounds.low)
            lines[i].setdefault("to_best_high", bounds.high)


def leaderboard(directories: "Sequence[str | Path]", metric: str | None = None) -> "pd.DataFrame":
    """The rows of some run directories as a table, best first within a block.

    Args:
        directories: written by `run`.
        metric: ranks in place of each suite's primary metric.

    Returns:
        One row for each (suite, dataset, baseline, shots); scores are 0 to 100, times in
        milliseconds (`train_s` in seconds), memory in MiB. `to_best` is the paired difference
        to the best row of the block on the ranking metric, with its 95 % interval.

    Raises:
        UserError: no run directory, no finished cell, or a metric that was not recorded.
    """
    import pandas as pd

    rows = read_rows(Path(directory) for directory in directories)
    if not rows:
        raise UserError(f"no finished cell in {', '.join(map(str, directories))}")
    for row in rows:
        if metric and row.cells and metric not in row.header["signatures"]:
            raise unknown("metric", metric, row.header["signatures"])
    lines = [_line(row) for row in rows]
    _compare(rows, lines, metric)
    for line in lines:
        line["rank_metric"] = metric or line["primary"]
        line["_score"] = line.get(str(line["rank_metric"]), float("-inf"))
    frame = pd.DataFrame(lines)
    frame = frame.sort_values(
        ["suite", "dataset", "shots", "block", "_score"],
        ascending=[True, True, True, True, False],
        na_position="last",
        kind="stable",
    )
    return frame.drop(columns="_score").reset_index(drop=True)
