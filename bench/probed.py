"""What rows lose under a wrong support: own minus wrong on the episodes that were probed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.probes import OTHER_TASK

if TYPE_CHECKING:
    from bench.metrics import Metric
    from bench.statistics import Entry, Estimate, Interval
    from bench.tables import Row

LOSS = "probe_loss"  # column of a leaderboard


@dataclass(frozen=True)
class Loss:
    """A corpus score under the own support minus that under a wrong one, in points.

    Attributes:
        own: the score of the probed episodes, `wrong` the same under the wrong support.
        interval: 95 %, over tasks and train seeds, paired.
        episodes: that were probed; those of several train seeds count once, `tasks` theirs.
    """

    estimate: "Estimate"
    interval: "Interval"
    own: float
    wrong: float
    episodes: int
    tasks: int

    @property
    def uses_support(self) -> bool:
        """Whether the loss is shown to be above 0."""
        return self.interval.low > 0


def probed_entries(row: "Row", metric: str, probe: str) -> "tuple[list[Entry], list[Entry]]":
    """The sufficient statistics of the episodes of a row that were answered with a wrong support:
    under their own, and under that."""
    import numpy as np

    from bench.statistics import Entry

    own, wrong = list[Entry](), list[Entry]()
    for (train, seed), records in row.cells.items():
        for record in records:
            if probe not in record.get("probes", {}):
                continue
            for entries, found in ((own, record["statistics"]), (wrong, record["probes"][probe])):
                sums = np.sum(np.array(found[metric]), axis=0)
                entries.append(Entry(record["task"], train, seed, record["index"], sums))
    return own, wrong


def loss_of(row: "Row", metric: "Metric", probe: str = OTHER_TASK) -> Loss | None:
    """What a row loses under a probe; None where no episode of it was probed."""
    from bench.statistics import Interval, corpus_score, difference

    own, wrong = probed_entries(row, metric.name, probe)
    if not own:
        return None
    found = difference(own, wrong, metric)
    bounds: Interval = found.interval()
    scores = corpus_score(own, metric), corpus_score(wrong, metric)
    keys = {entry.key for entry in own}
    return Loss(found, bounds, *scores, len(keys), len({task for task, _, _ in keys}))


def loss_columns(row: "Row", metric: str) -> dict[str, Any]:
    """Columns of a table: the loss under another task's support, its interval, and the episodes it
    rests on; {} of a row that was not probed."""
    from bench.tables import metrics

    scorer = next((m for m in metrics(row) if m.name == metric), None)
    found = scorer and loss_of(row, scorer)
    if not found:
        return {}
    return {
        LOSS: found.estimate.value,
        f"{LOSS}_low": found.interval.low,
        f"{LOSS}_high": found.interval.high,
        f"{LOSS}_episodes": found.episodes,
    }


def is_probed(line: Mapping[str, Any]) -> bool:
    """Whether a line of a table tells a loss."""
    value = line.get(LOSS)
    return value is not None and value == value


def flagged(line: Mapping[str, Any]) -> bool:
    """Whether a line was probed and its loss is not shown to be above 0."""
    return is_probed(line) and not line[f"{LOSS}_low"] > 0
