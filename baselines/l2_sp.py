"""Fine-tuning with a pull towards the pre-trained weights."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from bench.baseline import GradientLearner, Space

if TYPE_CHECKING:
    from bench.initialisation import Initialisation
    from bench.inner_loop import Loss


class L2Sp(GradientLearner):
    """L2-SP (Li et al. 2018, eq. 2).

    Fine-tunes on L_S(theta) + strength / 2 |theta - theta_0|^2, theta_0 the pre-trained weights. No
    weight is new, so the second term of the paper is empty.

    Cost: a step costs what one of fine-tuning does.

    Use it as the rival that forgets least: where it beats fine-tuning, that had overfitted.
    """

    search: ClassVar[Space] = {
        "strength": (0.001, 0.01, 0.1),
        "inner_rate": (7e-4, 1e-3, 2e-3),
        "inner_steps": (24, 36, 54),
    }

    class Options(GradientLearner.Options):
        """Chosen by `fewgen tune`, see results/tuning.md."""

        inner_steps: int = Field(54, ge=0, description="n, gradient steps on the support set")
        inner_rate: float = Field(1e-3, ge=0, description="step size of the inner loop")
        strength: float = Field(0.01, ge=0, description="of the pull towards the start")

    options: Options

    def objective(self, loss: "Loss", start: "Initialisation") -> "Loss":
        """The support loss with the penalty."""
        from bench.inner_loop import proximal

        return proximal(loss, start.moving, self.options.strength)
