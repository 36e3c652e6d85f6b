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

        inner_steps: int = Field(24, ge=0, description="n, gradient steps on the support set")
        test_steps: int | None = Field(
            None, ge=0, description="steps on a test episode; inner_steps if not given"
        )
        outer_rate: float = Field(1e-3, gt=0, description="step size of the outer loop, to 0")

    # Training has no inner loop to keep short.
    test_factor = 1

    def direction(self, weights: "Weights", task: "TaskLoss") -> "Sequence[Tensor]":
        """The gradient of the loss on support and query together; no inner loop."""
        import torch

        return torch.autograd.grad(task.all(weights), list(weights.values()))
