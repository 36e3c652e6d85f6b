"""Runs a plan: the grid of cells, what is already there, what is left, and the tables."""

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from bench import records
from bench.baseline import Learner
from bench.cells import shared_header
from bench.context import Context
from bench.episodes import usable_tasks
from bench.errors import UserError
from bench.plan import Plan, differences, plan_text
from bench.pool import Events, Job, pool
from bench.readers import digest_of_files, is_hub_id
from bench.records import Cell
from bench.registry import backbone_path, version
from bench.repository import resolve

PACKAGES = [
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "evaluate",
    "sacrebleu",
    "rouge-score",
    "pandas",
    "numpy",
]
FREE = ("out", "workers")  # plan keys that change no result
CHECKPOINT_TEXTS = (".json", ".jinja", ".model", ".py")
LISTED = 12  # tasks left out that are told one by one


@dataclass
class Outcome:
    """How a run ended: its directory, its cells, the reasons of those that failed."""

    root: Path
    cells: list[Cell]
    repeated: int
    failures: dict[Cell, str]


def grid(context: Context) -> list[Cell]:
    """All cells of a plan; a baseline without training has one for all train seeds."""
    plan = context.plan
    return [
        Cell(suite, baseline, shots, train_seed, seed)
        for suite in plan.suites
        for baseline in plan.baselines
        for train_seed in (plan.train_seeds if context.trained(baseline) else [None])
        for shots in plan.shots
        for seed in plan.seeds
    ]


def _cell_job(context: Context, cell: Cell) -> Job:
    """A cell as a job, behind the artefacts that it needs; weight in tokens, roughly."""
    plan, method = context.plan, context.baseline(cell.baseline)
    after: list[Any] = []
    if isinstance(method, Learner) and plan.pretrain:
        after.append(("pretrain", cell.train_seed))
    if isinstance(method, Learner) and method.trains:
        after.append(("train", cell.suite, cell.baseline, cell.train_seed))
    passes = cell.shots * (1 + 3 * getattr(method, "steps_at_test", 0))
    answers = plan.queries * (12 if isinstance(method, Learner) else 1)
    weight = 10.0 * plan.episodes * (passes + answers)
    return Job(cell, {"kind": "cell", "cell": asdict(cell)}, weight, tuple(after))


def jobs_for(context: Context, cells: Sequence[Cell]) -> list[Job]:
    """The jobs that finish `cells`: pre-training, then meta-training, the longest first."""
    plan = context.plan
    work = [_cell_job(context, cell) for cell in cells]
    needed = {key for job in work for key in job.after if isinstance(key, tuple)}
    first: list[Job] = []
    for key in sorted(needed, key=str):
        if key[0] == "pretrain":
            assert plan.pretrain
            message = {"kind": "pretrain", "train_seed": key[1]}
            first.append(Job(key, message, 3.0 * plan.pretrain.tokens))
        else:
            _, suite, baseline, seed = key
            method = context.baseline(baseline)
            slow = 3.0 if method.order in ("2", "implicit") else 1.0
            message = {"kind": "train", "suite": suite, "baseline": baseline, "train_seed": seed}
            after = (("pretrain", seed),) if plan.pretrain else ()
            first.append(Job(key, message, 3.0 * slow * plan.train_budget, after))
    first.sort(key=lambda job: -job.weight)
    return [*first, *work]


def _git() -> dict[str, Any]:
    """Commit and dirty flag of the checkout that the code runs from, if it is one."""
    here = Path(__file__).parent

    def ask(*words: str) -> str | None:
        done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        top = ask("rev-parse", "--show-toplevel")
        if top is None or Path(top) != here.parent:
            return {"commit": None, "dirty": None}
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain"))}
    except OSError:
        return {"commit": None, "dirty": None}


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"fewgen": version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _facts(context: Context) -> dict[str, Any]:
    """What the plan's names stood for on this machine: part of what must not change."""
    plan = context.plan
    trains = any(getattr(context.baseline(name), "trains", False) for name in plan.baselines)
    data = {}
    for suite in plan.suites:
        dataset = context.dataset(suite)
        data[suite] = {
            "version": context.suite(suite).version,
            "dataset": dataset.name,
            "revision": dataset.revision,
            "language": context.language(suite),
            "tasks": {f"k{k}": context.tasks(suite, k)[0] for k in plan.shots},
            "left_out": {f"k{k}": context.tasks(suite, k)[1] for k in plan.shots},
            "left_out_of_training": usable_tasks(dataset, "meta-train", max(plan.shots))[1]
            if trains
            else [],
            "notes": list(getattr(dataset, "notes", [])),
        }
    needs_model = any(isinstance(context.baseline(name), Learner) for name in plan.baselines)
    identity: Any = None
    if needs_model and plan.pretrain:
        from bench.recipe import read_recipe

        identity = read_recipe(plan.backbone).model_dump()
    elif needs_model:
        identity = context.backbone(None).identity
        _check_room(context)
    return {
        "suites": data,
        "backbone": identity,
        "backbone_files": _files_digest(plan.backbone) if needs_model else None,
        "device": context.device.type,
        "code": _code_digest(),
    }


def _files_digest(backbone: str) -> str | None:
    """SHA-256, shortened, of what a checkpoint's directory holds beside weights, which `identity`
    covers: configs, tokenizer, templates, code."""
    folder = Path(backbone)
    if backbone_path(backbone) or not folder.is_dir():
        return None
    kept = [path for path in sorted(folder.iterdir()) if path.suffix in CHECKPOINT_TEXTS]
    return digest_of_files(kept, folder)


def _check_room(context: Context) -> None:
    """Refuses answers that leave no room for a question."""
    positions = context.backbone(None).context
    for suite in context.plan.suites:
        if context.max_new_tokens(suite) >= positions // 2:
            raise UserError(
                f"{suite}: max_new_tokens = {context.max_new_tokens(suite)} takes half or more of "
                f"the backbone's context of {positions} tokens; lower --max-new-tokens"
            )


def _code_digest() -> str:
    """SHA-256 of the project's own modules, shortened: cells of two states of the code do not
    belong in one run."""
    digest = hashlib.sha256()
    for package in ("bench", "suites", "baselines"):
        folder = Path(__file__).parent.parent / package
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def describe(context: Context) -> dict[str, Any]:
    """The content of `run.json`."""
    return {
        "plan": context.plan.model_dump(),
        "facts": _facts(context),
        "git": _git(),
        "packages": _versions(),
        "hardware": {
            "machine": platform.machine(),
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "command": sys.argv,
    }


def _check_same(root: Path, run: dict[str, Any]) -> None:
    """Refuses to go on in a directory that another plan began."""
    path = root / "run.json"
    if not path.is_file():
        return
    old = records.read_json(path)
    if not isinstance(old, dict) or not isinstance(old.get("plan"), dict):
        raise UserError(f"{path}: damaged, it holds no plan; name another --out or delete {root}")
    for kind in ("plan", "facts", "packages"):  # a changed plan also changes the facts
        _refuse_changed(str(root), {kind: _fixed(old)[kind]}, {kind: _fixed(run)[kind]})


def _fixed(run: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `run.json` that results depend on."""
    plan = {key: value for key, value in run["plan"].items() if key not in FREE}
    return {"plan": plan, "facts": run.get("facts"), "packages": run.get("packages")}


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
        _refuse_changed(str(cell.path(context.root)), old, new)
    return set(kept)


def _refuse_changed(where: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    changed = [line if len(line) < 120 else f"{line[:117]}..." for line in differences(old, new)]
    if changed:
        raise UserError(
            f"{where} is of another plan ({'; '.join(changed[:4])}); name another --out or "
            "delete it"
        )


def _notes(facts: dict[str, Any]) -> list[str]:
    """What the data's division left out, a line each."""
    lines = []
    for suite, found in facts["suites"].items():
        lines += [f"{suite}: {note}" for note in found["notes"]]
        reasons = {reason for shots in found["left_out"].values() for reason in shots}
        lines += _listed(f"{suite}: left out", reasons)
        lines += _listed(f"{suite}: left out of meta-training", found["left_out_of_training"])
    return lines


def _listed(what: str, reasons: Iterable[str]) -> list[str]:
    """A line each for the first reasons, and one that counts the others."""
    lines = [f"{what} {reason}" for reason in sorted(reasons)]
    more = len(lines) - LISTED
    return [*lines[:LISTED], *([f"{what} {more} more; run.json lists them"] if more > 0 else [])]


def warnings_of(plan: Plan) -> list[str]:
    """What the plan lets a checkpoint do, a line each; said before anything is loaded."""
    lines = []
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
    lines = [*backbone.notes, *_trained_elsewhere(context)]
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
        name, revision = facts["sources"].get(suite, (data.name, data.revision))
        if name == data.name and revision != data.revision:
            lines.append(
                f"{suite}: the backbone was trained on {name} of revision {revision}, this is "
                f"{data.revision}; it may have seen held-out tasks"
            )
    return lines


def execute(
    plan: Plan,
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[float, float], None] = lambda done, total: None,
) -> Outcome:
    """Runs a resolved plan in `plan.out` and writes its tables.

    Args:
        plan: from `make_plan`, with `out` set.
        say: told each notable fact in a line.
        progress: told the work done and the whole, in one unit.

    Raises:
        UserError: the plan cannot be run here, or the run directory cannot be used.
    """
    from bench.publish import write_tables

    assert plan.out
    root = Path(plan.out)
    for line in warnings_of(plan):
        say(line)
    plan = pinned(plan)
    with records.locked(root):
        context = Context(plan, root)
        for suite in plan.suites:
            context.metrics(suite)
        run = describe(context)
        _check_same(root, run)
        cells = grid(context)
        kept = _kept(context, cells)
        if not (root / "run.json").is_file():
            records.write_whole(root / "plan.toml", plan_text(plan))
            records.write_json(root / "run.json", run)
        for line in [*_notes(run["facts"]), *backbone_notes(context)]:
            say(line)
        outcome = Outcome(root, cells, len(kept), {})
        _work(context, [cell for cell in cells if cell not in kept], outcome, progress)
        write_tables(root)
    return outcome


def _work(
    context: Context,
    cells: Sequence[Cell],
    outcome: Outcome,
    progress: Callable[[float, float], None],
) -> None:
    """Finishes `cells` in worker processes; failures go into the outcome."""
    plan, root = context.plan, context.root
    jobs = jobs_for(context, cells)
    if not jobs:
        return
    total = sum(job.weight for job in jobs)

    def done(job: Job, message: dict[str, Any]) -> None:
        if isinstance(job.key, Cell):
            records.write_cell(root, job.key, message["header"], message["records"])

    def failed(job: Job, reason: str) -> None:
        if isinstance(job.key, Cell):
            records.write_failure(root, job.key, shared_header(context, job.key), reason)
            outcome.failures[job.key] = reason

    events = Events(done, failed, lambda work: progress(work, total))
    first = {"plan": plan.model_dump(), "root": str(root)}
    with pool(min(plan.workers, len(jobs)), first, root / "log", plan.threads) as workers:
        workers.run(jobs, events)
