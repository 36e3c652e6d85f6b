"""Which method for me? A recommendation from recorded rows, with what it rests on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.answered import Answered, answered
from bench.costs import own_ms
from bench.errors import UserError
from bench.likeness import Likeness, Pair, likeness, own_features, suite_tasks
from bench.registry import load_suite, names
from bench.statistics import Entry, Estimate, holm, of_resamples, pairwise
from bench.studies.step_curves import SECONDS, Measured, busy
from bench.tables import ALPHA, entries, metrics

RECORDS = Path(__file__).parents[1] / "results" / "records"
FEW_TASKS = 10


@dataclass(frozen=True)
class Asked:
    """What somebody wants to do.

    Attributes:
        shots: examples of each new task.
        tasks: new tasks.
        budget: device-seconds for all of it.
    """

    shots: int
    tasks: int
    budget: float


@dataclass
class Candidate:
    """A recorded row that may be recommended.

    Attributes:
        score: on the metric of its block.
        needs: device-seconds: a meta-training once, adaptation and answers of every task.
        behind: the best fitting row's lead, where both fit the budget.
        p: of no lead, adjusted for all pairs of fitting rows (Holm).
        verdict: why it is recommended, or why not.
    """

    name: str
    row: Measured
    score: Estimate
    needs: Estimate
    behind: Estimate | None = None
    p: float | None = None
    verdict: str = ""


@dataclass
class Advice:
    """What is recommended, and how far that can be trusted.

    Attributes:
        place: the suite, the shots and the metric of the rows.
        candidates: all rows, best first.
        recommended: None where nothing fits the budget.
        thin: why the evidence is too thin, a sentence each.
        notes: what else a reader must know.
    """

    asked: Asked
    like: Likeness
    place: str
    candidates: list[Candidate]
    recommended: Candidate | None = None
    thin: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def shipped() -> list[Path]:
    """The run directories that come with a checkout.

    Raises:
        UserError: there are none.
    """
    found = sorted(path.parent for path in RECORDS.glob("*/run.json"))
    if not found:
        raise UserError(
            "no records come with this installation; name run directories, as `fewgen advise "
            "results/quick ...` after `fewgen run quick`"
        )
    return found


def advise(directories: Sequence[Path], texts: dict[str, list[Pair]], asked: Asked) -> Advice:
    """A method for some data, from the rows of the suite that the data are most like.

    Of the rows whose whole cost fits the budget, those that were not shown to be worse than the
    best of them (paired differences, Holm, as in the tables) are taken for equal, and the cheapest
    of these is recommended.

    Args:
        directories: written by `run`.
        texts: task to its examples.

    Raises:
        UserError: no finished row of embedded data is among them.
    """
    notes: list[str] = []
    blocks = _known(answered(directories, None, notes.append), notes)
    suites = sorted({block[0].header["suite"] for block in blocks})
    like = likeness(own_features(texts), {suite: suite_tasks(suite) for suite in suites})
    block = _block(blocks, like.nearest, asked.shots, notes)
    made = Advice(asked, like, block[0].place, _candidates(block, asked.tasks), notes=notes)
    fitting = [c for c in made.candidates if c.needs.value <= asked.budget]
    if fitting:
        made.recommended = _recommend(fitting)
    _judge(made)
    made.thin = _thin(made, block, fitting)
    missing = sorted(set(names("baseline")) - {row.header["baseline"] for row in block})
    if missing:
        notes.append(f"Not measured there: {', '.join(missing)}.")
    return made


def _known(blocks: Sequence[Sequence[Answered]], notes: list[str]) -> list[Sequence[Answered]]:
    """Blocks whose suite's texts can be drawn here."""
    kept, others = [], dict[str, None]()
    for block in blocks:
        head = block[0].header
        if head["dataset"] == "embedded" and _drawn_here(head["suite"], head["revision"]):
            kept.append(block)
        else:
            others[f"{head['suite']} ({head['dataset']}, revision {head['revision']})"] = None
    if others:
        notes.append(f"Left out, as their texts cannot be drawn here: {', '.join(others)}.")
    if not kept:
        raise UserError(
            "no finished row of a suite's embedded data: nothing tells what your data are like; "
            "name a run without --data"
        )
    return kept


def _drawn_here(suite: str, revision: str) -> bool:
    return suite in names("suite") and load_suite(suite).embedded().revision == revision


def _block(
    blocks: Sequence[Sequence[Answered]], suite: str, shots: int, notes: list[str]
) -> Sequence[Answered]:
    """The block of a suite with the nearest shots, that of the most tasks and rows."""
    own = [block for block in blocks if block[0].header["suite"] == suite]
    away = {id(block): abs(math.log(block[0].header["shots"] / shots)) for block in own}
    near = [block for block in own if away[id(block)] == min(away.values())]
    if len(near) > 1:
        notes.append(
            f"The largest of {len(near)} tables of {suite} is used; the others have other shots, "
            "backbones, decodings or episodes: name only the directories that count."
        )
    return max(near, key=lambda block: (len(_tasks(block)), len(block)))


def _tasks(block: Sequence[Answered]) -> set[str]:
    return {record["task"] for row in block[0].rows.values() for record in row.records()}


def _candidates(block: Sequence[Answered], tasks: int) -> list[Candidate]:
    made = []
    for line in block:
        row = next(iter(line.rows.values()))
        measured = Measured(row, next(m for m in metrics(row) if m.name == line.metric))
        score = measured.score()
        estimate = of_resamples(score.points, score.draws, score.units)
        made.append(Candidate(line.name, measured, estimate, needs(measured, tasks)))
    return sorted(made, key=lambda candidate: -candidate.score.value)


def needs(row: Measured, tasks: int) -> Estimate:
    """Device-seconds of a meta-training and of the adaptation and the answers of so many tasks;
    0 without a model. What threads waited for cores that others had is left out."""
    task = row.mean(_task_seconds)
    training = row.training(SECONDS)
    return of_resamples(
        training + tasks * task.points, training[:, None] + tasks * task.draws, task.units
    )


def _task_seconds(record: Any) -> float:
    cost = record.get("costs")
    return (own_ms(cost, "adapt") + own_ms(cost, "generate")) / 1e3 if cost else 0.0


def _recommend(fitting: Sequence[Candidate]) -> Candidate:
    """The cheapest of those that were not shown to be worse than the best."""
    rows: list[list[Entry]] = [entries(c.row.row, c.row.metric.name) for c in fitting]
    pairs = pairwise(rows, fitting[0].row.metric)
    adjusted = dict(zip(pairs, holm([found.p() for found in pairs.values()]), strict=True))
    for (i, j), found in pairs.items():
        if i == 0:
            fitting[j].behind, fitting[j].p = found, adjusted[i, j]
    equal = [c for c in fitting if c.p is None or c.p >= ALPHA]
    return min(equal, key=lambda c: (c.needs.value, -c.score.value))


def _judge(made: Advice) -> None:
    """Writes the verdicts."""
    chosen = made.recommended
    for candidate in made.candidates:
        if candidate is chosen:
            candidate.verdict = "recommended"
        elif candidate.needs.value > made.asked.budget:
            candidate.verdict = "too dear"
        elif candidate.p is not None and candidate.p < ALPHA:
            candidate.verdict = "worse"
        else:
            candidate.verdict = "not shown to be better, and dearer"


def _thin(made: Advice, block: Sequence[Answered], fitting: Sequence[Candidate]) -> list[str]:
    """Why the evidence does not carry the advice, a sentence each."""
    found, head, like = [], block[0].header, made.like
    if like.far:
        distance, reach = like.distances[like.nearest], like.reaches[like.nearest]
        found.append(
            f"Your data lie outside every recorded suite: the nearest, {like.nearest}, is "
            f"{distance:.2f} away, and its own tasks reach {reach:.2f}."
        )
    if head["shots"] != made.asked.shots:
        found.append(
            f"Nothing is recorded at K = {made.asked.shots}: these rows are of K = {head['shots']}."
        )
    if (tasks := len(_tasks(block))) < FEW_TASKS:
        found.append(f"Only {tasks} task(s) were measured; {FEW_TASKS} are the least.")
    once = [c.name for c in fitting if c.row.trained and len(c.row.training(SECONDS)) == 1]
    if once:
        found.append(f"One train seed: another training may rank otherwise ({', '.join(once)}).")
    if not fitting:
        least = min(made.candidates, key=lambda c: c.needs.value)
        found.append(f"Nothing fits the budget; the least dear is {least.name}.")
    elif not any(c.needs.value for c in fitting) and len(fitting) < len(made.candidates):
        found.append("Only rows without a model fit the budget.")
    elif len(fitting) == 1:
        found.append("One row fits the budget: nothing is compared with it.")
    elif not all(math.isfinite(c.score.error) for c in fitting):
        found.append("The scores have no intervals, as they are of a single episode.")
    if made.recommended and made.recommended.needs.interval().high > made.asked.budget:
        found.append("The interval of what it needs reaches beyond the budget.")
    places = {_device(c.row.row.header) for c in made.candidates if c.needs.value}
    if len(places) > 1:
        found.append(f"Times are of several devices: {'; '.join(sorted(places))}.")
    return found + busy([c.row for c in made.candidates if c.needs.value])


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
