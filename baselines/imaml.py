"""Implicit MAML: the meta-gradient from where the inner loop ends, not from its path."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from pydantic import Field

from bench.baseline import MetaLearner, Space

if TYPE_CHECKING:
    from torch import Tensor

    from bench.initialisation import Initialisation
    from bench.inner_loop import Loss
    from bench.training import TaskLoss


class Solution(NamedTuple):
    """What conjugate gradient leaves: x, |b - A x| / |b|, and whether that met the tolerance."""

    x: "Tensor"
    residual: float
    converged: bool


def conjugate_gradient(
    product: "Callable[[Tensor], Tensor]", b: "Tensor", steps: int, tolerance: float
) -> Solution:
    """Solves A x = b for a symmetric A given as `product` (Hestenes and Stiefel 1952).

    Stops at the tolerance, after `steps`, or at a direction of no positive curvature, where the
    method holds no longer. Residuals need not fall at every step: the x with the smallest is
    returned, and b itself where none is better than x = 0 (residual 1).
    """
    import torch

    x, rest = torch.zeros_like(b), b.clone()
    along, square, whole = rest, rest @ rest, float(b.norm())
    best = Solution(b, 1.0 if whole else 0.0, not whole)
    for _ in range(steps):
        if best.residual <= tolerance:
            break
        image = product(along)
        curvature = along @ image
        if float(curvature) <= 0:
            break
        size = square / curvature
        x, rest = x + size * along, rest - size * image
        square, before = rest @ rest, square
        along = rest + (square / before) * along
        residual = float(rest.norm()) / whole
        if residual < best.residual:
            best = Solution(x, residual, residual <= tolerance)
    return best


class Imaml(MetaLearner):
    """Implicit MAML (Rajeswaran et al. 2019, algorithms 1 and 2).

    The inner problem is phi = argmin L_S(phi) + strength / 2 |phi - theta|^2; the outer gradient is
    (I + H / strength)^-1 grad L_Q(phi), H the Hessian of L_S at phi, by conjugate gradient on
    products with H. It does not depend on the path to phi, so no graph of the inner loop is kept;
    it is right as far as the inner loop converged.

    Where `cg_steps` products do not solve it, the best iterate is taken; where none is better than
    nothing, grad L_Q(phi) itself.

    The row says how far: `cg_residual` and `cg_converged` (a share) of the linear solves, and
    `inner_gradient`, the norm of the inner problem's gradient at phi over that at theta.

    Cost of a training task: n + 3 + `cg_steps` passes; the memory of one graph that is
    differentiated twice. A step at test costs what one of fine-tuning does.

    Use it for long inner loops, whose graph would not fit.
    """

    order = "implicit"
    search: ClassVar[Space] = {
        "strength": (0.1, 0.3, 1.0),
        "inner_rate": (0.05, 0.1),
        "outer_rate": (3e-4, 1e-3),
        "test_steps": (24, 36),
    }

    class Options(MetaLearner.Options):
        """Chosen by `fewgen tune`, see results/tuning.md."""

        adapt: Literal["all"] = Field("all", description="the weights that the inner loop changes")
        inner_rule: Literal["sgd", "adam", "adam-beta1-0"] = Field(
            "sgd", description="step rule of the inner loop"
        )
        inner_rate: float = Field(0.1, ge=0, description="step size of the inner loop")
        strength: float = Field(0.3, gt=0, description="lambda, the pull towards the start")
        cg_steps: int = Field(
            8, ge=0, description="steps of conjugate gradient; 0 is grad L_Q(phi)"
        )
        cg_tolerance: float = Field(1e-2, gt=0, description="relative residual that is enough")
        inner_steps: int = Field(8, ge=0, description="n, gradient steps on the support set")
        test_steps: int | None = Field(24, ge=0, description="steps on a test episode")
        outer_rate: float = Field(1e-3, gt=0, description="step size of the outer loop, to 0")
        tasks_per_step: int = Field(2, ge=1, description="tasks in one outer step")

    options: Options

    def objective(self, loss: "Loss", start: "Initialisation") -> "Loss":
        """The support loss with the pull towards the start."""
        from bench.inner_loop import proximal

        return proximal(loss, start.moving, self.options.strength)

    def direction(self, start: "Initialisation", task: "TaskLoss") -> "Sequence[Tensor]":
        """The implicit gradient at what the inner loop reached."""
        import torch

        from bench.inner_loop import gradient

        options = self.options
        phi = {n: w.requires_grad_() for n, w in self.inner(task.support, start, "none").items()}
        outer = gradient(task.query(phi), phi)
        inner = gradient(task.support(phi), phi, differentiable=True)
        sizes = [part.numel() for part in inner]

        def flat(parts: "Sequence[Tensor]") -> "Tensor":
            joined = torch.cat([part.detach().reshape(-1) for part in parts])
            return joined.to(torch.promote_types(joined.dtype, torch.float32))

        def shaped(vector: "Tensor") -> "list[Tensor]":
            pieces = zip(torch.split(vector, sizes), inner, strict=True)
            return [piece.view_as(part).to(part) for piece, part in pieces]

        def product(vector: "Tensor") -> "Tensor":
            task.again("support")
            twice = torch.autograd.grad(
                inner, list(phi.values()), shaped(vector), retain_graph=True, materialize_grads=True
            )
            return vector + flat(twice) / options.strength

        solved = conjugate_gradient(product, flat(outer), options.cg_steps, options.cg_tolerance)
        moved = flat(list(phi.values())) - flat(list(start.weights.values()))
        first = flat(gradient(task.support(start.weights), start.weights))
        left = (flat(inner) + options.strength * moved).norm() / first.norm()
        task.notes["cg_residual"] = solved.residual
        task.notes["cg_converged"] = float(solved.converged)
        task.notes["inner_gradient"] = float(left)
        return shaped(solved.x)
