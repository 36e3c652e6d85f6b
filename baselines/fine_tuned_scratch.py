"""Randomly drawn weights trained on the support set."""

from typing import TYPE_CHECKING

from pydantic import Field

from bench.baseline import GradientLearner

if TYPE_CHECKING:
    from torch import Tensor

    from bench.backbone import Backbone


class FineTunedScratch(GradientLearner):
    """Fine-tunes newly drawn weights of the backbone's architecture: what pre-training is worth."""

    init = "scratch"

    class Options(GradientLearner.Options):
        """Chosen on meta-validation tasks, see CONTRIBUTING.md."""

        inner_steps: int = Field(30, ge=0, description="n, gradient steps on the support set")
        inner_rate: float = Field(3e-3, ge=0, description="step size of the inner loop")

    def start(self, backbone: "Backbone", seed: int) -> "dict[str, Tensor]":
        """New weights, the same for every episode of a seed."""
        return backbone.scratch_weights(seed)
