"""The tables of the study of instruments."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.metrics import Metric
from bench.ranks import ALPHA
from bench.shown import MISSING, bracketed, title
from bench.statistics import Entry, Estimate, corpus_score, holm, interval
from bench.tables import Row, entries, metrics

if TYPE_CHECKING:
    import pandas as pd

Line = dict[str, Any]


@dataclass(frozen=True)
class Score:
    """A score with its 95 % interval, within the metric's limits."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, measured: Sequence[Entry], metric: Metric) -> "Score":
        """Of the episodes of a row."""
        bounds = interval(measured, metric)
        return cls(corpus_score(measured, metric), bounds.low, bounds.high)

    def __str__(self) -> str:
        return bracketed(self.value, self.low, self.high)


@dataclass(frozen=True)
class Fall:
    """A baseline's scores along a dial.

    Attributes:
        metric: what it is scored by.
        levels: those that may be compared, rising.
        scores: at each.
        lost: the score at the first level less that at the last.
        floor: the baseline has no model: no backbone can be the cause of what it loses.
        p: of no loss or gain, adjusted for all falls by this metric (Holm, 1979).
    """

    suite: str
    dial: str
    baseline: str
    metric: str
    levels: Sequence[int | float]
    scores: Sequence[Score]
    lost: Estimate
    floor: bool
    p: float = 1.0

    @property
    def shown(self) -> bool:
        """Whether the last level is shown to be harder."""
        return self.lost.value > 0 and self.p < ALPHA


def adjusted(falls: Sequence[Fall]) -> list[Fall]:
    """Falls with p-values that are adjusted for all of their metric."""
    made = []
    for metric in dict.fromkeys(fall.metric for fall in falls):
        own = [fall for fall in falls if fall.metric == metric]
        ps = holm([fall.lost.p() for fall in own])
        made += [replace(fall, p=p) for fall, p in zip(own, ps, strict=True)]
    return made


def lines_of(falls: Sequence[Fall]) -> Iterator[Line]:
    """Scores at every level, and what each dial takes."""
    for fall in falls:
        shared = {"suite": fall.suite, "dial": fall.dial, "baseline": fall.baseline}
        shared["metric"] = fall.metric
        for level, score in zip(fall.levels, fall.scores, strict=True):
            yield {"quantity": "score", **shared, "level": level, **vars(score)}
        yield {"quantity": "fall", **shared, **vars(_bounded(fall.lost)), "p_holm": fall.p}


def _bounded(estimate: Estimate) -> Score:
    bounds = estimate.interval(1 - ALPHA)
    return Score(estimate.value, bounds.low, bounds.high)


def scores_of(plain: Sequence[Row], knows: str) -> Iterator[Line]:
    """Each row on its primary metric and on the one that knows."""
    for row in plain:
        by_name = {metric.name: metric for metric in metrics(row)}
        for name in dict.fromkeys((row.header["primary"], knows)):
            yield {
                "quantity": "score",
                "suite": row.header["suite"],
                "baseline": row.header["baseline"],
                "metric": name,
                **vars(Score.of(entries(row, name), by_name[name])),
            }


def tau_lines(taus: "pd.DataFrame") -> Iterator[Line]:
    """Every tau."""
    for _, line in taus.iterrows():
        keys = "suite metric with level low high behind behind_low behind_high behind_p".split()
        told = {key: line[key] for key in keys}
        told["over"] = told.pop("level")
        yield {"quantity": "tau", **told, "value": line["tau"]}


def tau_text(line: Mapping[str, Any]) -> str:
    """A tau with its interval."""
    if line["tau"] != line["tau"]:
        return MISSING
    return bracketed(line["tau"], line["low"], line["high"], ".2f")


def fall_table(falls: Sequence[Fall]) -> "pd.DataFrame":
    """A line for each suite, dial and baseline: both ends of the dial, and what is lost."""
    import pandas as pd

    return pd.DataFrame(
        {
            "suite": fall.suite,
            "dial": fall.dial,
            "levels": ", ".join(f"{level:g}" for level in fall.levels),
            "baseline": fall.baseline,
            "at the first": str(fall.scores[0]),
            "between": ", ".join(map(str, fall.scores[1:-1])) or MISSING,
            "at the last": str(fall.scores[-1]),
            "lost": str(_bounded(fall.lost)),
            "harder": "shown" if fall.shown else "not shown",
        }
        for fall in falls
    )


def score_table(scores: Sequence[Line]) -> "pd.DataFrame":
    """A line for each suite and baseline, a column for each metric."""
    import pandas as pd

    lines: dict[tuple[str, str], dict[str, str]] = {}
    for line in scores:
        place = line["suite"], line["baseline"]
        told = str(Score(line["value"], line["low"], line["high"]))
        lines.setdefault(place, {})[title(line["metric"])] = told
    made = [{"suite": s, "baseline": b, **cells} for (s, b), cells in lines.items()]
    return pd.DataFrame(made).fillna(MISSING)


def tau_table(overall: "pd.DataFrame") -> "pd.DataFrame":
    """A line for each suite and metric, over rows and over episodes."""
    import pandas as pd

    return pd.DataFrame(
        {
            "suite": suite,
            "metric": title(metric),
            **{f"over {line['level']}": tau_text(line) for _, line in group.iterrows()},
        }
        for (suite, metric), group in overall.groupby(["suite", "metric"], sort=False)
    )


def kind_table(kinds: "pd.DataFrame", plain: Sequence[Row]) -> "pd.DataFrame":
    """For each suite and kind of decision the tau of the suite's primary metric, lowest first, and
    the largest of all metrics."""
    import pandas as pd

    primary = {row.header["suite"]: row.header["primary"] for row in plain}
    lines = []
    for (suite, kind), group in kinds[kinds["tau"].notna()].groupby(["suite", "with"], sort=False):
        own = group[group["metric"] == primary[suite]]
        best = group.nlargest(1, "tau").iloc[0]
        value = float(own["tau"].iloc[0]) if len(own) else -1.0
        seen = tau_text(own.iloc[0]) if len(own) else MISSING
        told = {
            "suite": suite,
            "kind": kind,
            "own metric": f"{title(primary[suite])} {seen}",
            "largest tau": f"{title(best['metric'])} {tau_text(best)}",
        }
        lines.append((suite, value, told))
    order = list(primary)
    lines.sort(key=lambda line: (order.index(line[0]), line[1]))
    return pd.DataFrame([told for _, _, told in lines])
