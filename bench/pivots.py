"""Blocks side by side: one column a suite, a number of shots or a backbone."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bench.blocks import ASKED, EXEMPT, agree, decoding_of, questions, start
from bench.captions import facts, losses, side_by_side
from bench.probed import LOSS, is_probed
from bench.shown import MISSING, Shown, flag, leads, score, title
from bench.tables import Block, Row, entries, frame_of, metrics

if TYPE_CHECKING:
    import pandas as pd

    from bench.across import Aggregate

# What blocks may differ in and still stand in one table; they are equal in all other questions.
FREE = {
    "suite": {"suite", "dataset", "revision", "signatures", "seeds", *ASKED},
    "shots": {"shots"},
    "backbone": set[str](),
}
# What columns differ in.
OWN = {
    "suite": "suite dataset revision".split(),
    "shots": ["shots"],
    "backbone": "backbone backbone_identity".split(),
}
OVER = "over suites (IQM)"
IQM = (
    "the mean of the middle half of all tasks' scores, each on its suite's metric; brackets are "
    "95 % intervals that resample tasks within each suite, crossed with train seeds. A row without "
    "it lacks cells of a suite, or its train seeds differ or met different tasks."
)
PROFILE = (25, 50, 75)  # thresholds of the performance profile that a table shows
TOLD = "suite dataset revision split shots decoding backbone backbone_identity".split()


Cells = dict[str, Mapping[str, Any]]  # the lines of one method, by the headings of their columns


@dataclass(frozen=True)
class Method:
    """A row of a pivot.

    Attributes:
        cells: its line in each column that has one.
        over: it over several suites, if it is complete in all of them and its train seeds met the
            same tasks.
    """

    name: str
    cells: Cells
    over: "Aggregate | None"


@dataclass(frozen=True)
class Pivot:
    """A table of blocks side by side.

    Attributes:
        by: suite, shots or backbone.
        columns: the blocks by their headings.
        methods: in the order of the first column, then of the next.
    """

    by: str
    columns: Mapping[str, Block]
    methods: Sequence[Method]

    @property
    def titles(self) -> dict[str, str]:
        """What a reader sees above each column."""
        return {
            heading: f"{name} ({title(block.metric)})"
            for name, (heading, block) in zip(self.names, self.columns.items(), strict=True)
        }

    @property
    def names(self) -> list[str]:
        """What the columns differ in."""
        return [h.replace("k", "K = ") if self.by == "shots" else h for h in self.columns]

    @cached_property
    def shown(self) -> Shown:
        """The table to be read."""
        return _shown(self)


@dataclass
class _Table:
    """Blocks that may stand side by side, by the value of the pivot."""

    key: str
    columns: dict[Any, Block] = field(default_factory=dict)

    def takes(self, key: str, value: Any, block: Block, by: str) -> bool:
        """Whether a block may be added; backbones must have met the same episodes."""
        if key != self.key or value in self.columns:
            return False
        others = [row for other in self.columns.values() for row in other.rows]
        return by != "backbone" or agree([*others, *block.rows])


def _models(block: Block) -> list[Row]:
    """The rows that the block's backbone is of."""
    return [row for row in block.rows if row.header["init"] not in EXEMPT]


def _start(block: Block) -> str | None:
    """The weights that all but exempt rows of a block start from."""
    return next(map(start, _models(block)), None)


def _tables(blocks: Sequence[Block], by: str) -> list[_Table]:
    """Each block in the first table that may take it."""
    made: list[_Table] = []
    for block in blocks:
        asked = {k: v for k, v in questions(block.rows[0]).items() if k not in FREE[by]}
        asked["decoding"] = next(filter(None, map(decoding_of, block.rows)), None)
        if by != "suite":
            asked["metric"] = block.metric
        if by != "backbone":
            asked["start"] = _start(block)
        value = _start(block) if by == "backbone" else block.rows[0].header[by]
        key = json.dumps(asked, sort_keys=True)
        table = next((t for t in made if t.takes(key, value, block, by)), None)
        if table is None:
            made.append(table := _Table(key))
        table.columns[value] = block
    if by == "shots":
        for table in made:
            table.columns = dict(sorted(table.columns.items()))
    return made


def _models_line(block: Block) -> Mapping[str, Any]:
    """A line that tells the block's backbone, if it has one."""
    return next((line for line in block.lines if line["init"] not in EXEMPT), block.lines[0])


def _headings(table: _Table, by: str) -> list[str]:
    """A name for each column."""
    if by == "shots":
        return [f"k{shots}" for shots in table.columns]
    if by == "suite":
        return list(table.columns)
    lines = [_models_line(block) for block in table.columns.values()]
    names = [str(line["backbone"] or "none") for line in lines]
    for more in ([line["backbone_identity"] for line in lines], range(1, len(lines) + 1)):
        names = [
            name if names.count(name) == 1 else f"{name} {what}".strip()
            for name, what in zip(names, more, strict=True)
        ]
    return names


def _identity(row: Row) -> dict[str, Any]:
    """What makes rows of different blocks the same method."""
    head = row.header
    keys = "baseline init order options tuning device dtype threads".split()
    return {
        **{key: head.get(key) for key in keys},
        **{key: value for key, value in head["settings"].items() if key not in ASKED},
        "start": json.loads(start(row)) if head["init"] in EXEMPT else None,
    }


def _names(rows: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]) -> dict[str, str]:
    """What a reader calls each row, given its identity and a line of it: the baseline, the options
    that were changed, and where several are called so, what they differ in."""
    plain = {
        key: line["baseline"] + (f" ({line['options']})" if line["options"] else "")
        for key, (_, line) in rows.items()
    }
    names = {}
    for key, name in plain.items():
        alike = [rows[other][0] for other in plain if plain[other] == name]
        mine = rows[key][0]
        names[key] = name + "".join(
            f", {what} = {mine.get(what)}"
            for what in mine
            if any(other.get(what) != mine[what] for other in alike)
        )
    return names


def pivot(blocks: Sequence[Block], by: str) -> "tuple[pd.DataFrame, list[Shown]]":
    """Compared blocks side by side.

    Only blocks that are alike in all but the pivot share a table: of suites, those with equal
    shots, split, backbone and decoding; of shots and of backbones, those with otherwise equal
    questions and metrics. What was ranked, tested and marked in a block stays inside its column.

    Args:
        blocks: of `bench.tables.ranked`.
        by: suite, shots or backbone.

    Returns:
        A table with a row for each method of each table (column `table`), whose columns
        `COLUMN:NAME` are the score by its metric's name, `_low`, `_high`, `group`, `pareto`,
        `adapt_ms`, `probe_loss` where that was probed, and what differs between columns; and the
        same as a reader sees it. Suites add `iqm` of the tasks of all of them and `above_25`,
        `above_50`, `above_75`, the shares of tasks that score more, each with `_low` and `_high`;
        empty for a method that some suite lacks, or whose train seeds met different tasks.
    """
    import pandas as pd

    tables = pivoted(blocks, by)
    lines = [
        {
            "table": str(number),
            **shared(table),
            **_long(method, table.columns),
            **_aggregated(method.over),
        }
        for number, table in enumerate(tables, 1)
        for method in table.methods
    ]
    frame = pd.DataFrame(lines)
    marks = [name for name in frame.columns if name.endswith(":pareto")]
    return frame.astype(dict.fromkeys(marks, "boolean")), [table.shown for table in tables]


def pivoted(blocks: Sequence[Block], by: str) -> list[Pivot]:
    """The tables of `pivot`."""
    made = []
    for table in _tables(blocks, by):
        columns = dict(zip(_headings(table, by), table.columns.values(), strict=True))
        methods = [
            Method(name, cells, _over(cells, columns) if by == "suite" else None)
            for name, cells in _rows(columns)
        ]
        made.append(Pivot(by, columns, methods))
    return made


def _rows(columns: Mapping[str, Block]) -> list[tuple[str, Cells]]:
    """The methods with their names, in the order of the first column, then of the next."""
    identities: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}
    found: dict[str, Cells] = {}
    for heading, block in columns.items():
        for row, line in zip(block.rows, block.lines, strict=True):
            identity = _identity(row)
            key = json.dumps(identity, sort_keys=True)
            if heading in found.get(key, {}):  # one backbone by two names
                identity["backbone"] = row.header["backbone"]
                key = json.dumps(identity, sort_keys=True)
            identities.setdefault(key, (identity, line))
            cells = found.setdefault(key, {})
            assert heading not in cells, "two rows of a block are one method"
            cells[heading] = line
    names = _names(identities)
    return [(names[key], cells) for key, cells in found.items()]


def shared(table: Pivot) -> dict[str, Any]:
    """What is true of all columns, then what is of each."""
    heads = {heading: _models_line(block) for heading, block in table.columns.items()}
    own = OWN[table.by]
    return {
        **{key: _one(head[key] for head in heads.values()) for key in TOLD if key not in own},
        **{f"{heading}:{key}": head[key] for heading, head in heads.items() for key in own},
    }


def _one(values: Iterable[Any]) -> Any:
    """The value of all; backbones that are pre-trained anew have other weights in each suite."""
    found = list(dict.fromkeys(value for value in values if value is not None))
    return found[0] if len(found) == 1 else ",".join(map(str, found)) or None


def _long(method: Method, columns: Mapping[str, Block]) -> dict[str, Any]:
    """A method's values in full."""
    first = next(iter(method.cells.values()))
    made = {
        "row": method.name,
        **{key: first[key] for key in "baseline options init order".split()},
    }
    for heading, block in columns.items():
        metric = block.metric
        scores = (metric, f"{metric}_low", f"{metric}_high")
        for key in (*scores, "group", "pareto", "tasks", "adapt_ms"):
            made[f"{heading}:{key}"] = method.cells.get(heading, {}).get(key)
        if any(map(is_probed, block.lines)):
            for key in (LOSS, f"{LOSS}_low", f"{LOSS}_high", f"{LOSS}_episodes"):
                made[f"{heading}:{key}"] = method.cells.get(heading, {}).get(key)
    return made


def _over(cells: Cells, columns: Mapping[str, Block]) -> "Aggregate | None":
    """A method over several suites, if all its rows are complete, train seeds with the same
    tasks."""
    from bench.across import aggregate, comparable

    measured = []
    for heading, block in columns.items():
        pairs = zip(block.rows, block.lines, strict=True)
        whole = (row for row, line in pairs if row.complete and line is cells.get(heading))
        row = next(whole, None)
        if row is None or len(columns) < 2:
            return None
        metric = next(metric for metric in metrics(row) if metric.name == block.metric)
        measured.append((entries(row, block.metric), metric))
    return aggregate(measured) if comparable([found for found, _ in measured]) else None


def _aggregated(found: "Aggregate | None") -> dict[str, float]:
    """An aggregate in columns."""
    if found is None:
        return {}
    made = {"iqm": found.iqm, "iqm_low": found.interval.low, "iqm_high": found.interval.high}
    for point in found.profile:
        if point.threshold in PROFILE:
            name = f"above_{point.threshold}"
            made[name] = point.share
            made[f"{name}_low"], made[f"{name}_high"] = point.interval.low, point.interval.high
    return made


def _subject(block: Block, by: str) -> str:
    """What a table's columns have in common."""
    line = block.lines[0]
    said = {"suite": str(line["suite"]), "shots": f"K = {line['shots']}"}
    return ", ".join(text for key, text in said.items() if key != by)


def _iqm(found: "Aggregate") -> str:
    """An interquartile mean with its interval."""
    return f"{found.iqm:.1f} [{found.interval.low:.1f}, {found.interval.high:.1f}]"


def _told(block: Block) -> dict[str, list[str]]:
    """What the caption says of a column."""
    frame = frame_of([block])
    told = {k: v for k, v in facts(frame).items() if k not in ("ranked", "beside")}
    return {**told, "lost": losses(frame)}


def _shown(table: Pivot) -> Shown:
    import pandas as pd

    columns, titles, over = table.columns, table.titles, any(m.over for m in table.methods)
    texts, bold = [], set()
    for place, method in enumerate(table.methods):
        first = next(iter(method.cells.values()))
        text = {key: first[key] or MISSING for key in ("init", "order")}
        for heading, block in columns.items():
            line = method.cells.get(heading, {})
            text[titles[heading]] = (
                f"{score(line, block.metric)} {line.get('group', '')}".strip() + flag(line)
            )
            if leads(line):
                bold.add((place, titles[heading]))
        if over:
            text[OVER] = _iqm(method.over) if method.over else MISSING
        texts.append({"baseline": method.name, **text})
    told = {titles[heading]: _told(block) for heading, block in columns.items()}
    subject = _subject(next(iter(columns.values())), table.by)
    caption = [
        f"By {table.by}, {subject}: {', '.join(table.names)}",
        "Each column is a block of its own: letters and bold hold inside it. "
        "Rows stand in the order of the first column.",
        *side_by_side(told),
        *([f"{OVER}: {IQM}"] if over else []),
    ]
    return Shown(pd.DataFrame(texts), frozenset(bold), caption)
