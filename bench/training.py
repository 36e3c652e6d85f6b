"""The outer loop: draws batches of meta-train tasks until the token budget is spent."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor

from bench.backbone import Backbone, attention
from bench.baseline import MetaTrained
from bench.batches import TOKENS, Batch
from bench.episodes import draw_episode, usable_tasks
from bench.errors import CellError, UserError
from bench.initialisation import Initialisation
from bench.recomputed import recomputing
from bench.streams import Stream
from bench.tasks import Dataset, Example
from bench.timing import Stopwatch, flop_counter
from bench.union import Union

Parameters = Mapping[str, Tensor]
Progress = Callable[[float], None]
COUNTED = {4**n for n in range(20)}  # outer steps whose operations are counted


class TaskLoss:
    """The losses of some training tasks at once, (tasks,), as functions of the weights; counts
    tokens as they pass.

    Every call is one forward pass that will be followed by a backward pass.

    Attributes:
        count: of tasks.
        step: the outer step that they are part of.
        tokens: of each task, those that went through forward and backward.
        truncated: examples that had to be cut to the context.
        notes: what the method measured on the way, by name, a value for each task.
    """

    def __init__(
        self,
        backbone: Backbone,
        tasks: Sequence[tuple[Sequence[Example], Sequence[Example]]],
        step: int = 0,
    ) -> None:
        self._backbone = backbone
        self._supports, self._queries = [s for s, _ in tasks], [q for _, q in tasks]
        self._batches: dict[str, Batch] = {}
        self.count, self.step = len(tasks), step
        self.tokens = [0] * len(tasks)
        self.truncated = 0
        self.notes: dict[str, list[float]] = {}

    def _loss(
        self,
        part: str,
        tasks: Sequence[Sequence[Example]],
        weights: Parameters,
        shown: Sequence[Sequence[Example]] | None = None,
    ) -> Tensor:
        if part not in self._batches:
            self._batches[part], cuts = self._backbone.batch(tasks, shown)
            self.truncated += sum(cuts)
        if not recomputing():
            self.again(part)
        return self._backbone.losses(weights, self._batches[part])

    def again(self, part: str, which: Sequence[bool] | None = None) -> None:
        """Counts one more pass of these tasks, or all, through a part that was used before: a
        product with the Hessian goes through a graph that exists."""
        for number, tokens in enumerate(self._batches[part].tokens):
            if which is None or which[number]:
                self.tokens[number] += tokens

    @property
    def widest(self) -> int:
        """Tokens of the largest batch of one task so far."""
        return max((n for batch in self._batches.values() for n in batch.tokens), default=0)

    def note(self, name: str, values: Sequence[float]) -> None:
        """Keeps what the method measured, a value for each task."""
        self.notes[name] = list(values)

    def support(self, weights: Parameters) -> Tensor:
        """Loss over the target tokens of the support set."""
        return self._loss("support", self._supports, weights)

    def query(self, weights: Parameters) -> Tensor:
        """Loss over the target tokens of the query set."""
        return self._loss("query", self._queries, weights)

    def all(self, weights: Parameters) -> Tensor:
        """Loss over the target tokens of both."""
        both = zip(self._supports, self._queries, strict=True)
        return self._loss("all", [[*s, *q] for s, q in both], weights)

    def in_context(self, weights: Parameters) -> Tensor:
        """Loss over the target tokens of each query behind the support set in its prompt."""
        return self._loss("in context", self._queries, weights, self._supports)


@dataclass
class TrainingCost:
    """What a meta-training took: seconds on the device, tokens through forward and backward,
    floating-point operations (of some tasks, scaled by tokens), outer steps, examples that were
    cut, the means over tasks of what the method noted, and tokens of the largest task: of all its
    passes, and of its widest batch."""

    seconds: float = 0.0
    tokens: int = 0
    flops: float = 0.0
    steps: int = 0
    truncated: int = 0
    noted: dict[str, list[float]] = field(default_factory=dict)
    largest: int = 0
    widest: int = 1

    def take(self, task: TaskLoss) -> None:
        """Adds what some tasks at once took."""
        self.tokens += sum(task.tokens)
        self.largest = max(self.largest, *task.tokens)
        self.widest = max(self.widest, task.widest)
        self.truncated += task.truncated
        for name, values in task.notes.items():
            self.noted.setdefault(name, []).extend(values)

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        plain = {k: v for k, v in vars(self).items() if k not in ("noted", "largest", "widest")}
        notes = {name: sum(values) / len(values) for name, values in self.noted.items()}
        return {**plain, "notes": notes}


@dataclass(frozen=True)
class Training:
    """Where meta-training takes its tasks from.

    Attributes:
        backbone: as the method prepared it.
        shots: every K of meta-training; each task draws one.
        seed: the train seed.
        tasks_at_once, tokens_at_once: the most that go through the model in one batch.
    """

    backbone: Backbone
    dataset: Dataset
    shots: Sequence[int]
    seed: int
    tasks_at_once: int = 1
    tokens_at_once: int = TOKENS

    def affordable(self, wanted: int, cost: TrainingCost, budget: int) -> int:
        """How many of the tasks that are wanted go at once. Near the end of a budget, and until a
        first task has told what one costs, they go singly: the one that spends it is the last."""
        if not cost.largest:
            return 1
        room = (budget - cost.tokens) // (2 * cost.largest)  # another may be twice as large
        return max(1, min(wanted, self.tasks_at_once, self.tokens_at_once // cost.widest, room))

    def names(self, split: str = "meta-train") -> list[str]:
        """The tasks of a split that are large enough.

        Raises:
            UserError: there is none.
        """
        usable, _ = usable_tasks(self.dataset, split, max(self.shots))
        if not usable:
            raise UserError(
                f"no {split} task of {self.dataset.name} has {max(self.shots) + 1} train examples; "
                "lower shots"
                if split == "meta-train"
                else f"no {split} task of {self.dataset.name} holds {max(self.shots)} support "
                "examples and a query; lower shots"
            )
        return usable

    def episodes(self, use: str, names: Sequence[str], queries: int) -> TaskLoss:
        """An episode of each of some held-out tasks, drawn as those of a measurement but for a use
        of its own; with the largest K."""
        shots = max(self.shots)
        drawn = [
            draw_episode(use, self.dataset.task(name), shots, queries, self.seed, 0)
            for name in names
        ]
        return TaskLoss(self.backbone, [(episode.support, episode.query) for episode in drawn])

    def draw(
        self, stream: Stream, names: Sequence[str], queries: int, step: int = 0, count: int = 1
    ) -> TaskLoss:
        """Random ones of these tasks."""
        drawn = [
            draw_training_task(stream, self.dataset, names, self.shots, queries)
            for _ in range(count)
        ]
        return TaskLoss(self.backbone, drawn, step)


def draw_training_task(
    stream: Stream, dataset: Dataset, names: Sequence[str], shots: Sequence[int], queries: int
) -> tuple[list[Example], list[Example]]:
    """K support and up to `queries` query examples of one random task, from its `train` part,
    without a group in both; K is drawn from `shots`. Of several suites each is as likely."""
    picked = dataset.pick(stream, names) if isinstance(dataset, Union) else stream.pick(names)
    examples = dataset.task(picked).parts["train"]
    visited = stream.visit(examples)
    support = list(islice(visited, stream.pick(shots)))
    groups = {example.group for example in support}
    return support, list(islice((e for e in visited if e.group not in groups), queries))


class OuterLoop:
    """One meta-training: a learner, and where its tasks come from."""

    def __init__(self, learner: MetaTrained, training: Training) -> None:
        self.learner, self.training = learner, training
        self.names = training.names()
        self._flops_per_token = 0.0

    def gradient(
        self, start: Initialisation, step: int, cost: TrainingCost, budget: int
    ) -> list[Tensor]:
        """The mean over one batch of tasks of the learner's direction; adds to `cost`. The last
        batch ends with the task that spends the budget."""
        options, training = self.learner.options, self.training
        stream = Stream(training.seed, "meta-train", training.dataset.name, step)
        totals = [torch.zeros_like(value) for value in start.meta.values()]
        count = 0
        while count < options.tasks_per_step and cost.tokens < budget:
            more = training.affordable(options.tasks_per_step - count, cost, budget)
            task = training.draw(stream, self.names, options.train_queries, step, more)
            direction = self._direction(start.for_tasks(more), task, cost, count == 0)
            for total, part in zip(totals, direction, strict=True):
                total += part.detach()
            count += more
            cost.take(task)
        return [total / count for total in totals]

    def _direction(
        self, start: Initialisation, task: TaskLoss, cost: TrainingCost, first: bool
    ) -> Sequence[Tensor]:
        """The learner's direction. Operations are counted for the first tasks of some outer steps
        and scaled by tokens in between: a method may do other things later than at first, and
        counting takes time."""
        counts = first and task.step + 1 in COUNTED
        with (
            attention(self.learner.order in ("2", "implicit")),
            flop_counter() if counts else nullcontext() as counter,
        ):
            direction = self.learner.direction(start, task)
        if counter is not None:
            self._flops_per_token = counter.get_total_flops() / sum(task.tokens)
        cost.flops += self._flops_per_token * sum(task.tokens)
        return direction

    def run(
        self, budget: int, progress: Progress = lambda fraction: None
    ) -> tuple[Initialisation, TrainingCost]:
        """Trains until `budget` tokens went through forward and backward; none if it is 0.

        Raises:
            CellError: a gradient is not finite.
        """
        training, learner = self.training, self.learner
        seed = Stream(training.seed, "initialisation").torch_seed()
        start = learner.start(training.backbone, seed)
        for value in start.meta.values():
            value.requires_grad_()
        leaves = list(start.meta.values())
        optimizer = learner.outer(leaves)
        rates = [group["lr"] for group in optimizer.param_groups]
        cost = TrainingCost()
        watch = Stopwatch(training.backbone.device)
        while cost.tokens < budget:
            before = cost.tokens
            gradient = self.gradient(start, cost.steps, cost, budget)
            # The rate in the middle of what the batch spent: at its start the first would be 0.
            factor = learner.schedule((before + min(cost.tokens, budget)) / 2 / budget)
            for leaf, part in zip(leaves, gradient, strict=True):
                leaf.grad = part
            norm = torch.nn.utils.clip_grad_norm_(leaves, learner.clip or float("inf"))
            if not torch.isfinite(norm):
                name = self.names[0]
                training.backbone.check_finite(name, training.dataset.task(name).parts["train"][:1])
                raise CellError(
                    f"the gradient is {norm.item()} at outer step {cost.steps + 1}; "
                    "lower inner_rate or outer_rate"
                )
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            optimizer.step()
            cost.steps += 1
            progress(min(cost.tokens / budget, 1.0))
        cost.seconds = watch.total() / 1e3
        return start.with_meta({n: value.detach() for n, value in start.meta.items()}), cost
