"""Functions whose gradient makes their graph anew: of a call nothing but what it was given is kept.

`torch.utils.checkpoint` would keep the nodes of a graph that holds gradients, and takes each of its
forward passes three times; here there is no graph between the two calls.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_AGAIN: ContextVar[bool] = ContextVar("again", default=False)


def recomputing() -> bool:
    """Whether what runs now did run before: nothing is to be counted twice."""
    return _AGAIN.get()


def recomputed(function: Callable[..., Any], closed: Sequence[Tensor], *given: Any) -> Any:
    """`function(*given)`, which is called once more where a gradient is asked for.

    Args:
        function: the same each time it is called; it may take gradients itself.
        closed: the tensors that it reads beside what it is given, as far as gradients should reach
            them: leaves, or what was made of them outside, but none that was made of another: what
            goes through that one would count twice.
        given: tensors, numbers, and lists, tuples, dicts and dataclasses of them; so is what is
            made, and its gradient is of the first order.

    Raises:
        TypeError: something else is given or made.
    """
    taken, shape = _mapped(_empty, given), list[Any]()

    def flat(*tensors: Tensor) -> list[Tensor]:
        rest = iter(tensors)
        made = function(*_mapped(lambda tensor: next(rest), taken))
        if not shape:  # the tensors themselves, with their graphs, would live as long as this does
            shape.append(_mapped(_empty, made))
        return _tensors(made)

    tensors = _tensors(given)
    made = _Recomputed.apply(flat, len(tensors), *tensors, *closed)  # type: ignore[no-untyped-call]
    rest = iter(made)
    return _mapped(lambda tensor: next(rest), shape[0])


class _Recomputed(torch.autograd.Function):
    """`flat` of the first `size` tensors; the others are what it closes over."""

    @staticmethod
    def forward(
        ctx: Any, flat: Callable[..., list[Tensor]], size: int, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.flat, ctx.size = flat, size
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        with torch.enable_grad():  # the same operations, to the last bit, as with a graph
            made = flat(*_leaves(tensors[:size]))
        moves, values = [tensor.requires_grad for tensor in made], [t.detach() for t in made]
        del made
        # Copied when the graph is gone: what stays must not lie between what is freed.
        outputs = tuple(value.clone() for value in values)
        ctx.mark_non_differentiable(*(o for o, m in zip(outputs, moves, strict=True) if not m))
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor | None) -> tuple[Tensor | None, ...]:
        given, closed = ctx.saved_tensors[: ctx.size], ctx.saved_tensors[ctx.size :]
        own = _leaves(given)
        with torch.enable_grad(), _again():
            made = ctx.flat(*own)
        asked = [(m, g) for m, g in zip(made, outer, strict=True) if g is not None]
        inputs = [tensor for tensor in (*own, *closed) if tensor.requires_grad]
        # What `closed` was made of, outside, is gone through at every call.
        found = iter(
            torch.autograd.grad(
                [m for m, _ in asked],
                inputs,
                [g for _, g in asked],
                retain_graph=True,
                allow_unused=True,
            )
        )
        return (None, None, *(next(found) if t.requires_grad else None for t in (*own, *closed)))


@contextmanager
def _again() -> Iterator[None]:
    before = _AGAIN.set(True)
    try:
        yield
    finally:
        _AGAIN.reset(before)


def _leaves(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The same values with graphs of their own."""
    return [tensor.detach().requires_grad_(tensor.requires_grad) for tensor in tensors]


def _mapped(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """A nested value with each of its tensors replaced, in a fixed order."""
    if isinstance(value, Tensor):
        return function(value)
    if type(value) in (list, tuple):
        return type(value)([_mapped(function, part) for part in value])
    if type(value) is dict:
        return {name: _mapped(function, part) for name, part in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: _mapped(function, getattr(value, f.name)) for f in fields(value)}
        return replace(value, **parts)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(
        f"a {type(value).__name__} in the state of a step rule cannot be taken anew; "
        "use tensors, numbers, lists, tuples, dicts and dataclasses"
    )


def _empty(tensor: Tensor) -> Tensor:
    """What stands for a tensor where only its place matters."""
    return tensor.new_empty(0)


def _tensors(value: Any) -> list[Tensor]:
    """Those of a nested value, in the order of `_mapped`."""
    found = list[Tensor]()

    def take(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    _mapped(take, value)
    return found
