"""Model and tokenizer behind one interface: a loss and a generator for any set of weights."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.prompt import Prompt
from bench.tasks import Example

Parameters = Mapping[str, Tensor]
IGNORED = -100


@dataclass(frozen=True)
class Batch:
    """Token ids and labels, both (rows, tokens), padded on the right; labels are `IGNORED`
    where nothing is to be predicted. `tokens` counts what is not padding."""

    ids: Tensor
    labels: Tensor
    tokens: int


@dataclass
class Generation:
    """Answers to a list of inputs.

    Attributes:
        texts: one a row.
        tokens: new tokens of all rows, the end of sequence counted.
        cut_outputs: rows that had not ended at the maximum.
        cut_inputs: rows whose input did not fit the context.
        dropped: demonstrations that did not fit, over all rows.
    """

    texts: list[str] = field(default_factory=list)
    tokens: int = 0
    cut_outputs: int = 0
    cut_inputs: int = 0
    dropped: int = 0


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy in the dtype of `logits` (rows, tokens, vocabulary) over labels that
    are not `IGNORED`; the label at position t is predicted from position t - 1. transformers'
    own loss goes through float32, too coarse for the float64 proofs."""
    shifted = labels[:, 1:].reshape(-1)
    kept = shifted != IGNORED
    flat = logits[:, :-1].reshape(-1, logits.shape[-1])[kept]
    return nn.functional.cross_entropy(flat, shifted[kept])


def double_backward() -> AbstractContextManager[None]:
    """Attention that can be differentiated twice; the fused kernels cannot."""
    return sdpa_kernel(SDPBackend.MATH)


class CausalBackbone:
    """A decoder-only model of transformers with its tokenizer.

    The model's own weights never change; every method takes the weights it should use. Weights
    are plain dicts in the order of `named_parameters`, where a tied weight stands once.
    """

    def __init__(self, model: Any, tokenizer: Any, prompt: Prompt) -> None:
        self.model = model.eval()
        # A checkpoint may bring settings for decoding; here all models decode alike.
        self.model.generation_config = type(model.generation_config)()
        self.tokenizer = tokenizer
        self.prompt = prompt
        self.context = _context_of(model.config, tokenizer)
        self.eos = int(tokenizer.eos_token_id)
        self.pad = self.eos if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)
        start = tokenizer("").input_ids
        self._start = [] if start == [self.eos] and self.eos != tokenizer.bos_token_id else start

    # -- weights ---------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the weights live."""
        device: torch.device = next(self.model.parameters()).device
        return device

    def weights(self) -> dict[str, Tensor]:
        """A copy of the model's present weights, tied ones once."""
        return {name: p.detach().clone() for name, p in self.model.named_parameters()}

    def scratch_weights(self, seed: int) -> dict[str, Tensor]:
        """Newly drawn weights of the same architecture."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fresh = type(self.model)(self.model.config)
        like = next(self.model.parameters())
        return {name: p.detach().to(like) for name, p in fresh.named_parameters()}

    @cached_property
    def identity(self) -> str:
        """Architecture, tokenizer and SHA-256 of both and the weights, shortened to 12 digits."""
        parts = hashlib.sha256()
        shape = self.model.config.to_diff_dict()
        shape.pop("transformers_version", None)  # the library's that loads it, not the model's
        parts.update(json.dumps(shape, sort_keys=True, default=str).encode())
        parts.update(repr(sorted(self.tokenizer.get_vocab().items())).encode())
        for name, weight in self.model.named_parameters():
            parts.update(name.encode())
            parts.update(weight.detach().float().cpu().numpy().tobytes())
        return f"{self.model.config.model_type}-{parts.hexdigest()[:12]}"

    # -- text to tokens --------------------------------------------------------------------

    def text_ids(self, text: str) -> list[int]:
        """Tokens of a text as it stands inside a prompt, without special ones."""
        return list(self.tokenizer(text, add_special_tokens=False).input_ids) if text else []

    def _prompt_ids(self, text: str, room: int) -> tuple[list[int], bool]:
        """Tokens of a prompt in at most `room`; the input is cut at its end if it must be."""
        before = self._start + self.text_ids(self.prompt.before)
        after = self.text_ids(self.prompt.after)
        inner = self.text_ids(text)
        keep = max(room - len(before) - len(after), 0)
        return before + inner[:keep] + after, len(inner) > keep

    def pair_ids(self, example: Example) -> tuple[list[int], list[int], bool]:
        """Prompt and target tokens of an example, the end of sequence among them, and whether
        they were cut to the context: first the input, to half of it at most."""
        target = [*self.text_ids(self.prompt.target(example.target)), self.eos]
        texts = (self.prompt.before, example.input, self.prompt.after)
        whole = len(self._start) + sum(len(self.text_ids(text)) for text in texts)
        kept = target[: max(self.context // 2, self.context - whole)]
        prompt, cut = self._prompt_ids(example.input, self.context - len(kept))
        return prompt, kept, cut or len(kept) < len(target)

    def batch(self, examples: Sequence[Example]) -> tuple[Batch, int]:
        """Examples as a padded batch whose labels are the targets and the end of sequence.

        Returns the batch and how many examples had to be cut to the context.
        """
        rows, cuts = [], 0
        for example in examples:
            prompt, target, cut = self.pair_ids(example)
            cuts += cut
            rows.append((prompt + target, [IGNORED] * len(prompt) + target))
        return self.collate(rows), cuts

    def collate(self, rows: Sequence[tuple[list[int], list[int]]]) -> Batch:
        """Pads rows of (tokens, labels) on the right: causal attention then needs no mask."""
        width = max(len(ids) for ids, _ in rows)
        padded = [ids + [self.pad] * (width - len(ids)) for ids, _ in rows]
        labels = [row + [IGNORED] * (width - len(row)) for _, row in rows]
        return Batch(
            torch.tensor(padded, device=self.device),
            torch.tensor(labels, device=self.device),
            sum(len(ids) for ids, _ in rows),
        )

    # -- model -----------------------------------------------------------------------------

    def loss(self, weights: Parameters, batch: Batch) -> Tensor:
        """Mean cross-entropy over the target tokens of a batch, a scalar."""
        out = functional_call(
            self.model, dict(weights), (), {"input_ids": batch.ids, "use_cache": False}
        )
        return token_loss(out.logits, batch.labels)

    @contextmanager
    def _holding(self, weights: Parameters) -> Iterator[None]:
        """The model with these weights in place of its own, without a copy."""
        own = {name: parameter.data for name, parameter in self.model.named_parameters()}
        try:
            for name, parameter in self.model.named_parameters():
                parameter.data = weights[name]
            yield
        finally:
            for name, parameter in self.model.named_parameters():
                parameter.data = own[name]

    def generate(
        self,
        weights: Parameters,
        inputs: Sequence[str],
        max_new_tokens: int,
        support: Sequence[Example] = (),
    ) -> Generation:
        """Greedy answers to `inputs`, after `support` as demonstrations if it is given.

        Demonstrations that do not fit the context are left out whole, the last first.
        """
        result = Generation()
        room = self.context - max_new_tokens
        pieces = [self.text_ids(text) for text in self.prompt.demonstrations(support)]
        rows = []
        for text in inputs:
            prompt, cut = self._prompt_ids(text, room)
            fitting = list(pieces)
            while fitting and sum(map(len, fitting)) + len(prompt) > room:
                fitting.pop()
            result.cut_inputs += cut
            result.dropped += len(pieces) - len(fitting)
            start = len(self._start)
            rows.append(prompt[:start] + [i for piece in fitting for i in piece] + prompt[start:])
        stop = self.prompt.separator if support else None
        with self._holding(weights), torch.no_grad():
            self._decode(rows, max_new_tokens, stop, result)
        return result

    def _decode(
        self, rows: list[list[int]], max_new_tokens: int, stop: str | None, result: Generation
    ) -> None:
        width = max(map(len, rows))
        ids = torch.full((len(rows), width), self.pad, device=self.device)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, width - len(row) :] = torch.tensor(row, device=self.device)
            mask[i, width - len(row) :] = 1
        extra = {"stop_strings": [stop], "tokenizer": self.tokenizer} if stop else {}
        out = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=False,
            num_beams=1,
            max_new_tokens=max_new_tokens,
            eos_token_id=self.eos,
            pad_token_id=self.pad,
            **extra,
        )
        for row in out[:, width:].tolist():
            ended = self.eos in row
            new = row[: row.index(self.eos)] if ended else row
            while new and new[-1] == self.pad:  # a row that the stop string ended is filled up
                new.pop()
            text = self.tokenizer.decode(new, skip_special_tokens=True)
            stopped = bool(stop) and str(stop) in text
            result.texts.append((text.split(stop)[0] if stop else text).strip())
            result.tokens += len(new) + (ended and not stopped)
            result.cut_outputs += not (ended or stopped)


def _context_of(config: Any, tokenizer: Any) -> int:
    """Positions the model has; the tokenizer's own limit if it is smaller and meant."""
    named = (getattr(config, name, None) for name in ("max_position_embeddings", "n_positions"))
    positions = next((int(value) for value in named if value), 1024)
    return min(positions, int(tokenizer.model_max_length or positions))


def attention(order_two: bool) -> AbstractContextManager[None]:
    """The attention kernels that a gradient of this order may use."""
    return double_backward() if order_two else nullcontext()
