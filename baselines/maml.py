"""Model-agnostic meta-learning with the full second-order gradient."""

from typing import ClassVar

from pydantic import Field

from bench.baseline import MetaLearner, Space


class Maml(MetaLearner):
    """MAML (Finn et al. 2017, algorithm 1).

    theta_n is what n steps of the inner rule make of theta on the support set S; the outer gradient
    d L_Q(theta_n) / d theta goes through all n of them, Hessians included.

    Cost of a training task: n + 1 passes, of which n are differentiated twice: about twice the
    operations of first-order MAML (`train_flops` at n = 4), and the memory of n graphs. A step at
    test costs what one of fine-tuning does.

    Use it where the curvature of the inner loop matters (few, large steps), and beside `fomaml`,
    which tells what the second order is worth.
    """

    order = "2"
    search: ClassVar[Space] = {
        "inner_rate": (5e-4, 1e-3, 2e-3),
        "outer_rate": (3e-4, 1e-3),
        "test_steps": (16, 24, 36),
    }

    class Options(MetaLearner.Options):
        """Chosen by `fewgen tune`, see results/tuning.md."""

        outer_rate: float = Field(3e-4, gt=0, description="step size of the outer loop, to 0")
        inner_rate: float = Field(1e-3, ge=0, description="step size of the inner loop")
