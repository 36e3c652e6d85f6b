"""What the report shows: the leaderboard's blocks, each line with the records behind it."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.shown import title
from bench.statistics import corpus_score
from bench.streams import digest_of
from bench.tables import Block as RankedBlock
from bench.tables import Row, entries, frame_of, metrics, ranked
from bench.without_texts import without_texts

if TYPE_CHECKING:
    import pandas as pd

    from bench.metrics import Metric

Place = tuple[int, int]  # (seed, index) of an episode
Record = Mapping[str, Any]
TELLING = ("backbone_identity", "device", "dtype", "threads", "tuning")  # of rows of one name

ASKED = ("tasks", "queries", "episodes", "max_new_tokens", "pretrain")  # of a block's settings


@dataclass(frozen=True)
class Line:
    """A line of a block's leaderboard.

    Attributes:
        number: its place in the block, from 0.
        label: baseline and options, unlike that of any other line of the block.
        series: the number of its colour and sign, the same for a label in all blocks.
        values: its columns of `bench.tables.leaderboard`.
        metric: what the block is ranked by.
    """

    number: int
    label: str
    series: int
    values: dict[str, Any]
    row: Row
    metric: "Metric"

    @property
    def on_front(self) -> bool:
        """Whether no row of the block is at least as good for as short an adaptation."""
        return self.values["pareto"] is True

    def told(self, name: str) -> float | None:
        """The number in a column; None where there is none."""
        value = self.values.get(name)
        return None if value is None or math.isnan(value) else float(value)

    @cached_property
    def records(self) -> dict[Place, list[tuple[int | None, Record]]]:
        """The row's records of each episode with their train seeds."""
        found: dict[Place, list[tuple[int | None, Record]]] = defaultdict(list)
        for train_seed, seed in sorted(self.row.cells, key=lambda cell: (cell[0] or 0, cell[1])):
            for record in self.row.cells[train_seed, seed]:
                found[seed, record["index"]].append((train_seed, record))
        return dict(found)

    def score(self, record: Record) -> float:
        """The corpus score of one episode."""
        import numpy as np

        return self.metric.score(np.sum(np.array(record["statistics"][self.metric.name]), axis=0))

    def score_after(self, step: str) -> tuple[float, float, float]:
        """The row's corpus score after an inner step, between both ends of its interval."""
        import numpy as np

        from bench.statistics import Entry, interval

        measured = [
            Entry(
                record["task"],
                train_seed,
                seed,
                record["index"],
                np.sum(np.array(record["after"][step][self.metric.name]), axis=0),
            )
            for (train_seed, seed), records in self.row.cells.items()
            for record in records
        ]
        bounds = interval(measured, self.metric)
        return bounds.low, corpus_score(measured, self.metric), bounds.high

    def query_scores(self, record: Record) -> list[float]:
        """The score of each query alone."""
        import numpy as np

        return [self.metric.score(np.array(q)) for q in record["statistics"][self.metric.name]]

    @cached_property
    def task_scores(self) -> dict[str, float]:
        """The corpus score of each task's episodes: of each train seed and seed, then their
        mean."""
        found = defaultdict(list)
        for entry in entries(self.row, self.metric.name):
            found[entry.task].append(entry)
        return {task: corpus_score(measured, self.metric) for task, measured in found.items()}

    @cached_property
    def task_ranges(self) -> dict[str, tuple[float, float]]:
        """The lowest and the highest score of an episode of each task."""
        found = defaultdict(list)
        for record in self.row.records():
            found[record["task"]].append(self.score(record))
        return {task: (min(scores), max(scores)) for task, scores in found.items()}


@dataclass(frozen=True)
class Block:
    """Lines that stand together, best first.

    Attributes:
        number: as in the leaderboard, from 1.
        frame: the block's part of the leaderboard.
    """

    number: int
    frame: "pd.DataFrame"
    lines: list[Line]

    @property
    def ranked(self) -> RankedBlock:
        """The block of the leaderboard."""
        return RankedBlock([line.row for line in self.lines], [line.values for line in self.lines])

    @property
    def suite(self) -> str:
        """Whose episodes these are."""
        return str(self.frame.iloc[0]["suite"])

    @property
    def shots(self) -> int:
        """K."""
        return int(self.frame.iloc[0]["shots"])

    @property
    def metric(self) -> str:
        """What ranks."""
        return str(self.frame.iloc[0]["rank_metric"])

    @property
    def metric_title(self) -> str:
        """What ranks, as tables call it."""
        return title(self.metric)

    @property
    def folder(self) -> str:
        """Where its pages lie: letters and digits, whatever the suite is called."""
        plain = re.sub(r"[^a-z0-9]+", "-", self.suite.lower()).strip("-")[:40]
        return "-".join(part for part in (str(self.number), plain, f"k{self.shots}") if part)

    @property
    def family(self) -> str:
        """The same for blocks that differ in shots alone."""
        head = self.lines[0].row.header
        asked = {key: head["settings"].get(key) for key in ASKED}
        shared = [head.get(key) for key in ("suite", "dataset", "revision", "split", "signatures")]
        identities = sorted({str(i) for i in self.frame["backbone_identity"] if i})
        decoding = sorted({str(d) for d in self.frame["decoding"].dropna()})
        seeds = sorted({seed for line in self.lines for _, seed in line.row.planned})
        return digest_of(*shared, self.metric, asked, identities, decoding, seeds)

    @cached_property
    def tasks(self) -> dict[Place, str]:
        """The task of each episode, in order of seed and index."""
        found = {
            place: recorded[0][1]["task"]
            for line in self.lines
            for place, recorded in line.records.items()
        }
        return dict(sorted(found.items()))

    @cached_property
    def digests(self) -> dict[Place, str]:
        """The digest of each episode; all lines of a block agree."""
        return {place: d for line in self.lines for place, d in line.row.digests.items()}

    @cached_property
    def places(self) -> dict[str, list[Place]]:
        """The episodes of each task, tasks by name."""
        found: dict[str, list[Place]] = defaultdict(list)
        for place, task in self.tasks.items():
            found[task].append(place)
        return dict(sorted(found.items()))


def read_blocks(
    directories: Sequence[Path], metric: str | None = None, texts: bool = True
) -> list[Block]:
    """The blocks of `bench.tables.leaderboard`, in its order.

    Args:
        directories: written by `fewgen run`.
        metric: ranks in place of each suite's primary metric.
        texts: whether records keep theirs; else as `bench.without_texts` says.

    Raises:
        UserError: as `leaderboard`.
    """
    series: dict[str, int] = {}
    blocks = []
    change = list if texts else without_texts
    for number, made in enumerate(ranked(directories, metric, change=change), 1):
        lines = [
            Line(
                place,
                label,
                series.setdefault(label, len(series)),
                values,
                row,
                _metric(row, made.metric),
            )
            for place, (label, row, values) in enumerate(
                zip(_labels(made.rows), made.rows, made.lines, strict=True)
            )
        ]
        blocks.append(Block(number, frame_of([made]), lines))
    return blocks


def _metric(row: Row, name: str) -> "Metric":
    """The row's metric of that name; a row that failed altogether may know none."""
    from bench.metrics import MeanMetric

    return next((metric for metric in metrics(row) if metric.name == name), MeanMetric(name))


def _labels(rows: Sequence[Row]) -> list[str]:
    """What each row of a block is called: baseline, options that are not the defaults, and where
    two would be called alike, what they differ in."""
    names = [_label(row.header["baseline"], row.header.get("changed") or {}) for row in rows]
    for name in [name for name, count in Counter(names).items() if count > 1]:
        alike = [place for place, other in enumerate(names) if other == name]
        told = [_telling(rows[place]) for place in alike]
        differ = [key for key in told[0] if len({str(values.get(key)) for values in told}) > 1]
        for rank, (place, values) in enumerate(zip(alike, told, strict=True), 1):
            more = {key: values.get(key) for key in differ} or {"row": rank}
            names[place] = _label(name, more)
    return names


def _telling(row: Row) -> dict[str, Any]:
    head = row.header
    return {**{key: head.get(key) for key in TELLING}, **head["settings"]}


def _label(name: str, values: Mapping[str, Any]) -> str:
    told = ", ".join(f"{key} = {value}" for key, value in values.items())
    return f"{name} ({told})" if told else name


def families(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """Blocks that differ in shots alone, fewest shots first."""
    found: dict[str, list[Block]] = defaultdict(list)
    for block in blocks:
        found[block.family].append(block)
    for members in found.values():
        yield sorted(members, key=lambda block: block.shots)
