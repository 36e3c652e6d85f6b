"""Meta-SGD: a learned step size for every parameter."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from bench.baseline import MetaLearner, Space

if TYPE_CHECKING:
    from torch import Tensor

    from bench.initialisation import Initialisation
    from bench.inner_loop import Parameters


@dataclass(frozen=True)
class Rates:
    """theta <- theta - rates * gradient, elementwise."""

    rates: "Parameters"

    def start(self, weights: "Parameters") -> Any:
        """There is no state."""
        return None

    def step(
        self, weights: "Parameters", gradients: "Sequence[Tensor]", state: Any
    ) -> "tuple[dict[str, Tensor], Any]":
        """One step of descent with a rate for every element."""
        pairs = zip(weights.items(), gradients, strict=True)
        return {name: w - self.rates[name] * g for (name, w), g in pairs}, state


class MetaSgd(MetaLearner):
    """Meta-SGD (Li et al. 2017, algorithm 1).

    theta' = theta - alpha * grad L_S(theta), elementwise: alpha has theta's shape, starts at
    `inner_rate`, is learned with theta by the second-order outer gradient and may change its sign.

    Cost of a training task: as `maml`; the meta-parameters are twice as many. A step at test costs
    less than one of Adam.

    Use it where n must be small: the rates carry what Adam would find out in many steps.
    """

    order = "2"
    search: ClassVar[Space] = {
        "inner_rate": (0.05, 0.1, 0.2),
        "outer_rate": (3e-4, 1e-3),
        "test_steps": (8, 24, 36),
    }

    class Options(MetaLearner.Options):
        """Chosen by `fewgen tune`, see results/tuning.md."""

        inner_rule: Literal["sgd"] = Field("sgd", description="step rule of the inner loop")
        inner_rate: float = Field(0.1, ge=0, description="every rate before training")
        outer_rate: float = Field(1e-3, gt=0, description="step size of the outer loop, to 0")
        tasks_per_step: int = Field(2, ge=1, description="tasks in one outer step")

    def with_learned(self, start: "Initialisation") -> "Initialisation":
        """A rate for every element that moves."""
        import torch

        rate = self.options.inner_rate
        moving = start.moving.items()
        return start.with_learned({f"rate/{name}": torch.full_like(w, rate) for name, w in moving})

    def rule(self, start: "Initialisation") -> Rates:
        """Descent with the learned rates."""
        return Rates({name: start.learned[f"rate/{name}"] for name in start.inner})
