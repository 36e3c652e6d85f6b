"""Randomly drawn weights trained on the support set."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from bench.baseline import GradientLearner, Space

if TYPE_CHECKING:
    from torch import Tensor

    from bench.backbone import Backbone


class FineTunedScratch(GradientLearner):
    """Fine-tunes newly drawn weights of the backbone's architecture on the support set.

    Cost: a step costs what one of fine-tuning does.

    Use it to see what pre-training is worth.
    """

    init = "scratch"
    search: ClassVar[Space] = {"inner_rate": (1e-3, 3e-3, 5e-3), "inner_steps": (20, 30, 45)}

    class Options(GradientLearner.Options):
        """Chosen by `fewgen tune`, see results/tuning.md."""

        inner_steps: int = Field(45, ge=0, description="n, gradient steps on the support set")
        inner_rate: float = Field(1e-3, ge=0, description="step size of the inner loop")
        adapt: Literal["all"] = Field("all", description="the weights that the inner loop changes")

    def first_weights(self, backbone: "Backbone", seed: int) -> "dict[str, Tensor]":
        """New weights, the same for every episode of a seed."""
        return backbone.scratch_weights(seed)
