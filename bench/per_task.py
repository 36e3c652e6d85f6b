"""Layers that read a weight of each task: one batched product in place of one task after another.

A weight with one dimension more than its layer's own, (tasks, ...), holds a weight for each task;
one without is shared by all, and its product is one large one. The leading dimension of what a
layer reads is equal runs of rows, task after task.

Layers of a model are given these forms by changing their class: names, weights and all else of a
checkpoint stay as they are.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers.pytorch_utils import Conv1D

from bench.written import rms_normed

Parameters = Mapping[str, Tensor]


def _by_task(values: Tensor, weight: Tensor) -> Tensor:
    """(rows, ..., width) as (tasks, rows of a task, width)."""
    return values.reshape(len(weight), -1, values.shape[-1])


def _affine(values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """values @ weight + bias, of which at least one is per task; `weight` is ([tasks,] in, out)."""
    own_bias = bias is not None and bias.dim() == 2
    rows = _by_task(values, weight if weight.dim() == 3 else bias)  # type: ignore[arg-type]
    if own_bias and weight.dim() == 3:
        made = torch.baddbmm(bias[:, None], rows, weight)  # type: ignore[index]
    else:
        made = rows @ weight
        if bias is not None:
            made = made + (bias[:, None] if own_bias else bias)
    return made.reshape(*values.shape[:-1], -1)


class _Product(torch.autograd.Function):
    """rows @ weight.mT of (tasks, rows, in) and (tasks, out, in). torch's own gradient of the
    weight would lie in memory as that of its transpose, and be copied by what steps along it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weight)
        return rows @ weight.mT

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, Tensor | None]:
        rows, weight = ctx.saved_tensors
        to_rows, to_weight = ctx.needs_input_grad
        return outer @ weight if to_rows else None, outer.mT @ rows if to_weight else None


class TaskLinear(nn.Linear):
    """`nn.Linear`."""

    def forward(self, values: Tensor) -> Tensor:
        """(rows, ..., in) to (rows, ..., out)."""
        weight, bias = self.weight, self.bias
        if weight.dim() == 2 and (bias is None or bias.dim() == 1):
            return nn.functional.linear(values, weight, bias)
        if weight.dim() == 2:
            return _affine(values, weight.mT, bias)
        made: Tensor = _Product.apply(_by_task(values, weight), weight)  # type: ignore[no-untyped-call]
        if bias is not None:
            made = made + (bias[:, None] if bias.dim() == 2 else bias)
        return made.reshape(*values.shape[:-1], -1)


class _TaskConv1D(nn.Module):
    """GPT-2's linear layer, whose weight is (in, out)."""

    weight: Tensor
    bias: Tensor

    def forward(self, values: Tensor) -> Tensor:
        """(rows, ..., in) to (rows, ..., out)."""
        if self.weight.dim() == 2 and self.bias.dim() == 1:
            made: Tensor = super().forward(values)
            return made
        return _affine(values, self.weight, self.bias)


class TaskEmbedding(nn.Embedding):
    """`nn.Embedding`; as there, the row of the padding token gets no gradient."""

    rows: int  # of what the model reads, set by `Sites`: places may be given once for all

    def forward(self, ids: Tensor) -> Tensor:
        """(rows, ...) to (rows, ..., width)."""
        weight = self.weight
        if weight.dim() == 2:
            return nn.functional.embedding(ids, weight, self.padding_idx)
        tasks, size, width = weight.shape
        if len(ids) == 1:
            ids = ids.expand(self.rows, *ids.shape[1:])
        offsets = torch.arange(tasks, device=ids.device).repeat_interleave(len(ids) // tasks)
        places = ids + (offsets * size).view(-1, *[1] * (ids.dim() - 1))
        made = nn.functional.embedding(places, weight.reshape(-1, width))
        if self.padding_idx is None:
            return made
        return torch.where((ids == self.padding_idx)[..., None], made.detach(), made)


class TaskLayerNorm(nn.LayerNorm):
    """`nn.LayerNorm` over one dimension."""

    def forward(self, values: Tensor) -> Tensor:
        """(rows, ..., width) to the same."""
        weight, bias = self.weight, self.bias
        if all(w is None or w.dim() == 1 for w in (weight, bias)):
            return super().forward(values)
        rows = _by_task(values, weight if weight.dim() == 2 else bias)
        made = nn.functional.layer_norm(rows, self.normalized_shape, eps=self.eps)
        made = made * (weight[:, None] if weight.dim() == 2 else weight)
        if bias is not None:
            made = made + (bias[:, None] if bias.dim() == 2 else bias)
        return made.view_as(values)


class _TaskScale(nn.Module):
    """A norm that multiplies by its one weight, whoever wrote it: `Sites` gives it the weights of
    tasks as (tasks, 1, width), which its own formula broadcasts."""

    weight: Tensor

    def forward(self, values: Tensor) -> Tensor:
        """(rows, ..., width) to the same."""
        if self.weight.dim() == 1:
            made: Tensor = super().forward(values)
            return made
        made = super().forward(_by_task(values, self.weight))
        return made.view_as(values)


class _TaskRms(_TaskScale):
    """A `_TaskScale` that is found to divide by the root of the mean square, its squares in float32
    as is usual; other types are left to its own formula."""

    epsilon: float

    def forward(self, values: Tensor) -> Tensor:
        """(rows, ..., width) to the same."""
        if values.dtype is not torch.float32:
            return super().forward(values)
        normed = rms_normed(values, self.epsilon)
        if self.weight.dim() == 1:
            return normed * self.weight
        return (_by_task(normed, self.weight) * self.weight).view_as(values)


def _probe(module: nn.Module) -> tuple[Tensor, Tensor]:
    """Values (2, 4, width) and weights of two tasks (2, width) to try a norm of one weight with."""
    like = next(module.parameters())
    generator = torch.Generator().manual_seed(0)
    values, weights = (torch.randn(*n, like.numel(), generator=generator) for n in ((2, 4), (2,)))
    return values.to(like), weights.to(like)


def _tried(module: nn.Module, weight: Tensor, values: Tensor) -> Tensor | None:
    """What a norm makes of values with this weight; None if it takes other arguments or shapes."""
    try:
        with torch.no_grad():
            made = functional_call(module, {"weight": weight}, values)
    except (TypeError, RuntimeError, ValueError, IndexError):
        return None
    return made if isinstance(made, Tensor) and made.shape == values.shape else None


def _epsilon_of(module: nn.Module) -> float | None:
    """The epsilon with which a norm of one weight is `rms_normed` times its weight, if it is. The
    formula is compared in float32, as the replacement is used for that type alone."""
    epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if not isinstance(epsilon, float) or not epsilon:
        return None
    values, (weight, _) = (given.float() for given in _probe(module))
    values = torch.cat([values, values * epsilon**0.5, values * 100])
    made = _tried(module, weight, values)
    if made is None:
        return None
    same = torch.allclose(made, rms_normed(values, epsilon) * weight, rtol=1e-5, atol=1e-6)
    return epsilon if same else None


def _broadcasts(module: nn.Module) -> bool:
    """Whether a norm's own formula, given the weights of two tasks as (tasks, 1, width), does to
    each task's values what it does to them alone."""
    values, weights = _probe(module)
    both = _tried(module, weights[:, None], values)
    alone = [_tried(module, w, v) for w, v in zip(weights, values, strict=True)]
    if both is None or any(made is None for made in alone):
        return False
    return torch.allclose(both, torch.stack([made for made in alone if made is not None]))


class TaskRMSNorm(nn.RMSNorm):
    """`nn.RMSNorm` over one dimension."""

    def forward(self, values: Tensor) -> Tensor:
        """(rows, ..., width) to the same."""
        if self.weight.dim() == 1:
            return super().forward(values)
        rows = _by_task(values, self.weight)
        made = nn.functional.rms_norm(rows, self.normalized_shape, eps=self.eps)
        return (made * self.weight[:, None]).view_as(values)


class _TaskBuckets(nn.Embedding):
    """T5's table of relative positions, (buckets, heads): the tables of all tasks side by side."""

    def forward(self, ids: Tensor) -> Tensor:
        """(queries, keys) to (queries, keys, [tasks x] heads)."""
        weight = self.weight
        if weight.dim() == 3:
            weight = weight.transpose(0, 1).flatten(1)
        return nn.functional.embedding(ids, weight)


class _TaskBias(nn.Module):
    """T5's attention, which adds the same biases to all rows: here to those of a task."""

    n_heads: int
    relative_attention_bias: nn.Embedding
    rows: int

    def compute_bias(self, *args: Any, **kwargs: Any) -> Tensor:
        """(rows or 1, heads, queries, keys)."""
        made: Tensor = super().compute_bias(*args, **kwargs)  # type: ignore[misc]
        if self.relative_attention_bias.weight.dim() == 2:
            return made
        made = made.view(-1, self.n_heads, *made.shape[2:])
        return made.repeat_interleave(self.rows // len(made), 0)


# Subclasses of transformers' models whose forward only prepares what it passes to its base's: it
# scales the result, or makes positions of (rows or 1, tokens). Others may read their weight
# otherwise, as Falcon's linear layer does, or look nothing up at all, as sinusoidal positions do.
PREPARING = re.compile(
    r"\w+ScaledWordEmbedding|(Bart|MBart|PLBart|Mvp|TrOCR|OPT|BioGpt)LearnedPositionalEmbedding"
)
T5_ATTENTION = re.compile(r"(M|UM)?T5Attention|LongT5Attention|SwitchTransformersAttention")


def _of_transformers(kind: type[nn.Module], names: "re.Pattern[str]") -> bool:
    """Whether a class is one of transformers' models with such a name; a checkpoint's own code may
    use the name for something else."""
    known = kind.__module__.startswith("transformers.models.")
    return known and names.fullmatch(kind.__name__) is not None


def _form_of(module: nn.Module) -> type[nn.Module] | None:
    """The class that replaces a layer's own; None for a kind that is not exactly known."""
    kind, name = type(module), type(module).__name__
    for base, form in (
        (nn.Linear, TaskLinear),
        (nn.Embedding, TaskEmbedding),
        (nn.LayerNorm, TaskLayerNorm),
        (nn.RMSNorm, TaskRMSNorm),
    ):
        if kind is base:
            return form
        if issubclass(kind, base):  # it keeps its own forward, whose `super` is ours
            known = base is nn.Embedding and _of_transformers(kind, PREPARING)
            return type(name, (kind, form), {}) if known else None
    if kind is Conv1D:
        return type(name, (_TaskConv1D, kind), {})
    own = dict(module.named_parameters(recurse=False))
    if name.endswith(("RMSNorm", "T5LayerNorm")) and own.keys() == {"weight"}:
        if not _broadcasts(module):
            return None
        if epsilon := _epsilon_of(module):
            return type(name, (_TaskRms, kind), {"epsilon": epsilon})
        return type(name, (_TaskScale, kind), {})
    if _of_transformers(kind, T5_ATTENTION) and hasattr(module, "relative_attention_bias"):
        return type(name, (_TaskBias, kind), {})
    return None


def _read_below(module: nn.Module, parameter: Tensor) -> bool:
    """Whether a layer of a form inside a module reads this parameter of its: the heads of BERT's
    family hold the bias of their last layer once more."""
    inside = (m for m in module.modules() if isinstance(m, (*FORMS, *MIXED)))
    return any(own is parameter for m in inside for own in m.parameters(recurse=False))


FORMS = (TaskLinear, TaskEmbedding, TaskLayerNorm, TaskRMSNorm)
MIXED = (_TaskConv1D, _TaskScale, _TaskBuckets, _TaskBias)


class Sites:
    """The places in a model where its weights are read, with layers that know of tasks.

    Attributes:
        without: names of the weights that are read by layers of no form: no two tasks can have
            their own in one pass.
    """

    def __init__(self, model: nn.Module, forms: bool = True) -> None:
        self._places: list[tuple[nn.Module, str, str]] = []
        self._kinds: list[tuple[nn.Module, type[nn.Module]]] = []
        self.without: set[str] = set()
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        self._dims = {name: parameter.dim() for name, parameter in model.named_parameters()}
        if forms:
            self._give_forms(model)
        for module in model.modules():
            for leaf, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
                self._places.append((module, leaf, names[id(parameter)]))
                if not isinstance(module, (*FORMS, *MIXED)) and not _read_below(module, parameter):
                    self.without.add(names[id(parameter)])
        self._counting: list[Any] = [
            m for m in model.modules() if isinstance(m, (TaskEmbedding, _TaskBias))
        ]
        self._own = {(id(m), leaf): m._parameters[leaf] for m, leaf, _ in self._places}

    def _give_forms(self, model: nn.Module) -> None:
        """Replaces the classes of known layers, but for those of experts, which read the tokens
        that are sent to them, in no order of tasks."""
        for path, module in list(model.named_modules()):
            known = isinstance(module, (*FORMS, *MIXED)) or "expert" in path.lower()
            if not known and (form := _form_of(module)):
                self._replace(module, form)
                if isinstance(module, _TaskBias):
                    self._replace(module.relative_attention_bias, _TaskBuckets)

    def _replace(self, module: nn.Module, kind: type[nn.Module]) -> None:
        self._kinds.append((module, type(module)))
        module.__class__ = kind

    def undo(self) -> None:
        """Gives the layers back the classes that they had."""
        for module, kind in reversed(self._kinds):
            module.__class__ = kind
        self._kinds.clear()

    @contextmanager
    def hold(self, weights: Parameters, rows: int) -> Iterator[None]:
        """The model with these weights in place of its own, about to read so many rows."""
        try:
            for module in self._counting:
                module.rows = rows
            for module, leaf, name in self._places:
                weight = weights[name]
                if isinstance(module, _TaskScale) and weight.dim() == 2:
                    weight = weight[:, None]
                module._parameters[leaf] = weight
            yield
        finally:
            for module, leaf, _ in self._places:
                module._parameters[leaf] = self._own[id(module), leaf]

    def per_task(self, weights: Parameters) -> set[str]:
        """The names of those that hold a weight for each task."""
        return {name for name, weight in weights.items() if weight.dim() > self._dims[name]}
