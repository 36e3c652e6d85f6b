"""Reptile: move towards the adapted weights."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from bench.baseline import MetaLearner, Space

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from bench.initialisation import Initialisation
    from bench.training import TaskLoss


class Reptile(MetaLearner):
    """Reptile (Nichol et al. 2018, algorithm 2).

    theta += epsilon * mean over tasks of (theta_n - theta), epsilon annealed to 0. theta_n comes
    from n steps on support and query together. The inner rule is Adam with beta1 = 0 (or SGD); its
    state is new for every task, in training and at test.

    Cost of a training task: n passes, the memory of one. A step at test costs what one of
    fine-tuning does.

    Use it where nothing may be differentiated but the loss itself. It wants many tasks a step, so a
    small budget favours `fomaml`.
    """

    order = "1"
    clip: ClassVar[float | None] = None
    search: ClassVar[Space] = {
        "inner_rate": (1.5e-3, 3e-3),
        "outer_rate": (0.02, 0.05, 0.1),
        "test_steps": (16, 24, 36),
    }

    class Options(MetaLearner.Options):
        """Chosen by `fewgen tune`, see results/tuning.md."""

        test_factor: ClassVar[int] = 9
        inner_rule: Literal["sgd", "adam", "adam-beta1-0"] = Field(
            "adam-beta1-0", description="step rule of the inner loop"
        )
        inner_rate: float = Field(3e-3, ge=0, description="step size of the inner loop")
        tasks_per_step: int = Field(8, ge=1, description="tasks in one outer step")
        train_queries: int = Field(8, ge=1, description="further examples of a training task")
        outer_rate: float = Field(0.02, gt=0, description="epsilon, annealed to 0")

    def direction(self, start: "Initialisation", task: "TaskLoss") -> "Sequence[Tensor]":
        """theta - theta_n, which a descent step of rate epsilon turns into Reptile's update."""
        adapted = self.inner(task.all, start, "none")
        apart = [weight.detach() - adapted[name] for name, weight in start.meta.items()]
        own = [start.tasks is not None and name in start.inner for name in start.meta]
        return [part.sum(0) if each else part for part, each in zip(apart, own, strict=True)]

    def outer(self, leaves: "Sequence[Tensor]") -> "Optimizer":
        """Plain descent: its rate is epsilon."""
        import torch

        return torch.optim.SGD(leaves, lr=self.options.outer_rate)

    def schedule(self, spent: float) -> float:
        """From 1 to 0 along a line."""
        return 1 - spent
