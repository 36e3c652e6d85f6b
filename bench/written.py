"""Functions whose derivatives are written out, up to the second: torch's own graph of their parts
holds, and passes over, several times the tensors that they need."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bench.batches import IGNORED


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log softmax at the label: (rows, vocabulary) and (rows,) to (rows,), 0 where the label is
    `IGNORED`."""
    made: Tensor = _CrossEntropy.apply(logits, labels)  # type: ignore[no-untyped-call]
    return made


class _CrossEntropy(torch.autograd.Function):
    """The loss; with p the softmax, its gradient is `_Apart`, p - (1 at the label), a row."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        ignored = labels == IGNORED
        logarithms = logits.log_softmax(-1)
        places = labels.masked_fill(ignored, 0)[:, None]
        ctx.save_for_backward(logits, logarithms, places, ignored)
        return logarithms.gather(1, places)[:, 0].neg().masked_fill_(ignored, 0)

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor, None]:
        logits, logarithms, places, ignored = ctx.saved_tensors
        scale = scale.masked_fill(ignored, 0)[:, None]
        return _Apart.apply(logits, scale, logarithms, places), None  # type: ignore[no-untyped-call]


class _Apart(torch.autograd.Function):
    """scale * (p - (1 at the label)): of logits (rows, vocabulary) and scale (rows, 1)."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, scale: Tensor, logarithms: Tensor, places: Tensor
    ) -> Tensor:
        ctx.save_for_backward(logarithms, scale, places)
        at_label = (logarithms.gather(1, places).exp() - 1) * scale
        made = logarithms.exp().mul_(scale)
        made[torch.arange(len(made), device=made.device), places[:, 0]] = at_label[:, 0]
        return made  # not by `scatter_`, which copies all of it where it is bfloat16

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, Tensor, None, None]:
        logarithms, scale, places = ctx.saved_tensors
        weighted = logarithms.exp()  # p
        mean = torch.linalg.vecdot(weighted, outer)[:, None]
        to_logits = weighted.mul_(outer - mean).mul_(scale)
        return to_logits, mean - outer.gather(1, places), None, None


def rms_normed(values: Tensor, epsilon: float) -> Tensor:
    """values / sqrt(mean of squares over the last dimension + epsilon) (Zhang and Sennrich 2019,
    eq. 4), without the weight; no number where the squares are none."""
    made: Tensor = _RmsNormed.apply(values, epsilon)  # type: ignore[no-untyped-call]
    return made


class _RmsNormed(torch.autograd.Function):
    """h = r x, r = 1 / sqrt(mean x^2 + epsilon). Its Jacobian is J = r (1 - h h' / n)."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, epsilon: float) -> Tensor:
        square = torch.linalg.vecdot(values, values)[..., None]
        root = square.div_(values.shape[-1]).add_(epsilon).rsqrt_()
        # Squares beyond the type's range: 0 would hide that a loop has diverged.
        root.masked_fill_(root == 0, torch.nan)
        made: Tensor = values * root
        ctx.save_for_backward(values, made, root)
        return made

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None]:
        return _RmsBack.apply(*ctx.saved_tensors, outer), None  # type: ignore[no-untyped-call]


def _mean_product(one: Tensor, other: Tensor) -> Tensor:
    product: Tensor = torch.linalg.vecdot(one, other)
    return product[..., None] / one.shape[-1]


class _RmsBack(torch.autograd.Function):
    """J g."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, normed: Tensor, root: Tensor, outer: Tensor) -> Tensor:
        along = _mean_product(normed, outer)
        ctx.save_for_backward(normed, root, outer, along)
        return torch.addcmul(outer, normed, along, value=-1).mul_(root)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, None, None, Tensor]:
        normed, root, outer, along = ctx.saved_tensors
        across = _mean_product(normed, v)
        both = _mean_product(outer, v) - along * across
        to_outer = torch.addcmul(v, normed, across, value=-1).mul_(root)  # J v
        # v' J g by x: -r^2 h (v'g - v'h h'g / n) / n - r (h'g J v + v'h J g) / n; products here are
        # means.
        moved = torch.addcmul(outer, normed, along, value=-1).mul_(across).mul_(root)
        to_values = moved.addcmul_(to_outer, along).addcmul_(normed, both * root).mul_(-root)
        return to_values, None, None, to_outer
