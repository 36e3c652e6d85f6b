"""Model-agnostic meta-learning with the full second-order gradient."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.baseline import MetaLearner

if TYPE_CHECKING:
    from torch import Tensor

    from bench.baseline import Weights
    from bench.training import TaskLoss


class Maml(MetaLearner):
    """MAML (Finn et al. 2017, algorithm 1): the gradient of the query loss goes through all
    n unrolled inner steps."""

    order = "2"

    def direction(self, weights: "Weights", task: "TaskLoss") -> "Sequence[Tensor]":
        """d query loss(theta_n) / d theta, through the inner loop."""
        import torch

        adapted = self.inner(task.support, weights, differentiable=True)
        return torch.autograd.grad(task.query(adapted), list(weights.values()))
