"""Encoder-decoder backbones: the encoder reads the prompt, the decoder writes the target."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bench.backbone import ENCODER, Backbone, Pair, Row, languages_of
from bench.batches import IGNORED, Batch, padded, targets
from bench.per_task import Parameters
from bench.prompt import Prompt
from bench.steps import Opening, Seq2SeqSteps, Steps
from bench.tasks import Example
from bench.wrapping import UNSAID, Languages, Wrappings


class Seq2SeqBackbone(Backbone):
    """An encoder-decoder model such as T5 or BART."""

    def __init__(self, model: Any, tokenizer: Any, prompt: Prompt) -> None:
        super().__init__(model, tokenizer, prompt)
        self.wrappings = Wrappings(tokenizer, self.tokens)

    @property
    def named_languages(self) -> Languages | None:
        """As `name_languages` set them."""
        named = (self.wrappings.source, self.wrappings.target)
        return None if named == UNSAID else named

    def name_languages(self, source: str | None, target: str | None) -> None:
        """Sets the languages of all inputs and all targets."""
        if not self.wrappings.multilingual:
            super().name_languages(source, target)
        self.wrappings.name(source, target)

    def _around(self, languages: Languages) -> tuple[list[int], list[int]]:
        """With the tokenizer's special tokens, in these languages."""
        around = self.wrappings.of(languages)
        head = [] if self.prompt.turns else around.head
        return head + self.text_ids(self.prompt.opening, template=True), around.tail

    def opening(self, languages: Languages) -> dict[str, int | None]:
        """The decoder's start and the forced first token."""
        around = self.wrappings.of(languages)
        return {
            "decoder_start_token_id": around.start,
            "forced_bos_token_id": around.forced,
        }

    def target_text_ids(self, text: str) -> list[int]:
        """Tokens of a target without special ones. Some tokenizers, such as Marian's, cut targets
        otherwise than inputs."""
        if not (text and _reads_targets_apart(self.tokenizer)):
            return self.text_ids(text)
        made = self.tokenizer(text_target=text, add_special_tokens=False, split_special_tokens=True)
        return list(made.input_ids)

    def pair_ids(self, example: Example) -> tuple[list[int], list[int], bool]:
        """Prompt and target, each cut to the context: they do not share it. Both carry the special
        tokens that the tokenizer sets around a text of their language."""
        languages = languages_of(example)
        around = self.wrappings.of(languages)
        text = self.target_text_ids(self.prompt.target(example.target))
        whole = [*around.target_head, *text, self.eos]
        room = self.context - len(around.target_tail)
        prompt, cut = self._prompt_ids(example.input, self._room(0), languages)
        return prompt, [*whole[:room], *around.target_tail], cut or len(whole) > room

    def row(self, pairs: Sequence[Pair]) -> Row:
        """Tokens of the encoder, with all but the last pair as demonstrations, and the target of
        the last."""
        separator = self.text_ids(self.prompt.separator)
        *shown, (prompt, target) = pairs
        around, (before, behind) = self.wrappings.of(), self._around(UNSAID)
        special = {*self.ends, *around.target_head, *around.target_tail}
        start, end = len(before), len(behind)
        pieces = [
            [*p[start : len(p) - end], *(i for i in t if i not in special), *separator]
            for p, t in shown
        ]
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
        decoder = [[self._start_of(target), *target[:-1]] for _, target in flat]
        inputs = self._encoder_inputs([prompt for prompt, _ in flat])
        inputs["decoder_input_ids"] = padded(decoder, self.pad, self.device)
        width = inputs["decoder_input_ids"].shape[1]
        starts = [
            [(task * even + row) * width for row in range(len(rows))]
            for task, rows in enumerate(tasks)
        ]
        labels = [[target for _, target in rows] for rows in tasks]
        tokens = [sum(len(prompt) + len(target) for prompt, target in rows) for rows in tasks]
        return Batch(inputs, *targets(labels, starts, self.mean, self.device), tokens)

    def _start_of(self, target: list[int]) -> int:
        """What the decoder reads before a target: of models that wrap, its last token."""
        if self.wrappings.wraps and target[-1] != IGNORED:
            return target[-1]
        return self.wrappings.of().start

    def _encoder_inputs(self, prompts: Sequence[list[int]]) -> dict[str, Tensor]:
        """Ids and mask (rows, tokens), padded on the right."""
        ids = padded(prompts, self.pad, self.device)
        lengths = torch.tensor([len(row) for row in prompts], device=self.device)
        mask = torch.arange(ids.shape[1], device=self.device) < lengths[:, None]
        return {"input_ids": ids, "attention_mask": mask.long()}

    def _room(self, max_new_tokens: int) -> int:
        """Positions of the encoder, which may have more than the decoder, as LED's has."""
        own = getattr(self.model.config, ENCODER, None) or self.context
        return min(int(own), int(self.tokenizer.model_max_length or own))

    def steps(
        self,
        weights: Parameters,
        prompts: Sequence[list[int]],
        runs: int,
        most: int,
        languages: Sequence[Languages] | None = None,
    ) -> Steps:
        """Prompts for the encoder, padded on the right."""
        inputs = self._encoder_inputs(prompts)
        around = [self.wrappings.of(pair) for pair in languages or [UNSAID] * len(prompts)]
        opening = Opening(
            [each.start for each in around],
            [each.forced for each in around],
            self.tokens.suppressed,
        )
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        return Seq2SeqSteps(self.model, self.sites, weights, ids, mask, opening, most)


def _reads_targets_apart(tokenizer: Any) -> bool:
    """Whether a tokenizer cuts the text of a target otherwise; those that take a target language
    only set other special tokens around it."""
    return hasattr(tokenizer, "_switch_to_target_mode") and not hasattr(tokenizer, "tgt_lang")
