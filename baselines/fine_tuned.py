"""The backbone fine-tuned on the support set."""

from typing import ClassVar

from pydantic import Field

from bench.baseline import GradientLearner, Space


class FineTuned(GradientLearner):
    """Fine-tunes the pre-trained backbone on the support set with Adam (Kingma and Ba 2015).

    theta_n is what n steps on L_S make of the pre-trained theta.

    Cost: a step is one pass through the support set, forward and backward.

    Use it as the rival that needs no meta-training.
    """

    search: ClassVar[Space] = {
        "inner_rate": (3e-4, 5e-4, 7e-4, 1e-3, 2e-3),
        "inner_steps": (24, 36, 54),
    }

    class Options(GradientLearner.Options):
        """Chosen by `fewgen tune`, see results/tuning.md."""

        inner_steps: int = Field(36, ge=0, description="n, gradient steps on the support set")
        inner_rate: float = Field(1e-3, ge=0, description="step size of the inner loop")
