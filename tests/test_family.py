"""The meta-learners beyond MAML, each against plain autograd, a closed form or a dense solve."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.anil import Anil
from baselines.boil import Boil
from baselines.l2_sp import L2Sp
from baselines.maml import Maml
from baselines.mamlpp import MamlPlusPlus, step_weights
from baselines.meta_curvature import LARGEST, MetaCurvature, transformed
from baselines.meta_sgd import MetaSgd
from baselines.metaicl import MetaIcl
from bench.backbone import Backbone
from bench.baseline import cosine
from bench.tasks import Example
from bench.training import TaskLoss
from tests.proofs import (
    RATE,
    direction,
    next_token_logs,
    options,
    plain_loss,
    relative,
    start,
    unrolled,
)


def of(parts: dict[str, Tensor], names: Any) -> list[Tensor]:
    return [parts[name] for name in names]


# -- Meta-SGD ------------------------------------------------------------------------------


def test_constant_meta_sgd_rates_are_maml(backbone: Backbone, task: TaskLoss) -> None:
    learner = options(MetaSgd, inner_steps=2)
    begin = start(backbone, learner)
    ours = direction(learner, begin, task)
    maml = direction(options(Maml, inner_steps=2), start(backbone), task)
    assert relative(of(ours, maml), maml.values()) < 1e-12


def test_the_rate_gradient_of_one_step_is_the_closed_form(
    backbone: Backbone, task: TaskLoss, plain: Any
) -> None:
    learner = options(MetaSgd, inner_steps=1)
    begin = start(backbone, learner)
    ours = direction(learner, begin, task)
    names = list(begin.weights)
    first = torch.autograd.grad(plain[0](begin.weights), [begin.weights[n] for n in names])
    after = {n: begin.weights[n] - RATE * g for n, g in zip(names, first, strict=True)}
    second = torch.autograd.grad(plain[1](after), [after[n] for n in names])
    closed = [-a * b for a, b in zip(first, second, strict=True)]
    assert relative(of(ours, [f"rate/{n}" for n in names]), closed) < 1e-9


def test_meta_sgd_with_drawn_rates_equals_unrolled_autograd(
    backbone: Backbone, task: TaskLoss, plain: Any
) -> None:
    learner = options(MetaSgd, inner_steps=3)
    generator = torch.Generator().manual_seed(1)
    begin = start(backbone, learner)
    drawn = {
        n: (0.1 * torch.rand(r.shape, generator=generator, dtype=r.dtype) - 0.03).requires_grad_()
        for n, r in begin.learned.items()
    }
    begin = begin.with_meta({**begin.meta, **drawn})
    assert any((r < 0).any() for r in drawn.values()), "rates of either sign"
    ours = direction(learner, begin, task)
    after = unrolled(plain[0], begin.weights, 3, step=lambda n, g, _: drawn[f"rate/{n}"] * g)[-1]
    theirs = torch.autograd.grad(plain[1](after), list(begin.meta.values()))
    assert relative(ours.values(), theirs) < 1e-9


# -- ANIL and BOIL -------------------------------------------------------------------------

HEADS = ["lm_head", "norm", "block"]


def prepared(kind: Any, backbone: Backbone, head: str) -> Any:
    learner = options(kind, inner_steps=2, head=head)
    if head == "norm" and backbone.model.config.model_type in ("bart", "recurrent"):
        pytest.skip("no norm behind the last block")
    made = learner.prepare(backbone)
    return learner, made, start(made, learner)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kind", [Anil, Boil])
def test_the_other_part_moves_by_exactly_nothing(
    backbone: Backbone, examples: list[Example], kind: Any, head: str
) -> None:
    learner, made, begin = prepared(kind, backbone, head)
    task = TaskLoss(made, [(examples[:4], examples[4:])])
    adapted = learner.adapt(task.support, begin).weights
    moved = {n for n, w in adapted.items() if not torch.equal(w, begin.weights[n])}
    assert moved == set(begin.inner)
    assert moved
    assert moved != set(begin.weights)


@pytest.mark.parametrize("head", HEADS)
def test_head_and_body_are_complements_and_the_head_is_untied(
    backbone: Backbone, head: str
) -> None:
    _, made, begin = prepared(Anil, backbone, head)
    _, _, other = prepared(Boil, backbone, head)
    assert sorted([*begin.inner, *other.inner]) == sorted(begin.weights)
    tied, output = backbone.weights(), made.output_layer().weight
    assert len(begin.weights) == len(tied) + 1, "the output layer has a weight of its own"
    assert torch.equal(output, made.model.get_input_embeddings().weight)
    layers = 2 if head == "block" else 0
    if backbone.model.config.model_type == "gpt2":
        norm, block = 2 * 16, 12 * 16**2 + 13 * 16
        sizes = {"lm_head": 0, "norm": norm, "block": norm + block}
        assert sum(w.numel() for w in begin.moving.values()) == output.numel() + sizes[head]
    else:
        assert len(begin.inner) >= 1 + layers
    assert backbone.weights().keys() == tied.keys(), "the given backbone is left as it was"


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kind", [Anil, Boil])
def test_partial_inner_loops_equal_unrolled_autograd(
    backbone: Backbone, examples: list[Example], kind: Any, head: str
) -> None:
    learner, made, begin = prepared(kind, backbone, head)
    task = TaskLoss(made, [(examples[:4], examples[4:])])
    ours = direction(learner, begin, task)
    after = unrolled(
        lambda w: plain_loss(made, w, examples[:4]), begin.weights, 2, inner=begin.inner
    )[-1]
    outer = plain_loss(made, after, examples[4:])
    assert relative(ours.values(), torch.autograd.grad(outer, list(begin.meta.values()))) < 1e-9


def test_an_untied_head_starts_at_the_same_loss(
    backbone: Backbone, examples: list[Example]
) -> None:
    _, made, begin = prepared(Anil, backbone, "lm_head")
    batch, _ = backbone.batch([examples])
    before = backbone.losses(backbone.weights(), batch)[0]
    torch.testing.assert_close(made.losses(begin.weights, batch)[0], before, rtol=1e-14, atol=0)


# -- MAML++ --------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_step_weights_sum_to_one_and_move_to_the_last(steps: int) -> None:
    epochs = 10
    made = [step_weights(steps, epoch, epochs) for epoch in range(epochs + 3)]
    for weights in made:
        assert sum(weights) == pytest.approx(1)
        assert min(weights) >= 0
    assert made[0] == pytest.approx([1 / steps] * steps)
    last = [weights[-1] for weights in made]
    assert last == sorted(last)
    assert made[-1] == [0.0] * (steps - 1) + [1.0]


def test_step_weights_follow_the_paper() -> None:
    """The authors' per-step vector, written out: decay 1 / n / epochs an epoch, not below
    0.03 / n, what is taken off goes to the last."""
    n, epochs = 5, 10
    for epoch in range(epochs):
        value = max(1 / n - epoch * (1 / n / epochs), 0.03 / n)
        final = min(1 / n + epoch * (n - 1) * (1 / n / epochs), 1 - (n - 1) * 0.03 / n)
        assert step_weights(n, epoch, epochs) == pytest.approx([value] * (n - 1) + [final])


def plus_plus(**values: Any) -> Any:
    return options(MamlPlusPlus, inner_steps=3, epoch_steps=2, **values)


@pytest.mark.parametrize("step", [0, 3, 7])
@pytest.mark.parametrize("first_order_epochs", [0, 9])
def test_mamlpp_equals_unrolled_autograd(
    backbone: Backbone, examples: list[Example], plain: Any, step: int, first_order_epochs: int
) -> None:
    learner = plus_plus(loss_epochs=3, first_order_epochs=first_order_epochs)
    begin = start(backbone, learner)
    drawn = {
        f"rate/{n}": torch.tensor([0.01 * (i % 5), 0.04, 0.02], dtype=w.dtype).requires_grad_()
        for i, (n, w) in enumerate(begin.weights.items())
    }
    begin = begin.with_meta({**begin.meta, **drawn})
    task = TaskLoss(backbone, [(examples[:4], examples[4:])], step)
    ours = direction(learner, begin, task)
    path = unrolled(
        plain[0],
        begin.weights,
        3,
        step=lambda n, g, i: drawn[f"rate/{n}"][i] * g,
        path=first_order_epochs == 0,
    )
    shares = step_weights(3, step // 2, 3)
    outer = sum(share * plain[1](weights) for share, weights in zip(shares, path[1:], strict=True))
    theirs = torch.autograd.grad(outer, list(begin.meta.values()), materialize_grads=True)
    assert relative(ours.values(), theirs) < 1e-9


def test_mamlpp_without_its_additions_is_maml(backbone: Backbone, task: TaskLoss) -> None:
    learner = plus_plus(loss_epochs=0, first_order_epochs=0)
    ours = direction(learner, start(backbone, learner), task)
    maml = direction(options(Maml, inner_steps=3), start(backbone), task)
    assert relative(of(ours, maml), maml.values()) < 1e-12


def test_steps_beyond_the_rates_take_the_last(backbone: Backbone, task: TaskLoss) -> None:
    learner = plus_plus(test_steps=5)
    begin = start(backbone, learner)
    rates = torch.tensor([0.04, 0.02, 0.01], dtype=torch.float64)
    begin = begin.with_meta({**begin.meta, **dict.fromkeys(begin.learned, rates)})
    taken = [0.04, 0.02, 0.01, 0.01, 0.01]
    after = unrolled(task.support, begin.weights, 5, step=lambda n, g, i: taken[i] * g)[-1]
    ours = learner.adapt(task.support, begin).weights
    assert relative(ours.values(), after.values()) < 1e-12


def test_the_outer_rate_of_mamlpp_falls_along_a_cosine() -> None:
    learner = plus_plus()
    assert learner.schedule(0.0) == 1
    assert learner.schedule(0.5) == pytest.approx(0.5)
    assert learner.schedule(1.0) == pytest.approx(0)
    assert cosine(0.25) == pytest.approx((1 + math.sqrt(0.5)) / 2)


# -- Meta-Curvature ------------------------------------------------------------------------


def test_identity_factors_are_maml(backbone: Backbone, task: TaskLoss) -> None:
    learner = options(MetaCurvature, inner_steps=2)
    ours = direction(learner, start(backbone, learner), task)
    maml = direction(options(Maml, inner_steps=2), start(backbone), task)
    assert relative(of(ours, maml), maml.values()) < 1e-12


def test_meta_curvature_equals_unrolled_autograd(
    backbone: Backbone, task: TaskLoss, plain: Any
) -> None:
    learner = options(MetaCurvature, inner_steps=2)
    begin = start(backbone, learner)
    generator = torch.Generator().manual_seed(2)
    drawn = {
        n: (f + 0.2 * torch.randn(f.shape, generator=generator, dtype=f.dtype)).requires_grad_()
        for n, f in begin.learned.items()
    }
    begin = begin.with_meta({**begin.meta, **drawn})

    def step(name: str, grad: Tensor, number: int) -> Tensor:
        one = drawn[f"curvature/{name}/0"]
        if grad.dim() == 1:
            return RATE * (one @ grad)
        return RATE * (one @ grad @ drawn[f"curvature/{name}/1"].T)

    ours = direction(learner, begin, task)
    after = unrolled(plain[0], begin.weights, 2, step=step)[-1]
    theirs = torch.autograd.grad(plain[1](after), list(begin.meta.values()))
    assert relative(ours.values(), theirs) < 1e-9


def test_long_axes_get_a_diagonal() -> None:
    from bench.initialisation import Initialisation

    weight = torch.randn(LARGEST + 1, 3, dtype=torch.float64)
    learner = options(MetaCurvature)
    begin = learner.with_learned(Initialisation({"w": weight}, ("w",)))
    shapes = {name: tuple(f.shape) for name, f in begin.learned.items()}
    assert shapes == {"curvature/w/0": (LARGEST + 1,), "curvature/w/1": (3, 3)}
    long, short = torch.rand(LARGEST + 1).double(), torch.randn(3, 3).double()
    expected = torch.diag(long) @ weight @ short.T
    torch.testing.assert_close(transformed(weight, [long, short]), expected)


# -- MetaICL, L2-SP ------------------------------------------------------------------------


def test_metaicl_is_the_loss_of_answers_behind_the_support(
    backbone: Backbone, task: TaskLoss, examples: list[Example]
) -> None:
    """Independently: the support as text before each query, one row at a time."""
    learner = MetaIcl(MetaIcl.Options())
    begin = start(backbone, learner)
    ours = direction(learner, begin, task)
    pieces = [backbone.tokenizer(f"{e.input} => {e.target}\n\n").input_ids for e in examples[:4]]
    shown = [token for piece in pieces for token in piece]
    total, count = torch.zeros((), dtype=torch.float64), 0
    for example in examples[4:]:
        prompt = [*shown, *backbone.tokenizer(f"{example.input} =>").input_ids]
        target = [*backbone.tokenizer(f" {example.target}").input_ids, 1]
        logs = next_token_logs(backbone, begin.weights, prompt, target)
        total = total - logs[range(len(target)), target].sum()
        count += len(target)
    theirs = torch.autograd.grad(total / count, list(begin.weights.values()))
    assert relative(ours.values(), theirs) < 1e-9
    assert learner.adapt(task.support, begin).weights.keys() == begin.weights.keys()


def test_l2_sp_equals_a_plain_loop(backbone: Backbone, task: TaskLoss, plain: Any) -> None:
    learner = options(L2Sp, inner_steps=3, strength=0.7)
    begin = start(backbone, learner)
    first = {n: w.detach() for n, w in begin.weights.items()}

    def penalised(weights: Any) -> Tensor:
        apart = torch.cat([(weights[n] - first[n]).reshape(-1) for n in first])
        return plain[0](weights) + 0.35 * apart @ apart

    theirs = unrolled(penalised, begin.weights, 3)[-1]
    adapted = learner.adapt(task.support, begin)
    moved = [adapted.weights[n] - first[n] for n in first]
    assert relative(moved, [theirs[n].detach() - first[n] for n in first]) < 1e-9
    assert len(adapted.losses) == 3
