"""What the suites measure: what their dials turn, how far they reach, which metric sees errors."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from bench.correlations import correlations
from bench.errors import UserError
from bench.exports.runs import read_run
from bench.plan import make_plan
from bench.registry import load_suite
from bench.shown import SCORES
from bench.statistics import difference
from bench.studies.instruments_page import findings
from bench.studies.instruments_tables import Fall, Score
from bench.studies.study import Findings, Study, Values, narrowed
from bench.tables import Row, entries, metrics, read_rows
from bench.tasks import Dial

PLAIN = "as-they-are"  # name of the plan without a dial turned
Place = tuple[str, str, int | float]  # suite, dial, level


class Instruments(Study):
    """Every suite as it is, with all baselines, and at each level of each of its dials, with some.

    A backbone that has read a suite's whole family expects all of its rules and words, at whatever
    level a dial stands; so each level has a backbone of its own, pre-trained on the meta-train
    tasks of that level; those of `distance` have the same ones, and share one. A dial leaves of a
    task what it is not about, so what it takes from a score is paired by task. Metrics are ranked
    against exact rule-following by Kendall's tau, on the suites as they are and with the plan's
    backbone.
    """

    name = "instruments"
    question = "What do the suites measure: what do their dials turn, and which metric sees errors?"

    def plans(self, values: Values) -> dict[str, Values]:
        """A plan for the suites as they are, and those that pre-train: one for each suite with no
        dial turned, and one for each level of a dial that is not the default's.

        Raises:
            UserError: no baseline that is turned is named, or data or dials are.
        """
        if values.get("data") or values.get("dials"):
            raise UserError(
                f"study {self.name} turns the embedded suites: leave data and dials out"
            )

        plan = make_plan(values, f"study {self.name}")
        turned = [name for name in plan.baselines if name in self.analysis["turned"]]
        if not turned:
            wanted = ", ".join(self.analysis["turned"])
            raise UserError(f"study {self.name} turns dials under one of {wanted}: name one")
        made = {PLAIN: {key: value for key, value in values.items() if key != "pretrain"}}
        for suite in plan.suites:
            made[f"{suite}-{PLAIN}"] = {**narrowed(values, turned), "suites": [suite]}
            for name, dial in load_suite(suite).dials.items():
                for level in dial.levels:
                    if level != dial.default:
                        levels = {"dials": {suite: {name: level}}}
                        made[f"{suite}-{name}-{level:g}"] = {**made[f"{suite}-{PLAIN}"], **levels}
        return made

    def analyse(self, runs: Mapping[str, Path]) -> Findings:
        """Scores at every level, what each dial takes, and taus of metrics."""
        plain = read_rows([runs[PLAIN]])
        rows = dict(_turned(runs, _dials(plain)))
        least = self.analysis["least"]
        knows = self.analysis["knows"]
        falls = [fall for dial in _dials(plain) for fall in _falls(*dial, rows, least, knows)]
        turned = read_run(runs[f"{plain[0].header['suite']}-{PLAIN}"]).plan
        tokens = turned["pretrain"]["tokens"]
        return findings(plain, falls, correlations(plain, knows, among=list(SCORES)), least, tokens)


def _dials(plain: Sequence[Row]) -> Iterator[tuple[str, str, Dial]]:
    for suite in dict.fromkeys(row.header["suite"] for row in plain):
        for name, dial in load_suite(suite).dials.items():
            yield suite, name, dial


def _turned(
    runs: Mapping[str, Path], dials: Iterable[tuple[str, str, Dial]]
) -> Iterator[tuple[Place, dict[str, Row]]]:
    """The rows of each level by their baselines."""
    for suite, name, dial in dials:
        for level in dial.levels:
            run = f"{suite}-{PLAIN}" if level == dial.default else f"{suite}-{name}-{level:g}"
            yield (suite, name, level), {r.header["baseline"]: r for r in read_rows([runs[run]])}


def _falls(
    suite: str,
    name: str,
    dial: Dial,
    rows: Mapping[Place, Mapping[str, Row]],
    least: Mapping[str, int | float],
    knows: str,
) -> Iterator[Fall]:
    """What the dial takes from each baseline that is run at every level, of the metric that knows
    and of the suite's primary one."""
    levels = [level for level in dial.levels if level >= least.get(name, level)]
    found = [rows[suite, name, level] for level in levels]
    for baseline in [b for b in found[0] if all(b in there for there in found)]:
        own = [there[baseline] for there in found]
        for metric in metrics(own[0]):
            if metric.name in (knows, own[0].header["primary"]):
                measured = [entries(row, metric.name) for row in own]
                scores = [Score.of(one, metric) for one in measured]
                lost = difference(measured[0], measured[-1], metric)
                floor = own[0].header["backbone"] is None
                yield Fall(suite, name, baseline, metric.name, levels, scores, lost, floor)
