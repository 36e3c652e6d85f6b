"""BOIL: the inner loop moves the body only."""

from typing import ClassVar, Literal

from pydantic import Field

from baselines.maml import Maml
from bench.baseline import Space


class Boil(Maml):
    """Body only update in inner loop (Oh et al. 2021).

    As MAML, but the n inner steps leave the head as it is; the outer loop learns all weights. What
    counts as head is option `head`, as in `anil`. The row's `adapted_params` counts the rest.

    Cost of a training task: as `maml`. A step at test costs nearly what one of fine-tuning does.

    Use it to ask whether features must change: where it beats ANIL, they must.
    """

    search: ClassVar[Space] = {
        "inner_rate": (5e-4, 1e-3, 2e-3),
        "head": ("lm_head", "block"),
        "test_steps": (16, 24, 36),
    }

    class Options(Maml.Options):
        """Chosen by `fewgen tune`, see results/tuning.md."""

        test_factor: ClassVar[int] = 9
        inner_rate: float = Field(5e-4, ge=0, description="step size of the inner loop")
        outer_rate: float = Field(1e-3, gt=0, description="step size of the outer loop, to 0")
        tasks_per_step: int = Field(2, ge=1, description="tasks in one outer step")
        adapt: Literal["body"] = Field(
            "body", description="the weights that the inner loop changes"
        )
