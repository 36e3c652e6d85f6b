"""Multi-task training on the meta-train tasks, then fine-tuning: the compute-matched rival."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from bench.baseline import MetaLearner

if TYPE_CHECKING:
    from torch import Tensor

    from bench.baseline import Weights
    from bench.training import TaskLoss


class Joint(MetaLearner):
    """Goes on training the backbone on examples of all meta-train tasks mixed, for the same
    token budget as the meta-learners, then fine-tunes on the support set."""

    order = "1"

    class Options(MetaLearner.Options):
        """Chosen on meta-validation tasks, see CONTRIBUTING.md."""

        outer_rate: float = Field(3e-4, gt=0, description="step size of the training, to 0")

    def direction(self, weights: "Weights", task: "TaskLoss") -> "Sequence[Tensor]":
        """The gradient of the loss on support and query together; no inner loop."""
        import torch

        return torch.autograd.grad(task.all(weights), list(weights.values()))
