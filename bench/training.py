"""The outer loop: draws batches of meta-train tasks until the token budget is spent."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bench.backbone import Backbone, Batch, attention
from bench.baseline import MetaLearner
from bench.episodes import usable_tasks
from bench.errors import CellError, UserError
from bench.streams import Stream
from bench.tasks import Dataset, Example
from bench.timing import Stopwatch

Parameters = Mapping[str, Tensor]


class TaskLoss:
    """The losses of one training task as functions of the weights; counts tokens as they pass.

    Every call is one forward pass that will be followed by a backward pass.
    """

    def __init__(
        self, backbone: Backbone, support: Sequence[Example], query: Sequence[Example]
    ) -> None:
        self._backbone = backbone
        self._support, self._query = support, query
        self._batches: dict[str, Batch] = {}
        self.tokens = 0
        self.truncated = 0

    def _loss(self, part: str, examples: Sequence[Example], weights: Parameters) -> Tensor:
        if part not in self._batches:
            self._batches[part], cuts = self._backbone.batch(examples)
            self.truncated += cuts
        batch = self._batches[part]
        self.tokens += batch.tokens
        return self._backbone.loss(weights, batch)

    def support(self, weights: Parameters) -> Tensor:
        """Mean loss over the target tokens of the support set."""
        return self._loss("support", self._support, weights)

    def query(self, weights: Parameters) -> Tensor:
        """Mean loss over the target tokens of the query set."""
        return self._loss("query", self._query, weights)

    def all(self, weights: Parameters) -> Tensor:
        """Mean loss over the target tokens of both."""
        return self._loss("all", [*self._support, *self._query], weights)


@dataclass
class TrainingCost:
    """What a meta-training took: seconds on the device, tokens through forward and backward,
    floating-point operations (those of the first task, scaled by tokens)."""

    seconds: float = 0.0
    tokens: int = 0
    flops: float = 0.0
    steps: int = 0
    truncated: int = 0

    def as_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return asdict(self)


def draw_training_task(
    stream: Stream, dataset: Dataset, names: Sequence[str], shots: Sequence[int], queries: int
) -> tuple[list[Example], list[Example]]:
    """K support and up to `queries` query examples of one random meta-train task, from its
    `train` part, without a group in both; K is drawn from `shots`."""
    examples = dataset.task(stream.pick(names)).parts["train"]
    visited = stream.visit(examples)
    support = list(islice(visited, stream.pick(shots)))
    groups = {example.group for example in support}
    return support, list(islice((e for e in visited if e.group not in groups), queries))


@dataclass
class OuterLoop:
    """One meta-training: a learner, where its tasks come from and its seed."""

    learner: MetaLearner
    backbone: Backbone
    dataset: Dataset
    shots: Sequence[int]
    seed: int

    def __post_init__(self) -> None:
        """Finds the tasks to train on.

        Raises:
            UserError: no meta-train task holds enough examples.
        """
        self._flops_per_token: float | None = None
        self.names, _ = usable_tasks(self.dataset, "meta-train", max(self.shots))
        if not self.names:
            needed = max(self.shots) + 1
            raise UserError(
                f"no meta-train task of {self.dataset.name} has {needed} train examples; "
                "lower shots"
            )

    def gradient(
        self, weights: Parameters, step: int, cost: TrainingCost, budget: int
    ) -> list[Tensor]:
        """The mean over one batch of tasks of the learner's direction; adds to `cost`. The last
        batch ends with the task that spends the budget."""
        options = self.learner.options
        stream = Stream(self.seed, "meta-train", self.dataset.name, step)
        totals = [torch.zeros_like(weight) for weight in weights.values()]
        count = 0
        while count < options.tasks_per_step and cost.tokens < budget:
            drawn = draw_training_task(
                stream, self.dataset, self.names, self.shots, options.train_queries
            )
            task = TaskLoss(self.backbone, *drawn)
            direction = self._direction(weights, task)
            for total, part in zip(totals, direction, strict=True):
                total += part.detach()
            count += 1
            cost.tokens += task.tokens
            cost.truncated += task.truncated
        return [total / count for total in totals]

    def _direction(self, weights: Parameters, task: TaskLoss) -> Sequence[Tensor]:
        """The learner's direction; the first time it also counts the operations."""
        if self._flops_per_token is not None:
            return self.learner.direction(weights, task)
        with FlopCounterMode(display=False) as counter:
            direction = self.learner.direction(weights, task)
        self._flops_per_token = counter.get_total_flops() / task.tokens
        return direction

    def run(
        self, budget: int, progress: Callable[[float], None] = lambda fraction: None
    ) -> tuple[dict[str, Tensor], TrainingCost]:
        """Trains until `budget` tokens went through forward and backward.

        Raises:
            CellError: a gradient is not finite.
        """
        weights = {name: w.requires_grad_() for name, w in self.backbone.weights().items()}
        leaves = list(weights.values())
        optimizer = self.learner.outer(leaves)
        rate, warm_up = optimizer.param_groups[0]["lr"], self.learner.warm_up
        cost = TrainingCost()
        watch = Stopwatch(self.backbone.device)
        while cost.tokens < budget:
            spent = cost.tokens / budget
            with attention(self.learner.order == "2"):
                gradient = self.gradient(weights, cost.steps, cost, budget)
            for leaf, part in zip(leaves, gradient, strict=True):
                leaf.grad = part
            norm = torch.nn.utils.clip_grad_norm_(leaves, self.learner.clip or float("inf"))
            if not torch.isfinite(norm):
                raise CellError(
                    f"the gradient is {norm.item()} at outer step {cost.steps + 1}; "
                    "lower inner_rate or outer_rate"
                )
            # Adam's first steps are signs of a noisy gradient; at full rate they undo pre-training.
            risen = min(1.0, cost.tokens / budget / warm_up) if warm_up else 1.0
            optimizer.param_groups[0]["lr"] = rate * risen * (1 - spent)
            optimizer.step()
            cost.steps += 1
            progress(min(cost.tokens / budget, 1.0))
        cost.seconds = watch.total() / 1e3
        cost.flops = (self._flops_per_token or 0.0) * cost.tokens
        return {name: weight.detach() for name, weight in weights.items()}, cost
