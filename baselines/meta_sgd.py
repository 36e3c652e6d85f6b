"""Meta-SGD: a learned step size for every parameter."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from baselines.learned_step import LearnedStep, Stateless

if TYPE_CHECKING:
    from torch import Tensor

    from bench.initialisation import Initialisation
    from bench.inner_loop import Parameters


@dataclass(frozen=True)
class Rates(Stateless):
    """theta <- theta - rates * gradient, elementwise."""

    rates: "Parameters"

    def step(
        self, weights: "Parameters", gradients: "Sequence[Tensor]", state: Any
    ) -> "tuple[dict[str, Tensor], Any]":
        """One step of descent with a rate for every element."""
        pairs = zip(weights.items(), gradients, strict=True)
        return {name: w - self.rates[name] * g for (name, w), g in pairs}, state


class MetaSgd(LearnedStep):
    """Meta-SGD (Li et al. 2017, algorithm 1).

    theta' = theta - alpha * grad L_S(theta), elementwise: alpha has theta's shape, starts at
    `inner_rate`, is learned with theta by the second-order outer gradient and may change its sign.

    Cost of a training task: as `maml`; the meta-parameters are twice as many. A step at test costs
    less than one of Adam.

    Use it where n must be small: the rates carry what Adam would find out in many steps.
    """

    class Options(LearnedStep.Options):
        """Chosen by `fewgen tune`, see results/tuning.md."""

        test_factor: ClassVar[int] = 9
        outer_rate: float = Field(3e-4, gt=0, description="step size of the outer loop, to 0")
        inner_rate: float = Field(0.2, ge=0, description="step size of the inner loop")

    def with_learned(self, start: "Initialisation") -> "Initialisation":
        """A rate for every element that moves."""
        import torch

        rate = self.options.inner_rate
        moving = start.moving.items()
        return start.with_learned({f"rate/{name}": torch.full_like(w, rate) for name, w in moving})

    def rule(self, start: "Initialisation") -> Rates:
        """Descent with the learned rates."""
        return Rates({name: start.learned[f"rate/{name}"] for name in start.inner})
