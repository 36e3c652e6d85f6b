"""The inner loop and the meta-gradients against plain autograd, plain loops and differences."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.fomaml import Fomaml
from baselines.joint import Joint
from baselines.maml import Maml
from baselines.reptile import Reptile
from bench.backbone import Backbone, attention
from bench.inner_loop import Adam, Moments, Sgd, adapt
from bench.solver import diverged
from bench.tasks import Example
from bench.training import TaskLoss
from tests.proofs import RATE, ids_of, options, plain_loss, relative, start, unrolled


def test_a_tied_weight_stands_once(backbone: Backbone) -> None:
    weights = backbone.weights()
    embedding = backbone.model.get_input_embeddings().weight
    head = backbone.model.get_output_embeddings()
    assert head is None or head.weight is embedding
    assert sum(w.shape == embedding.shape for w in weights.values()) == 1


def test_loss_equals_the_plain_loss(backbone: Backbone, examples: list[Example]) -> None:
    batch, cuts = backbone.batch([examples])
    assert cuts == [0]
    t5 = backbone.model.config.model_type == "t5"
    pads = t5 * len(examples)  # its decoder starts with one
    assert batch.tokens == [pads + sum(int((v != 2).sum()) for v in ids_of(batch).values())]
    weights = backbone.weights()
    torch.testing.assert_close(
        backbone.losses(weights, batch)[0],
        plain_loss(backbone, weights, examples),
        rtol=1e-12,
        atol=0,
    )


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_maml_equals_unrolled_autograd(
    backbone: Backbone, task: TaskLoss, plain: Any, steps: int
) -> None:
    begin = start(backbone)
    with attention(True):
        ours = options(Maml, inner_steps=steps).direction(begin, task)
    after = unrolled(plain[0], begin.weights, steps)[-1]
    theirs = torch.autograd.grad(plain[1](after), list(begin.weights.values()))
    assert relative(ours, theirs) < 1e-9


@pytest.mark.parametrize("kind", [Maml, Fomaml])
@pytest.mark.parametrize(("steps", "rate"), [(0, 0.1), (2, 0.0)])
def test_without_movement_the_direction_is_the_plain_gradient(
    backbone: Backbone, task: TaskLoss, plain: Any, kind: Any, steps: int, rate: float
) -> None:
    begin = start(backbone)
    learner = kind(kind.Options(inner_rule="sgd", inner_rate=rate, inner_steps=steps))
    with attention(True):
        ours = learner.direction(begin, task)
    theirs = torch.autograd.grad(plain[1](begin.weights), list(begin.weights.values()))
    assert relative(ours, theirs) < 1e-12


def test_maml_equals_central_differences(backbone: Backbone, task: TaskLoss) -> None:
    learner = options(Maml, inner_steps=2)
    begin = start(backbone)
    with attention(True):
        gradient = learner.direction(begin, task)
    generator = torch.Generator().manual_seed(3)
    for _ in range(3):
        along = [
            torch.randn(w.shape, generator=generator, dtype=w.dtype) for w in begin.meta.values()
        ]

        def outer(shift: float, along: Any = along) -> float:
            moved = begin.with_meta(
                {n: w + shift * d for (n, w), d in zip(begin.meta.items(), along, strict=True)}
            )
            return float(task.query(learner.inner(task.support, moved, "none")))

        slope = (outer(1e-6) - outer(-1e-6)) / 2e-6
        ours = float(sum((g * d).sum() for g, d in zip(gradient, along, strict=True)))
        assert ours == pytest.approx(slope, rel=1e-6)


def test_fomaml_is_the_gradient_at_the_detached_adapted_weights(
    backbone: Backbone, task: TaskLoss, plain: Any
) -> None:
    begin = start(backbone)
    ours = options(Fomaml, inner_steps=2).direction(begin, task)
    after = unrolled(plain[0], begin.weights, 2)[-1]
    leaves = {name: w.detach().requires_grad_() for name, w in after.items()}
    theirs = torch.autograd.grad(plain[1](leaves), list(leaves.values()))
    assert relative(ours, theirs) < 1e-9
    with attention(True):
        second = options(Maml, inner_steps=2).direction(begin, task)
    assert relative(second, ours) > 1e-4, "order 1 and order 2 must differ, or nothing is proven"


def test_joint_is_the_plain_gradient(
    backbone: Backbone, task: TaskLoss, examples: list[Example]
) -> None:
    begin = start(backbone)
    ours = options(Joint, inner_steps=5).direction(begin, task)
    whole = plain_loss(backbone, begin.weights, examples)
    assert relative(ours, torch.autograd.grad(whole, list(begin.weights.values()))) < 1e-9


def test_reptile_equals_a_plain_loop(
    backbone: Backbone, task: TaskLoss, examples: list[Example]
) -> None:
    begin = start(backbone)
    learner = Reptile(Reptile.Options(inner_steps=3, inner_rate=1e-3))
    ours = learner.direction(begin, task)

    leaves = {name: w.detach().clone().requires_grad_() for name, w in begin.weights.items()}
    optimizer = torch.optim.Adam(leaves.values(), lr=1e-3, betas=(0.0, 0.999))
    for _ in range(3):
        optimizer.zero_grad()
        plain_loss(backbone, leaves, examples).backward()
        optimizer.step()
    theirs = [w.detach() - leaves[name].detach() for name, w in begin.weights.items()]
    assert relative(ours, theirs) < 1e-7

    outer = learner.outer(list(begin.weights.values()))
    outer.param_groups[0]["lr"] = 1.0
    for weight, part in zip(begin.weights.values(), ours, strict=True):
        weight.grad = part
    outer.step()
    assert relative(begin.weights.values(), leaves.values()) < 1e-12, "eps = 1: theta_n"


def test_reptile_of_one_descent_step_is_joint_training(backbone: Backbone, task: TaskLoss) -> None:
    begin = start(backbone)
    ours = options(Reptile, inner_steps=1).direction(begin, task)
    joint = options(Joint).direction(begin, task)
    assert relative(ours, [RATE * part for part in joint]) < 1e-9


@pytest.mark.parametrize(
    ("rule", "optimizer"),
    [
        (Sgd(0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
        (Adam(0.01), lambda p: torch.optim.Adam(p, lr=0.01)),
        (Adam(0.01, beta1=0.0), lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.0, 0.999))),
    ],
)
def test_step_rules_equal_torch(rule: Any, optimizer: Any) -> None:
    torch.manual_seed(0)
    weights = {
        "a": torch.randn(3, 4, dtype=torch.float64),
        "b": torch.randn(4, dtype=torch.float64),
    }

    def loss(w: Mapping[str, Tensor]) -> Tensor:
        return (w["a"] @ torch.tanh(w["b"])).pow(2).sum() + w["b"].pow(4).sum()

    ours = adapt(loss, weights, rule, 6).weights
    theirs = {name: w.clone().requires_grad_() for name, w in weights.items()}
    steps = optimizer(list(theirs.values()))
    for _ in range(6):
        steps.zero_grad()
        loss(theirs).backward()
        steps.step()
    for name in weights:
        torch.testing.assert_close(ours[name], theirs[name].detach(), rtol=1e-10, atol=1e-14)


def test_no_step_leaves_the_weights(backbone: Backbone, task: TaskLoss) -> None:
    begin = start(backbone)
    adapted = options(Fomaml, test_steps=0).adapt(task.support, begin)
    assert adapted.losses == []
    assert all(torch.equal(adapted.weights[name], w) for name, w in begin.weights.items())
    assert task.tokens == [0]


def test_tokens_count_every_pass(
    backbone: Backbone, task: TaskLoss, examples: list[Example]
) -> None:
    support, query = (
        sum(backbone.batch([part])[0].tokens) for part in (examples[:4], examples[4:])
    )
    options(Fomaml, inner_steps=3).direction(start(backbone), task)
    assert task.tokens == [3 * support + query]


def test_a_loss_that_is_no_number_stays_none(backbone: Backbone, task: TaskLoss) -> None:
    learner = Fomaml(Fomaml.Options(inner_rule="sgd", inner_rate=1e300, inner_steps=9))
    losses = torch.stack(learner.adapt(task.support, start(backbone)).losses)[:, 0]
    finite = torch.isfinite(losses).tolist()
    assert finite[0]
    assert not finite[-1]
    assert finite == sorted(finite, reverse=True), "from where it diverged no loss is a number"


@pytest.mark.parametrize(
    ("losses", "told"),
    [([], False), ([2.0, 1.0], False), ([1.0, 2.0], True), ([1.0, float("nan")], True)],
)
def test_an_inner_loop_diverged_if_it_ends_worse(losses: list[float], told: bool) -> None:
    assert diverged(losses) is told


def test_second_order_through_adam_is_finite_for_weights_without_gradient() -> None:
    weights = {
        "used": torch.ones(2, dtype=torch.float64),
        "idle": torch.ones(2, dtype=torch.float64),
    }
    leaves = {name: w.requires_grad_() for name, w in weights.items()}

    def loss(w: Mapping[str, Tensor]) -> Tensor:
        return w["used"].pow(2).sum() + (w["idle"] * 0).sum()

    adapted = adapt(loss, leaves, Adam(0.1), 2, path="2")
    gradient = torch.autograd.grad(loss(adapted.weights), list(leaves.values()))
    assert all(torch.isfinite(g).all() for g in gradient)


@pytest.mark.parametrize("beta1", [0.9, 0.0])
def test_the_derivative_of_adams_step_is_that_of_differences(beta1: float) -> None:
    """Of weights, gradients and both moments; and the step in place is the same step."""
    torch.manual_seed(0)
    drawn = [torch.randn(3, 4, dtype=torch.float64) for _ in range(4)]
    drawn[3] = drawn[3].square() + 0.1
    rule = Adam(0.1, beta1)

    def step(w: Tensor, g: Tensor, m: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        state = Moments([torch.tensor(2.0)], [m], [v])
        now, after = rule.step({"w": w}, [g], state)
        return now["w"], *after.first, *after.second

    assert torch.autograd.gradcheck(step, [part.requires_grad_() for part in drawn])
    pure = step(*drawn)
    weight, gradient, first, second = (part.detach().clone() for part in drawn)
    state = Moments([torch.tensor(2.0)], [first], [second])
    rule.descend([weight], [gradient.T.contiguous().T], state)  # another order of memory
    for ours, theirs in zip((weight, first, second), pure, strict=True):
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-12, atol=1e-14)
