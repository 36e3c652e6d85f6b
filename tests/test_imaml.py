"""Implicit MAML against a dense solve, and conjugate gradient against its own limits."""

from typing import Any

import torch
from torch import Tensor

from baselines.imaml import Imaml, conjugate_gradient
from bench.backbone import Backbone, attention
from bench.inner_loop import gradient
from bench.training import TaskLoss
from tests.proofs import RATE, direction, flat, relative, start


def few(begin: Any, count: int = 150) -> Any:
    """The same start of which only small tensors, `count` elements at most, are free: a dense
    Hessian of those can be held."""
    names, total = [], 0
    for name, weight in begin.weights.items():
        if total + weight.numel() <= count:
            names.append(name)
            total += weight.numel()
    return names


class Part:
    """A task whose losses are functions of some weights, the others fixed."""

    def __init__(self, task: TaskLoss, begin: Any, names: list[str]) -> None:
        fixed = {n: w.detach() for n, w in begin.weights.items() if n not in names}
        self.support = lambda w: task.support({**fixed, **w})
        self.query = lambda w: task.query({**fixed, **w})
        self.again, self.note, self.step, self.count = task.again, task.note, 0, task.count


def imaml(**values: Any) -> Any:
    return Imaml(Imaml.Options(inner_steps=3, inner_rate=RATE, cg_tolerance=1e-13, **values))


def partial(backbone: Backbone, task: TaskLoss) -> tuple[Any, Any]:
    from bench.initialisation import Initialisation

    begin = start(backbone)
    names = few(begin)
    assert names
    part = Part(task, begin, names)
    weights = {n: begin.weights[n].detach().requires_grad_() for n in names}
    return Initialisation(weights, tuple(names)), part


def dense(begin: Any, part: Any, learner: Any) -> tuple[Tensor, Tensor]:
    """The Hessian of the support loss and the query's gradient behind the inner loop."""
    phi = {n: w.requires_grad_() for n, w in learner.inner(part.support, begin, "none").items()}
    first = torch.autograd.grad(part.support(phi), list(phi.values()), create_graph=True)
    joined = torch.cat([g.reshape(-1) for g in first])
    rows = [
        flat(torch.autograd.grad(g, list(phi.values()), retain_graph=True, materialize_grads=True))
        for g in joined
    ]
    return torch.stack(rows), flat(gradient(part.query(phi), phi))


def test_imaml_equals_a_dense_solve(backbone: Backbone, task: TaskLoss) -> None:
    begin, part = partial(backbone, task)
    with attention(True):
        hessian, outer = dense(begin, part, imaml(strength=50.0))
    least = float(torch.linalg.eigvalsh((hessian + hessian.T) / 2)[0])
    strength = max(0.02, -4 * least)
    learner = imaml(strength=strength, cg_steps=500)
    with attention(True):
        hessian, outer = dense(begin, part, learner)
    assert strength > -float(torch.linalg.eigvalsh((hessian + hessian.T) / 2)[0])
    exact = torch.linalg.solve(torch.eye(len(outer)) + hessian / strength, outer)
    ours = direction(learner, begin, part)
    assert relative(ours.values(), [exact]) < 1e-8
    assert task.notes["cg_converged"] == [1]
    assert task.notes["cg_residual"][0] < 1e-12
    assert relative([exact], [outer]) > 1e-3, "the Hessian must matter, or nothing is proven"


def test_imaml_tends_to_the_plain_gradient(backbone: Backbone, task: TaskLoss) -> None:
    begin = start(backbone)
    apart = []
    for strength in (1e3, 1e5):
        # Steps of 1 / strength: the inner problem is as steep as that.
        learner = Imaml(
            Imaml.Options(inner_steps=2, inner_rate=1e-2 / strength, strength=strength, cg_steps=20)
        )
        ours = direction(learner, begin, task)
        plain = gradient(task.query(begin.weights), begin.weights)
        apart.append(relative(ours.values(), plain))
    assert apart[1] < apart[0] / 50 < 0.05


def test_imaml_says_how_far_it_solved(backbone: Backbone, task: TaskLoss) -> None:
    begin = start(backbone)
    ours = direction(imaml(strength=1e-3, cg_steps=1), begin, task)
    assert task.notes["cg_converged"] == [0]
    assert 1e-3 < task.notes["cg_residual"][0] <= 1
    assert all(part.dtype == torch.float64 for part in ours.values())
    assert task.notes["inner_gradient"][0] > 0
    support = sum(backbone.batch(task._supports)[0].tokens)
    query = sum(backbone.batch(task._queries)[0].tokens)
    assert task.tokens == [(3 + 1 + 1 + 1) * support + query], "steps, gradients, one product"


def test_conjugate_gradient_solves_and_stops_where_curvature_is_not_positive() -> None:
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(12, 12, generator=generator, dtype=torch.float64)
    matrix, b = root @ root.T + torch.eye(12), torch.randn(1, 12, generator=generator).double()
    solved = conjugate_gradient(lambda v, _: v @ matrix, b, 50, 1e-12)
    torch.testing.assert_close(solved.x[0], torch.linalg.solve(matrix, b[0]), rtol=1e-9, atol=1e-9)
    assert solved.converged.tolist() == [True]
    lost = conjugate_gradient(lambda v, _: -v, b, 50, 1e-12)
    assert lost.converged.tolist() == [False]
    assert lost.residual.tolist() == [1]
    assert torch.equal(lost.x, b), "where nothing is better than nothing, b itself"
    assert torch.equal(conjugate_gradient(lambda v, _: v @ matrix, b, 0, 1e-12).x, b)
    mixed = root @ root.T - 3 * torch.eye(12).double()
    steps = [conjugate_gradient(lambda v, _: v @ mixed, b, n, 1e-12) for n in range(1, 20)]
    residuals = [float(s.residual) for s in steps]
    assert all(residual <= 1 for residual in residuals)
    assert residuals == sorted(residuals, reverse=True)
    none = conjugate_gradient(lambda v, _: v, torch.zeros(1, 3), 50, 1e-12)
    assert none.converged.tolist() == [True]
    assert none.x.abs().sum() == 0


def test_problems_at_once_are_solved_as_alone() -> None:
    """One converges early, one is of no positive curvature, one is 0, one takes all its steps."""
    generator = torch.Generator().manual_seed(1)
    roots = torch.randn(4, 6, 6, generator=generator, dtype=torch.float64)
    matrices = roots @ roots.mT + torch.eye(6)
    matrices[0], matrices[1] = 2 * torch.eye(6), -torch.eye(6)
    b = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    b[2] = 0
    asked: list[list[bool]] = []

    def product(vectors: Tensor, going: Tensor) -> Tensor:
        asked.append(going.tolist())
        return (matrices @ vectors[..., None])[..., 0]

    solved = conjugate_gradient(product, b, 4, 1e-12)
    for i in range(4):
        alone = conjugate_gradient(
            lambda v, _, i=i: v @ matrices[i],  # type: ignore[misc]
            b[i : i + 1],
            4,
            1e-12,
        )
        torch.testing.assert_close(solved.x[i], alone.x[0], rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(solved.residual[i], alone.residual[0], rtol=1e-6, atol=1e-12)
        assert solved.converged[i] == alone.converged[0]
    assert [sum(column) for column in zip(*asked, strict=True)] == [1, 1, 0, 4]
