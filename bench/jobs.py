"""A plan as work: its grid of cells, and the jobs that finish them in their order.

A job's key is (run directory, cell or artefact), so that one pool may work on several runs; that of
a pre-training is (folder, backbone), since runs may share it.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bench.artefacts import pretrained_folder
from bench.baseline import Learner
from bench.context import Context
from bench.pool import Job
from bench.records import Cell


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


def _job(context: Context, key: Any, message: dict[str, Any], weight: float, *after: Any) -> Job:
    """A job of one run: its key and those of its predecessors tell the run directory."""
    places = {"root": str(context.root), "backbones": str(context.backbones)}
    told = {**message, "plan": context.plan.model_dump(), **places}
    return Job(_full(context, key), told, weight, tuple(_full(context, other) for other in after))


def _full(context: Context, key: Any) -> tuple[str, Any]:
    """A key that no other run's job has, but for work that they share."""
    if isinstance(key, tuple) and key[0] == "pretrain":
        return str(context.backbones), pretrained_folder(context, key[1]).name
    return str(context.root), key


def _needs(context: Context, cell: Cell) -> list[tuple[Any, ...]]:
    """Keys of the artefacts that a cell is made with."""
    method, needed = context.baseline(cell.baseline), list[tuple[Any, ...]]()
    if isinstance(method, Learner) and context.plan.pretrain:
        needed.append(("pretrain", cell.train_seed))
    if isinstance(method, Learner) and method.trains:
        sources = context.sources(cell.suite)
        needed.append(("train", sources, cell.baseline, cell.train_seed))
    return needed


def _cell_job(context: Context, cell: Cell) -> Job:
    """A cell as a job, behind the artefacts that it needs; weight in tokens, roughly."""
    plan, method = context.plan, context.baseline(cell.baseline)
    passes = cell.shots * (1 + 3 * getattr(method, "steps_at_test", 0))
    answers = plan.queries * (12 if isinstance(method, Learner) else 1)
    probed = len(plan.probed) * min(plan.episodes, plan.probe_episodes or plan.episodes)
    weight = 10.0 * (plan.episodes + probed) * (passes + answers)
    message = {"kind": "cell", "cell": asdict(cell)}
    return _job(context, cell, message, weight, *_needs(context, cell))


def jobs_for(context: Context, cells: Sequence[Cell]) -> list[Job]:
    """The jobs that finish `cells`: pre-training, then meta-training, the longest first. Where each
    train seed has a backbone of its own, seed by seed: a worker holds one backbone at a time."""
    plan = context.plan
    work = [_cell_job(context, cell) for cell in cells]
    needed = {key for cell in cells for key in _needs(context, cell)}
    first: list[Job] = []
    for key in sorted(needed, key=str):
        if key[0] == "pretrain":
            assert plan.pretrain
            message = {"kind": "pretrain", "train_seed": key[1]}
            first.append(_job(context, key, message, 3.0 * plan.pretrain.tokens))
        else:
            _, sources, baseline, seed = key
            method = context.baseline(baseline)
            slow = 3.0 if method.order in ("2", "implicit") else 1.0
            told = {"suites": list(sources), "baseline": baseline, "train_seed": seed}
            message = {"kind": "train", **told}
            after = [("pretrain", seed)] if plan.pretrain else []
            first.append(_job(context, key, message, 3.0 * slow * plan.train_budget, *after))
    first.sort(key=lambda job: -job.weight)
    jobs = [*first, *work]
    return sorted(jobs, key=_train_seed) if plan.pretrain else jobs


def _train_seed(job: Job) -> int:
    """Of a job's message; -1 for a cell that has none."""
    seed = job.message.get("cell", job.message).get("train_seed")
    return -1 if seed is None else int(seed)
