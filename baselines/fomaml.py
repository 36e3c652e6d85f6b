"""First-order MAML."""

from typing import ClassVar

from pydantic import Field

from bench.baseline import MetaLearner, Space


class Fomaml(MetaLearner):
    """First-order MAML (Finn et al. 2017, section 5.2; Nichol et al. 2018).

    The outer gradient is d L_Q(theta_n) / d theta_n at the detached theta_n, as if the n inner
    steps did not depend on where they start.

    Cost of a training task: n + 1 passes, the memory of one. A step at test costs what one of
    fine-tuning does.

    Use it first: of the methods that learn through an inner loop it costs the least.
    """

    order = "1"
    search: ClassVar[Space] = {
        "inner_rate": (5e-4, 1e-3, 2e-3),
        "outer_rate": (3e-4, 1e-3),
        "test_steps": (16, 24, 36),
    }

    class Options(MetaLearner.Options):
        """Chosen by `fewgen tune`, see results/tuning.md."""

        test_factor: ClassVar[int] = 9
        inner_rate: float = Field(1e-3, ge=0, description="step size of the inner loop")
        outer_rate: float = Field(3e-4, gt=0, description="step size of the outer loop, to 0")
        tasks_per_step: int = Field(2, ge=1, description="tasks in one outer step")
