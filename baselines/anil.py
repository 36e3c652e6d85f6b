"""ANIL: the inner loop moves the head only."""

from typing import ClassVar, Literal

from pydantic import Field

from baselines.maml import Maml
from bench.baseline import Space


class Anil(Maml):
    """Almost no inner loop (Raghu et al. 2020).

    As MAML, but the n inner steps change the head alone; the outer loop learns all weights. The
    head is the output layer (untied from the embedding, as whose copy it starts), the norm before
    it too, or the last block too: option `head`. The row's `adapted_params` counts it.

    Cost of a training task: as `maml`, less the second derivatives of what does not move. A step at
    test saves the backward pass below the head.

    Use it to ask whether features are reused: where it is as good as MAML, they are.
    """

    search: ClassVar[Space] = {
        "inner_rate": (1e-3, 3e-3, 1e-2),
        "head": ("lm_head", "block"),  # not every backbone has a norm there
        "test_steps": (12, 24),
    }

    class Options(Maml.Options):
        """Chosen by `fewgen tune`, see results/tuning.md."""

        inner_rate: float = Field(1e-3, ge=0, description="step size of the inner loop")
        outer_rate: float = Field(1e-3, gt=0, description="step size of the outer loop, to 0")
        tasks_per_step: int = Field(2, ge=1, description="tasks in one outer step")
        adapt: Literal["head"] = Field(
            "head", description="the weights that the inner loop changes"
        )
        head: Literal["lm_head", "norm", "block"] = Field(
            "block",
            description="the output layer, untied; norm adds the norm before it, block "
            "the last block too",
        )
