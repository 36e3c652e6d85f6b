"""Runs a plan: the grid of cells, what is already there, what is left, and the tables."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import records
from bench.asking import notes
from bench.baseline import Learner
from bench.cells import shared_header
from bench.context import Context
from bench.dials import dial_flags
from bench.errors import UserError
from bench.facts import describe
from bench.forecast import costs, pace_line, workers_for
from bench.forecast import lines as cost_lines
from bench.jobs import grid, jobs_for
from bench.machine import gpus_here
from bench.places import places_in
from bench.plan import FREE, Plan, differences, plan_text
from bench.pool import Events, Job, pool
from bench.progress import Progress, unseen
from bench.readers import is_hub_id
from bench.records import Cell
from bench.registry import backbone_path
from bench.repository import resolve
from bench.tasks import train_revision

KINDS = {  # what two runs in one directory may differ in, as a refusal says it
    "plan": "is of another plan",
    "facts": "was made from other data, another backbone or device",
    "made with": "was made with other code or packages",
}
TOLD = 4  # changed keys that a refusal names
LISTED = 12  # tasks left out that are told one by one


@dataclass
class Outcome:
    """How a run ended: its directory, its cells, the reasons of those that failed."""

    root: Path
    cells: list[Cell]
    repeated: int
    failures: dict[Cell, str]


def _check_same(root: Path, run: dict[str, Any], kinds: Sequence[str]) -> None:
    """Refuses to go on in a directory that was begun with another plan, other facts and so on."""
    path = root / "run.json"
    if not path.is_file():
        return
    old = records.read_json(path)
    if not isinstance(old, dict) or not isinstance(old.get("plan"), dict):
        raise UserError(f"{path}: damaged, it holds no plan; name another --out or delete {root}")
    for kind in kinds:
        before, now = ({kind: _fixed(side)[kind]} for side in (old, run))
        _refuse_changed(f"{root} {KINDS[kind]}", before, now)


def _fixed(run: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of `run.json` that results depend on."""
    facts = dict(run.get("facts") or {})
    code = {f"facts.{key}": facts.pop(key, None) for key in ("code", "plug_ins")}
    made_with = {**code, "packages": run.get("packages")}
    plan = {key: value for key, value in run["plan"].items() if key not in FREE}
    return {"plan": plan, "facts": facts, "made with": made_with}


def _kept(context: Context, cells: Sequence[Cell]) -> set[Cell]:
    """The cells that are finished already.

    Raises:
        UserError: one is of another plan, as a run directory without `run.json` may hold, or
            damaged.
    """
    kept = records.finished(context.root, cells)
    free = {*FREE, "backbone_identity"} if context.plan.pretrain else {*FREE}
    for cell, header in kept.items():
        expected = shared_header(context, cell)
        keys = expected.keys() - free
        old, new = ({key: side.get(key) for key in keys} for side in (header, expected))
        _refuse_changed(f"{cell.path(context.root)} {KINDS['plan']}", old, new)
    return set(kept)


def _refuse_changed(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    changed = differences(old, new)
    more = f"; and {len(changed) - TOLD} more" if len(changed) > TOLD else ""
    if changed:
        raise UserError(
            f"{what} ({'; '.join(changed[:TOLD])}{more}); name another --out or delete it"
        )


def _notes(facts: dict[str, Any]) -> list[str]:
    """What the data's division left out, a line each."""
    lines = []
    for suite, found in facts["suites"].items():
        lines += [f"{suite}: {note}" for note in found["notes"]]
        reasons = {reason for shots in found["left_out"].values() for reason in shots}
        lines += _listed(f"{suite}: left out", reasons)
    for suite, found in {**facts["suites"], **facts.get("train_suites", {})}.items():
        lines += _listed(f"{suite}: left out of meta-training", found["left_out_of_training"])
        lines += _listed(f"{suite}: not probed", found.get("not_probed", ()))
    return lines


def _listed(what: str, reasons: Iterable[str]) -> list[str]:
    """A line each for the first reasons, and one that counts the others."""
    lines = [f"{what} {reason}" for reason in sorted(reasons)]
    more = len(lines) - LISTED
    return [*lines[:LISTED], *([f"{what} {more} more; run.json lists them"] if more > 0 else [])]


def warnings_of(plan: Plan) -> list[str]:
    """What a user should know before anything is loaded, a line each: how the plan was resolved,
    and what it lets a checkpoint do."""
    lines = list(plan.notes)
    if plan.allow_pickle:
        lines.append("warning: --allow-pickle: reading pickled weights can run any code")
    if plan.trust_remote_code:
        lines.append("warning: --trust-remote-code: the checkpoint's own code is run")
    return lines


def backbone_notes(context: Context) -> list[str]:
    """What a loaded backbone leaves unused, a line each."""
    plan = context.plan
    if plan.pretrain or not any(isinstance(context.baseline(b), Learner) for b in plan.baselines):
        return []
    backbone = context.backbone(None)
    lines = [*backbone.notes, *notes(context), *_trained_elsewhere(context)]
    if not plan.chat and getattr(backbone.tokenizer, "chat_template", None):
        lines.append("the backbone has a chat template that is not used; --chat uses it")
    return lines


def pinned(plan: Plan) -> Plan:
    """The plan with the commit that its branch of a hub data set stands for now, so that workers
    and repetitions read the same."""
    if not plan.data or Path(plan.data).exists() or not is_hub_id(plan.data):
        return plan
    return plan.model_copy(update={"revision": resolve(plan.data, plan.revision)})


def _trained_elsewhere(context: Context) -> list[str]:
    """A line for each suite whose data our pre-training saw in another state: a task that was
    meta-train there may be held out here."""
    place = backbone_path(context.plan.backbone) or Path(context.plan.backbone)
    if not (place / "training.json").is_file():
        return []
    facts = records.read_json(place / "training.json")
    if not isinstance(facts, dict) or "fewgen" not in facts:  # another trainer's file
        return []
    lines = []
    for suite in context.plan.suites:
        data = context.dataset(suite)
        here = train_revision(data)
        name, revision = facts["sources"].get(suite, (data.name, here))
        if name == data.name and revision != here:
            lines.append(
                f"{suite}: the backbone was trained on {name} of revision {revision}, this is "
                f"{data.revision}; it may have seen held-out tasks{_anew(suite, here)}"
            )
    return lines


def _anew(suite: str, revision: str) -> str:
    """How a backbone is made that has not seen what a level holds out."""
    flags = dial_flags(suite, revision)
    return f" or rules; `fewgen pretrain --suite {suite}{flags}` makes one that has not" * bool(
        flags
    )


def execute(
    plan: Plan,
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = unseen,
) -> Outcome:
    """Runs a resolved plan in `plan.out` and writes its tables.

    Args:
        plan: from `make_plan`, with `out` set.
        say: told each notable fact in a line.
        progress: told the work done and the whole, in one unit, and the cells in words.

    Raises:
        UserError: the plan cannot be run here, or the run directory cannot be used.
    """
    from bench.publish import write_tables

    assert plan.out
    root = Path(plan.out)
    for line in warnings_of(plan):
        say(line)
    with records.locked(root):
        begun = begin(Context(pinned(plan), root), say)
        outcome = Outcome(root, begun.cells, len(begun.kept), {})
        outcome.failures = finish([begun], progress, say=say).get(root, {})
        write_tables(root)
    return outcome


@dataclass(frozen=True)
class Begun:
    """A run whose directory is set up.

    Attributes:
        cells: all of them.
        kept: those that are finished already.
    """

    context: Context
    cells: list[Cell]
    kept: set[Cell]

    @property
    def left(self) -> list[Cell]:
        """The cells to work on."""
        return [cell for cell in self.cells if cell not in self.kept]


def begin(
    context: Context, say: Callable[[str], None] = lambda line: None, to_tell: bool = False
) -> Begun:
    """Checks a plan against its directory, which the caller holds, and writes what it is.

    Args:
        say: told each notable fact in a line.
        to_tell: the directory's records are told again; if it lacks no cell, it may be of other
            code or libraries.

    Raises:
        UserError: the plan cannot be run here, or the directory is another plan's.
    """
    plan, root = context.plan, context.root
    _check_dtype(context)
    for suite in plan.suites:
        context.metrics(suite)
    run = describe(context)
    _check_same(root, run, ["plan", "facts"])  # a changed plan also changes the facts
    cells = grid(context)
    kept = _kept(context, cells)
    if not to_tell or len(kept) < len(cells):
        _check_same(root, run, ["made with"])
    if not (root / "run.json").is_file():
        records.write_whole(root / "plan.toml", plan_text(plan))
        records.write_json(root / "run.json", run)
    for line in [*_notes(run["facts"]), *backbone_notes(context)]:
        say(line)
    return Begun(context, cells, kept)


def _check_dtype(context: Context) -> None:
    """Refuses a dtype that would make every model slow, unless the plan insists.

    Raises:
        UserError: with the rates of both dtypes.
    """
    plan = context.plan
    if plan.allow_slow_dtype or plan.dtype == "float32" or context.device.type != "cpu":
        return
    if not any(isinstance(context.baseline(name), Learner) for name in plan.baselines):
        return
    from bench.timing import slow_dtype

    if slow := slow_dtype(plan.dtype):
        raise UserError(
            f"dtype = {plan.dtype!r} is slow on this CPU ({slow}); leave out --dtype, or insist "
            "with --allow-slow-dtype"
        )


def finish(
    runs: Sequence[Begun],
    progress: Progress = unseen,
    ended: Callable[[Begun, Cell], None] = lambda run, cell: None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[Path, dict[Cell, str]]:
    """Works on what is left of some runs, in one pool of processes.

    Args:
        runs: with equal `workers` and `threads`.
        progress: told the work done and the whole, in one unit, and the cells in words.
        ended: told each cell that ended, well or not.
        say: told what an episode of each baseline will cost, a line each.

    Returns:
        For each run directory, the reasons of the cells that failed.
    """
    runs = _with_workers([run for run in runs if run.left], say)
    found = [job for run in runs for job in jobs_for(run.context, run.left)]
    jobs = list({job.key: job for job in found}.values())
    failures: dict[Path, dict[Cell, str]] = {}
    if not jobs:
        return failures
    by_root = {str(run.context.root): run for run in runs}
    work, cells = sum(job.weight for job in jobs), sum(len(run.cells) for run in runs)
    over, paced = sum(len(run.kept) for run in runs), set[str]()

    def done(job: Job, message: dict[str, Any]) -> None:
        root, cell = job.key
        if isinstance(cell, Cell):
            records.write_cell(Path(root), cell, message["header"], message["records"])
            _end(by_root[root], cell)

    def failed(job: Job, reason: str) -> None:
        root, cell = job.key
        if isinstance(cell, Cell):
            header = shared_header(by_root[root].context, cell)
            records.write_failure(Path(root), cell, header, places_in(Path(root)).shown(reason))
            failures.setdefault(Path(root), {})[cell] = reason
            _end(by_root[root], cell)

    def _end(run: Begun, cell: Cell) -> None:
        nonlocal over
        over += 1
        ended(run, cell)

    def moved(done: float, running: int) -> None:
        lost = sum(map(len, failures.values()))
        also = f", {lost} failed" if lost else ""
        progress(done, work, f"{over - lost} of {cells} cells done{also}, {running} running")

    def pace(job: Job, seconds: float) -> None:
        cell = job.key[1]
        if cell.baseline not in paced:
            paced.add(cell.baseline)
            say(pace_line(cell.baseline, seconds, _episodes_left(runs, cell.baseline)))

    context = runs[0].context
    plan, logs = context.plan, context.root / "log"
    assert plan.workers
    gpus = gpus_here() if context.device.type == "cuda" else []
    with pool(min(plan.workers, len(jobs)), logs, plan.threads, gpus) as workers:
        workers.run(jobs, Events(done, failed, moved, pace))
    return failures


def _with_workers(runs: Sequence[Begun], say: Callable[[str], None]) -> list[Begun]:
    """The runs with the number of workers that all their plans allow, which headers record. Says
    what an episode of each will cost."""
    found = [costs(run.context, run.left) for run in runs]
    for line in dict.fromkeys(line for each in found for line in cost_lines(each)):
        say(line)
    pairs = zip(runs, found, strict=True)
    workers = min((workers_for(run.context, each) for run, each in pairs), default=1)
    return [replace(run, context=run.context.with_workers(workers)) for run in runs]


def _episodes_left(runs: Sequence[Begun], baseline: str) -> int:
    """Episodes of a baseline's cells that were not there at the start."""
    cells = [(run, cell) for run in runs for cell in run.left if cell.baseline == baseline]
    return sum(run.context.plan.episodes for run, _ in cells)
