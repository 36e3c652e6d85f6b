"""Reptile: move towards the adapted weights."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from bench.baseline import MetaLearner

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from bench.baseline import Weights
    from bench.training import TaskLoss


class Reptile(MetaLearner):
    """Reptile (Nichol et al. 2018): theta += epsilon * mean(theta_n - theta), epsilon annealed
    to 0; the inner loop is Adam with beta1 = 0, its state new for every task."""

    order = "1"
    clip: ClassVar[float | None] = None
    warm_up: ClassVar[float] = 0.0

    class Options(MetaLearner.Options):
        """Chosen on meta-validation tasks, see CONTRIBUTING.md."""

        inner_rule: Literal["sgd", "adam", "adam-beta1-0"] = Field(
            "adam-beta1-0", description="step rule of the inner loop"
        )
        inner_rate: float = Field(3e-3, ge=0, description="step size of the inner loop")
        tasks_per_step: int = Field(8, ge=1, description="tasks in one outer step")
        train_queries: int = Field(8, ge=1, description="further examples of a training task")
        outer_rate: float = Field(0.05, gt=0, description="epsilon, annealed to 0")

    def direction(self, weights: "Weights", task: "TaskLoss") -> "Sequence[Tensor]":
        """theta - theta_n, which a descent step of rate epsilon turns into Reptile's update."""
        adapted = self.inner(task.all, weights)
        return [weight.detach() - adapted[name] for name, weight in weights.items()]

    def outer(self, weights: "Sequence[Tensor]") -> "Optimizer":
        """Plain descent: its rate is epsilon."""
        import torch

        return torch.optim.SGD(weights, lr=self.options.outer_rate)
