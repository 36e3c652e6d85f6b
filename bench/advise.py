"""Which method for me? A recommendation from recorded rows, with what it rests on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.advise_rows import nearest, tasks_of, unmeasured, usable
from bench.answered import Answered, answered
from bench.costs import own_ms
from bench.gate import GROWTH, MOST, grown
from bench.likeness import Likeness, Pair, likeness, own_features, suite_tasks
from bench.ranks import ALPHA
from bench.readers import own_name
from bench.registry import load_suite
from bench.shown import title
from bench.statistics import (
    FEW_TASKS,
    Entry,
    Estimate,
    Interval,
    holm,
    of_resamples,
    of_train_seeds,
    pairwise,
)
from bench.studies.step_curves import SECONDS, Measured, busy, estimate_of
from bench.tables import entries, metrics

FAR_SHOTS = 2  # times as many or as few
MARGIN = 2.0  # points of the primary metric; a smaller loss is worth a lower cost


@dataclass(frozen=True)
class Asked:
    """What somebody wants to do.

    Attributes:
        shots: examples of each new task.
        tasks: new tasks.
        budget: device-seconds for all of it.
        margin: points of the primary metric that a cheaper method may be worse by.
    """

    shots: int
    tasks: int
    budget: float
    margin: float = MARGIN


@dataclass
class Candidate:
    """A recorded row that may be recommended.

    Attributes:
        score: on the metric of its block.
        needs: device-seconds: a training once, adaptation and answers of every task.
        behind: the best fitting row's lead, where both fit the budget.
        p: of no lead, adjusted for all pairs of fitting rows (Holm).
        p_margin: of being worse than the best by the margin or more; see `within_margin`.
        verdict: why it is recommended, or why not.
    """

    name: str
    row: Measured
    score: Estimate
    needs: Estimate
    behind: Estimate | None = None
    p: float | None = None
    p_margin: float | None = None
    verdict: str = ""

    @property
    def within(self) -> bool:
        """Whether it is shown to be within the margin of the best fitting row."""
        return self.p_margin is not None and self.p_margin < ALPHA

    @property
    def spread(self) -> Interval | None:
        """The interval of what it needs; None where nothing tells of one."""
        found = self.needs.interval()
        told = math.isfinite(found.high) and not math.isclose(found.low, found.high)
        return Interval(max(found.low, 0.0), found.high) if told else None

    @property
    def directories(self) -> list[str]:
        """The run directories of its cells."""
        return sorted({own_name(path) for path in self.row.row.directories})


@dataclass
class Advice:
    """What is recommended, and how far that can be trusted.

    Attributes:
        place: the suite, the shots and the metric of the rows.
        candidates: all rows, best first.
        recommended: what the rows say; None where nothing fits the budget, or evidence is lacking.
        lacking: what would decide where no fitting row is shown to be within the margin.
        grave: why that is no recommendation, a sentence each.
        thin: all that makes the evidence thin, a sentence each, those among them.
        notes: what else a reader must know.
    """

    asked: Asked
    like: Likeness
    place: str
    candidates: list[Candidate]
    recommended: Candidate | None = None
    lacking: str = ""
    grave: list[str] = field(default_factory=list)
    thin: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def directories(self) -> list[str]:
        """The run directories of all candidates' rows."""
        return sorted({path for candidate in self.candidates for path in candidate.directories})


def advise(directories: Sequence[Path], texts: dict[str, list[Pair]], asked: Asked) -> Advice:
    """A method for some data, from the rows of the suite that the data are most like.

    Of the rows whose whole cost fits the budget, the cheapest that is shown to be within the margin
    of the best of them is recommended (`within_margin`). Where none is shown to be, evidence is
    lacking, and the advice says what would decide: not to be shown worse is no merit, as the fewest
    data show the least.

    Args:
        directories: written by `run`.
        texts: task to its examples.

    Raises:
        UserError: no finished row of a few-shot method on embedded meta-test tasks is among them.
    """
    notes: list[str] = []
    blocks = usable(answered(directories, None, notes.append), notes)
    suites = sorted({block[0].header["suite"] for block in blocks})
    like = likeness(own_features(texts), {suite: suite_tasks(suite) for suite in suites})
    block = nearest(blocks, like.nearest, asked.shots, notes)
    made = Advice(asked, like, block[0].place, _candidates(block, asked.tasks), notes=notes)
    fitting = [c for c in made.candidates if c.needs.value <= asked.budget]
    if fitting:
        _recommend(made, fitting, len(tasks_of(block)))
    made.grave = _grave(made, block)
    made.thin = [*made.grave, *_thin(made, block, fitting)]
    _judge(made)
    if missing := unmeasured(block):
        notes.append(f"Not measured there: {', '.join(missing)}.")
    return made


def _candidates(block: Sequence[Answered], tasks: int) -> list[Candidate]:
    made = []
    for line in block:
        row = next(iter(line.rows.values()))
        measured = Measured(row, next(m for m in metrics(row) if m.name == line.metric))
        score = estimate_of(measured.score())
        made.append(Candidate(line.name, measured, score, needs(measured, tasks)))
    return sorted(made, key=lambda candidate: -candidate.score.value)


def needs(row: Measured, tasks: int) -> Estimate:
    """Device-seconds of a training and of the adaptation and the answers of so many tasks; 0
    without a model. What threads waited for cores that others had is left out.

    Tasks that went through the device together have equal shares of its time, which tell nothing
    of a spread between tasks: the error is then over train seeds alone, unknown of a single one.
    """
    task = row.mean(_task_seconds)
    training = row.training(SECONDS)
    points = training + tasks * task.points
    shared = any((head.get("tasks_at_once") or 1) > 1 for head in row.row.headers)
    if shared or not points.any():
        return of_train_seeds(points)
    return of_resamples(points, training[:, None] + tasks * task.draws, task.units)


def _task_seconds(record: Any) -> float:
    cost = record.get("costs")
    return (own_ms(cost, "adapt") + own_ms(cost, "generate")) / 1e3 if cost else 0.0


def _recommend(made: Advice, fitting: Sequence[Candidate], tasks: int) -> None:
    """Recommends the cheapest of the rows within the margin, or says what is lacking."""
    rows: list[list[Entry]] = [entries(c.row.row, c.row.metric.name) for c in fitting]
    pairs = pairwise(rows, fitting[0].row.metric)
    adjusted = dict(zip(pairs, holm([found.p() for found in pairs.values()]), strict=True))
    for (i, j), found in pairs.items():
        if i == 0:
            fitting[j].behind, fitting[j].p = found, adjusted[i, j]
    ps = within_margin(pairs, len(fitting), made.asked.margin)
    for candidate, p in zip(fitting, ps, strict=True):
        candidate.p_margin = p
    near = [candidate for candidate in fitting if candidate.within]
    made.recommended = min(near, key=lambda c: (c.needs.value, -c.score.value), default=None)
    if not near:
        made.lacking = _what_would_decide(pairs, len(fitting), made.asked.margin, tasks)


def within_margin(
    pairs: Mapping[tuple[int, int], Estimate], count: int, margin: float
) -> list[float]:
    """P-values of each of some rows being worse than the best by the margin or more.

    Which row is truly best is not known, so that a row has to be shown to be less than the margin
    behind every other (Hsu, 1984): its p-value is the largest of the one-sided ones, an
    intersection-union test (Berger, 1982). These are adjusted for all rows (Holm, 1979).

    Args:
        pairs: (i, j) with i < j to the difference of rows i - j.
        count: of rows.
        margin: in the unit of the differences.
    """
    largest = [0.0] * count
    for (i, j), lead in pairs.items():
        largest[i] = max(largest[i], lead.p_above(-margin))
        largest[j] = max(largest[j], lead.p_below(margin))
    return holm(largest)


def _what_would_decide(
    pairs: Mapping[tuple[int, int], Estimate], count: int, margin: float, tasks: int
) -> str:
    """How many tasks would show some row to be within the margin, if estimates stay as they are."""
    factor = 1.0
    while factor < MOST:
        factor *= GROWTH
        more = {pair: grown(found, factor) for pair, found in pairs.items()}
        if min(within_margin(more, count, margin)) < ALPHA:
            return (
                f"About {math.ceil(tasks * factor) - tasks:,} more tasks beside the {tasks} that "
                "were measured would show one, if the estimates stay as they are; so may more "
                "train seeds, or a larger --margin."
            )
    return (
        "No number of tasks would show one while the estimates stay as they are: it takes more "
        "train seeds, or a larger --margin."
    )


def _judge(made: Advice) -> None:
    """Writes the verdicts."""
    chosen, margin = made.recommended, f"{made.asked.margin:g} points"
    for candidate in made.candidates:
        if candidate is chosen:
            candidate.verdict = "nearest evidence" if made.grave else "recommended"
        elif candidate.needs.value > made.asked.budget:
            candidate.verdict = "over budget"
        elif candidate.within:
            candidate.verdict = f"within {margin} of the best, more expensive"
        elif candidate.p is not None and candidate.p < ALPHA:
            candidate.verdict = "worse"
        else:
            candidate.verdict = f"not shown to be within {margin} of the best"


def _grave(made: Advice, block: Sequence[Answered]) -> list[str]:
    """Why the rows do not speak of what was asked, a sentence each."""
    found, like = [], made.like
    if like.far:
        distance, reach = like.distances[like.nearest], like.reaches[like.nearest]
        found.append(
            f"Your data lie outside every recorded suite: the nearest, {like.nearest}, is "
            f"{distance:.2f} away, and its own tasks reach {reach:.2f}."
        )
    if _shots_apart(made, block) > FAR_SHOTS:
        found.append(_other_shots(made, block))
    if (tasks := len(tasks_of(block))) < FEW_TASKS:
        found.append(f"Only {tasks} task(s) were measured; {FEW_TASKS} are the least.")
    return found


def _shots_apart(made: Advice, block: Sequence[Answered]) -> float:
    """The larger number of shots, recorded or asked for, over the smaller one."""
    recorded: int = block[0].header["shots"]
    return max(recorded, made.asked.shots) / min(recorded, made.asked.shots)


def _other_shots(made: Advice, block: Sequence[Answered]) -> str:
    return (
        f"Nothing is recorded at K = {made.asked.shots}: these rows are of K = "
        f"{block[0].header['shots']}."
    )


def _thin(made: Advice, block: Sequence[Answered], fitting: Sequence[Candidate]) -> list[str]:
    """What else weakens the advice, a sentence each."""
    found, head = [], block[0].header
    if 1 < _shots_apart(made, block) <= FAR_SHOTS:
        found.append(_other_shots(made, block))
    primary = load_suite(head["suite"]).primary
    if block[0].metric != primary:
        found.append(
            f"These rows are older than the suite's primary metric: they rank by "
            f"{title(block[0].metric)}, {head['suite']} now by {title(primary)}."
        )
    if once := [c.name for c in fitting if _trained_once(c)]:
        found.append(f"One train seed: another training may rank otherwise ({', '.join(once)}).")
    if not fitting:
        least = min(made.candidates, key=lambda c: c.needs.value)
        found.append(f"Nothing fits the budget; the cheapest is {least.name}.")
    elif not any(c.needs.value for c in fitting) and len(fitting) < len(made.candidates):
        found.append("Only rows without a model fit the budget.")
    elif len(fitting) == 1:
        found.append("One row fits the budget: nothing is compared with it.")
    elif not all(math.isfinite(c.score.error) for c in fitting):
        found.append("The scores have no intervals, as they are of a single episode.")
    spread = made.recommended and made.recommended.spread
    if spread and spread.high > made.asked.budget:
        found.append("The interval of what it needs reaches beyond the budget.")
    places = {_device(c.row.row.header) for c in made.candidates if c.needs.value}
    if len(places) > 1:
        found.append(f"Times are of several devices: {'; '.join(sorted(places))}.")
    return found + busy([c.row for c in made.candidates if c.needs.value])


def _trained_once(candidate: Candidate) -> bool:
    """Whether a single meta-training was measured; what is trained otherwise has none."""
    meta_trained = candidate.row.row.header["init"] == "meta-trained"
    return meta_trained and len(candidate.row.training(SECONDS)) == 1


def _device(head: dict[str, Any]) -> str:
    return f"{head['device']}, {head['dtype']}, {head['threads']} thread(s)"


def device(made: Advice) -> str:
    """What the times were measured on."""
    places = {_device(c.row.row.header) for c in made.candidates if c.needs.value}
    return "; ".join(sorted(places)) or "no device: rows without a model"


def answers(made: Advice) -> float:
    """How many queries a recorded task asked, the mean."""
    from bench.exports.slim import queries_of

    records = made.candidates[0].row.row.records()
    return float(np.mean([queries_of(record) for record in records]))
