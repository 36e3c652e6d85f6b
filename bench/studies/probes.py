"""Does a method use its support set, and what does it know of meta-train tasks without it?"""

from collections.abc import Mapping
from pathlib import Path

from bench.baseline import Learner
from bench.errors import UserError
from bench.metrics import Metric
from bench.probed import loss_of, probed_entries
from bench.probes import OTHER_TASK, PROBES
from bench.ranks import ALPHA
from bench.registry import load, names
from bench.statistics import holm, interval
from bench.studies.memory import OWN, Line, memory_lines, place
from bench.studies.probes_answer import Found
from bench.studies.probes_page import findings
from bench.studies.study import Findings, Study, Values, narrowed
from bench.tables import Row, metrics, read_rows

HELD_OUT, SEEN = "meta-test", "meta-train"  # names of the plans
SUPPORTS = (OWN, "no-support", OTHER_TASK)  # under which seen tasks are held against unseen ones


class Probes(Study):
    """All wrong supports on meta-test tasks, and two of them on meta-train tasks too.

    A method that memorised its meta-train tasks does better on them than on others without support,
    or with a wrong one (Yin et al. 2020, Meta-Learning without Memorization).
    """

    name = "probes"
    question = "Does it use its support set?"

    def __init__(self) -> None:
        self._not_probed: list[str] = []

    def plans(self, values: Values) -> dict[str, Values]:
        """The plan of the losses, and that of memory, if a meta-trained method is asked for.

        Raises:
            UserError: none of the baselines can be probed.
        """
        known = names("baseline")
        chosen = list(values.get("baselines") or known)
        self._not_probed = [name for name in chosen if name in known and not _is_few_shot(name)]
        probed = [name for name in chosen if name not in self._not_probed]
        if not probed:
            raise UserError(
                f"study {self.name} takes the support set away, and {', '.join(chosen)} learns a "
                "task from more than that: name another --baseline"
            )
        if self._not_probed:
            values = narrowed(values, probed)
        plans = {HELD_OUT: {**values, "split": "meta-test", "probes": list(PROBES)}}
        trained = [name for name in probed if name in known and _trained(name)]
        if trained:
            kept = [n for n in probed if n in trained or n == self.analysis["reference"]]
            plans[SEEN] = {
                **narrowed(values, kept),
                "split": "meta-train",
                "probes": [support for support in SUPPORTS if support != OWN],
            }
        return plans

    def analyse(self, runs: Mapping[str, Path]) -> Findings:
        """Losses of every row under every probe; advantages on seen tasks of those that have."""
        rows = read_rows([runs[HELD_OUT]])
        seen = read_rows([runs[SEEN]]) if SEEN in runs else []
        found = Found(
            judged([line for row in rows for line in loss_lines(row)]),
            memory_lines(rows, seen, SUPPORTS, self.analysis["reference"]),
            self.analysis["reference"],
            self._not_probed,
        )
        if not found.losses:
            raise UserError("no episode of these runs could be probed; name data with more tasks")
        return findings(found, list(runs.values()))


def _trained(name: str) -> bool:
    return bool(load("baseline", name).init == "meta-trained")


def _is_few_shot(name: str) -> bool:
    kind = load("baseline", name)
    return kind.few_shot if issubclass(kind, Learner) else True


def judged(lines: list[Line]) -> list[Line]:
    """With p-values adjusted for all losses under the same support (Holm, 1979), and whether each
    is shown to be above 0 by that. Where answers are the same whatever the support, there is
    nothing to test."""
    for line in lines:
        line["shown"] = False
    for support in dict.fromkeys(line["support"] for line in lines):
        tested = [one for one in lines if one["support"] == support and not one["ignores"]]
        for line, adjusted in zip(tested, holm([one["p"] for one in tested]), strict=True):
            line["p"] = adjusted
            line["shown"] = line["difference"] > 0 and adjusted < ALPHA
    return lines


def _bounds(row: Row, metric: Metric, probe: str) -> dict[str, float]:
    """The interval of the score under the own support, on the episodes that were probed."""
    found = interval(probed_entries(row, metric.name, probe)[0], metric)
    return {"first_low": found.low, "first_high": found.high}


def loss_lines(row: Row) -> list[Line]:
    """A row's loss under each probe that some episode of it was answered with; p-values are not
    adjusted."""
    metric = next(m for m in metrics(row) if m.name == row.header["primary"])
    lines = []
    for probe in PROBES:
        found = loss_of(row, metric, probe)
        if found is None:
            continue
        lines.append(
            {
                **place(row),
                "metric": metric.name,
                "measure": "loss",
                "support": probe,
                "first": found.own,
                **_bounds(row, metric, probe),
                "second": found.wrong,
                "difference": found.estimate.value,
                "low": found.interval.low,
                "high": found.interval.high,
                "p": found.estimate.p(),
                "tasks": found.tasks,
                "episodes": found.episodes,
                "flagged": not found.uses_support,
                "ignores": all(
                    record["probes"][probe] == record["statistics"]
                    for record in row.records()
                    if probe in record.get("probes", {})
                ),
            }
        )
    return lines
