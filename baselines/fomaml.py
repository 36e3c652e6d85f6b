"""First-order MAML."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from bench.baseline import MetaLearner

if TYPE_CHECKING:
    from torch import Tensor

    from bench.baseline import Weights
    from bench.training import TaskLoss


class Fomaml(MetaLearner):
    """First-order MAML (Finn et al. 2017, section 5.2; Nichol et al. 2018): the gradient of the
    query loss at the adapted weights, taken as if they did not depend on the start."""

    order = "1"

    class Options(MetaLearner.Options):
        """Chosen on meta-validation tasks, see CONTRIBUTING.md."""

        outer_rate: float = Field(1e-3, gt=0, description="step size of the outer loop, to 0")
        tasks_per_step: int = Field(2, ge=1, description="tasks in one outer step")

    def direction(self, weights: "Weights", task: "TaskLoss") -> "Sequence[Tensor]":
        """d query loss(theta_n) / d theta_n at the detached theta_n."""
        import torch

        adapted = self.inner(task.support, weights)
        leaves = {name: weight.requires_grad_() for name, weight in adapted.items()}
        return torch.autograd.grad(task.query(leaves), list(leaves.values()))
