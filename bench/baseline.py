"""What a baseline is: the base classes that a method is written on.

`Floor` answers without a model. `Learner` uses a backbone as it is. `GradientLearner` adapts its
weights in the inner loop, `MetaTrained` has an outer loop, `MetaLearner` has both. A module under
`baselines/` states only what differs.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bench.tasks import Example, Task

if TYPE_CHECKING:
    from os import PathLike

    from torch import Tensor
    from torch.optim import Optimizer

    from bench.backbone import Backbone
    from bench.episodes import Episode
    from bench.initialisation import Initialisation
    from bench.inner_loop import Adapted, AfterStep, Loss, Path, StepRule
    from bench.training import TaskLoss, Training, TrainingCost

Order = Literal["none", "1", "2", "implicit"]
Start = Literal["none", "scratch", "pretrained", "meta-trained"]
# Options that matter for some values of `adapt` alone.
EFFECTIVE = {
    "head": ("head", "body"),
    "rank": ("lora",),
    "alpha": ("lora",),
    "base": ("lora",),
}
Space = Mapping[str, Sequence[str | int | float]]


class Derived(NamedTuple):
    """The default of an option that follows from other options.

    Attributes:
        value: of the options at hand.
        rule: how it follows, as `6 x inner_steps`.
    """

    value: Any
    rule: str


class Baseline:
    """A method, made from its options.

    Attributes:
        order: of the gradient that meta-training follows.
        init: what adaptation starts from.
        search: the options that `fewgen tune` chooses, and their values.
    """

    order: ClassVar[Order] = "none"
    init: ClassVar[Start] = "none"
    search: ClassVar[Space] = {}

    class Options(BaseModel):
        """What a plan may set; `fewgen show BASELINE` prints it."""

        model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

        def derived(self) -> dict[str, Derived]:
            """The options whose default follows from others; in the class it is None."""
            return {}

        @model_validator(mode="after")
        def _fill_derived(self) -> Self:
            for name, default in self.derived().items():
                if getattr(self, name) is None:
                    self.__dict__[name] = default.value  # `setattr` refuses: options are frozen
            return self

    def __init__(self, options: BaseModel) -> None:
        self.options = options

    def files_read(self) -> "Sequence[str | PathLike[str]]":
        """Files and folders that the options name and the method reads; here none. A run whose
        files have changed is refused, and what was trained with others is trained again."""
        return ()


class Floor(Baseline, ABC):
    """Answers from the texts alone: what any model must beat."""

    @abstractmethod
    def answer(self, query: str, support: Sequence[Example]) -> str:
        """The answer to one input; the support is empty where a plan probes that."""


class Learner(Baseline):
    """A baseline on a backbone; by itself it uses the weights as they are.

    Attributes:
        demonstrates: the support stands in the prompt of every query.
        trains: the baseline has a `meta_train` and so depends on the train seed.
        few_shot: the support set is all that it learns an episode's task from; else `minibatches`
            gives more.
        steps_at_test: gradient steps on the support set of an episode.
    """

    few_shot: ClassVar[bool] = True
    init: ClassVar[Start] = "pretrained"
    demonstrates: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    steps_at_test: int = 0

    def prepare(self, backbone: "Backbone") -> "Backbone":
        """The backbone as the method needs it; the given one is not changed."""
        return backbone

    def start(self, backbone: "Backbone", seed: int) -> "Initialisation":
        """What a cell begins with when nothing was meta-trained, and meta-training too."""
        from bench.initialisation import Initialisation

        return Initialisation(backbone.weights(), ())

    def meta_train(
        self, training: "Training", budget: int, progress: Callable[[float], None]
    ) -> "tuple[Initialisation, TrainingCost]":
        """What cells of a train seed begin with, made from at most `budget` tokens and one task."""
        raise NotImplementedError(f"{type(self).__name__} trains, but has no meta_train")

    def adapt(
        self, loss: "Loss", start: "Initialisation", after_step: "AfterStep | None" = None
    ) -> "Adapted":
        """Adapted weights for the support sets of `start.tasks`, given their losses (tasks,); here
        the weights themselves."""
        from bench.inner_loop import Adapted

        return Adapted(dict(start.weights))

    def minibatches(self, task: Task, episode: "Episode") -> Sequence[Sequence[Example]] | None:
        """What each inner step reads in place of the support set, for an upper reference that
        learns from more of the episode's own task; of no group of its queries. Here None: the
        support set, all that a few-shot method may see."""
        return None


class GradientLearner(Learner):
    """Adapts weights by gradient steps on the support set."""

    class Options(Baseline.Options):
        """The inner loop."""

        inner_steps: int = Field(4, ge=0, description="n, gradient steps on the support set")
        inner_rate: float = Field(1e-3, ge=0, description="step size of the inner loop")
        inner_rule: Literal["sgd", "adam", "adam-beta1-0"] = Field(
            "adam", description="step rule of the inner loop"
        )
        adapt: Literal["all", "head", "body", "lora"] = Field(
            "all", description="the weights that the inner loop changes"
        )
        head: Literal["lm_head", "norm", "block"] = Field(
            "lm_head",
            description="with head or body: the output layer, untied; norm adds the norm before "
            "it, block the last block too",
        )
        rank: int = Field(8, ge=1, description="with lora: rank of the adapters")
        alpha: float = Field(16.0, gt=0, description="with lora: their scale is alpha / rank")

        @model_validator(mode="after")
        def _has_an_effect(self) -> Self:
            """Refuses what `adapt` leaves without an effect."""
            part, derived = self.adapt, self.derived()
            for option, parts in EFFECTIVE.items():
                field = type(self).model_fields.get(option)
                if not field or part in parts:
                    continue
                usual = derived[option].value if option in derived else field.default
                if getattr(self, option) != usual:
                    needed = " or ".join(parts)
                    raise ValueError(f"{option} has an effect with adapt = {needed} only")
            return self

    options: Options

    #: Whether inner steps of order 2 are taken anew for the outer gradient; a plan says so.
    checkpoint_steps: bool = False

    @property
    def steps_at_test(self) -> int:  # type: ignore[override]
        """Gradient steps on the support set of an episode."""
        return self.options.inner_steps

    def prepare(self, backbone: "Backbone") -> "Backbone":
        """Unties the head where it moves apart, adds adapters where they move."""
        from bench.parts import untied, with_adapters

        if self.options.adapt in ("head", "body"):
            return untied(backbone)
        if self.options.adapt == "lora":
            return with_adapters(backbone, self.options.rank, self.options.alpha)
        return backbone

    def start(self, backbone: "Backbone", seed: int) -> "Initialisation":
        """The weights of a prepared backbone, and what the method learns beside them."""
        from bench.initialisation import Initialisation
        from bench.parts import adapter_names, draw_adapters, head_names

        weights, part = self.first_weights(backbone, seed), self.options.adapt
        inner = list(weights)
        if part == "lora":
            draw_adapters(weights, seed)
            inner = adapter_names(backbone)
        elif part != "all":
            head = head_names(backbone, self.options.head)
            inner = head if part == "head" else [name for name in weights if name not in head]
        return self.with_learned(Initialisation(weights, tuple(inner)))

    def first_weights(self, backbone: "Backbone", seed: int) -> "dict[str, Tensor]":
        """The weights that everything begins with."""
        return backbone.weights()

    def with_learned(self, start: "Initialisation") -> "Initialisation":
        """Adds what the method learns beside weights; here nothing."""
        return start

    def rule(self, start: "Initialisation") -> "StepRule":
        """How a gradient becomes a step."""
        from bench.inner_loop import step_rule

        return step_rule(self.options.inner_rule, self.options.inner_rate)

    def objective(self, loss: "Loss", start: "Initialisation") -> "Loss":
        """What the inner loop lowers, made of the support loss; here that itself."""
        return loss

    def adapt(
        self, loss: "Loss", start: "Initialisation", after_step: "AfterStep | None" = None
    ) -> "Adapted":
        """`steps_at_test` steps on the support loss."""
        return self.inner_loop(loss, start, self.steps_at_test, after_step=after_step)

    def inner_loop(
        self,
        loss: "Loss",
        start: "Initialisation",
        steps: int,
        path: "Path" = "none",
        after_step: "AfterStep | None" = None,
    ) -> "Adapted":
        """`steps` steps of the baseline's rule; see `bench.inner_loop.adapt`."""
        from bench.inner_loop import Adapted, adapt

        objective, weights = self.objective(loss, start), dict(start.weights)
        if path == "none":
            weights = {name: weight.detach() for name, weight in weights.items()}
        made = adapt(
            lambda moving: objective({**weights, **moving}),
            start.moving,
            self.rule(start),
            steps,
            path,
            after_step and (lambda moving: after_step({**weights, **moving})),
            list(start.meta.values()) if self.checkpoint_steps else None,
        )
        return Adapted({**weights, **made.weights}, made.losses)


class MetaTrained(Learner, ABC):
    """Learns what a cell begins with on meta-train tasks, by an outer loop."""

    init = "meta-trained"
    trains = True

    class Options(Baseline.Options):
        """The outer loop."""

        outer_rate: float = Field(3e-4, gt=0, description="step size of the outer loop, to 0")
        tasks_per_step: int = Field(4, ge=1, description="tasks in one outer step")
        train_queries: int = Field(32, ge=1, description="query examples of a training task")

    options: Options

    #: Largest norm of an outer gradient; None leaves it as it is.
    clip: ClassVar[float | None] = 1.0

    @abstractmethod
    def direction(self, start: "Initialisation", task: "TaskLoss") -> "Sequence[Tensor]":
        """What the `task.count` tasks at once add to the outer gradient, their sum, in the order of
        `start.meta`."""

    def outer(self, leaves: "Sequence[Tensor]") -> "Optimizer":
        """The outer optimiser of `start.meta`."""
        import torch

        return torch.optim.Adam(leaves, lr=self.options.outer_rate)

    def schedule(self, spent: float) -> float:
        """The outer rate's factor when a share of the budget is spent: over a quarter of it from 0
        to 1, then to 0. Adam's first steps are signs of a noisy gradient; at full rate they undo
        pre-training."""
        return min(1.0, spent / 0.25) * (1 - spent)

    def meta_train(
        self, training: "Training", budget: int, progress: Callable[[float], None]
    ) -> "tuple[Initialisation, TrainingCost]":
        """Outer steps until `budget` tokens are spent."""
        from bench.training import OuterLoop

        return OuterLoop(self, training).run(budget, progress)


class MetaLearner(MetaTrained, GradientLearner):
    """Learns what the inner loop starts from: the gradient of the query loss behind the loop, as
    far as `order` says."""

    class Options(MetaTrained.Options, GradientLearner.Options):
        """Inner and outer loop."""

        test_steps: int | None = Field(None, ge=0, description="steps on a test episode")
        base: Literal["meta-learned", "frozen"] | None = Field(
            None, description="with lora: whether meta-training changes the base model"
        )

        #: Steps on a test episode for each of `inner_steps`. More than in training, which has to
        #: pay for each of them many times.
        test_factor: ClassVar[int] = 6

        def derived(self) -> dict[str, Derived]:
            """`test_steps` follows `inner_steps`, `base` follows `adapt`."""
            steps = Derived(
                self.test_factor * self.inner_steps, f"{self.test_factor} x inner_steps"
            )
            base = Derived("frozen" if self.adapt == "lora" else "meta-learned", "frozen with lora")
            return {**super().derived(), "test_steps": steps, "base": base}

    options: Options

    @property
    def steps_at_test(self) -> int:  # type: ignore[override]
        """Those of a test episode."""
        assert self.options.test_steps is not None
        return self.options.test_steps

    def start(self, backbone: "Backbone", seed: int) -> "Initialisation":
        """As `GradientLearner.start`; a frozen base stays out of meta-training."""
        made = super().start(backbone, seed)
        if self.options.adapt == "lora" and self.options.base == "frozen":
            return replace(made, frozen=frozenset(made.weights) - frozenset(made.inner))
        return made

    def inner(
        self,
        loss: "Loss",
        start: "Initialisation",
        path: "Path",
        after_step: "AfterStep | None" = None,
    ) -> "dict[str, Tensor]":
        """The weights after the `inner_steps` of training."""
        return self.inner_loop(loss, start, self.options.inner_steps, path, after_step).weights

    def direction(self, start: "Initialisation", task: "TaskLoss") -> "Sequence[Tensor]":
        """d query loss(theta_n) / d meta-parameters: order 2 goes through all n steps, order 1
        takes their gradients as constants."""
        from bench.inner_loop import gradient

        path: Path = "2" if self.order == "2" else "1"
        return gradient(task.query(self.inner(task.support, start, path)), start.meta)


def cosine(spent: float) -> float:
    """A rate's factor that falls along a half cosine from 1 to 0 (Loshchilov and Hutter 2017)."""
    return (1 + math.cos(math.pi * spent)) / 2
