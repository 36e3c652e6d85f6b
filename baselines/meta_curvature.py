"""Meta-Curvature: a learned preconditioner of the inner gradient."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from baselines.learned_step import LearnedStep, Stateless

if TYPE_CHECKING:
    from torch import Tensor

    from bench.initialisation import Initialisation
    from bench.inner_loop import Parameters

LARGEST = 1024  # longer axes get a diagonal factor


def transformed(gradient: "Tensor", factors: "Sequence[Tensor]") -> "Tensor":
    """A gradient with each of its last axes multiplied by its factor: a matrix (size, size), or a
    vector (size,) as the diagonal of one. For a matrix G with factors M and N this is M G N^T."""
    import torch

    for axis, factor in enumerate(factors, gradient.dim() - len(factors)):
        if factor.dim() == 1:
            shape = [-1 if place == axis else 1 for place in range(gradient.dim())]
            gradient = gradient * factor.view(shape)
        else:
            gradient = torch.tensordot(factor, gradient, dims=([1], [axis])).movedim(0, axis)
    return gradient


@dataclass(frozen=True)
class Preconditioned(Stateless):
    """theta <- theta - rate * transformed(gradient)."""

    rate: float
    factors: "dict[str, list[Tensor]]"

    def step(
        self, weights: "Parameters", gradients: "Sequence[Tensor]", state: Any
    ) -> "tuple[dict[str, Tensor], Any]":
        """One step of descent."""
        pairs = zip(weights.items(), gradients, strict=True)
        return {
            name: w - self.rate * transformed(g, self.factors[name]) for (name, w), g in pairs
        }, state


class MetaCurvature(LearnedStep):
    """Meta-Curvature (Park and Oliva 2019, section 3).

    theta' = theta - inner_rate * M[grad L_S(theta)]: M multiplies every axis of a tensor's gradient
    by a learned matrix, the identity at first (a Kronecker-factored preconditioner). Axes longer
    than 1,024, as a vocabulary, get a diagonal. The factors are learned with theta by the
    second-order outer gradient.

    Cost of a training task: as `maml`, and for an (a, b) tensor a b (a + b) multiplications a step,
    at test too.

    Use it where directions of a layer's input or output matter as a whole: a factor serves all of
    an axis, where Meta-SGD learns a rate for every element. The row's `meta_params` counts both.
    """

    class Options(LearnedStep.Options):
        """Chosen by `fewgen tune`, see results/tuning.md."""

        outer_rate: float = Field(3e-4, gt=0, description="step size of the outer loop, to 0")
        inner_rate: float = Field(0.2, ge=0, description="step size of the inner loop")

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
            name: [start.learned[f"curvature/{name}/{axis}"] for axis in range(dimensions)]
            for name, dimensions in ((name, start.weights[name].dim()) for name in start.inner)
        }
        return Preconditioned(self.options.inner_rate, factors)
