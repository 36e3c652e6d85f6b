"""What methods know of meta-train tasks without being shown them: seen tasks against unseen."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.probed import probed_entries
from bench.ranks import ALPHA
from bench.tables import Row, entries, metrics

if TYPE_CHECKING:
    from bench.statistics import Entry, Estimate

Line = dict[str, Any]
OWN = "own"
Key = tuple[Any, ...]


def place(row: Row) -> Line:
    """Which row it is."""
    head = row.header
    return {key: head[key] for key in ("suite", "dataset", "shots", "baseline", "init")}


def _key(row: Row) -> Key:
    return tuple(place(row).values())


def memory_lines(
    unseen: Sequence[Row], seen: Sequence[Row], supports: Sequence[str], reference: str
) -> list[Line]:
    """Of each row of meta-train tasks and each support: its score on them minus that on meta-test
    tasks, the excess of that over the reference's, and whether it shows memorisation.

    It does where a wrong support, or none, leaves a method better on tasks that it was trained on
    than on others, by more than the reference: both intervals lie above 0, that of the excess after
    Holm's (1979) adjustment over all lines.

    Args:
        unseen: rows of meta-test tasks, `seen` rows of meta-train tasks.
        supports: names of probes, or `own`.
        reference: a baseline that no meta-train task was adapted to.
    """
    others, lines = {_key(row): row for row in unseen}, list[Line]()
    references = {_where(row): row for row in seen if row.header["baseline"] == reference}
    for row in seen:
        other, held = others.get(_key(row)), references.get(_where(row))
        if other is None or row.header["signatures"] != other.header["signatures"]:
            continue
        against = (held, others.get(_key(held))) if held and held is not row else (None, None)
        for support in supports:
            lines += _compared(support, (row, other), against)
    return _judged(lines)


def _where(row: Row) -> Key:
    return tuple(row.header[key] for key in ("suite", "dataset", "shots"))


def _compared(
    support: str, rows: tuple[Row, Row], against: tuple[Row | None, Row | None]
) -> Iterator[Line]:
    """The line of one support; none where no episode was answered with it."""
    from bench.statistics import apart, corpus_score

    metric = next(m for m in metrics(rows[1]) if m.name == rows[1].header["primary"])
    sides = [[_answered(row, metric.name, support)] for row in rows]
    if not all(side[0] for side in sides):
        return
    found = apart(sides[0], sides[1], metric)
    line = {
        **place(rows[1]),
        "metric": metric.name,
        "measure": "memory",
        "support": support,
        "first": corpus_score(sides[0][0], metric),
        "second": corpus_score(sides[1][0], metric),
        "difference": found.value,
        **_ends("", found),
        "tasks": min(len({entry.task for entry in side[0]}) for side in sides),
        "episodes": min(len({entry.key for entry in side[0]}) for side in sides),
    }
    if against[0] and against[1]:
        for side, row in zip(sides, against, strict=True):
            assert row is not None
            side.append(_answered(row, metric.name, support))
        excess = apart(sides[0], sides[1], metric)
        line |= {"excess": excess.value, **_ends("excess_", excess), "p": excess.p()}
    yield line


def _answered(row: Row, metric: str, support: str) -> "list[Entry]":
    return entries(row, metric) if support == OWN else probed_entries(row, metric, support)[1]


def _ends(prefix: str, found: "Estimate") -> dict[str, float]:
    bounds = found.interval()
    return {f"{prefix}low": bounds.low, f"{prefix}high": bounds.high}


def _judged(lines: list[Line]) -> list[Line]:
    """With adjusted p-values, and whether a line shows memorisation."""
    from bench.statistics import holm

    tested = [line for line in lines if "p" in line and line["support"] != OWN]
    for line, adjusted in zip(tested, holm([line["p"] for line in tested]), strict=True):
        line["p"] = adjusted
        line["memorised"] = line["low"] > 0 and line["excess"] > 0 and adjusted < ALPHA
    return lines


def shows_memory(line: Mapping[str, Any]) -> bool:
    """Whether a line shows memorisation; False where nothing was held against it."""
    return bool(line.get("memorised"))
