"""The inner loop: gradient steps on one support set, as a function of the weights.

All gradient-based baselines share it. A baseline states what differs: the step rule, the number
of steps and whether the steps can be differentiated (order 2) or not (order 1).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from bench.errors import CellError

Parameters = Mapping[str, Tensor]
State = Any


class StepRule(Protocol):
    """How one gradient becomes one step; pure, so that it can be differentiated."""

    def start(self, weights: Parameters) -> State:
        """The rule's state before the first step."""
        ...

    def step(
        self, weights: Parameters, gradients: Sequence[Tensor], state: State
    ) -> tuple[dict[str, Tensor], State]:
        """New weights and state; `gradients` in the order of `weights`."""
        ...


@dataclass(frozen=True)
class Sgd:
    """theta <- theta - rate * gradient."""

    rate: float

    def start(self, weights: Parameters) -> State:
        """SGD has no state."""
        return None

    def step(
        self, weights: Parameters, gradients: Sequence[Tensor], state: State
    ) -> tuple[dict[str, Tensor], State]:
        """One step of gradient descent."""
        pairs = zip(weights.items(), gradients, strict=True)
        return {name: w - self.rate * g for (name, w), g in pairs}, state


@dataclass(frozen=True)
class Adam:
    """Adam with bias correction (Kingma and Ba 2015, algorithm 1), no weight decay.

    `beta1 = 0` gives the inner optimiser of Reptile (Nichol et al. 2018).
    """

    rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def start(self, weights: Parameters) -> State:
        """No steps taken, both moments zero. All weights lie in one vector: a model of many small
        tensors would else spend its time on calls."""
        zeros = _flat(torch.zeros_like(w) for w in weights.values())
        return 0, zeros, zeros

    def step(
        self, weights: Parameters, gradients: Sequence[Tensor], state: State
    ) -> tuple[dict[str, Tensor], State]:
        """One step of Adam."""
        count, first, second = state
        gradient, count = _flat(gradients), count + 1
        first = torch.lerp(first, gradient, 1 - self.beta1)
        second = torch.addcmul(second * self.beta2, gradient, gradient, value=1 - self.beta2)
        scale, root = 1 - self.beta1**count, 1 - self.beta2**count
        moves = (self.rate / scale) * first / (_root(second / root) + self.epsilon)
        parts = moves.split([w.numel() for w in weights.values()])
        pairs = zip(weights.items(), parts, strict=True)
        return {name: w - part.view_as(w) for (name, w), part in pairs}, (count, first, second)


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _root(value: Tensor) -> Tensor:
    """Square root whose derivative at 0 is 0: a weight without gradient (a position that no
    example reaches) stays out of the meta-gradient, where infinity times 0 would be no number."""
    if not value.requires_grad:
        return value.sqrt()
    positive = value > 0
    return torch.where(positive, torch.where(positive, value, 1.0).sqrt(), 0.0)


def step_rule(name: str, rate: float) -> StepRule:
    """The rule that an option names: `sgd`, `adam`, or `adam-beta1-0`."""
    if name == "sgd":
        return Sgd(rate)
    return Adam(rate, beta1=0.0 if name == "adam-beta1-0" else 0.9)


@dataclass
class Adapted:
    """What an inner loop leaves.

    Attributes:
        weights: after the last step.
        losses: before each step, detached.
    """

    weights: dict[str, Tensor]
    losses: list[Tensor] = field(default_factory=list)


def adapt(
    loss: Callable[[Parameters], Tensor],
    weights: Parameters,
    rule: StepRule,
    steps: int,
    differentiable: bool = False,
    after_step: Callable[[], None] | None = None,
) -> Adapted:
    """Takes `steps` gradient steps on `loss` from `weights`.

    Args:
        loss: the support loss as a function of the weights.
        weights: where to start; not changed. With `differentiable` they must require gradients.
        rule: turns gradients into steps.
        steps: n, may be 0.
        differentiable: keep the graph through all steps (MAML, order 2). Otherwise every step
            starts from detached weights, which are themselves detached at the end.
        after_step: called after each step, for clocks.

    Raises:
        CellError: a loss is not finite.
    """
    now = dict(weights) if differentiable else _leaves(weights)
    state = rule.start(now)
    losses = []
    for step in range(steps):
        value = loss(now)
        gradients = torch.autograd.grad(value, list(now.values()), create_graph=differentiable)
        if not torch.isfinite(value):
            raise CellError(f"the loss is {value.item()} at inner step {step + 1}; lower the rate")
        losses.append(value.detach())
        if differentiable:
            now, state = rule.step(now, gradients, state)
        else:
            with torch.no_grad():
                now, state = rule.step(now, gradients, state)
            now = _leaves(now)
        if after_step:
            after_step()
    return Adapted(now if differentiable else {k: w.detach() for k, w in now.items()}, losses)


def _leaves(weights: Parameters) -> dict[str, Tensor]:
    return {name: w.detach().requires_grad_() for name, w in weights.items()}
