"""Low-rank adapters: peft's layout, the base's loss at first, merged as unmerged, in every loop."""

from typing import Any

import pytest
import torch
from torch.func import functional_call

from baselines.fine_tuned import FineTuned
from baselines.fomaml import Fomaml
from baselines.maml import Maml
from baselines.meta_sgd import MetaSgd
from baselines.reptile import Reptile
from bench.backbone import Backbone, attention
from bench.parts import LoraLayer
from bench.tasks import Example
from bench.training import OuterLoop, TaskLoss, Training
from tests.conftest import build
from tests.proofs import RATE, options, plain_loss, relative, start, unrolled

META = [Maml, Fomaml, Reptile, MetaSgd]


def adapted(kind: Any, backbone: Backbone, **values: Any) -> Any:
    """A learner with `adapt = lora`, its backbone, and a start whose B is not 0."""
    learner = options(kind, adapt="lora", rank=3, alpha=6.0, **values)
    made = learner.prepare(backbone)
    return learner, made, start(made, learner)


def moved(begin: Any) -> Any:
    """B drawn: at 0 half of the gradients vanish."""
    generator = torch.Generator().manual_seed(4)
    drawn = {
        n: (w.detach() + 0.1 * torch.randn(w.shape, generator=generator, dtype=w.dtype))
        for n, w in begin.meta.items()
        if ".lora_B." in n
    }
    return begin.with_meta({**begin.meta, **{n: w.requires_grad_() for n, w in drawn.items()}})


def test_only_adapters_move_and_are_counted(backbone: Backbone, examples: list[Example]) -> None:
    learner, made, begin = adapted(FineTuned, backbone, inner_steps=2)
    assert begin.inner
    assert all(".lora_A.default.weight" in n or ".lora_B.default.weight" in n for n in begin.inner)
    task = TaskLoss(made, [(examples[:4], examples[4:])])
    after = learner.adapt(task.support, begin).weights
    changed = {n for n, w in after.items() if not torch.equal(w, begin.weights[n])}
    assert changed == set(begin.inner)
    assert not set(begin.weights) & set(backbone.weights()) & changed


def test_adapters_start_at_the_loss_of_the_base(
    backbone: Backbone, examples: list[Example]
) -> None:
    _, made, begin = adapted(FineTuned, backbone)
    batch, _ = backbone.batch([examples])
    before = backbone.losses(backbone.weights(), batch)[0]
    torch.testing.assert_close(made.losses(begin.weights, batch)[0], before, rtol=1e-14, atol=0)
    firsts = [w for n, w in begin.weights.items() if ".lora_A." in n]
    assert all(w.abs().max() <= w.shape[1] ** -0.5 for w in firsts)
    assert all(w.std() > 0 for w in firsts)


def test_merged_equals_unmerged(backbone: Backbone, examples: list[Example]) -> None:
    _, made, begin = adapted(FineTuned, backbone)
    begin = moved(begin)
    batch, _ = made.batch([examples])
    ours = made.losses(begin.weights, batch)[0]
    before = backbone.losses(backbone.weights(), batch)[0]
    assert abs(float(ours.detach() - before)) > 1e-5, "the adapters must matter"
    merged = backbone.weights()
    with torch.no_grad():
        for name, weight in made.model.named_parameters():
            weight.copy_(begin.weights[name])
        for name, module in made.model.named_modules():
            if isinstance(module, LoraLayer):
                merged[f"{name}.weight"] = module.merged()
    after = backbone.losses(merged, batch)[0]
    torch.testing.assert_close(after, ours.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("base", ["frozen", "meta-learned"])
@pytest.mark.parametrize("kind", META)
def test_directions_equal_plain_autograd(
    backbone: Backbone, examples: list[Example], kind: Any, base: str
) -> None:
    learner, made, begin = adapted(kind, backbone, inner_steps=2, base=base)
    begin = moved(begin)
    names = begin.inner if base == "frozen" else list(begin.weights)
    assert [n for n in begin.meta if "/" not in n] == list(names)
    task = TaskLoss(made, [(examples[:4], examples[4:])])
    with attention(True):
        ours = learner.direction(begin, task)
    part = examples if kind is Reptile else examples[:4]
    after = unrolled(
        lambda w: plain_loss(made, w, part),
        begin.weights,
        2,
        inner=begin.inner,
        step=lambda n, g, _: (begin.learned[f"rate/{n}"] if kind is MetaSgd else RATE) * g,
        path=kind in (Maml, MetaSgd),
    )[-1]
    if kind is Reptile:
        theirs = [begin.weights[n] - after[n] for n in begin.meta]
    else:
        outer = plain_loss(made, after, examples[4:])
        theirs = list(torch.autograd.grad(outer, list(begin.meta.values())))
    assert relative(ours, theirs) < 1e-9


@pytest.mark.parametrize("kind", META)
def test_a_frozen_base_stays_in_training(tokenizer: Any, kind: Any) -> None:
    from bench.causal import CausalBackbone
    from bench.context import dataset_of
    from bench.prompt import Prompt

    backbone = CausalBackbone(build("llama", tokenizer, torch.float32), tokenizer, Prompt())
    values = {"adapt": "lora", "base": "frozen", "inner_steps": 1, "tasks_per_step": 1}
    learner = kind(kind.Options(**values, train_queries=2))
    made = learner.prepare(backbone)
    training = Training(made, dataset_of("translation"), [2], 0)
    begin, _ = OuterLoop(learner, training).run(800)
    first = made.weights()
    changed = {n for n, w in begin.weights.items() if not torch.equal(w, first[n])}
    assert changed
    assert changed <= set(begin.inner)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5", "bart", "lstm"])
def test_the_layout_is_that_of_peft(tokenizer: Any, examples: list[Example], kind: str) -> None:
    peft = pytest.importorskip("peft", reason="the extra `peers` is not installed")
    from bench.checkpoints import backbone_of
    from bench.prompt import Prompt

    backbone = backbone_of(build(kind, tokenizer), tokenizer, Prompt())
    _, made, begin = adapted(FineTuned, backbone)
    begin = moved(begin)
    targets = sorted({n.split(".lora_")[0] for n in begin.inner})
    config = peft.LoraConfig(
        r=3, lora_alpha=6, target_modules=targets, fan_in_fan_out=kind == "gpt2", bias="none"
    )
    theirs = peft.inject_adapter_in_model(config, build(kind, tokenizer)).eval()
    shapes = {n: w.shape for n, w in theirs.named_parameters()}
    assert shapes == {n: w.shape for n, w in begin.weights.items()}
    batch, _ = made.batch([examples])
    inputs = {**batch.inputs, "use_cache": False}
    weights = {n: w.detach() for n, w in begin.weights.items()}
    ours, other = (functional_call(m, weights, (), inputs).logits for m in (made.model, theirs))
    torch.testing.assert_close(ours, other, rtol=1e-10, atol=1e-12)
