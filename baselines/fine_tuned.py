"""The backbone fine-tuned on the support set."""

from pydantic import Field

from bench.baseline import GradientLearner


class FineTuned(GradientLearner):
    """Fine-tunes all weights of the pre-trained backbone on the support set with Adam."""

    class Options(GradientLearner.Options):
        """Chosen on meta-validation tasks, see CONTRIBUTING.md."""

        inner_steps: int = Field(36, ge=0, description="n, gradient steps on the support set")
        inner_rate: float = Field(7e-4, ge=0, description="step size of the inner loop")
