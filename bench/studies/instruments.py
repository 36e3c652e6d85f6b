"""What the suites measure: what their dials turn, how far they reach, which metric sees errors."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.correlations import correlations
from bench.errors import UserError
from bench.exports.runs import read_run
from bench.plan import make_plan
from bench.registry import load_suite
from bench.statistics import apart
from bench.studies.instruments_page import findings
from bench.studies.instruments_tables import Fall, Score
from bench.studies.study import Findings, Study, Values, narrowed
from bench.tables import Row, entries, metrics, read_rows
from bench.tasks import Dial

PLAIN = "as-they-are"  # name of the plan without a dial turned
Place = tuple[str, str, int | float]  # suite, dial, level


class Instruments(Study):
    """Every suite as it is, with all baselines, and at each level of each of its dials, with some.

    Levels are not the same episodes, so what a dial takes from a score is the difference of two
    sets of tasks. Metrics are ranked against exact rule-following by Kendall's tau.
    """

    name = "instruments"
    question = "What do the suites measure: what do their dials turn, and which metric sees errors?"

    def plans(self, values: Values) -> dict[str, Values]:
        """A plan for the suites as they are, and one for each level of a dial that is not the
        default's.

        Raises:
            UserError: there is no suite with a dial, or data are named.
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
        made = {PLAIN: values}
        for suite in plan.suites:
            for name, dial in load_suite(suite).dials.items():
                for level in dial.levels:
                    if level != dial.default:
                        made[f"{suite}-{name}-{level:g}"] = {
                            **narrowed(values, turned),
                            "suites": [suite],
                            "dials": {suite: {name: level}},
                        }
        return made

    def analyse(self, runs: Mapping[str, Path]) -> Findings:
        """Scores at every level, what each dial takes, and taus of metrics."""
        plain = read_rows([runs[PLAIN]])
        rows = dict(_turned(runs, plain))
        least = self.analysis["least"]
        knows = self.analysis["knows"]
        falls = [fall for dial in _dials(plain) for fall in _falls(*dial, rows, least, knows)]
        return findings(plain, falls, correlations(plain, knows), least)


def _dials(plain: Sequence[Row]) -> Iterator[tuple[str, str, Dial]]:
    for suite in dict.fromkeys(row.header["suite"] for row in plain):
        for name, dial in load_suite(suite).dials.items():
            yield suite, name, dial


def _turned(
    runs: Mapping[str, Path], plain: Sequence[Row]
) -> Iterator[tuple[Place, dict[str, Row]]]:
    """The rows of each level by their baselines."""
    for suite, name, dial in _dials(plain):
        found = [row for row in plain if row.header["suite"] == suite]
        yield (suite, name, dial.default), {row.header["baseline"]: row for row in found}
    for root in runs.values():
        for suite, levels in (read_run(root).plan.get("dials") or {}).items():
            for name, level in levels.items():
                yield (suite, name, level), {r.header["baseline"]: r for r in read_rows([root])}


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
                lost = apart([measured[0]], [measured[-1]], metric)
                yield Fall(suite, name, baseline, metric.name, levels, scores, lost)
