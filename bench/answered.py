"""Finished rows as a variance split needs them: what differs in the decoding seed alone is one."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import blocks as standing
from bench.asked import name_of
from bench.errors import UserError, unknown
from bench.records import read_json
from bench.streams import digest_of
from bench.tables import Row, _row_key, entries, metrics
from bench.unfinished import planned_rows

if TYPE_CHECKING:
    from bench.variance import Values

DECODING_SEED = re.compile(r", decoding_seed = (\d+)$")


@dataclass(frozen=True)
class Answered:
    """A row with its repetitions under other decoding seeds.

    Attributes:
        rows: decoding seed to row; None for answers that are not sampled.
        metric: that it is split on.
    """

    rows: Mapping[int | None, Row]
    metric: str

    @property
    def header(self) -> dict[str, Any]:
        """Of the first row."""
        return next(iter(self.rows.values())).header

    @property
    def name(self) -> str:
        """The baseline and the options that are not its defaults."""
        changed = ", ".join(f"{k} = {v}" for k, v in (self.header.get("changed") or {}).items())
        return str(self.header["baseline"]) + (f" ({changed})" if changed else "")

    @property
    def place(self) -> str:
        """Where the row stands: the suite, the data, the shots, the metric."""
        head = self.header
        data = "" if head["dataset"] == "embedded" else f" ({head['dataset']})"
        return f"{head['suite']}{data}, K = {head['shots']}, {self.metric}"

    @property
    def trained(self) -> bool:
        """Whether it has train seeds."""
        return any(seed is not None for row in self.rows.values() for seed, _ in row.cells)

    def values(self) -> "Values":
        """Linearised scores of its episodes.

        Raises:
            UserError: its train seeds met different episodes.
        """
        from bench.variance import values_of

        scorer = next(m for m in metrics(next(iter(self.rows.values()))) if m.name == self.metric)
        answers = {seed: entries(row, self.metric) for seed, row in self.rows.items()}
        try:
            return values_of(answers, scorer)
        except ValueError as error:
            raise UserError(
                f"{self.name} on {self.place}: {error}; run all seeds with all train seeds"
            ) from None

    def minus(self, other: "Answered") -> "Values":
        """The paired difference.

        Raises:
            UserError: they share no episode, train seed or decoding seed.
        """
        one, two = self.values(), other.values()
        try:
            return one.minus(two)
        except ValueError as error:
            raise UserError(
                f"{self.name} minus {other.name} on {self.place}: {error}; run both with the same "
                "seeds and train seeds"
            ) from None

    def seconds(self) -> tuple[float, float]:
        """Seconds of an episode, adaptation and answers, and of one meta-training: means on the
        row's device; 0 without a model."""
        costs = [r["costs"] for row in self.rows.values() for r in row.records() if "costs" in r]
        spent = [cost["adapt_ms"] + cost["generate_ms"] for cost in costs]
        headers = [head for row in self.rows.values() for head in row.headers]
        trained = {h["train_seed"]: (h.get("train") or {}).get("seconds", 0.0) for h in headers}
        training = sum(trained.values()) / max(len(trained), 1)
        return (sum(spent) / len(spent) / 1e3 if spent else 0.0), training


def answered(
    directories: Sequence[Path], metric: str | None, say: Callable[[str], None]
) -> list[list[Answered]]:
    """The finished rows of run directories, in blocks that may be compared.

    Args:
        directories: written by `run`.
        metric: in place of each suite's primary metric.
        say: told of each row that is left out.

    Raises:
        UserError: no run directory, no finished row, a metric that was not recorded.
    """
    rows = planned_rows(directories)
    finished = [row for row in rows if row.complete]
    for row in rows:
        if not row.complete:
            say(f"left out, unfinished: {name_of(row.header)}")
    if not finished:
        raise UserError(f"no finished row in {', '.join(map(str, directories))}")
    for row in finished:
        if metric and metric not in row.header["signatures"]:
            raise unknown("metric", metric, row.header["signatures"])
    joined: dict[str, dict[int | None, Row]] = {}
    for row in finished:
        seed, key = _drawn(row)
        joined.setdefault(key, {})[seed] = row
    made: dict[int, Answered] = {}
    leads = []
    for repeats in joined.values():
        rows_by_seed = {seed: repeats[seed] for seed in sorted(repeats, key=lambda s: s or 0)}
        leads.append(next(iter(rows_by_seed.values())))
        made[id(leads[-1])] = Answered(rows_by_seed, metric or leads[-1].header["primary"])
    return [[made[id(row)] for row in block] for block in standing.blocks(leads)]


def _drawn(row: Row) -> tuple[int | None, str]:
    """A row's decoding seed, None where answers are not sampled, and what its repetitions under
    others share with it."""
    decoding = standing.decoding_of(row) or ""
    found = DECODING_SEED.search(decoding)
    bare = DECODING_SEED.sub("", decoding)
    settings = {**row.header["settings"], "decoding": bare}
    key = [_row_key({**row.header, "settings": settings}), digest_of(sorted(row.digests.items()))]
    sampled = bare.startswith("sample")
    return (int(found[1]) if found else 0) if sampled else None, json.dumps(key)


def named(blocks: Sequence[Sequence[Answered]], baseline: str) -> None:
    """Checks that a baseline has a finished row.

    Raises:
        UserError: it has none; the message holds the close matches.
    """
    known = {row.header["baseline"] for block in blocks for row in block}
    if baseline not in known:
        raise unknown("baseline", baseline, known)


def pairs(
    blocks: Sequence[Sequence[Answered]], baseline: str, minus: str
) -> Iterator[tuple[Answered, Answered]]:
    """The rows of two baselines that stand in one block.

    Raises:
        UserError: one has no finished row, both are the same, or no block holds both.
    """
    named(blocks, baseline)
    named(blocks, minus)
    if baseline == minus:
        raise UserError(f"--baseline and --minus both name {baseline!r}; name two baselines")
    made = {
        (id(one), id(two)): (one, two)  # floors stand in several blocks
        for block in blocks
        for one in block
        for two in block
        if (one.header["baseline"], two.header["baseline"]) == (baseline, minus)
    }
    if not made:
        raise UserError(
            f"{baseline} and {minus} stand in no common block: their suites, episodes, backbones, "
            "metrics or decodings differ"
        )
    yield from made.values()


def tasks_there(directories: Sequence[Path], suite: str, shots: int) -> int | None:
    """How many tasks of the measured split the suite has, as the runs noted it."""
    counts = []
    for directory in directories:
        facts = read_json(Path(directory) / "run.json").get("facts") or {}
        tasks = facts.get("suites", {}).get(suite, {}).get("tasks", {}).get(f"k{shots}")
        counts += [len(tasks)] if tasks else []
    return max(counts, default=None)
