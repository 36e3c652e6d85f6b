"""The inner loop: gradient steps on the support sets of some tasks at once.

A weight that moves holds that of each task, (tasks, ...); no task's loss depends on another's
weights, so the gradient of the sum of losses is that of each. For one task alone the leading
dimension may be left out.

All gradient-based baselines share it. A baseline states what differs: which weights move, the step
rule, the number of steps, and what of the steps an outer gradient may go through (`Path`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.optim.adam import adam

from bench.recomputed import recomputed

Parameters = Mapping[str, Tensor]
Loss = Callable[[Parameters], Tensor]  # (tasks,)
AfterStep = Callable[[Parameters], None]
State = Any
# What an outer gradient may go through: nothing, the steps with their gradients as constants
# (first order), or the gradients too (second order).
Path = Literal["none", "1", "2"]


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


class FixedRule(StepRule, Protocol):
    """A rule that learns nothing: where gradients are constants, so is a step."""

    def descend(self, weights: Sequence[Tensor], gradients: Sequence[Tensor], state: State) -> None:
        """The same step in place: of the weights, and of a state of `start`."""
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

    def descend(self, weights: Sequence[Tensor], gradients: Sequence[Tensor], state: State) -> None:
        """One step in place."""
        torch._foreach_sub_(list(weights), list(gradients), alpha=self.rate)


@dataclass
class Moments:
    """Adam's state: steps taken, a count for each weight, and the moments of each."""

    counts: list[Tensor]
    first: list[Tensor]
    second: list[Tensor]


@dataclass(frozen=True)
class Adam:
    """Adam with bias correction (Kingma and Ba 2015, algorithm 1), no weight decay.

    `beta1 = 0` gives the inner optimiser of Reptile (Nichol et al. 2018).
    """

    rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def start(self, weights: Parameters) -> Moments:
        """No steps taken, both moments zero."""
        first, second = (
            [torch.zeros(w.shape, dtype=w.dtype, device=w.device) for w in weights.values()]
            for _ in range(2)
        )
        counts = [torch.zeros((), device=w.device) for w in weights.values()]
        return Moments(counts, first, second)

    def step(
        self, weights: Parameters, gradients: Sequence[Tensor], state: Moments
    ) -> tuple[dict[str, Tensor], Moments]:
        """One step of Adam."""
        names = list(weights)
        parts = (list(weights.values()), list(gradients), state.first, state.second)
        count = float(state.counts[0]) + 1
        made = _AdamStep.apply(self, count, *(tensor for part in parts for tensor in part))  # type: ignore[no-untyped-call]
        now, first, second = (list(made[i * len(names) : (i + 1) * len(names)]) for i in range(3))
        moments = Moments([before + 1 for before in state.counts], first, second)
        return dict(zip(names, now, strict=True)), moments

    def descend(
        self, weights: Sequence[Tensor], gradients: Sequence[Tensor], state: Moments
    ) -> None:
        """One step in place, by torch's own, which reads all tensors in one order of memory."""
        pairs = zip(weights, gradients, strict=True)
        adam(
            list(weights),
            [g if g.stride() == w.stride() else torch.empty_like(w).copy_(g) for w, g in pairs],
            state.first,
            state.second,
            [],
            state.counts,
            fused=True,
            amsgrad=False,
            beta1=self.beta1,
            beta2=self.beta2,
            lr=self.rate,
            weight_decay=0.0,
            eps=self.epsilon,
            maximize=False,
        )


class _AdamStep(torch.autograd.Function):
    """Weights, first and second moments after a step, from those before it and gradients. Its
    derivative is written out: the graph of its dozen operations would hold as many copies of all
    weights for every step.

    The root's derivative at 0 is 0: a weight without gradient (a position that no example reaches)
    stays out of the meta-gradient, where infinity times 0 would be no number.
    """

    @staticmethod
    def forward(ctx: Any, rule: "Adam", count: float, *tensors: Tensor) -> tuple[Tensor, ...]:
        weights, gradients, firsts, seconds = _parts(tensors, len(tensors) // 4)
        scale, root = 1 - rule.beta1**count, 1 - rule.beta2**count
        new_first = [
            torch.lerp(m, g, 1 - rule.beta1) for m, g in zip(firsts, gradients, strict=True)
        ]
        new_second = [
            (v * rule.beta2).addcmul_(g, g, value=1 - rule.beta2)
            for v, g in zip(seconds, gradients, strict=True)
        ]
        now = [
            torch.addcdiv(w, m, (v / root).sqrt_().add_(rule.epsilon), value=-rule.rate / scale)
            for w, m, v in zip(weights, new_first, new_second, strict=True)
        ]
        ctx.save_for_backward(*gradients, *new_first, *new_second)
        ctx.rule, ctx.move, ctx.root = rule, rule.rate / scale, root
        return (*now, *new_first, *new_second)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        rule, size = ctx.rule, len(outer) // 3
        gradients, firsts, seconds = _parts(ctx.saved_tensors, size)
        to_gradients, to_firsts, to_seconds = list[Tensor](), list[Tensor](), list[Tensor]()
        for g, m, v, on_w, on_m, on_v in zip(
            gradients, firsts, seconds, *_parts(outer, size), strict=True
        ):
            root = (v / ctx.root).sqrt_()
            below = root + rule.epsilon
            along = on_w / below
            to_m = torch.add(on_m, along, alpha=-ctx.move)
            # d(root + epsilon) / dv = 1 / (2 root c), c the correction of the second moment.
            slope = along.mul_(m).div_(below.mul_(root).masked_fill_(root == 0, torch.inf))
            to_v = torch.add(on_v, slope, alpha=ctx.move / (2 * ctx.root))
            to_g = (to_m * (1 - rule.beta1)).addcmul_(g, to_v, value=2 * (1 - rule.beta2))
            to_gradients.append(to_g)
            to_firsts.append(to_m.mul_(rule.beta1))
            to_seconds.append(to_v.mul_(rule.beta2))
        return (None, None, *outer[:size], *to_gradients, *to_firsts, *to_seconds)


def _parts(tensors: Sequence[Tensor], size: int) -> list[Sequence[Tensor]]:
    """Tensors in runs of `size`."""
    return [tensors[start : start + size] for start in range(0, len(tensors), size)]


def step_rule(name: str, rate: float) -> FixedRule:
    """The rule that an option names: `sgd`, `adam`, or `adam-beta1-0`."""
    if name == "sgd":
        return Sgd(rate)
    return Adam(rate, beta1=0.0 if name == "adam-beta1-0" else 0.9)


@dataclass
class Adapted:
    """What an inner loop leaves.

    Attributes:
        weights: after the last step.
        losses: before each step, (tasks,), detached; not finite from where a task diverged.
    """

    weights: dict[str, Tensor]
    losses: list[Tensor] = field(default_factory=list)


def adapt(
    loss: Loss,
    weights: Parameters,
    rule: StepRule,
    steps: int,
    path: Path = "none",
    after_step: AfterStep | None = None,
    anew: Sequence[Tensor] | None = None,
) -> Adapted:
    """Takes `steps` gradient steps on `loss` from `weights`.

    Args:
        loss: the support loss of each task, (tasks,), as a function of the weights.
        weights: those that move, (tasks, ...); not changed.
        rule: turns gradients into steps.
        steps: n, may be 0.
        path: "2" keeps the graph through steps and gradients (MAML), "1" through the steps alone:
            gradients are constants (first-order MAML). With "none" every step starts from detached
            weights, which are themselves detached at the end.
        after_step: called with the weights after each step.
        anew: with "2", steps are taken once more where their gradient is asked for, by the same
            operations, and of each nothing but where it started is kept. These are the tensors
            that `loss` and `rule` close over and whose gradients are wanted. None keeps all graphs.

    A loss that is no number leaves weights that are none, of its task alone.
    """
    if path != "2" and isinstance(rule, (Sgd, Adam)):
        return _descended(loss, weights, rule, steps, path, after_step)
    now = _leaves(weights) if path == "none" else dict(weights)
    state = rule.start(now)
    losses: list[Tensor] = []

    def step(now: Parameters, state: State) -> tuple[dict[str, Tensor], State, Tensor]:
        value = loss(now)
        gradients = gradient(value, now, differentiable=path == "2")
        with torch.set_grad_enabled(path != "none"):
            return *rule.step(now, gradients, state), value.detach()

    for _ in range(steps):
        if anew is not None and path == "2":
            now, state, value = recomputed(step, anew, now, state)
        else:
            now, state, value = step(now, state)
        losses.append(value)
        if path == "none":
            now = _leaves(now)
        if after_step:
            after_step(now)
    return Adapted({k: w.detach() for k, w in now.items()} if path == "none" else now, losses)


def _descended(
    loss: Loss,
    weights: Parameters,
    rule: FixedRule,
    steps: int,
    path: Path,
    after_step: AfterStep | None,
) -> Adapted:
    """`adapt` in place, where every step is a constant: what is reached depends on where it started
    as on itself."""
    now = {name: w.detach().clone().requires_grad_() for name, w in weights.items()}
    state, losses = rule.start(now), list[Tensor]()

    def reached() -> dict[str, Tensor]:
        if path == "none":
            return now
        return {name: now[name].detach() + (w - w.detach()) for name, w in weights.items()}

    for _ in range(steps):
        value = loss(now)
        gradients = gradient(value, now)
        losses.append(value.detach())
        with torch.no_grad():
            rule.descend(list(now.values()), gradients, state)
        if after_step:
            after_step(reached())
    made = reached()
    return Adapted({k: w.detach() for k, w in made.items()} if path == "none" else made, losses)


def gradient(value: Tensor, weights: Parameters, differentiable: bool = False) -> list[Tensor]:
    """The gradient of the sum of `value` in the order of `weights`; zero for a weight that it does
    not depend on. With `differentiable` it can be differentiated itself."""
    found = torch.autograd.grad(
        value.sum(), list(weights.values()), create_graph=differentiable, materialize_grads=True
    )
    return list(found)


def proximal(loss: Loss, center: Parameters, strength: float) -> Loss:
    """`loss` + strength / 2 * |weights - center|^2, over the weights that `center` names: the inner
    problem of iMAML (Rajeswaran et al. 2019, eq. 3), the penalty of L2-SP (Li et al. 2018, eq. 2).
    """
    fixed = {name: weight.detach() for name, weight in center.items()}

    def penalised(weights: Parameters) -> Tensor:
        value = loss(weights)
        apart = ((weights[name] - weight).square() for name, weight in fixed.items())
        return value + strength / 2 * sum(part.reshape(len(value), -1).sum(1) for part in apart)

    return penalised


def _leaves(weights: Parameters) -> dict[str, Tensor]:
    return {name: w.detach().requires_grad_() for name, w in weights.items()}
