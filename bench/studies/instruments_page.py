"""What the study of instruments says: tables, figure, sentences."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.metrics import Metric
from bench.shown import MISSING, SCORES, title
from bench.statistics import Entry, Estimate, corpus_score, interval
from bench.studies.figures import legend, panels, styles
from bench.studies.study import Findings
from bench.tables import ALPHA, Row, entries, metrics

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Line = dict[str, Any]
APART = 0.12  # of two levels, between the baselines of one


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
        return f"{self.value:.1f} [{self.low:.1f}, {self.high:.1f}]"


@dataclass(frozen=True)
class Fall:
    """A baseline's scores along a dial.

    Attributes:
        metric: what it is scored by.
        levels: those that may be compared, rising.
        scores: at each.
        lost: the score at the first level less that at the last.
    """

    suite: str
    dial: str
    baseline: str
    metric: str
    levels: Sequence[int | float]
    scores: Sequence[Score]
    lost: Estimate

    @property
    def shown(self) -> bool:
        """Whether the last level is shown to be harder."""
        return self.lost.interval(1 - ALPHA).low > 0


def findings(
    plain: Sequence[Row],
    falls: Sequence[Fall],
    taus: "pd.DataFrame",
    least: Mapping[str, int | float],
) -> Findings:
    """All that is told.

    Args:
        plain: rows of the suites as they are.
        falls: of every suite, dial and baseline.
        taus: of metrics with the one that knows (`bench.correlations`).
        least: by dial the first level that may be compared.
    """
    import pandas as pd

    knows = str(taus["with"].iloc[0])
    known = [fall for fall in falls if fall.metric == knows]
    overall = taus[(taus["with"] == knows) & taus["metric"].isin(list(SCORES))]
    kinds = taus[(taus["with"] != knows) & (taus["level"] == "episodes")]
    kinds = kinds[kinds["metric"].isin(list(SCORES))]
    scores = list(_scores(plain, knows))
    return Findings(
        _answer(known, overall, knows),
        pd.DataFrame([*_lines(falls), *scores, *_tau_lines(taus)]),
        _fall_table(known),
        _figure(known),
        _caption(knows),
        _changes(plain),
        _notes(least, known),
        {
            "The suites as they are": _score_table(scores),
            f"Kendall's tau of metrics with {title(knows)}": _tau_table(overall),
            "Which kind of error each suite's own metric sees least": _kind_table(kinds, plain),
        },
    )


# -- sentences -----------------------------------------------------------------------------


def _answer(falls: Sequence[Fall], overall: "pd.DataFrame", knows: str) -> str:
    """How often a dial is shown to make a suite harder, and which metric is nearest to the one that
    knows."""
    dials = dict.fromkeys(fall.dial for fall in falls)
    told = []
    for dial in dials:
        found = [fall for fall in falls if fall.dial == dial]
        told.append(f"{dial} in {sum(fall.shown for fall in found)} of {len(found)}")
    episodes = overall[(overall["level"] == "episodes") & overall["tau"].notna()]
    best = [
        f"{title(line['metric'])} on {suite} (tau {_tau(line)})"
        for suite, group in episodes.groupby("suite", sort=False)
        for _, line in group.nlargest(1, "tau").iterrows()
    ]
    seen = f"Nearest to {title(knows)} over episodes: {'; '.join(best)}" if best else ""
    return (
        f"By {title(knows)} the last level of a dial is shown to be harder than the first, of the "
        f"pairs of a suite and a baseline: {', '.join(told)}. "
        f"{seen or 'No metric could be ranked'}."
    )


def _caption(knows: str) -> str:
    return (
        f"Points of {title(knows)}, the share of rule decisions that an answer takes as the "
        "reference does; brackets are 95 % intervals over tasks and train seeds. Levels are "
        "different tasks, so what a dial takes is the difference of two sets of tasks (Welch). "
        f"Tau-b between a metric and {title(knows)} ranks baselines over rows, every episode of "
        "every baseline over episodes; a dash where one of them ranks nothing. "
        "instruments.csv holds the falls of the suites' primary metrics too."
    )


def _changes(plain: Sequence[Row]) -> list[str]:
    backbones = sorted({str(r.header["backbone"]) for r in plain if r.header.get("backbone")})
    return [
        "Options were chosen at the default levels: other steps and rates may suit others better.",
        f"The backbone ({', '.join(backbones) or 'none'}) was pre-trained on the suites as they "
        "are, so that it has met the words and rules of every level: the dial distance tells how "
        "far meta-test lies from meta-training, not from pre-training.",
        "Other baselines make other errors, and a metric that is blind to one kind looks better "
        "where nobody makes it.",
    ]


def _notes(least: Mapping[str, int | float], falls: Sequence[Fall]) -> list[str]:
    dials = {fall.dial for fall in falls}
    return [
        f"The dial {dial} is compared from level {level:g} on, whose meta-train the levels share."
        for dial, level in least.items()
        if dial in dials
    ]


# -- tables --------------------------------------------------------------------------------


def _lines(falls: Sequence[Fall]) -> Iterator[Line]:
    for fall in falls:
        shared = {"suite": fall.suite, "dial": fall.dial, "baseline": fall.baseline}
        shared["metric"] = fall.metric
        for level, score in zip(fall.levels, fall.scores, strict=True):
            yield {"quantity": "score", **shared, "level": level, **vars(score)}
        yield {"quantity": "fall", **shared, **vars(_bounded(fall.lost))}


def _bounded(estimate: Estimate) -> Score:
    bounds = estimate.interval(1 - ALPHA)
    return Score(estimate.value, bounds.low, bounds.high)


def _scores(plain: Sequence[Row], knows: str) -> Iterator[Line]:
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


def _tau_lines(taus: "pd.DataFrame") -> Iterator[Line]:
    for _, line in taus.iterrows():
        keys = ("suite", "metric", "with", "level", "low", "high")
        told = {key: line[key] for key in keys}
        told["over"] = told.pop("level")
        yield {"quantity": "tau", **told, "value": line["tau"]}


def _tau(line: Mapping[str, Any]) -> str:
    if line["tau"] != line["tau"]:
        return MISSING
    return f"{line['tau']:.2f} [{line['low']:.2f}, {line['high']:.2f}]"


def _fall_table(falls: Sequence[Fall]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(
        {
            "suite": fall.suite,
            "dial": fall.dial,
            "levels": f"{fall.levels[0]:g} to {fall.levels[-1]:g}",
            "baseline": fall.baseline,
            "at the first": str(fall.scores[0]),
            "at the last": str(fall.scores[-1]),
            "lost": str(_bounded(fall.lost)),
            "harder": "shown" if fall.shown else "not shown",
        }
        for fall in falls
    )


def _score_table(scores: Sequence[Line]) -> "pd.DataFrame":
    """A line for each suite and baseline, a column for each metric."""
    import pandas as pd

    lines: dict[tuple[str, str], dict[str, str]] = {}
    for line in scores:
        place = line["suite"], line["baseline"]
        told = str(Score(line["value"], line["low"], line["high"]))
        lines.setdefault(place, {})[title(line["metric"])] = told
    made = [{"suite": s, "baseline": b, **cells} for (s, b), cells in lines.items()]
    return pd.DataFrame(made).fillna(MISSING)


def _tau_table(overall: "pd.DataFrame") -> "pd.DataFrame":
    """A line for each suite and metric, over rows and over episodes."""
    import pandas as pd

    return pd.DataFrame(
        {
            "suite": suite,
            "metric": title(metric),
            **{f"over {line['level']}": _tau(line) for _, line in group.iterrows()},
        }
        for (suite, metric), group in overall.groupby(["suite", "metric"], sort=False)
    )


def _kind_table(kinds: "pd.DataFrame", plain: Sequence[Row]) -> "pd.DataFrame":
    """For each suite and kind of decision the tau of the suite's primary metric, lowest first, and
    that of the metric that sees it best."""
    import pandas as pd

    primary = {row.header["suite"]: row.header["primary"] for row in plain}
    lines = []
    for (suite, kind), group in kinds[kinds["tau"].notna()].groupby(["suite", "with"], sort=False):
        own = group[group["metric"] == primary[suite]]
        best = group.nlargest(1, "tau").iloc[0]
        value = float(own["tau"].iloc[0]) if len(own) else -1.0
        told = {
            "suite": suite,
            "kind": kind,
            "own metric": f"{title(primary[suite])} {_tau(own.iloc[0]) if len(own) else MISSING}",
            "sees it best": f"{title(best['metric'])} {_tau(best)}",
        }
        lines.append((suite, value, told))
    order = list(primary)
    lines.sort(key=lambda line: (order.index(line[0]), line[1]))
    return pd.DataFrame([told for _, _, told in lines])


# -- figure --------------------------------------------------------------------------------


def _figure(falls: Sequence[Fall]) -> "Figure":
    """A panel a suite; in it each dial's levels side by side, a line a baseline."""
    suites = list(dict.fromkeys(fall.suite for fall in falls))
    names = list(dict.fromkeys(fall.baseline for fall in falls))
    style = styles(names)
    figure, axes = panels(suites)
    for panel, suite in zip(axes, suites, strict=True):
        own = [fall for fall in falls if fall.suite == suite]
        starts = _named(panel, own)
        for fall in own:
            colour, marker = style[fall.baseline]
            aside = APART * names.index(fall.baseline)
            xs = [starts[fall.dial] + place + aside for place in range(len(fall.levels))]
            values, lows, highs = zip(*(vars(s).values() for s in fall.scores), strict=True)
            label = fall.baseline if fall.dial == own[0].dial else None
            panel.plot(xs, values, color=colour, marker=marker, markersize=4, label=label)
            panel.vlines(xs, lows, highs, color=colour, linewidth=1)
        panel.set_ylabel(title(own[0].metric))
        panel.set_ylim(0, 100)
    legend(figure, axes[0])
    return figure


def _named(panel: "Axes", falls: Sequence[Fall]) -> dict[str, int]:
    """Names levels and dials below an axis; where each dial begins on it."""
    starts, ticks = dict[str, int](), dict[int, str]()
    for dial, levels in {fall.dial: fall.levels for fall in falls}.items():
        starts[dial] = len(ticks) + len(starts)
        ticks.update({starts[dial] + n: f"{level:g}" for n, level in enumerate(levels)})
        place = (starts[dial] + (len(levels) - 1) / 2, -0.12)
        panel.text(*place, dial, transform=panel.get_xaxis_transform(), ha="center", va="top")
    panel.set_xticks(list(ticks), list(ticks.values()))
    return starts
