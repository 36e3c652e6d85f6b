"""The inner loop and the meta-gradients against plain autograd, plain loops and differences."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from baselines.fomaml import Fomaml
from baselines.joint import Joint
from baselines.maml import Maml
from baselines.reptile import Reptile
from bench.backbone import Backbone, attention
from bench.errors import CellError
from bench.inner_loop import Adam, Sgd, adapt
from bench.tasks import Example
from bench.training import TaskLoss

RATE = 0.05


def next_token_logs(backbone: Backbone, weights: Any, prompt: Any, target: Any) -> Tensor:
    """Log-probabilities (target tokens, vocabulary) of each token of one target."""
    model, first = backbone.model, len(prompt) - 1
    inputs: dict[str, Any] = {"input_ids": torch.tensor([prompt + target])}
    if model.config.is_encoder_decoder:
        inputs = {
            "input_ids": torch.tensor([prompt]),
            "decoder_input_ids": torch.tensor([[2, *target]]),
        }
        first = 0
    with attention(True):
        logits = functional_call(model, dict(weights), (), inputs).logits[0]
    return torch.log_softmax(logits, dim=-1)[first : first + len(target)]


def plain_loss(backbone: Backbone, weights: Mapping[str, Tensor], rows: Any) -> Tensor:
    """An independent loss: no padding, one row at a time, log-softmax picked by hand."""
    total, count = 0.0, 0
    for example in rows:
        prompt = backbone.tokenizer(f"{example.input} =>").input_ids
        target = [*backbone.tokenizer(f" {example.target}").input_ids, 1]
        logs = next_token_logs(backbone, weights, prompt, target)
        for place, token in enumerate(target):
            total = total - logs[place, token]
            count += 1
    return total / count


def ids_of(batch: Any) -> dict[str, Tensor]:
    return {key: value for key, value in batch.inputs.items() if key.endswith("ids")}


def start(backbone: Backbone) -> dict[str, Tensor]:
    return {name: w.requires_grad_() for name, w in backbone.weights().items()}


def options(kind: Any, **values: Any) -> Any:
    return kind(kind.Options(inner_rule="sgd", inner_rate=RATE, **values))


def unrolled(backbone: Backbone, weights: Any, support: Any, steps: int) -> Any:
    now = dict(weights)
    for _ in range(steps):
        grads = torch.autograd.grad(
            plain_loss(backbone, now, support), list(now.values()), create_graph=True
        )
        now = {n: w - RATE * g for (n, w), g in zip(now.items(), grads, strict=True)}
    return now


def relative(ours: Any, theirs: Any) -> float:
    a, b = (torch.cat([g.detach().reshape(-1) for g in grads]) for grads in (ours, theirs))
    return float((a - b).norm() / b.norm())


def test_a_tied_weight_stands_once(backbone: Backbone) -> None:
    weights = backbone.weights()
    embedding = backbone.model.get_input_embeddings().weight
    head = backbone.model.get_output_embeddings()
    assert head is None or head.weight is embedding
    assert sum(w.shape == embedding.shape for w in weights.values()) == 1


def test_loss_equals_the_plain_loss(backbone: Backbone, examples: list[Example]) -> None:
    batch, cuts = backbone.batch(examples)
    assert cuts == 0
    pads = backbone.model.config.is_encoder_decoder * len(examples)  # T5's decoder starts with one
    assert batch.tokens == pads + sum(int((v != 2).sum()) for k, v in ids_of(batch).items())
    weights = backbone.weights()
    torch.testing.assert_close(
        backbone.loss(weights, batch), plain_loss(backbone, weights, examples), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_maml_equals_unrolled_autograd(
    backbone: Backbone, examples: list[Example], steps: int
) -> None:
    weights = start(backbone)
    task = TaskLoss(backbone, examples[:4], examples[4:])
    with attention(True):
        ours = options(Maml, inner_steps=steps).direction(weights, task)
    after = unrolled(backbone, weights, examples[:4], steps)
    theirs = torch.autograd.grad(plain_loss(backbone, after, examples[4:]), list(weights.values()))
    assert relative(ours, theirs) < 1e-9


def test_maml_equals_central_differences(backbone: Backbone, examples: list[Example]) -> None:
    learner = options(Maml, inner_steps=2)
    weights = start(backbone)
    task = TaskLoss(backbone, examples[:4], examples[4:])
    with attention(True):
        gradient = learner.direction(weights, task)
    generator = torch.Generator().manual_seed(3)
    direction = [torch.randn(w.shape, generator=generator, dtype=w.dtype) for w in weights.values()]

    def outer(shift: float) -> float:
        moved = {
            n: (w + shift * d).detach().requires_grad_()
            for (n, w), d in zip(weights.items(), direction, strict=True)
        }
        return float(task.query(learner.inner(task.support, moved)))

    slope = (outer(1e-5) - outer(-1e-5)) / 2e-5
    ours = float(sum((g * d).sum() for g, d in zip(gradient, direction, strict=True)))
    assert ours == pytest.approx(slope, rel=1e-6)


def test_fomaml_is_the_gradient_at_the_detached_adapted_weights(
    backbone: Backbone, examples: list[Example]
) -> None:
    weights = start(backbone)
    task = TaskLoss(backbone, examples[:4], examples[4:])
    ours = options(Fomaml, inner_steps=2).direction(weights, task)
    after = unrolled(backbone, weights, examples[:4], 2)
    leaves = {name: w.detach().requires_grad_() for name, w in after.items()}
    theirs = torch.autograd.grad(plain_loss(backbone, leaves, examples[4:]), list(leaves.values()))
    assert relative(ours, theirs) < 1e-9
    with attention(True):
        second = options(Maml, inner_steps=2).direction(weights, task)
    assert relative(second, ours) > 1e-4, "order 1 and order 2 must differ, or nothing is proven"


def test_joint_is_the_plain_gradient(backbone: Backbone, examples: list[Example]) -> None:
    weights = start(backbone)
    task = TaskLoss(backbone, examples[:4], examples[4:])
    ours = options(Joint, inner_steps=5).direction(weights, task)
    theirs = torch.autograd.grad(plain_loss(backbone, weights, examples), list(weights.values()))
    assert relative(ours, theirs) < 1e-9


def test_reptile_equals_a_plain_loop(backbone: Backbone, examples: list[Example]) -> None:
    weights = start(backbone)
    task = TaskLoss(backbone, examples[:4], examples[4:])
    learner = Reptile(Reptile.Options(inner_steps=3, inner_rate=1e-3))
    ours = learner.direction(weights, task)

    leaves = {name: w.detach().clone().requires_grad_() for name, w in weights.items()}
    optimizer = torch.optim.Adam(leaves.values(), lr=1e-3, betas=(0.0, 0.999))
    for _ in range(3):
        optimizer.zero_grad()
        plain_loss(backbone, leaves, examples).backward()
        optimizer.step()
    theirs = [w.detach() - leaves[name].detach() for name, w in weights.items()]
    assert relative(ours, theirs) < 1e-7

    outer = learner.outer(list(weights.values()))
    outer.param_groups[0]["lr"] = 1.0
    for weight, part in zip(weights.values(), ours, strict=True):
        weight.grad = part
    outer.step()
    assert relative(list(weights.values()), list(leaves.values())) < 1e-12, "eps = 1: theta_n"


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


def test_no_step_leaves_the_weights(backbone: Backbone, examples: list[Example]) -> None:
    weights = backbone.weights()
    task = TaskLoss(backbone, examples[:4], examples[4:])
    adapted = options(Fomaml, inner_steps=0).adapt(task.support, weights)
    assert adapted.losses == []
    assert all(torch.equal(adapted.weights[name], w) for name, w in weights.items())
    assert task.tokens == 0


def test_tokens_count_every_pass(backbone: Backbone, examples: list[Example]) -> None:
    task = TaskLoss(backbone, examples[:4], examples[4:])
    support, query = (backbone.batch(part)[0].tokens for part in (examples[:4], examples[4:]))
    options(Fomaml, inner_steps=3).direction(start(backbone), task)
    assert task.tokens == 3 * support + query


def test_a_loss_that_is_no_number_is_a_cell_error(
    backbone: Backbone, examples: list[Example]
) -> None:
    task = TaskLoss(backbone, examples[:4], examples[4:])
    learner = Fomaml(Fomaml.Options(inner_rule="sgd", inner_rate=1e30, inner_steps=5))
    with pytest.raises(CellError, match="inner step"):
        learner.adapt(task.support, backbone.weights())


def test_second_order_through_adam_is_finite_for_weights_without_gradient() -> None:
    weights = {
        "used": torch.ones(2, dtype=torch.float64),
        "idle": torch.ones(2, dtype=torch.float64),
    }
    leaves = {name: w.requires_grad_() for name, w in weights.items()}

    def loss(w: Mapping[str, Tensor]) -> Tensor:
        return w["used"].pow(2).sum() + (w["idle"] * 0).sum()

    adapted = adapt(loss, leaves, Adam(0.1), 2, differentiable=True)
    gradient = torch.autograd.grad(loss(adapted.weights), list(leaves.values()))
    assert all(torch.isfinite(g).all() for g in gradient)
