"""What a baseline is: the three base classes that a method is written on.

`Floor` answers without a model. `Learner` uses a backbone as it is. `GradientLearner` adapts its
weights in the inner loop; `MetaLearner` also meta-trains them. A module under `baselines/` states
only what differs.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from bench.tasks import Example

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from bench.backbone import Backbone
    from bench.inner_loop import Adapted
    from bench.training import TaskLoss

    Weights = Mapping[str, Tensor]


Order = Literal["none", "1", "2", "implicit"]
Start = Literal["none", "scratch", "pretrained", "meta-trained"]


class Baseline:
    """A method, made from its options.

    Attributes:
        order: of the gradient that meta-training follows.
        init: what adaptation starts from.
    """

    order: ClassVar[Order] = "none"
    init: ClassVar[Start] = "none"

    class Options(BaseModel):
        """What a plan may set; `fewgen show BASELINE` prints it."""

        model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def __init__(self, options: BaseModel) -> None:
        self.options = options


class Floor(Baseline, ABC):
    """Answers from the texts alone: what any model must beat."""

    @abstractmethod
    def answer(self, query: str, support: Sequence[Example]) -> str:
        """The answer to one input."""


class Learner(Baseline):
    """A baseline on a backbone; by itself it uses the weights as they are.

    Attributes:
        demonstrates: the support stands in the prompt of every query.
        trains: the baseline has a `meta_train` and so depends on the train seed.
    """

    init: ClassVar[Start] = "pretrained"
    demonstrates: ClassVar[bool] = False
    trains: ClassVar[bool] = False

    def start(self, backbone: "Backbone", seed: int) -> "dict[str, Tensor]":
        """The weights that a cell begins with, when nothing was meta-trained."""
        return backbone.weights()

    def adapt(
        self,
        loss: "Callable[[Weights], Tensor]",
        weights: "Weights",
        after_step: Callable[[], None] | None = None,
    ) -> "Adapted":
        """Adapted weights for a support set, given its loss; here the weights themselves."""
        from bench.inner_loop import Adapted

        return Adapted(dict(weights))


class GradientLearner(Learner):
    """Adapts all weights by gradient steps on the support set."""

    class Options(Baseline.Options):
        """The inner loop."""

        inner_steps: int = Field(4, ge=0, description="n, gradient steps on the support set")
        inner_rate: float = Field(1e-3, ge=0, description="step size of the inner loop")
        inner_rule: Literal["sgd", "adam", "adam-beta1-0"] = Field(
            "adam", description="step rule of the inner loop"
        )

    options: Options

    @property
    def steps_at_test(self) -> int:
        """Gradient steps on the support set of an episode."""
        return self.options.inner_steps

    def adapt(
        self,
        loss: "Callable[[Weights], Tensor]",
        weights: "Weights",
        after_step: Callable[[], None] | None = None,
    ) -> "Adapted":
        """`steps_at_test` steps of `inner_rule` on the support loss."""
        return self.inner_loop(loss, weights, self.steps_at_test, after_step=after_step)

    def inner_loop(
        self,
        loss: "Callable[[Weights], Tensor]",
        weights: "Weights",
        steps: int,
        differentiable: bool = False,
        after_step: Callable[[], None] | None = None,
    ) -> "Adapted":
        """`steps` steps of the baseline's rule; see `bench.inner_loop.adapt`."""
        from bench.inner_loop import adapt, step_rule

        rule = step_rule(self.options.inner_rule, self.options.inner_rate)
        return adapt(loss, weights, rule, steps, differentiable, after_step)


class MetaLearner(GradientLearner, ABC):
    """Learns the weights that the inner loop starts from, on meta-train tasks."""

    init = "meta-trained"
    trains = True

    class Options(GradientLearner.Options):
        """The outer loop."""

        test_steps: int | None = Field(
            None, ge=0, description="steps on a test episode; 6 x inner_steps if not given"
        )
        outer_rate: float = Field(3e-4, gt=0, description="step size of the outer loop, to 0")
        tasks_per_step: int = Field(4, ge=1, description="tasks in one outer step")
        train_queries: int = Field(32, ge=1, description="query examples of a training task")

    options: Options

    @property
    def steps_at_test(self) -> int:
        """More than in training, which has to pay for each of them many times."""
        chosen = self.options.test_steps
        return self.test_factor * self.options.inner_steps if chosen is None else chosen

    def inner(
        self, loss: "Callable[[Weights], Tensor]", weights: "Weights", differentiable: bool = False
    ) -> "dict[str, Tensor]":
        """The weights after the `inner_steps` of training."""
        steps = self.options.inner_steps
        return self.inner_loop(loss, weights, steps, differentiable).weights

    @abstractmethod
    def direction(self, weights: "Weights", task: "TaskLoss") -> "Sequence[Tensor]":
        """What one task adds to the outer gradient, in the order of `weights`."""

    def outer(self, weights: "Sequence[Tensor]") -> "Optimizer":
        """The outer optimiser; its rate is annealed to 0 over the budget."""
        import torch

        return torch.optim.Adam(weights, lr=self.options.outer_rate)

    #: Steps on a test episode for each of `inner_steps`.
    test_factor: ClassVar[int] = 6
    #: Largest norm of an outer gradient; None leaves it as it is.
    clip: ClassVar[float | None] = 1.0
    #: Share of the budget over which the outer rate rises from 0; then it falls to 0.
    warm_up: ClassVar[float] = 0.25
