"""Rows of one task in one line, so that no layer but attention sees padding.

A decoder-only model reads (tasks, tokens): the rows of a task one behind the other, each with its
own positions from 0. Attention alone must know where a row ends: it is given the rows padded on the
right, under a causal mask, where what is padding comes behind every token and is never read.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "fewgen-packed"


@dataclass(frozen=True)
class Packing:
    """Where each place of one form lies in the other. What is padding in one names padding of the
    same task in the other, so every row and line has some: nothing that has a gradient is read
    there, nor what another task's weights made, which need not be numbers.

    Attributes:
        to_rows: (rows x width): places in the flattened lines.
        to_lines: (lines x length): places in the flattened rows.
        rows: how many rows there are.
        length: of a line.
    """

    to_rows: Tensor
    to_lines: Tensor
    rows: int
    length: int

    @classmethod
    def of(cls, tasks: Sequence[Sequence[int]], device: torch.device) -> "Packing":
        """That of tasks whose rows have these lengths."""
        width, length = max(map(max, tasks)) + 1, max(map(sum, tasks)) + 1
        to_rows, to_lines = list[list[int]](), list[list[int]]()
        for line, sizes in enumerate(tasks):
            first, start, end = len(to_rows), line * length, (line + 1) * length - 1
            moved = list[int]()
            for size in sizes:
                row = len(to_rows)
                to_rows.append([*range(start, start + size), *[end] * (width - size)])
                moved += range(row * width, row * width + size)
                start += size
            to_lines.append([*moved, *[(first + 1) * width - 1] * (length - len(moved))])
        there, back = (torch.tensor(p, device=device).flatten() for p in (to_rows, to_lines))
        return cls(there, back, len(to_rows), length)

    @contextmanager
    def read(self) -> Iterator[None]:
        """Within it, models read lines of this packing."""
        global _now
        before, _now = _now, self
        try:
            yield
        finally:
            _now = before


_now: Packing | None = None


class _Moved(torch.autograd.Function):
    """values[there], whose gradient is what comes back by `back`: each token stands once in either
    form, and no padding has a gradient. A gather costs less than the sum over an index that torch
    would take for it."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, there: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(there, back)
        return values.index_select(0, there)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        there, back = ctx.saved_tensors
        return _Moved.apply(gradient, back, there), None, None  # type: ignore[no-untyped-call]


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each row of the lines that are read, `sdpa` where none are.

    Query, key and value are (lines, heads, length, size), the result (lines, length, heads, size).
    """
    packing = _now
    if packing is None:
        made, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, **kwargs
        )
        return made, None

    def rows(values: Tensor) -> Tensor:
        lines, heads, length, size = values.shape
        flat = values.transpose(1, 2).reshape(lines * length, heads * size)
        moved: Tensor = _Moved.apply(flat, packing.to_rows, packing.to_lines)  # type: ignore[no-untyped-call]
        return moved.view(packing.rows, -1, heads, size).transpose(1, 2)

    out = nn.functional.scaled_dot_product_attention(
        rows(query),
        rows(key),
        rows(value),
        is_causal=True,
        scale=scaling,
        enable_gqa=key.shape[1] != query.shape[1],
    )
    lines, heads, length, _ = query.shape
    flat = out.transpose(1, 2).reshape(-1, heads * out.shape[-1])
    flat = _Moved.apply(flat, packing.to_lines, packing.to_rows)  # type: ignore[no-untyped-call]
    return flat.view(lines, length, heads, -1), None


def packed_mask(*args: Any, **kwargs: Any) -> Tensor | None:
    """No mask where lines are read, `sdpa`'s where none are."""
    made: Tensor | None = None if _now else sdpa_mask(*args, **kwargs)
    return made


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, packed_mask)


def lines_are_read(model: Any) -> bool:
    """Whether a causal model reads packed lines as it would read their rows alone; it is tried.

    Its attention is set to the packed kind if so, and left as it was if not.
    """
    config, before = model.config, getattr(model.config, "_attn_implementation", None)
    if getattr(config, "sliding_window", None) or before not in ("sdpa", NAME):
        return False
    sizes = [[5, 3], [4, 2]]
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    made = torch.randint(config.vocab_size, (4, 5), generator=generator).to(device)
    rows = [row[:size] for row, size in zip(made, [5, 3, 4, 2], strict=True)]
    packing = Packing.of(sizes, device)
    lines = torch.zeros(2, packing.length, dtype=torch.long, device=device)
    lines[0, :8], lines[1, :6] = torch.cat(rows[:2]), torch.cat(rows[2:])
    places = positions(sizes, packing.length, device)
    try:
        model.set_attn_implementation(NAME)
        with torch.no_grad():
            alone = torch.cat(
                [model(input_ids=row[None], use_cache=False).logits[0] for row in rows]
            )
            with packing.read():
                out = model(input_ids=lines, position_ids=places, use_cache=False).logits
        read = torch.cat([out[0, :8], out[1, :6]])
        tolerance = 1e-2 if read.dtype in (torch.bfloat16, torch.float16) else 1e-4
        if torch.allclose(read, alone, rtol=tolerance, atol=tolerance * float(alone.abs().max())):
            return True
    except Exception:  # whatever a model's own code raises: then it does not read them
        pass
    model.set_attn_implementation(before)
    return False


def positions(tasks: Sequence[Sequence[int]], length: int, device: torch.device) -> Tensor:
    """(tasks, length): the place of each token in its row, 0 for padding."""
    made = torch.zeros(len(tasks), length, dtype=torch.long)
    for line, sizes in zip(made, tasks, strict=True):
        line[: sum(sizes)] = torch.cat([torch.arange(size) for size in sizes])
    return made.to(device)
