"""The written derivatives are those of their formulas: torch's own functions, and differences."""

import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

from bench.batches import IGNORED
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
