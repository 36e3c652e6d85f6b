"""Tables from run directories: one row for each (suite, dataset, baseline, shots)."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.blocks import blocks, decoding_of
from bench.costs import costs, training
from bench.errors import UserError, unknown
from bench.places import Places, places_of
from bench.probed import loss_columns
from bench.ranks import ALPHA, FEWEST_TASKS, Point, front, letters
from bench.records import read_cell, read_failure, read_json
from bench.streams import digest_of

if TYPE_CHECKING:
    import pandas as pd

    from bench.metrics import Metric
    from bench.statistics import Entry, Estimate


Compare = Literal["all", "best"]


@dataclass
class Row:
    """The cells that make one row, with what they share.

    Attributes:
        header: of the first cell.
        cells: (train seed, seed) to records.
        headers: one a cell.
        directories: the run directory of each cell.
        failed: (train seed, seed) to the reason of each cell that failed.
        planned: (train seed, seed) of every cell that the row's plans ask for.
    """

    header: dict[str, Any]
    planned: set[tuple[int | None, int]] = field(default_factory=set)
    cells: dict[tuple[int | None, int], list[dict[str, Any]]] = field(default_factory=dict)
    headers: list[dict[str, Any]] = field(default_factory=list)
    directories: list[Path] = field(default_factory=list)
    failed: dict[tuple[int | None, int], str] = field(default_factory=dict)

    def records(self) -> list[dict[str, Any]]:
        """All records of the row."""
        return [record for cell in self.cells.values() for record in cell]

    def plan(self, train_seed: int | None, seeds: list[int], train_seeds: list[int]) -> None:
        """Adds the cells that a run's plan asks for, given the train seed of one of them."""
        self.planned.update(product([None] if train_seed is None else train_seeds, seeds))

    @property
    def failures(self) -> list[str]:
        """The reasons of the cells that failed and that no other directory finished."""
        return [reason for place, reason in self.failed.items() if place not in self.cells]

    @property
    def missing(self) -> int:
        """How many cells neither ended well nor failed."""
        return len(self.planned - self.cells.keys() - self.failed.keys())

    @property
    def complete(self) -> bool:
        """No cell failed and none is missing."""
        return not self.failures and self.planned == set(self.cells)

    @property
    def few_shot(self) -> bool:
        """Whether it learned from support sets alone; else it is an upper reference."""
        return not any("learned_from" in record for record in self.records())

    @property
    def digests(self) -> dict[tuple[int, int], str]:
        """(seed, index) to the digest of its episode."""
        return {(r["seed"], r["index"]): r["digest"] for r in self.records()}

    @property
    def tasks(self) -> int:
        """How many tasks its episodes are of."""
        return len({r["task"] for r in self.records()})


def _row_key(header: Mapping[str, Any]) -> str:
    """Cells with the same key are repetitions of one another over seeds."""
    keys = "suite dataset revision split baseline shots backbone options tuning signatures"
    keys += " dtype device"
    values = {key: header.get(key) for key in [*keys.split(), "settings", "threads"]}
    # A backbone that is pre-trained per train seed differs in its weights from cell to cell.
    if not header["settings"]["pretrain"]:
        values["identity"] = header["backbone_identity"]
    if "recipe" in header:
        values["recipe"] = header["recipe"]
    return json.dumps(values, sort_keys=True)


def read_rows(directories: Iterable[Path]) -> list[Row]:
    """The rows of all finished and failed cells of some run directories.

    Raises:
        UserError: no run directory, a damaged file, or two directories that hold one cell (but for
            floors with equal answers).
    """
    rows: dict[str, Row] = {}
    for directory in directories:
        seeds, train_seeds, places = _planned(directory)
        for path in sorted((directory / "cells").rglob("*.jsonl")):
            header, records = read_cell(path)
            key, header = _row_key(header), _named(header, places)
            row = rows.setdefault(key, Row(header))
            row.plan(header["train_seed"], seeds, train_seeds)
            place = (header["train_seed"], header["seed"])
            if place in row.cells:
                if header["init"] == "none" and records == row.cells[place]:
                    continue  # a floor that was run beside each of several backbones
                raise UserError(
                    f"{directory} repeats {header['suite']} / {header['baseline']} seed "
                    f"{header['seed']} of another directory; name one of the two"
                )
            row.cells[place] = records
            row.headers.append(header)
            row.directories.append(directory)
        for path in sorted((directory / "cells").rglob("*.failed.json")):
            header, reason = read_failure(path)
            row = rows.setdefault(_row_key(header), Row(_named(header, places)))
            row.plan(header["train_seed"], seeds, train_seeds)
            place = (header["train_seed"], header["seed"])
            row.failed.setdefault(place, places.shown(reason))
    return list(rows.values())


def _named(header: dict[str, Any], places: Places) -> dict[str, Any]:
    """A cell's header with names in place of local paths, but for `options`, which tell rows
    apart."""
    told = {key: header[key] for key in ("backbone", "changed") if header.get(key)}
    shown = places.shown(told)
    if shown.get("backbone") != told.get("backbone"):  # of an older version; others may be so named
        shown.setdefault("recipe", digest_of(told["backbone"])[:12])
    return {**header, **shown}


def _planned(directory: Path) -> tuple[list[int], list[int], Places]:
    """Seeds and train seeds that a run directory's plan names, and its local paths."""
    path = directory / "run.json"
    if not path.is_file():
        raise UserError(f"{directory} is not a run directory: it has no run.json")
    try:
        run = read_json(path)
        plan = run["plan"]
        seeds, train_seeds = list(plan["seeds"]), list(plan["train_seeds"])
    except (KeyError, TypeError):
        raise UserError(f"{path}: damaged, it holds no plan") from None
    if not all(isinstance(seed, int) for seed in [*seeds, *train_seeds]):
        raise UserError(f"{path}: damaged, seeds are integers")
    return seeds, train_seeds, places_of(run)


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

    return metrics_of(row.header["language"], row.header["signatures"])


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
    import numpy as np

    from bench.statistics import corpus_score, interval

    scores: dict[str, Any] = {}
    for metric in metrics(row):
        measured = entries(row, metric.name)
        total = np.sum([entry.sums for entry in measured], axis=0)
        for scorer in (metric, *metric.parts(total)):
            scores[scorer.name] = corpus_score(measured, scorer)
            bounds = interval(measured, scorer)
            scores[f"{scorer.name}_low"], scores[f"{scorer.name}_high"] = bounds.low, bounds.high
    return scores


def _seeds(values: Iterable[int | None]) -> str:
    return ",".join(str(value) for value in sorted({v for v in values if v is not None}))


def _line(row: Row) -> dict[str, Any]:
    """One line of `leaderboard.csv`."""
    head, records = row.header, row.records()
    shared = "suite dataset revision split baseline init backbone shots order primary".split()
    train_seeds = {train for train, _ in row.cells if train is not None}
    scored, drawn = bool(row.cells), head["settings"].get("train_shots")
    return {
        **{key: head.get(key) for key in shared},
        "group": "",
        "decoding": decoding_of(row),
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
        "tasks": row.tasks,
        "support_part": ",".join(sorted({r["support_part"] for r in records})),
        "options": ", ".join(f"{k} = {v}" for k, v in (head.get("changed") or {}).items()),
        **({"train_shots": ",".join(map(str, drawn))} if drawn else {}),
        "adapted_params": head.get("adapted_params"),
        "meta_params": head.get("meta_params"),
        **(_scores(row) if scored else {}),
        **costs(list(zip(row.headers, row.cells.values(), strict=True))),
        "tasks_at_once": head.get("tasks_at_once"),
        "rechunked": sum(bool(header.get("rechunked")) for header in row.headers),
        **_slower(row.headers),
        **training(row.headers),
        **{f"tune_{key}": value for key, value in (head.get("tuning") or {}).items()},
        **{
            key: sum(r.get(key, 0) for r in records)
            for key in ("diverged", "truncated", "dropped", "cut_outputs")
        },
        **{key: head.get(key) for key in ("device", "dtype", "threads", "workers")},
        **_learned_from(records),
        "missing": row.missing,
        "failed": len(row.failures),
        "reason": row.failures[0] if row.failures else "",
        "signature": "; ".join(f"{k}={v}" for k, v in head.get("signatures", {}).items()),
    }


def _slower(headers: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many cells took a slower path, for want of a faster one that is right for their model;
    nothing where none did, as those tables have no such column."""
    count = sum(bool(header.get("slower_path")) for header in headers)
    return {"slower_path": count} if count else {}


def _learned_from(records: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many examples a row that learns from more than support sets had of a task; nothing of
    others, whose tables have no such columns."""
    found = [record["learned_from"] for record in records if "learned_from" in record]
    if not found:
        return {}
    return {"learned_from_fewest": min(found), "learned_from_most": max(found)}


@dataclass
class Block:
    """Rows that stand together, best first and upper references last, and the line of each."""

    rows: list[Row]
    lines: list[dict[str, Any]]

    @property
    def metric(self) -> str:
        """The name of the metric that ranks."""
        return str(self.lines[0]["rank_metric"])

    @property
    def complete(self) -> "list[tuple[Row, dict[str, Any]]]":
        """What is ranked: rows of few-shot methods that lack no cell, with their lines."""
        pairs = zip(self.rows, self.lines, strict=True)
        return [(row, line) for row, line in pairs if row.complete and row.few_shot]

    @property
    def separable(self) -> bool:
        """Whether its ranked rows met enough tasks to be told apart."""
        return bool(self.complete) and self.complete[0][0].tasks >= FEWEST_TASKS


def _block(rows: Sequence[Row], metric: str | None) -> Block:
    """A block in the order of its ranking metric."""
    name = metric or rows[0].header["primary"]
    pairs = [
        (row, {**_line(row), "rank_metric": name, "pareto": None, **loss_columns(row, name)})
        for row in rows
    ]
    pairs.sort(key=lambda pair: (pair[0].few_shot, pair[1].get(name, -math.inf)), reverse=True)
    return Block([row for row, _ in pairs], [line for _, line in pairs])


def _compare(made: Sequence[Block], compare: Compare) -> None:
    """Adds paired differences, letters and the front to the lines of ranked rows.

    The pairs of ranked rows of all blocks with enough tasks are tested, or those with the best row
    of their block, and their p-values adjusted together. A pair that several blocks hold, as floors
    are, is one test.
    """
    from bench.statistics import holm, pairwise

    found = [pairwise(*_measured(block)) if block.complete else {} for block in made]
    tests = [
        {
            pair: pair_key(block.complete[pair[0]][0], block.complete[pair[1]][0])
            for pair in (pairs if block.separable else ())
            if compare == "all" or pair[0] == 0
        }
        for block, pairs in zip(made, found, strict=True)
    ]
    raw = {
        key: pairs[pair].p()
        for pairs, keys in zip(found, tests, strict=True)
        for pair, key in keys.items()
        if len(key) == 2  # else a floor beside itself, run on another device
    }
    adjusted = dict(zip(raw, holm(list(raw.values())), strict=True))
    for block, pairs, keys in zip(made, found, tests, strict=True):
        for line in block.lines:
            line["compared"], line["comparisons"] = compare, len(raw)
        _rank(block, pairs, {pair: adjusted.get(key, 1.0) for pair, key in keys.items()})


def pair_key(one: Row, two: Row) -> frozenset[object]:
    """What two pairs of rows share that are one test, in whatever blocks they are."""
    return frozenset((_test_key(one), _test_key(two)))


def _test_key(row: Row) -> object:
    """A floor has the same answers on every device and beside every backbone."""
    if row.header["init"] != "none":
        return id(row)
    keys = "suite dataset revision split baseline shots options signatures".split()
    about = json.dumps([row.header.get(key) for key in keys], sort_keys=True)
    answers = sorted((r["seed"], r["index"], r["digest"]) for r in row.records())
    scored = sorted((r["seed"], r["index"], r["statistics"]) for r in row.records())
    return about, json.dumps([answers, scored], sort_keys=True)


def _measured(block: Block) -> "tuple[list[list[Entry]], Metric]":
    """The entries of a block's ranked rows, and the metric that ranks them."""
    rows = [row for row, _ in block.complete]
    scorer = next(m for m in metrics(rows[0]) if m.name == block.metric)
    return [entries(row, block.metric) for row in rows], scorer


def _rank(
    block: Block, pairs: "Mapping[tuple[int, int], Estimate]", ps: Mapping[tuple[int, int], float]
) -> None:
    """Writes a block's comparisons, of pairs of ranked rows in their order, into its lines."""
    lines = [line for _, line in block.complete]
    groups = [""] * len(lines)
    if block.separable and lines[0]["compared"] == "all":
        groups = letters(range(len(lines)), lambda i, j: ps[i, j] < ALPHA)
    on_front = front([_point(line, block.metric) for line in lines])
    for place, line in enumerate(lines):
        line["to_best"], line["to_best_low"], line["to_best_high"] = 0.0, 0.0, 0.0
        if place:
            ahead = pairs[0, place]  # the best row's lead over this one
            bounds = ahead.interval(1 - ALPHA)
            line["to_best"] = -ahead.value
            line["to_best_low"], line["to_best_high"] = -bounds.high, -bounds.low
            line["to_best_p"] = ps.get((0, place))
        line["group"], line["pareto"] = groups[place], on_front[place]


def _point(line: Mapping[str, Any], metric: str) -> Point:
    """A row's score and adaptation; without inner steps it costs nothing."""
    cost = line["adapt_ms"] if line.get("inner_step_ms") is not None else 0.0
    return Point(line[metric], cost, f"{line['device']} {line['dtype']} {line['threads']}")


def ranked(
    directories: "Sequence[str | Path]",
    metric: str | None = None,
    compare: Compare = "all",
    change: Callable[[list[Row]], list[Row]] = list,
) -> list[Block]:
    """The blocks of some run directories, compared; see `leaderboard`. `change` makes of all rows
    those that are shown."""
    from bench.merged import apart, made_otherwise
    from bench.unfinished import planned_rows

    rows = change(planned_rows([Path(directory) for directory in directories]))
    if not rows:
        raise UserError(f"no finished cell in {', '.join(map(str, directories))}")
    for row in rows:
        if metric and row.cells:
            _check_ranking(metric, row.header["signatures"])
    made = [_block(members, metric) for members in blocks(rows)]
    made.sort(
        key=lambda block: (
            not any(row.cells or row.failed for row in block.rows),  # where no cell has ended
            *(block.lines[0][key] for key in ("suite", "dataset", "shots")),
        )
    )
    for number, block in enumerate(made, 1):
        for line in block.lines:
            line["block"] = str(number)
            # Only where there is something to say: most tables have no such columns.
            line |= {"apart": why} if (why := apart(block, made[: number - 1])) else {}
            line |= {"made_otherwise": how} if (how := made_otherwise(block.rows)) else {}
    _compare(made, compare)
    return made


def _check_ranking(metric: str, signatures: Mapping[str, str]) -> None:
    """Raises `UserError` for a metric that was not recorded, or of which more is not better."""
    from bench.metrics import ranks

    if metric not in signatures:
        raise unknown("metric", metric, signatures)
    if not ranks(signatures[metric]):
        raise UserError(
            f"{metric} ranks nothing, more of it is not better; its column is in the csv file, "
            "rank by another metric"
        )


def frame_of(made: Sequence[Block]) -> "pd.DataFrame":
    """The lines of blocks as a table."""
    import pandas as pd

    frame = pd.DataFrame([line for block in made for line in block.lines])
    return frame.astype({"pareto": "boolean"})


def leaderboard(
    directories: "Sequence[str | Path]", metric: str | None = None, compare: Compare = "all"
) -> "pd.DataFrame":
    """The rows of some run directories as a table, best first within a block.

    Args:
        directories: written by `run`.
        metric: ranks in place of each suite's primary metric.
        compare: tests all pairs of rows, or each row against the best of its block only, as
            `fewgen paired` does; there are then no letters.

    Returns:
        One row for each (suite, dataset, baseline, shots) of a block; scores are 0 to 100, times in
        milliseconds (`train_s` in seconds), memory in MiB, energy in joules, utilisation from 0
        to 1. `to_best` is the paired difference to the best row of the block on the ranking
        metric, with its 95 % interval; `to_best_p` is its p-value, adjusted for all `comparisons`
        (Holm, 1979): of pairs of rows of all blocks, each counted once. Rows of a block that share
        a letter of `group` do not differ by those p-values at 5 %. Blocks of fewer than six `tasks`
        have neither, as an exact sign-flip test of them has no p-value below 5 %. `probe_loss`,
        with its interval, is what a row loses on the ranking metric under another task's support,
        where that was probed. `pareto`: no row of the block has as good a score for as short an
        adaptation, and one of both better. Rows that lack cells have no comparison, nor have those
        that learned from more than support sets, which stand last.

    Raises:
        UserError: no run directory, no finished cell, or a metric that was not recorded.
    """
    return frame_of(ranked(directories, metric, compare))
