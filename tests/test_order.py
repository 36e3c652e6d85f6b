"""Every baseline's declared order of the gradient, proven on what it computes.

Two facts tell the orders apart on any loss. Let the second derivatives of the loss be false, the
first ones true: a direction of order none or 1 stays what it was, one of order 2 or implicit
changes. And a direction of order 2 is the slope of what the method lowers, path included; an
implicit one, or one of order 1, is not.
"""

from typing import Any, ClassVar

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from baselines.fomaml import Fomaml
from baselines.maml import Maml
from bench.baseline import MetaTrained
from bench.initialisation import Initialisation
from bench.registry import load, names

TRAINED = [n for n in names("baseline") if issubclass(load("baseline", n), MetaTrained)]
KINDS = {name: load("baseline", name) for name in TRAINED}


class _Scaled(torch.autograd.Function):
    """The identity, whose derivative is said to be `factor`; the identity whose derivative is right
    but has a false one itself, with `first`."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, factor: float, first: bool) -> Tensor:
        ctx.factor, ctx.first = factor, first
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        if ctx.first:
            return _Scaled.apply(grads[0], ctx.factor, False), None, None
        return ctx.factor * grads[0], None, None


class Toy:
    """Two tasks of smooth losses on small tensors; `factor` falsifies their second derivatives."""

    step = 1000  # behind all annealing
    count = 2

    def __init__(self, seed: int, factor: float = 1.0) -> None:
        generator = torch.Generator().manual_seed(seed)
        shape = (self.count, 5, 3)
        self._data = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in "sq"]
        self._factor = factor

    def _loss(self, which: int, weights: Any) -> Tensor:
        a, b = (_Scaled.apply(weights[n], self._factor, True) for n in "ab")
        data = self._data[which]
        inner = (torch.tanh(data @ a) * b[..., None, :]).sum(-1)
        return (inner - data[..., 0]).square().mean(1) + 0.1 * inner.exp().mean(1)

    def support(self, weights: Any) -> Tensor:
        return self._loss(0, weights)

    def query(self, weights: Any) -> Tensor:
        return self._loss(1, weights)

    in_context = query

    def all(self, weights: Any) -> Tensor:
        return self.support(weights) + self.query(weights)

    def again(self, part: str, which: Any = None) -> None:
        """Nothing is counted here."""

    def note(self, name: str, values: Any) -> None:
        """Nothing is kept here."""
        assert len(values) == self.count


def begin_of(learner: Any, seed: int) -> Initialisation:
    generator = torch.Generator().manual_seed(seed + 1)
    weights = {
        "a": 0.5 * torch.randn(3, 4, generator=generator, dtype=torch.float64),
        "b": 0.5 * torch.randn(4, generator=generator, dtype=torch.float64),
    }
    inner = {"head": ("b",), "body": ("a",)}.get(getattr(learner.options, "adapt", ""), ("a", "b"))
    made = Initialisation(weights, inner)
    if hasattr(learner, "with_learned"):
        made = learner.with_learned(made)
    made = made.with_meta({n: value.requires_grad_() for n, value in made.meta.items()})
    return made.for_tasks(Toy.count)


def learner_of(kind: Any, steps: int) -> Any:
    fields = kind.Options.model_fields
    wanted = {"inner_rule": "sgd", "inner_rate": 0.1, "inner_steps": steps, "test_steps": steps}
    wanted |= {"strength": 9.0, "cg_steps": 20}  # beyond any negative curvature of the toy
    return kind(kind.Options(**{name: v for name, v in wanted.items() if name in fields}))


def flat(parts: Any) -> Tensor:
    return torch.cat([part.detach().reshape(-1) for part in parts])


def uses_second_derivatives(kind: Any, seed: int, steps: int, factor: float) -> bool:
    learner = learner_of(kind, steps)
    true, false = (
        flat(learner.direction(begin_of(learner, seed), Toy(seed, f))) for f in (1.0, factor)
    )
    return float((true - false).norm() / true.norm()) > 1e-9


def is_the_slope_of_its_path(kind: Any, seed: int, steps: int) -> bool:
    """Whether the direction is the derivative of the query loss behind the inner loop."""
    learner, task = learner_of(kind, steps), Toy(seed)
    begin = begin_of(learner, seed)
    ours = flat(learner.direction(begin, task))
    generator = torch.Generator().manual_seed(seed + 2)
    along = {
        n: torch.randn(v.shape, generator=generator, dtype=v.dtype) for n, v in begin.meta.items()
    }

    def lowered(shift: float) -> float:
        moved = begin.with_meta({n: v + shift * along[n] for n, v in begin.meta.items()})
        return task.query(learner.inner_loop(task.support, moved, steps).weights).sum().item()

    slope = (lowered(1e-5) - lowered(-1e-5)) / 2e-5
    expected = (ours @ flat(along.values())).item()
    return abs(slope - expected) < 1e-6 * max(1.0, abs(slope))


def tells_the_truth(kind: Any, seed: int, steps: int, factor: float) -> bool:
    """Whether the law of the declared order holds."""
    second = {"1": False, "2": True, "implicit": True}[kind.order]
    if uses_second_derivatives(kind, seed, steps, factor) != second:
        return False
    return not second or is_the_slope_of_its_path(kind, seed, steps) == (kind.order == "2")


@pytest.mark.parametrize("name", TRAINED)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(seed=st.integers(0, 10**6), steps=st.integers(1, 4), factor=st.floats(1.5, 4))
def test_the_declared_order_is_true(name: str, seed: int, steps: int, factor: float) -> None:
    assert tells_the_truth(KINDS[name], seed, steps, factor)


class ClaimsTwo(Fomaml):
    """A first-order method that says it is MAML: its path is "1"."""

    order = "2"

    def direction(self, start: Any, task: Any) -> Any:
        from bench.inner_loop import gradient

        return gradient(task.query(self.inner(task.support, start, "1")), start.meta)


class ClaimsOne(Maml):
    """A second-order method that says it is first order."""

    order = "1"

    def direction(self, start: Any, task: Any) -> Any:
        from bench.inner_loop import gradient

        return gradient(task.query(self.inner(task.support, start, "2")), start.meta)


class ClaimsImplicit(ClaimsOne):
    order: ClassVar[Any] = "implicit"


@pytest.mark.parametrize("kind", [ClaimsTwo, ClaimsOne, ClaimsImplicit])
@pytest.mark.parametrize("seed", range(3))
def test_the_check_catches_a_method_that_lies(kind: Any, seed: int) -> None:
    assert not tells_the_truth(kind, seed, 2, 2.0)


def test_a_baseline_without_meta_training_declares_none() -> None:
    for name in names("baseline"):
        if name not in TRAINED:
            assert load("baseline", name).order == "none"
