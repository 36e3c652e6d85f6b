"""MetaICL: trained to learn in context."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from bench.baseline import MetaTrained, Space

if TYPE_CHECKING:
    from torch import Tensor

    from bench.initialisation import Initialisation
    from bench.training import TaskLoss


class MetaIcl(MetaTrained):
    """MetaICL (Min et al. 2022).

    Meta-training lowers -log p(y | x_1, y_1, ..., x_K, y_K, x) on meta-train tasks: the answer to a
    query behind the K support examples in its prompt. At test the support stands in the prompt and
    no weight changes. Examples that do not fit the context are left out whole, the last first.

    Cost of a training task: one pass over every query with its K demonstrations. At test there is
    no inner loop; every answer reads a prompt K times as long.

    Use it where weights cannot be changed per task, as behind a shared server.
    """

    order = "1"
    demonstrates = True
    search: ClassVar[Space] = {
        "outer_rate": (1e-4, 3e-4, 1e-3, 3e-3),
        "tasks_per_step": (2, 4),
        "train_queries": (2, 8),
    }

    class Options(MetaTrained.Options):
        """Chosen by `fewgen tune`, see results/tuning.md."""

        tasks_per_step: int = Field(2, ge=1, description="tasks in one outer step")
        outer_rate: float = Field(3e-3, gt=0, description="step size of the outer loop, to 0")
        train_queries: int = Field(8, ge=1, description="query examples of a training task")

    def direction(self, start: "Initialisation", task: "TaskLoss") -> "Sequence[Tensor]":
        """The gradient of the loss in context."""
        from bench.inner_loop import gradient

        return gradient(task.in_context(start.weights), start.meta)
