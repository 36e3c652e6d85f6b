"""Multi-task training on the meta-train tasks, then fine-tuning: the compute-matched rival."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from bench.baseline import MetaLearner, Space

if TYPE_CHECKING:
    from torch import Tensor

    from bench.initialisation import Initialisation
    from bench.training import TaskLoss


class Joint(MetaLearner):
    """Multi-task training, then fine-tuning.

    Lowers the mean of L over support and query together on meta-train tasks, without an inner
    loop, for the token budget of the meta-learners; then fine-tunes on an episode's support set.

    Cost of a training task: one pass over all its examples. A step at test costs what one of
    fine-tuning does.

    Use it as the compute-matched rival: what a meta-learner gains over it is due to its inner loop.
    """

    order = "1"
    search: ClassVar[Space] = {
        "inner_rate": (7e-4, 1e-3, 2e-3),
        "outer_rate": (3e-4, 1e-3, 2e-3),
        "inner_steps": (16, 24, 36),
    }

    class Options(MetaLearner.Options):
        """Chosen by `fewgen tune`, see results/tuning.md."""

        inner_rate: float = Field(1e-3, ge=0, description="step size of the inner loop")
        inner_steps: int = Field(24, ge=0, description="n, gradient steps on the support set")
        # Training has no inner loop to keep short.
        test_factor: ClassVar[int] = 1
        outer_rate: float = Field(1e-3, gt=0, description="step size of the outer loop, to 0")

    def direction(self, start: "Initialisation", task: "TaskLoss") -> "Sequence[Tensor]":
        """The gradient of the loss on support and query together; no inner loop."""
        from bench.inner_loop import gradient

        return gradient(task.all(start.weights), start.meta)
