"""Works on one cell: every episode adapted, answered, scored and timed."""

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bench.baseline import Floor, Learner
from bench.context import Context
from bench.episodes import Episode, draw_episode, schedule
from bench.plan import changed_options
from bench.records import Cell
from bench.registry import display_name
from bench.streams import Stream

if TYPE_CHECKING:
    from bench.backbone import Backbone, Batch, Generation
    from bench.initialisation import Initialisation
    from bench.inner_loop import Adapted
    from bench.timing import Stopwatch

Progress = Callable[[float], None]
TASKS_AT_ONCE = 1  # the inner loop adapts one task after another


def cell_episodes(context: Context, cell: Cell) -> list[Episode]:
    """The frozen episodes of a cell; the same for every baseline."""
    dataset, plan = context.dataset(cell.suite), context.plan
    names, _ = context.tasks(cell.suite, cell.shots)
    order = schedule(names, plan.episodes, cell.suite, cell.seed)
    return [
        draw_episode(cell.suite, dataset.task(n), cell.shots, plan.queries, cell.seed, i)
        for i, n in enumerate(order)
    ]


def run_cell(
    context: Context, cell: Cell, progress: Progress = lambda fraction: None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The header and the records of a cell.

    Raises:
        CellError: the cell cannot be finished.
    """
    episodes = cell_episodes(context, cell)
    method = context.baseline(cell.baseline)
    header = shared_header(context, cell)
    if isinstance(method, Floor):
        records = [
            _record(
                context,
                cell,
                episode,
                [method.answer(q.input, episode.support) for q in episode.query],
            )
            for episode in episodes
        ]
        return header, records
    assert isinstance(method, Learner)
    solver = _Solver(context, cell, method)
    records = []
    for number, episode in enumerate(episodes, 1):
        predictions, extra = solver.solve(episode)
        records.append({**_record(context, cell, episode, predictions), **extra})
        progress(number / len(episodes))
    return {**header, **solver.header()}, records


def shared_header(context: Context, cell: Cell) -> dict[str, Any]:
    """What is known of a cell before it is worked on; tells which row of a table it is part of."""
    dataset, method = context.dataset(cell.suite), context.baseline(cell.baseline)
    plan, uses_model = context.plan, isinstance(method, Learner)
    identity = context.backbone(None).identity if uses_model and not plan.pretrain else None
    untrained = method.init == "meta-trained" and plan.train_budget == 0
    return {
        "order": method.order,
        "init": "pretrained" if untrained else method.init,
        "backbone": display_name(plan.backbone) if uses_model else None,
        "backbone_identity": identity,
        "dataset": dataset.name,
        "revision": dataset.revision,
        "split": plan.split,
        "settings": {
            "tasks": plan.tasks,
            "queries": plan.queries,
            "episodes": plan.episodes,
            "max_new_tokens": context.max_new_tokens(cell.suite),
            "chat": plan.chat and uses_model,
            "train_budget": plan.train_budget if context.trained(cell.baseline) else None,
            "pretrain": plan.pretrain and plan.pretrain.model_dump(),
            "loss_mean": plan.loss_mean if uses_model else None,
        },
        "primary": context.suite(cell.suite).primary,
        "language": context.language(cell.suite),
        "signatures": {m.name: m.signature() for m in context.metrics(cell.suite)},
        "options": plan.options[cell.baseline],
        "changed": changed_options(cell.baseline, plan.options[cell.baseline]),
        "tuning": plan.tuning[cell.baseline].model_dump() if cell.baseline in plan.tuning else None,
        "device": _device_name(context),
        "dtype": plan.dtype,
        "threads": plan.threads,
        "workers": plan.workers,
    }


def _device_name(context: Context) -> str:
    import torch

    if context.device.type == "cuda":
        return torch.cuda.get_device_name(context.device)
    return "cpu"


def _record(
    context: Context, cell: Cell, episode: Episode, predictions: Sequence[str]
) -> dict[str, Any]:
    """What one episode produced; statistics hold one list a query."""
    pairs = list(zip(predictions, episode.query, strict=True))
    return {
        "index": episode.index,
        "task": episode.task,
        "seed": episode.seed,
        "digest": episode.digest,
        "support_part": episode.support_part,
        "support_ids": [example.id for example in episode.support],
        "query_ids": [example.id for example in episode.query],
        "predictions": list(predictions),
        "statistics": {
            metric.name: [metric.statistics(text, query.references) for text, query in pairs]
            for metric in context.metrics(cell.suite)
        },
    }


@dataclass
class Costs:
    """What an episode took; times in milliseconds on the device's clock, None where unknown."""

    adapt_ms: float
    inner_steps_ms: list[float]
    adapt_peak_mib: float | None
    generate_ms: float
    generated_tokens: int


class _Solver:
    """A learner with its initialisation, answering the episodes of one cell."""

    def __init__(self, context: Context, cell: Cell, method: Learner) -> None:
        from bench.artefacts import initialisation_folder, read_initialisation

        self.context, self.cell, self.method = context, cell, method
        given = context.backbone(cell.train_seed if context.plan.pretrain else None)
        self.identity = given.identity
        self.backbone: Backbone = method.prepare(given)
        self.train_cost: dict[str, Any] = {}
        seed = Stream(cell.seed, "initialisation", cell.baseline).torch_seed()
        self.start: Initialisation = method.start(self.backbone, seed)
        if method.trains:
            assert cell.train_seed is not None
            folder = initialisation_folder(context, cell.suite, cell.baseline, cell.train_seed)
            self.start, self.train_cost = read_initialisation(
                folder, self.start, self.backbone.device
            )
        self.inner_step_flops: float | None = None
        self.warm = False

    def header(self) -> dict[str, Any]:
        """What all episodes of the cell share."""
        adapts, trains = self.method.steps_at_test > 0, self.method.trains
        return {
            "backbone_identity": self.identity,
            "adapted_params": sum(w.numel() for w in self.start.moving.values()) if adapts else 0,
            "meta_params": sum(v.numel() for v in self.start.meta.values()) if trains else 0,
            "tasks_at_once": TASKS_AT_ONCE,
            "inner_step_flops": self.inner_step_flops,
            "train": self.train_cost,
        }

    def solve(self, episode: Episode) -> tuple[list[str], dict[str, Any]]:
        """Predictions for the queries, and the record's costs and counts. Where the inner loop
        met a loss that is no number, there are no weights to answer with: answers are empty."""
        from bench.backbone import Generation
        from bench.inner_loop import diverged
        from bench.timing import Stopwatch, peak_mib, reset_peak

        device = self.backbone.device
        batch, cuts = self.backbone.batch(episode.support)
        if not self.warm:
            self._warm_up(episode)
        measured = reset_peak(device)
        watch = Stopwatch(device)
        steps = Stopwatch(device)
        adapted, losses = self._adapt(batch, steps)
        adapt_ms = watch.total()
        peak = peak_mib(device) if measured else None
        if adapted and adapted.losses:
            losses = [*losses, self._last_loss(adapted, batch)]
        finite = [value for value in losses if math.isfinite(value)]
        watch = Stopwatch(device)
        if adapted and finite == losses:
            made = self._generate(adapted, episode)
        else:
            made = Generation([""] * len(episode.query))
        costs = Costs(adapt_ms, steps.laps(), peak, watch.total(), made.tokens)
        counts = {
            "losses": finite,
            "diverged": adapted is None or diverged(losses),
            "truncated": (0 if self.method.demonstrates else cuts) + made.cut_inputs,
            "dropped": made.dropped,
            "cut_outputs": made.cut_outputs,
        }
        return made.texts, {**counts, "costs": asdict(costs)}

    def _adapt(self, batch: "Batch", steps: "Stopwatch") -> "tuple[Adapted | None, list[float]]":
        """The adapted weights, none where the loop met a loss that is no number, and the losses
        before each step."""
        from bench.inner_loop import Diverged

        try:
            adapted = self.method.adapt(
                lambda weights: self.backbone.loss(weights, batch),
                self.start,
                lambda weights: steps.mark(),
            )
        except Diverged as error:
            return None, error.losses
        return adapted, [value.item() for value in adapted.losses]

    def _last_loss(self, adapted: "Adapted", batch: "Batch") -> float:
        """The inner objective after the last step."""
        import torch

        from bench.baseline import GradientLearner

        assert isinstance(self.method, GradientLearner)
        objective = self.method.objective(lambda w: self.backbone.loss(w, batch), self.start)
        with torch.no_grad():
            return objective(adapted.weights).item()

    def _generate(self, adapted: "Adapted", episode: Episode) -> "Generation":
        return self.backbone.generate(
            adapted.weights,
            [query.input for query in episode.query],
            self.context.max_new_tokens(self.cell.suite),
            support=episode.support if self.method.demonstrates else (),
        )

    def _warm_up(self, episode: Episode) -> None:
        """One uncounted pass, so that no first call is timed; counts a step's operations."""
        from torch.utils.flop_counter import FlopCounterMode

        from bench.baseline import GradientLearner
        from bench.inner_loop import Diverged

        self.warm = True
        batch, _ = self.backbone.batch(episode.support)
        if isinstance(self.method, GradientLearner) and self.method.steps_at_test > 0:
            with FlopCounterMode(display=False) as counter, contextlib.suppress(Diverged):
                self.method.inner_loop(lambda w: self.backbone.loss(w, batch), self.start, 1)
            self.inner_step_flops = float(counter.get_total_flops())
        self.backbone.generate(self.start.weights, [episode.query[0].input], 2)
