"""Rows of one task in one line, so that no layer but attention sees padding.

A decoder-only model reads (tasks, tokens): the rows of a task one behind the other, each with its
own positions from 0. Attention alone must know where a row ends: it is given the rows in groups of
like length, padded on the right to the longest of a group, under a causal mask, where what is
padding comes behind every token and is never read.
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
REPLACED = "sdpa"  # the attention that it stands in for
# What limits attention to a part of the row; texts that are tried are shorter than that.
WINDOWS = ("sliding_window", "attention_chunk_size", "window_size")
SHORT = 256  # tokens of a row, up to which plain attention is faster than fused on a CPU
ALIKE = 0.8  # a row so much shorter begins a group, if that saves as many places of attention
WORTH, WORTH_ON_A_GPU = 2**16, 2**24  # there a group costs launches, and places nearly nothing


@dataclass(frozen=True)
class Packing:
    """Where each place of one form lies in the other. What is padding in one names padding of the
    same task in the other, so every row and line has some: nothing that has a gradient is read
    there, nor what another task's weights made, which need not be numbers.

    Attributes:
        to_rows: (places of all groups): places in the flattened lines.
        to_lines: (lines x length): places in the flattened groups.
        groups: rows and width of each.
        length: of a line.
    """

    to_rows: Tensor
    to_lines: Tensor
    groups: list[tuple[int, int]]
    length: int

    @classmethod
    def of(cls, tasks: Sequence[Sequence[int]], device: torch.device) -> "Packing":
        """That of tasks whose rows have these lengths."""
        length = max(map(sum, tasks)) + 1
        rows = [
            (size, line, line * length + sum(sizes[:place]))
            for line, sizes in enumerate(tasks)
            for place, size in enumerate(sizes)
        ]
        rows.sort(key=lambda row: -row[0])
        to_rows, groups, fillers = list[int](), list[tuple[int, int]](), dict[int, int]()
        to_lines = [-1] * (len(tasks) * length)
        for group in like(rows, WORTH if device.type == "cpu" else WORTH_ON_A_GPU):
            width = group[0][0] + 1
            groups.append((len(group), width))
            for size, line, start in group:
                to_lines[start : start + size] = range(len(to_rows), len(to_rows) + size)
                to_rows += range(start, start + size)
                to_rows += [(line + 1) * length - 1] * (width - size)
                fillers[line] = len(to_rows) - 1
        to_lines = [
            fillers[place // length] if there < 0 else there for place, there in enumerate(to_lines)
        ]
        there, back = (torch.tensor(places, device=device) for places in (to_rows, to_lines))
        return cls(there, back, groups, length)

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

    def rows(values: Tensor) -> list[Tensor]:
        lines, heads, length, size = values.shape
        flat = values.transpose(1, 2).reshape(lines * length, heads * size)
        moved: Tensor = _Moved.apply(flat, packing.to_rows, packing.to_lines)  # type: ignore[no-untyped-call]
        parts = torch.split(moved, [rows * width for rows, width in packing.groups])
        return [
            part.view(*group, heads, size).transpose(1, 2)
            for part, group in zip(parts, packing.groups, strict=True)
        ]

    lines, heads, length, _ = query.shape
    groups = zip(rows(query), rows(key), rows(value), strict=True)
    flat = torch.cat([_causal(*group, scaling).transpose(1, 2).flatten(0, 1) for group in groups])
    flat = _Moved.apply(flat.flatten(1), packing.to_lines, packing.to_rows)  # type: ignore[no-untyped-call]
    return flat.view(lines, length, heads, -1), None


def _causal(query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
    """Causal attention of (rows, heads, width, size): fused, but where it must be differentiated
    twice, and for rows so short that a fused kernel has nothing to save."""
    width, grouped = query.shape[2], key.shape[1] != query.shape[1]
    allowed: bool = torch.backends.cuda.flash_sdp_enabled()  # type: ignore[no-untyped-call]
    if allowed and (query.is_cuda or width > SHORT):
        return nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scaling, enable_gqa=grouped
        )
    if grouped:
        repeats = query.shape[1] // key.shape[1]
        key, value = (part.repeat_interleave(repeats, 1) for part in (key, value))
    later = torch.full((width, width), -torch.inf, dtype=query.dtype, device=query.device).triu(1)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    asked, known, told = (part.flatten(0, 1) for part in (query, key, value))
    scores = torch.baddbmm(later.expand(len(asked), -1, -1), asked, known.mT, alpha=scale)
    made = scores.softmax(-1) @ told
    return made.view(*query.shape[:2], width, -1)


def packed_mask(*args: Any, **kwargs: Any) -> Tensor | None:
    """No mask where lines are read, `sdpa`'s where none are."""
    made: Tensor | None = None if _now else sdpa_mask(*args, **kwargs)
    return made


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, packed_mask)


def attend(model: Any, lines: bool) -> None:
    """Sets a model's attention to the kind that reads lines, or back to the one that it had."""
    config = model.config.get_text_config()
    if lines and config._attn_implementation != NAME:
        model.set_attn_implementation(NAME)
    elif not lines and config._attn_implementation == NAME:
        model.set_attn_implementation(REPLACED)


def lines_fault(model: Any) -> str | None:
    """Why a model cannot read lines, where its configuration tells; None if it may be tried."""
    config = model.config.get_text_config()
    own = getattr(config, "_attn_implementation", None)
    if own not in (REPLACED, NAME):
        return f"its attention is {own!r}, not {REPLACED!r}"
    kinds = {*(getattr(config, "layer_types", None) or ())} - {"full_attention"}
    named = [name for name in WINDOWS if getattr(config, name, None)]
    if kinds or named:
        return f"its attention is limited ({', '.join([*named, *sorted(kinds)])})"
    return None


def like(
    rows: Sequence[tuple[int, int, int]], worth: int
) -> Iterator[Sequence[tuple[int, int, int]]]:
    """Rows, the longest first, in groups that each save `worth` places; the length of a row stands
    first."""
    start = 0
    for place, (size, *_) in enumerate(rows):
        longest = rows[start][0]
        saved = (len(rows) - place) * (longest**2 - size**2)
        if size < ALIKE * longest and saved > worth:
            yield rows[start:place]
            start = place
    yield rows[start:]


def positions(tasks: Sequence[Sequence[int]], length: int, device: torch.device) -> Tensor:
    """(tasks, length): the place of each token in its row, 0 for padding."""
    made = torch.zeros(len(tasks), length, dtype=torch.long)
    for line, sizes in zip(made, tasks, strict=True):
        line[: sum(sizes)] = torch.cat([torch.arange(size) for size in sizes])
    return made.to(device)
