"""Tables from run directories: one row for each (suite, dataset, baseline, shots)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.costs import costs, training
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
        planned: (train seed, seed) of every cell that the row's plans ask for.
    """

    header: dict[str, Any]
    planned: set[tuple[int | None, int]] = field(default_factory=set)
    cells: dict[tuple[int | None, int], list[dict[str, Any]]] = field(default_factory=dict)
    headers: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def records(self) -> list[dict[str, Any]]:
        """All records of the row."""
        return [record for cell in self.cells.values() for record in cell]

    def plan(self, train_seed: int | None, seeds: list[int], train_seeds: list[int]) -> None:
        """Adds the cells that a run's plan asks for, given the train seed of one of them."""
        self.planned.update(product([None] if train_seed is None else train_seeds, seeds))

    @property
    def complete(self) -> bool:
        """No cell failed and none is missing."""
        return not self.failures and self.planned == set(self.cells)

    @property
    def id(self) -> str:
        """What tells the row from all others; a floor has the same one in every block."""
        return digest_of(_row_key(self.header))[:12]

    @property
    def digests(self) -> dict[tuple[int, int], str]:
        """(seed, index) to the digest of its episode."""
        return {(r["seed"], r["index"]): r["digest"] for r in self.records()}


def _row_key(header: Mapping[str, Any]) -> str:
    """Cells with the same key are repetitions of one another over seeds."""
    keys = "suite dataset revision split baseline shots backbone options tuning signatures"
    keys += " dtype device"
    values = {key: header.get(key) for key in [*keys.split(), "settings", "threads"]}
    # A backbone that is pre-trained per train seed differs in its weights from cell to cell.
    if not header["settings"]["pretrain"]:
        values["identity"] = header["backbone_identity"]
    return json.dumps(values, sort_keys=True)


def read_rows(directories: Iterable[Path]) -> list[Row]:
    """The rows of all finished and failed cells of some run directories.

    Raises:
        UserError: no run directory, a damaged file, or two directories that hold one cell.
    """
    rows: dict[str, Row] = {}
    for directory in directories:
        seeds, train_seeds = _planned(directory)
        for path in sorted((directory / "cells").rglob("*.jsonl")):
            header, records = read_cell(path)
            row = rows.setdefault(_row_key(header), Row(header))
            row.plan(header["train_seed"], seeds, train_seeds)
            place = (header["train_seed"], header["seed"])
            if place in row.cells:
                raise UserError(
                    f"{directory} repeats {header['suite']} / {header['baseline']} seed "
                    f"{header['seed']} of another directory; name one of the two"
                )
            row.cells[place] = records
            row.headers.append(header)
        for path in sorted((directory / "cells").rglob("*.failed.json")):
            failure = read_json(path)
            row = rows.setdefault(_row_key(failure["cell"]), Row(failure["cell"]))
            row.plan(failure["cell"]["train_seed"], seeds, train_seeds)
            row.failures.append(failure["reason"])
    return list(rows.values())


def _planned(directory: Path) -> tuple[list[int], list[int]]:
    """Seeds and train seeds that a run directory's plan names."""
    path = directory / "run.json"
    if not path.is_file():
        raise UserError(f"{directory} is not a run directory: it has no run.json")
    try:
        plan = read_json(path)["plan"]
        return plan["seeds"], plan["train_seeds"]
    except (KeyError, TypeError):
        raise UserError(f"{path}: damaged, it holds no plan") from None


def entries(row: Row, metric: str) -> "list[Entry]":
    """The sufficient statistics of every episode of a row."""
    import numpy as np

    from bench.statistics import Entry

    return [
        Entry(r["task"], train, seed, r["index"], np.sum(np.array(r["statistics"][metric]), axis=0))
        for (train, seed), records in row.cells.items()
        for r in records
    ]


def metrics(row: Row) -> "list[Metric]":
    """The metrics that the row's cells were scored with; extras need no library to be summed."""
    from bench.metrics import metrics_of

    return metrics_of(row.header["language"], list(row.header["signatures"]))


def primary_scores(directory: Path) -> dict[str, float]:
    """Suite to corpus score on its primary metric, the mean over shots, of a directory with one
    baseline."""
    from bench.statistics import corpus_score

    scores: dict[str, list[float]] = {}
    for row in read_rows([directory]):
        name = row.header["primary"]
        metric = next(metric for metric in metrics(row) if metric.name == name)
        score = corpus_score(entries(row, name), metric)
        scores.setdefault(row.header["suite"], []).append(score)
    return {suite: sum(found) / len(found) for suite, found in scores.items()}


def _scores(row: Row) -> dict[str, Any]:
    from bench.statistics import corpus_score, interval

    scores: dict[str, Any] = {}
    for metric in metrics(row):
        measured = entries(row, metric.name)
        scores[metric.name] = corpus_score(measured, metric)
        bounds = interval(measured, metric)
        scores[f"{metric.name}_low"], scores[f"{metric.name}_high"] = bounds.low, bounds.high
    return scores


def _seeds(values: Iterable[int | None]) -> str:
    return ",".join(str(value) for value in sorted({v for v in values if v is not None}))


def _line(row: Row) -> dict[str, Any]:
    """One line of `leaderboard.csv`."""
    head, records = row.header, row.records()
    shared = "suite dataset revision split baseline init backbone shots order primary".split()
    train_seeds = {train for train, _ in row.cells if train is not None}
    scored = bool(row.cells)
    return {
        **{key: head.get(key) for key in shared},
        "row": row.id,
        "decoding": _decoding(row),
        "backbone_identity": ",".join(
            sorted(
                {h["backbone_identity"] for h in [head, *row.headers] if h.get("backbone_identity")}
            )
        ),
        "seeds": _seeds(seed for _, seed in row.cells),
        "train_seeds": _seeds(train_seeds),
        "interval": "conditional on its train seed" if len(train_seeds) == 1 else "",
        # Those of several train seeds are the same ones.
        "episodes": len(row.digests),
        "support_part": ",".join(sorted({r["support_part"] for r in records})),
        "options": ", ".join(f"{k} = {v}" for k, v in (head.get("changed") or {}).items()),
        "adapted_params": head.get("adapted_params"),
        "meta_params": head.get("meta_params"),
        **(_scores(row) if scored else {}),
        **costs(list(zip(row.headers, row.cells.values(), strict=True))),
        "tasks_at_once": head.get("tasks_at_once"),
        "rechunked": sum(bool(header.get("rechunked")) for header in row.headers),
        **training(row.headers),
        **{f"tune_{key}": value for key, value in (head.get("tuning") or {}).items()},
        **{
            key: sum(r.get(key, 0) for r in records)
            for key in ("diverged", "truncated", "dropped", "cut_outputs")
        },
        **{key: head.get(key) for key in ("device", "dtype", "threads", "workers")},
        "missing": len(row.planned - set(row.cells)) - len(row.failures),
        "failed": len(row.failures),
        "reason": row.failures[0] if row.failures else "",
        "signature": "; ".join(f"{k}={v}" for k, v in head.get("signatures", {}).items()),
    }


def _block_key(row: Row) -> str:
    """Rows with the same key were asked the same questions and are scored alike."""
    head = row.header
    keys = ["suite", "dataset", "revision", "split", "shots", "signatures"]
    asked = [head["settings"][key] for key in ("tasks", "queries", "episodes", "max_new_tokens")]
    seeds = sorted({seed for _, seed in row.planned})
    return json.dumps([*(head.get(key) for key in keys), asked, seeds], sort_keys=True)


def _decoding(row: Row) -> str | None:
    """How the row's answers were written; None for a floor."""
    if row.header["init"] == "none":
        return None
    return str(row.header["settings"].get("decoding", "greedy"))


def _decoded_alike(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows by how their answers were written; floors are among each."""
    floors = [row for row in rows if _decoding(row) is None]
    others: dict[str, list[Row]] = {}
    for row in rows:
        if decoding := _decoding(row):
            others.setdefault(decoding, []).append(row)
    return [[*floors, *group] for group in others.values()] or [floors]


def _agree(rows: Sequence[Row]) -> bool:
    """Whether rows saw the same episode wherever they have the same seed and index."""
    seen: dict[tuple[int, int], str] = {}
    return all(
        seen.setdefault(place, digest) == digest
        for row in rows
        for place, digest in row.digests.items()
    )


def _start(row: Row) -> str:
    """What the row's adaptation starts from: a backbone's weights, or how each train seed's are
    made."""
    head = row.header
    anew = head["settings"]["pretrain"]
    return json.dumps([head["backbone"], anew] if anew else head["backbone_identity"])


def _blocks(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that may be ranked together: equal episodes, scores, decoding and backbone; rows without
    pre-trained weights stand in every block of their episodes, if their answers were written
    alike."""
    asked: dict[str, list[Row]] = {}
    for row in rows:
        asked.setdefault(_block_key(row), []).append(row)
    blocks = []
    for members in chain.from_iterable(map(_decoded_alike, asked.values())):
        exempt = [row for row in members if row.header["init"] in EXEMPT]
        others: dict[str, list[Row]] = {}
        for row in members:
            if row.header["init"] not in EXEMPT:
                others.setdefault(_start(row), []).append(row)
        groups = [[*exempt, *group] for group in others.values()] or [exempt]
        for group in groups:
            # Data that changed without a new revision: nothing in it can be compared.
            blocks += [group] if _agree(group) else [[row] for row in group]
    return blocks


def _compared(block: Sequence[Row], metric: str | None) -> list[dict[str, Any]]:
    """The lines of a block, with each complete row's paired difference to the best of them."""
    from bench.statistics import paired_interval

    lines = [_line(row) for row in block]
    name = metric or block[0].header["primary"]
    for line in lines:
        line["rank_metric"] = name
    pairs = [(row, line) for row, line in zip(block, lines, strict=True) if row.complete]
    if not pairs:
        return lines
    best, best_line = max(pairs, key=lambda pair: pair[1][name])
    scorer = next(m for m in metrics(best) if m.name == name)
    reference = entries(best, name)
    for row, line in pairs:
        bounds = paired_interval(entries(row, name), reference, scorer)
        line["to_best"] = line[name] - best_line[name]
        line["to_best_low"], line["to_best_high"] = bounds.low, bounds.high
    return lines


def leaderboard(directories: "Sequence[str | Path]", metric: str | None = None) -> "pd.DataFrame":
    """The rows of some run directories as a table, best first within a block.

    Args:
        directories: written by `run`.
        metric: ranks in place of each suite's primary metric.

    Returns:
        One row for each (suite, dataset, baseline, shots) of a block; scores are 0 to 100, times in
        milliseconds (`train_s` in seconds), memory in MiB, energy in joules, utilisation from 0
        to 1. `to_best` is the paired difference to the best row of the block on the ranking
        metric, with its 95 % interval.

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
    blocks = [_compared(block, metric) for block in _blocks(rows)]
    lines = [
        {**line, "block": str(number), "_score": line.get(line["rank_metric"], float("-inf"))}
        for number, block in enumerate(blocks, 1)
        for line in block
    ]
    frame = pd.DataFrame(lines)
    frame = frame.sort_values(
        ["suite", "dataset", "shots", "block", "_score"],
        ascending=[True, True, True, True, False],
        kind="stable",
    )
    return frame.drop(columns="_score").reset_index(drop=True)
