"""The curves of a run's methods over K, and their differences to a rival."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.metrics import Metric
from bench.ranks import ALPHA
from bench.statistics import (
    Entry,
    Estimate,
    Interval,
    corpus_score,
    difference,
    differences_of,
    holm,
    interval,
)
from bench.studies.crossing import Crossing, mean_difference
from bench.tables import Row, entries, metrics, read_rows

# In place of a K: the mean of the differences over all K to the rival, and to the control.
MEAN, TO_CONTROL = "mean", "mean to control"


@dataclass(frozen=True)
class Curve:
    """A method on a suite, by K, which rises.

    Attributes:
        rows: of each K.
        scores: the primary metric at each K, with its interval.
        differences: to the rival at each K; none of the rival itself.
        mean: of the differences over log2 K, of every K in `alike`.
        limits: between which a score lies.
        to_control: the same mean to a second row, of meta-trained methods alone.
        adjusted: p-values of all that is tested, adjusted for that of all curves (Holm, 1979).
    """

    rows: Mapping[int, Row]
    scores: Mapping[int, tuple[float, Interval]]
    differences: Mapping[int, Estimate]
    mean: Estimate | None
    limits: tuple[float, float]
    to_control: Estimate | None = None
    adjusted: Mapping[int | str, float] = field(default_factory=dict)

    @property
    def shots(self) -> list[int]:
        """Every K."""
        return list(self.rows)

    @property
    def alike(self) -> list[int]:
        """Every K with the episodes of the first."""
        return [k for k in self.shots if self._episodes[k] == self._episodes[self.shots[0]]]

    @cached_property
    def _episodes(self) -> dict[int, set[tuple[int, int]]]:
        """(seed, index) of those at each K."""
        return {k: set(row.digests) for k, row in self.rows.items()}

    @property
    def head(self) -> dict[str, Any]:
        """What the cells of all K share."""
        return self.rows[self.shots[0]].header

    @property
    def baseline(self) -> str:
        """The method's name."""
        return str(self.head["baseline"])

    @property
    def place(self) -> str:
        """Suite and data."""
        return f"{self.head['suite']} ({self.head['dataset']})"

    @property
    def tested(self) -> dict[int | str, Estimate]:
        """All that is tested: the difference at each K, and the means that there are."""
        means = {MEAN: self.mean, TO_CONTROL: self.to_control}
        found = dict[int | str, Estimate](self.differences.items())
        return {**found, **{name: mean for name, mean in means.items() if mean}}

    def shown(self, name: str) -> int:
        """Whether a mean difference is shown to be above 0 (1), below (-1), or neither (0)."""
        if name not in self.adjusted or self.adjusted[name] >= ALPHA:
            return 0
        return 1 if self.tested[name].value > 0 else -1

    @property
    def parts(self) -> list[list[int]]:
        """K that follow one another and have the same episodes."""
        found = [self.shots[:1]]
        for before, k in pairwise(self.shots):
            if self._episodes[k] == self._episodes[before]:
                found[-1].append(k)
            else:
                found.append([k])
        return found

    def bounds(self, estimate: Estimate) -> Interval:
        """The interval of a difference, within what differences of scores can be."""
        return estimate.interval(1 - ALPHA).within(differences_of(self.limits))

    @cached_property
    def crossing(self) -> Crossing:
        """Where the rival overtakes. Its interval is a matter of the whole intervals: what they
        are cut to is no bound that a line between measured K could be drawn to."""
        found = self.differences.values()
        values = [one.value for one in found]
        bounds = [one.whole_interval(1 - ALPHA) for one in found]
        return Crossing(self.shots, values, bounds, [self.adjusted[k] for k in self.shots])


def read_curves(
    roots: Sequence[Path], suites: Sequence[str], baselines: Sequence[str], rival: str, control: str
) -> list[list[Curve]]:
    """The methods of each suite in the order given, the rival first.

    Args:
        roots: run directories, each with every (suite, baseline) at K of its own.
        control: a baseline that meta-trained methods are held against too, where it is there.
    """
    found: dict[tuple[str, str], dict[int, Row]] = {}
    for row in sorted(read_rows(roots), key=lambda row: int(row.header["shots"])):
        key = row.header["suite"], row.header["baseline"]
        found.setdefault(key, {})[row.header["shots"]] = row
    order = sorted(baselines, key=lambda name: name != rival)
    return adjusted(
        [_of_suite({name: found[suite, name] for name in order}, control) for suite in suites]
    )


def adjusted(suites: Sequence[Sequence[Curve]]) -> list[list[Curve]]:
    """The curves with adjusted p-values."""
    raw = [found.p() for some in suites for one in some for found in one.tested.values()]
    ps = iter(holm(raw))
    return [
        [replace(one, adjusted={key: next(ps) for key in one.tested}) for one in some]
        for some in suites
    ]


def _of_suite(methods: Mapping[str, Mapping[int, Row]], control: str) -> list[Curve]:
    """The curves of a suite; the first is the rival's."""
    rival = next(iter(methods))
    first = next(iter(methods[rival].values()))
    name = first.header["primary"]
    metric = next(metric for metric in metrics(first) if metric.name == name)
    found = {
        baseline: {k: entries(row, name) for k, row in rows.items()}
        for baseline, rows in methods.items()
    }
    made = []
    for baseline, rows in methods.items():
        one = _curve(rows, found[baseline], None if baseline == rival else found[rival], metric)
        trained = one.head["init"] == "meta-trained" and baseline not in (rival, control)
        if control in found and trained and one.mean:
            mean = _mean(one, found[baseline], found[control], metric)
            one = replace(one, to_control=mean)
        made.append(one)
    return made


Entries = Mapping[int, Sequence[Entry]]


def _curve(rows: Mapping[int, Row], own: Entries, rival: Entries | None, metric: Metric) -> Curve:
    scores = {k: (corpus_score(some, metric), interval(some, metric)) for k, some in own.items()}
    if rival is None:
        return Curve(rows, scores, {}, None, metric.limits)
    to_rival = {k: difference(some, rival[k], metric) for k, some in own.items()}
    made = Curve(rows, scores, to_rival, None, metric.limits)
    if len(made.alike) < 2:
        return made
    return replace(made, mean=_mean(made, own, rival, metric))


def _mean(one: Curve, own: Entries, other: Entries, metric: Metric) -> Estimate:
    first, second = ({k: row[k] for k in one.alike} for row in (own, other))
    return mean_difference(first, second, metric)
