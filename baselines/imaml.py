"""Implicit MAML: the meta-gradient from where the inner loop ends, not from its path."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from pydantic import Field

from bench.baseline import MetaLearner, Space

if TYPE_CHECKING:
    from torch import Tensor

    from bench.initialisation import Initialisation
    from bench.inner_loop import Loss
    from bench.training import TaskLoss


class Solution(NamedTuple):
    """What conjugate gradient leaves of each problem: x (problems, size), |b - A x| / |b|, and
    whether that met the tolerance (problems,)."""

    x: "Tensor"
    residual: "Tensor"
    converged: "Tensor"


def conjugate_gradient(
    product: "Callable[[Tensor, Tensor], Tensor]", b: "Tensor", steps: int, tolerance: float
) -> Solution:
    """Solves some A x = b at once, for symmetric A given as `product` (Hestenes and Stiefel 1952).

    A problem stops at the tolerance, after `steps`, or at a direction of no positive curvature,
    where the method holds no longer. Residuals need not fall at every step: the x with the smallest
    is returned, and b itself where none is better than x = 0 (residual 1).

    Args:
        product: of vectors (problems, size), and of which problems (problems,) have not stopped:
            of the others it is not used.
        b: (problems, size).
    """
    import torch

    x, rest, along = torch.zeros_like(b), b, b
    square, whole = (b * b).sum(1), b.norm(dim=1)
    best, residual = b.clone(), (whole > 0).to(b)
    going = residual > tolerance
    for _ in range(steps):
        if not bool(going.any()):
            break
        image = product(along, going)
        curvature = (along * image).sum(1)
        going = going & (curvature > 0)
        size = (square / curvature)[:, None]
        x, rest = x + size * along, rest - size * image
        square, before = (rest * rest).sum(1), square
        along = rest + (square / before)[:, None] * along
        reached = rest.norm(dim=1) / whole
        better = going & (reached < residual)
        best = torch.where(better[:, None], x, best)
        residual = torch.where(better, reached, residual)
        going = going & (residual > tolerance)
    return Solution(best, residual, residual <= tolerance)


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
        test_factor: ClassVar[int] = 3
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

        options, count = self.options, task.count
        phi = {n: w.requires_grad_() for n, w in self.inner(task.support, start, "none").items()}
        outer = gradient(task.query(phi), phi)
        inner = gradient(task.support(phi), phi, differentiable=True)
        sizes = [part.numel() // count for part in inner]

        def flat(parts: "Iterable[Tensor]") -> "Tensor":
            joined = torch.cat([part.detach().reshape(count, -1) for part in parts], 1)
            return joined.to(torch.promote_types(joined.dtype, torch.float32))

        def shaped(vectors: "Tensor") -> "list[Tensor]":
            pieces = zip(torch.split(vectors, sizes, 1), inner, strict=True)
            return [piece.reshape(part.shape).to(part) for piece, part in pieces]

        def product(vectors: "Tensor", going: "Tensor") -> "Tensor":
            task.again("support", going.tolist())
            twice = torch.autograd.grad(
                inner,
                list(phi.values()),
                shaped(vectors),
                retain_graph=True,
                materialize_grads=True,
            )
            return vectors + flat(twice) / options.strength

        solved = conjugate_gradient(product, flat(outer), options.cg_steps, options.cg_tolerance)
        begin = {**start.weights, **start.moving}
        moved = flat(phi.values()) - flat(begin.values())
        first = flat(gradient(task.support(begin), begin))
        left = (flat(inner) + options.strength * moved).norm(dim=1) / first.norm(dim=1)
        task.note("cg_residual", solved.residual.tolist())
        task.note("cg_converged", solved.converged.to(left).tolist())
        task.note("inner_gradient", left.tolist())
        parts = shaped(solved.x)
        return parts if start.tasks is None else [part.sum(0) for part in parts]
