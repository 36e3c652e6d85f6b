"""Encoder-decoder backbones: the encoder reads the prompt, the decoder writes the target."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from bench.backbone import Backbone, Pair, Row
from bench.batches import IGNORED, Batch, padded, targets
from bench.per_task import Parameters
from bench.steps import Seq2SeqSteps, Steps
from bench.tasks import Example


class Seq2SeqBackbone(Backbone):
    """An encoder-decoder model such as T5 or BART."""

    @cached_property
    def _decoder_start(self) -> int:
        """The token that the decoder reads before its first, as the checkpoint says."""
        config = self.model.config
        start = getattr(config, "decoder_start_token_id", None)
        return int(self.pad if start is None else start)

    def pair_ids(self, example: Example) -> tuple[list[int], list[int], bool]:
        """Prompt and target, each cut to the context: they do not share it. Both carry the special
        tokens that the tokenizer sets around a text."""
        target = [*self._head, *self._target_ids(example)]
        prompt, cut = self._prompt_ids(example.input, self._room(0))
        return prompt, target[: self.context], cut or len(target) > self.context

    def row(self, pairs: Sequence[Pair]) -> Row:
        """Tokens of the encoder, with all but the last pair as demonstrations, and the target of
        the last."""
        separator = self.text_ids(self.prompt.separator)
        *shown, (prompt, target) = pairs
        start, end = len(self._before), {*self.ends, *self._head}
        pieces = [[*p[start:], *(i for i in t if i not in end), *separator] for p, t in shown]
        while sum(map(len, pieces)) + len(prompt) > self._room(0):
            pieces.pop()
        return prompt[:start] + [i for piece in pieces for i in piece] + prompt[start:], target

    def collate(self, tasks: Sequence[Sequence[Row]]) -> Batch:
        """Pads on the right, with a mask for the encoder, to equal runs of rows. The decoder reads
        its start token and the target up to the last; the label at a place is the target's token
        there."""
        even = max(map(len, tasks))
        filled = [[*rows, *[([self.eos], [IGNORED])] * (even - len(rows))] for rows in tasks]
        flat = [row for rows in filled for row in rows]
        decoder = [[self._decoder_start, *target[:-1]] for _, target in flat]
        inputs = self._encoder_inputs([prompt for prompt, _ in flat])
        inputs["decoder_input_ids"] = padded(decoder, self.pad, self.device)
        width = inputs["decoder_input_ids"].shape[1]
        starts = [
            [(task * even + row) * width for row in range(len(rows))]
            for task, rows in enumerate(tasks)
        ]
        labels = [[target for _, target in rows] for rows in tasks]
        tokens = [
            sum(len(prompt) + len(self._tail) + len(target) for prompt, target in rows)
            for rows in tasks
        ]
        return Batch(inputs, *targets(labels, starts, self.mean, self.device), tokens)

    def _encoder_inputs(self, prompts: Sequence[list[int]]) -> dict[str, Tensor]:
        """Ids and mask (rows, tokens), padded on the right."""
        rows = [[*prompt, *self._tail] for prompt in prompts]
        ids = padded(rows, self.pad, self.device)
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        mask = torch.arange(ids.shape[1], device=self.device) < lengths[:, None]
        return {"input_ids": ids, "attention_mask": mask.long()}

    def for_generate(self, prompts: Sequence[list[int]]) -> tuple[dict[str, Any], int]:
        """The encoder's, and what the decoder starts with."""
        start = {"decoder_start_token_id": self._decoder_start}
        return {**self._encoder_inputs(prompts), **start}, 1

    def _room(self, max_new_tokens: int) -> int:
        return self.context - len(self._tail)

    def steps(
        self, weights: Parameters, prompts: Sequence[list[int]], runs: int, most: int
    ) -> Steps:
        """Prompts for the encoder, padded on the right."""
        inputs = self._encoder_inputs(prompts)
        ids, mask, start = inputs["input_ids"], inputs["attention_mask"], self._decoder_start
        return Seq2SeqSteps(self.model, self.sites, weights, ids, mask, start, most)
