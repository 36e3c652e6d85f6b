"""The written derivatives are those of their formulas: torch's own functions, and differences."""

import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call
from torch.nn import functional
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.t5.modeling_t5 import T5LayerNorm

from bench.batches import IGNORED
from bench.per_task import Sites, _TaskRms
from bench.written import cross_entropy, rms_normed

LABELS = torch.tensor([0, 3, IGNORED, 6, 2])


def drawn(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()


def test_cross_entropy_is_that_of_torch() -> None:
    logits, rows = drawn(5, 7), torch.arange(1.0, 6).double()
    ours, theirs = (
        loss * rows
        for loss in (
            cross_entropy(logits, LABELS),
            functional.cross_entropy(logits, LABELS, reduction="none", ignore_index=IGNORED),
        )
    )
    assert torch.allclose(ours, theirs, rtol=1e-12)
    slopes = [torch.autograd.grad(made.sum(), logits)[0] for made in (ours, theirs)]
    assert torch.allclose(*slopes, rtol=1e-12)


def test_cross_entropy_of_far_logits_is_their_distance() -> None:
    logits = torch.tensor([[0.0, 500.0]], requires_grad=True)
    loss = cross_entropy(logits, torch.tensor([0]))
    (slope,) = torch.autograd.grad(loss.sum(), logits)
    assert loss.item() == 500
    assert slope.tolist() == [[-1, 1]]


def test_first_and_second_derivatives_are_those_of_differences() -> None:
    logits, values = drawn(5, 7), drawn(3, 4, 6)
    assert gradcheck(lambda z: cross_entropy(z, LABELS), logits)
    assert gradgradcheck(lambda z: cross_entropy(z, LABELS), logits)
    assert gradcheck(lambda x: rms_normed(x, 1e-2), values)
    assert gradgradcheck(lambda x: rms_normed(x, 1e-2), values)


def test_root_mean_square_is_that_of_torch() -> None:
    values = drawn(3, 4, 6)
    assert torch.allclose(rms_normed(values, 1e-2), functional.rms_norm(values, (6,), eps=1e-2))


def test_squares_out_of_range_are_no_numbers() -> None:
    values = torch.tensor([[1e30, 1.0], [3.0, 4.0]])
    assert rms_normed(values, 1e-6).isnan().all(-1).tolist() == [True, False]


def test_norms_of_this_formula_are_found_by_trial() -> None:
    """Llama's and T5's are; Gemma's scales by 1 + weight, and is left as it is."""
    torch.manual_seed(0)
    values = torch.randn(6, 5, 8)
    for kind, found in ((LlamaRMSNorm, True), (T5LayerNorm, True), (GemmaRMSNorm, False)):
        layer, own = kind(8), torch.randn(2, 8)
        halves = zip(own, values.split(3), strict=True)
        plain = [functional_call(layer, {"weight": weight}, half) for weight, half in halves]
        sites = Sites(layer)
        assert isinstance(layer, _TaskRms) == found
        with sites.hold({"weight": own}, 6):
            made = layer(values)
        torch.testing.assert_close(made, torch.cat(plain))
        half = values.bfloat16()
        assert torch.equal(layer.bfloat16()(half), kind(8).bfloat16()(half))
