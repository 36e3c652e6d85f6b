"""A model that writes token by token: it reads prompts, then one token of every row after another.

Rows are equal runs, one a task, where weights are per task; else they are one run.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import Cache, DynamicLayer, EncoderDecoderCache

from bench.batches import padded
from bench.per_task import Parameters, Sites

SHARED = 32  # tokens that all prompts of a run begin with are read once from so many on


class Steps(ABC):
    """Rows that a model goes on with, under the weights of their tasks.

    Attributes:
        rows: how many there are.
    """

    def __init__(self, model: Any, sites: Sites, weights: Parameters, rows: int) -> None:
        self.model, self.rows = model, rows
        self._sites, self._weights, self._own = sites, dict(weights), sites.per_task(weights)

    @abstractmethod
    def first(self) -> Tensor:
        """Reads the prompts: logits (rows, vocabulary) of the first token."""

    @abstractmethod
    def next(self, tokens: Tensor) -> Tensor:
        """Reads one token of each row (rows,): logits of the next."""

    def keep(self, index: Tensor, tasks: Tensor | None = None) -> None:
        """Goes on with these rows, which may stand twice, in equal runs of `tasks` if given, else
        of all."""
        if tasks is not None:
            self._weights.update({name: self._weights[name][tasks] for name in self._own})
        self._select(index)
        self.rows = len(index)

    def reorder(self, index: Tensor) -> None:
        """Goes on with these rows, each in the place of one with the same prompt."""
        self._select(index)

    @abstractmethod
    def _select(self, index: Tensor) -> None:
        """Keeps what was read of these rows."""

    def _read(self, rows: int, **inputs: Any) -> Any:
        """What the model makes of inputs of so many rows; logits of the last place alone."""
        layer = self.model.get_output_embeddings()
        hook = layer.register_forward_pre_hook(lambda layer, hidden: (hidden[0][:, -1:],))
        try:
            with self._sites.hold(self._weights, rows):
                return self.model(**inputs)
        finally:
            hook.remove()


class _Slots(DynamicLayer):  # type: ignore[misc]
    """Keys and values of a layer (rows, heads, slots, size), room for all tokens from the start."""

    is_initialized: bool

    def __init__(self, slots: int) -> None:
        super().__init__()
        self.slots, self.used = slots, 0

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Adds tokens; returns those so far."""
        if not self.is_initialized:
            rows, heads, _, size = key_states.shape
            self.keys = key_states.new_empty(rows, heads, self.slots, size)
            self.values = value_states.new_empty(rows, heads, self.slots, value_states.shape[-1])
            self.is_initialized = True
        start, self.used = self.used, self.used + key_states.shape[2]
        self.keys[:, :, start : self.used] = key_states
        self.values[:, :, start : self.used] = value_states
        return self.keys[:, :, : self.used], self.values[:, :, : self.used]

    def get_seq_length(self) -> int:
        """Tokens so far."""
        return self.used


def _layers(cache: Cache, slots: int) -> Cache:
    """A cache of slots, made as layers ask for them."""
    cache.layer_class_to_replicate = lambda: _Slots(slots)
    return cache


def _kept(cache: Cache, index: Tensor) -> None:
    for layer in cache.layers:
        layer.keys, layer.values = layer.keys[index], layer.values[index]


def _reordered(cache: Cache, index: Tensor, start: int) -> None:
    """Rows of the slots from `start` on change places; those before are the same."""
    for layer in cache.layers:
        for part in (layer.keys, layer.values):
            own = part[:, :, start : layer.used]
            own.copy_(own[index])


class CausalSteps(Steps):
    """A decoder-only model; prompts end in one column, so that all rows write to the same slot.

    What all prompts of a run begin with (the demonstrations of an episode) is read once.
    """

    def __init__(
        self,
        model: Any,
        sites: Sites,
        weights: Parameters,
        prompts: Sequence[Sequence[int]],
        runs: int,
        pad: int,
        room: int,
    ) -> None:
        super().__init__(model, sites, weights, len(prompts))
        device = next(model.parameters()).device
        self._runs, size = runs, len(prompts) // runs
        groups = [prompts[i * size : (i + 1) * size] for i in range(runs)]
        shared = min(map(common_start, groups))
        self._shared = shared if shared >= SHARED and size > 1 else 0
        self._starts = torch.tensor([g[0][: self._shared] for g in groups], device=device)
        rest = [list(prompt[self._shared :]) for prompt in prompts]
        width = max(map(len, rest))
        lacking = torch.tensor([width - len(row) for row in rest], device=device)
        self._ids = padded([[pad] * (width - len(row)) + row for row in rest], pad, device)
        # A slot that a row may look at: all but those of its padding.
        self._prompt = self._shared + width
        slots = torch.arange(self._prompt + room, device=device)
        hidden = (slots >= self._shared) & (slots < self._shared + lacking[:, None])
        self._masked = bool(hidden.any())
        dtype = next(model.parameters()).dtype
        self._least = torch.finfo(dtype).min
        self._mask = torch.zeros(hidden.shape, dtype=dtype, device=device)
        self._mask.masked_fill_(hidden, self._least)
        self._places = self._shared + (torch.arange(width, device=device) - lacking[:, None])
        self._places = self._places.clamp(min=0)
        self._cache = _layers(DynamicCache(), len(slots))

    def first(self) -> Tensor:
        """The shared start in one row a run, then what differs."""
        width, device = self._ids.shape[1], self._ids.device
        if self._shared:
            places = torch.arange(self._shared, device=device).expand(self._runs, -1)
            self._logits(self._starts, places, None)
            size = self.rows // self._runs
            _kept(self._cache, torch.arange(self._runs, device=device).repeat_interleave(size))
        mask = None
        if self._masked or self._shared:
            slots = torch.arange(self._shared + width, device=device)
            later = slots > slots[self._shared :, None]
            mask = self._mask[:, None, None, : len(slots)].masked_fill(later, self._least)
        logits = self._logits(self._ids, self._places, mask)
        self._place = self._places[:, -1:]
        return logits

    def next(self, tokens: Tensor) -> Tensor:
        """One more slot."""
        self._place = self._place + 1
        end = self._cache.get_seq_length() + 1
        mask = self._mask[:, None, None, :end] if self._masked else None
        return self._logits(tokens[:, None], self._place, mask)

    def _logits(self, ids: Tensor, places: Tensor, mask: Tensor | None) -> Tensor:
        made = self._read(
            len(ids),
            input_ids=ids,
            attention_mask=mask,
            position_ids=places,
            past_key_values=self._cache,
            use_cache=True,
        )
        logits: Tensor = made.logits[:, -1]
        return logits

    def reorder(self, index: Tensor) -> None:
        """Moves what stands behind the prompts."""
        _reordered(self._cache, index, self._prompt)

    def _select(self, index: Tensor) -> None:
        self._mask, self._place = self._mask[index], self._place[index]
        _kept(self._cache, index)


@dataclass(frozen=True)
class Opening:
    """How the decoder begins the answers of some rows.

    Attributes:
        starts: what it reads first, per row.
        forced: the first token of the answer, per row; None where the model is free.
        suppressed: tokens that no answer holds.
    """

    starts: Sequence[int]
    forced: Sequence[int | None]
    suppressed: Sequence[int] = ()


class Seq2SeqSteps(Steps):
    """An encoder-decoder model: the encoder reads once, the decoder begins with its start."""

    def __init__(
        self,
        model: Any,
        sites: Sites,
        weights: Parameters,
        ids: Tensor,
        mask: Tensor,
        opening: Opening,
        room: int,
    ) -> None:
        super().__init__(model, sites, weights, len(ids))
        self._ids, self._mask, self._opening = ids, mask, opening
        self._suppressed = ids.new_tensor(opening.suppressed)
        own = _layers(DynamicCache(), room)
        self._cache = EncoderDecoderCache(own, DynamicCache())

    def first(self) -> Tensor:
        """Reads the prompts."""
        with self._sites.hold(self._weights, self.rows):
            encoder = self.model.get_encoder()
            read = encoder(input_ids=self._ids, attention_mask=self._mask)
        self._hidden, self._kind = read.last_hidden_state, type(read)
        logits = self.next(self._ids.new_tensor(self._opening.starts))
        return _forced(logits, self._opening.forced)

    def next(self, tokens: Tensor) -> Tensor:
        """One token of the decoder."""
        made = self._read(
            self.rows,
            encoder_outputs=self._kind(last_hidden_state=self._hidden),
            attention_mask=self._mask,
            decoder_input_ids=tokens[:, None],
            past_key_values=self._cache,
            use_cache=True,
        )
        logits: Tensor = made.logits[:, -1]
        if len(self._suppressed):
            logits = logits.index_fill(1, self._suppressed, -torch.inf)
        return logits

    def reorder(self, index: Tensor) -> None:
        """Moves what the decoder has read."""
        _reordered(self._cache.self_attention_cache, index, 0)

    def _select(self, index: Tensor) -> None:
        self._mask, self._hidden = self._mask[index], self._hidden[index]
        _kept(self._cache.self_attention_cache, index)
        _kept(self._cache.cross_attention_cache, index)


def _forced(logits: Tensor, tokens: Sequence[int | None]) -> Tensor:
    """Logits (rows, vocabulary) that leave nothing but the token of each row that has one."""
    if all(token is None for token in tokens):
        return logits
    rows = [row for row, token in enumerate(tokens) if token is not None]
    places = torch.tensor([t for t in tokens if t is not None], device=logits.device)
    index = torch.tensor(rows, device=logits.device)
    only = torch.full_like(logits[index], -torch.inf).scatter(1, places[:, None], 0.0)
    return logits.index_copy(0, index, only)


def common_start(rows: Sequence[Sequence[int]]) -> int:
    """Tokens that all rows begin with, one of each row's own left out at least."""
    first, most = rows[0], min(map(len, rows)) - 1
    for place in range(most):
        if any(row[place] != first[place] for row in rows):
            return place
    return most
