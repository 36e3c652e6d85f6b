"""Initialisations that cells share: trained once, content-addressed, written whole."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.baseline import Learner
from bench.code_state import state
from bench.context import Context
from bench.errors import CellError
from bench.records import read_json, write_json
from bench.registry import version
from bench.streams import digest_of
from bench.tasks import train_revision

if TYPE_CHECKING:
    import torch

    from bench.initialisation import Initialisation

Progress = Callable[[float], None]
COST = "cost.json"


def _publish(folder: Path, fill: Callable[[Path], None]) -> None:
    """Makes `folder` appear with all that `fill` writes, or not at all."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    fill(part)
    part.replace(folder)


def initialisation_folder(
    context: Context, sources: Sequence[str], baseline: str, train_seed: int
) -> Path:
    """Where an initialisation that was meta-trained on some suites lies: its name is a digest of
    all it depends on."""
    plan = context.plan
    trained_on = [_identity(context, suite) for suite in sources]
    key = digest_of(
        version(),
        trained_on[0] if len(trained_on) == 1 else trained_on,
        [plan.columns, plan.configs, plan.layout],
        [baseline, plan.options[baseline], plan.trained_shots, plan.train_budget, train_seed],
        [context.backbone(train_seed).identity, plan.dtype],
        *([plan.language] if plan.language else []),  # whose code a multilingual model reads
        [
            context.device.type,
            plan.threads,
            plan.loss_mean,
            plan.tasks_at_once,
            plan.tokens_at_once,
            plan.checkpoint_steps,
        ],
        state(context, [baseline], sources),
    )
    return context.root / "artefacts" / f"{baseline}-{key[:16]}"


def _identity(context: Context, suite: str) -> list[str]:
    dataset = context.dataset(suite)
    return [suite, context.suite(suite).version, dataset.name, dataset.revision]


def make_initialisation(
    context: Context, sources: Sequence[str], baseline: str, train_seed: int, progress: Progress
) -> None:
    """Meta-trains a baseline on the tasks of some suites unless its initialisation is there."""
    from safetensors.torch import save_file

    from bench.timing import Meter, out_of_memory, process_rate
    from bench.training import Training

    folder = initialisation_folder(context, sources, baseline, train_seed)
    if folder.is_dir():
        return
    learner = context.baseline(baseline)
    assert isinstance(learner, Learner)
    plan = context.plan
    backbone = learner.prepare(context.backbone(train_seed))
    training = Training(
        backbone,
        context.training_data(tuple(sources)),
        plan.trained_shots,
        train_seed,
        plan.tasks_at_once,
        plan.tokens_at_once or backbone.tokens_at_once,
    )
    meter = Meter(backbone.device)
    try:
        start, cost = learner.meta_train(training, plan.train_budget, progress)
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise CellError(
            f"meta-training does not fit the memory of {backbone.device}; lower tasks_at_once = "
            f"{plan.tasks_at_once} (--tasks-at-once), or the method's train_queries or inner_steps"
            + (
                ""
                if plan.checkpoint_steps or learner.order != "2"
                else ", or add --checkpoint-steps"
            )
        ) from error

    spent = meter.spent()
    share = 1e3 * cost.seconds / spent.ms  # the meter also saw what comes before the first step
    costs = {
        **cost.as_dict(),
        "waited_ms": spent.waited_ms and spent.waited_ms * share,
        "peak_mib": spent.peak_mib,
        "joules": spent.joules,
        "matrix_rate": process_rate(backbone.device, backbone.model.dtype),
    }

    def fill(part: Path) -> None:
        save_file(
            {name: value.contiguous() for name, value in start.meta.items()},
            part / "initialisation.safetensors",
        )
        write_json(part / COST, costs)

    _publish(folder, fill)


def read_initialisation(
    folder: Path, start: "Initialisation", device: "torch.device"
) -> "tuple[Initialisation, dict[str, Any]]":
    """What was meta-trained, in the place of what it began with, and the cost of making it."""
    from safetensors.torch import load_file

    path = folder / "initialisation.safetensors"
    try:
        stored = load_file(path, device=str(device))
    except Exception as error:  # safetensors has a class of its own for what it cannot read
        raise CellError(f"{path}: damaged ({error}); delete {folder} and run again") from error
    cost: dict[str, Any] = read_json(folder / COST)
    return start.with_meta(stored), cost


def pretrained_folder(context: Context, train_seed: int) -> Path:
    """Where the backbone of a train seed lies, if the plan pre-trains."""
    from bench.recipe import read_recipe

    plan = context.plan
    assert plan.pretrain is not None
    data = {suite: context.dataset(suite) for suite in plan.pretrain_suites}
    sources = [[suite, found.name, train_revision(found)] for suite, found in data.items()]
    recipe = read_recipe(plan.backbone).model_dump()
    tokens = {"tokens": plan.pretrain.tokens}
    code = state(context, [], plan.pretrain_suites)
    key = digest_of(version(), recipe, tokens, sources, plan.columns, train_seed, code)
    return context.backbones / f"backbone-{key[:16]}"


def make_pretrained(context: Context, train_seed: int, progress: Progress) -> None:
    """Pre-trains the plan's backbone on meta-train tasks unless it is there."""
    from bench.pretrain import Pretraining
    from bench.recipe import read_recipe

    folder = pretrained_folder(context, train_seed)
    if folder.is_dir():
        return
    assert context.plan.pretrain is not None
    recipe = read_recipe(context.plan.backbone)
    datasets = {suite: context.dataset(suite) for suite in context.plan.pretrain_suites}
    recipe = recipe.with_training(seed=train_seed, tokens=context.plan.pretrain.tokens)
    work = folder.with_name(f"{folder.name}.work")
    Pretraining(recipe, datasets, context.device).run(work, progress)
    work.replace(folder)
