"""Meta-Curvature: a learned preconditioner of the inner gradient."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from bench.baseline import MetaLearner, Space

if TYPE_CHECKING:
    from torch import Tensor

    from bench.initialisation import Initialisation
    from bench.inner_loop import Parameters

LARGEST = 1024  # longer axes get a diagonal factor


def transformed(gradient: "Tensor", factors: "Sequence[Tensor]") -> "Tensor":
    """A gradient with every axis multiplied by its factor: a matrix (size, size), or a vector
    (size,) as the diagonal of one. For a matrix G with factors M and N this is M G N^T."""
    import torch

    for axis, factor in enumerate(factors):
        if factor.dim() == 1:
            shape = [-1 if place == axis else 1 for place in range(gradient.dim())]
            gradient = gradient * factor.view(shape)
        else:
            gradient = torch.tensordot(factor, gradient, dims=([1], [axis])).movedim(0, axis)
    return gradient


@dataclass(frozen=True)
class Preconditioned:
    """theta <- theta - rate * transformed(gradient)."""

    rate: float
    factors: "dict[str, list[Tensor]]"

    def start(self, weights: "Parameters") -> Any:
        """There is no state."""
        return None

    def step(
        self, weights: "Parameters", gradients: "Sequence[Tensor]", state: Any
    ) -> "tuple[dict[str, Tensor], Any]":
        """One step of descent."""
        pairs = zip(weights.items(), gradients, strict=True)
        return {
            name: w - self.rate * transformed(g, self.factors[name]) for (name, w), g in pairs
        }, state


class MetaCurvature(MetaLearner):
    """Meta-Curvature (Park and Oliva 2019, section 3).

    theta' = theta - inner_rate * M[grad L_S(theta)]: M multiplies every axis of a tensor's gradient
    by a learned matrix, the identity at first (a Kronecker-factored preconditioner). Axes longer
    than 1,024, as a vocabulary, get a diagonal. The factors are learned with theta by the
    second-order outer gradient.

    Cost of a training task: as `maml`, and for an (a, b) tensor a b (a + b) multiplications a step,
    at test too.

    Use it where Meta-SGD's rates overfit: it has fewer meta-parameters, that share along axes.
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
        inner_rate: float = Field(0.1, ge=0, description="step size of the inner loop")
        outer_rate: float = Field(1e-3, gt=0, description="step size of the outer loop, to 0")
        tasks_per_step: int = Field(2, ge=1, description="tasks in one outer step")

    def with_learned(self, start: "Initialisation") -> "Initialisation":
        """The identity for every axis of every tensor that moves."""
        import torch

        return start.with_learned(
            {
                f"curvature/{name}/{axis}": torch.eye(size).to(w)
                if size <= LARGEST
                else w.new_ones(size)
                for name, w in start.moving.items()
                for axis, size in enumerate(w.shape)
            }
        )

    def rule(self, start: "Initialisation") -> Preconditioned:
        """Descent along transformed gradients."""
        factors = {
            name: [start.learned[f"curvature/{name}/{axis}"] for axis in range(weight.dim())]
            for name, weight in start.moving.items()
        }
        return Preconditioned(self.options.inner_rate, factors)
