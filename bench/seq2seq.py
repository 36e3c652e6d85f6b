"""Encoder-decoder backbones: the encoder reads the prompt, the decoder writes the target."""

from collections.abc import Sequence
from functools import cached_property

from bench.backbone import IGNORED, Backbone, Batch, Pair, Row
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

    def collate(self, rows: Sequence[Row]) -> Batch:
        """Pads on the right, with a mask for the encoder. The decoder reads its start token and
        the target up to the last; the label at a place is the target's token there."""
        encoder = [[*prompt, *self._tail] for prompt, _ in rows]
        decoder = [[self._decoder_start, *target[:-1]] for _, target in rows]
        inputs = {
            "input_ids": self._padded(encoder, self.pad),
            "attention_mask": self._padded([[1] * len(row) for row in encoder], 0),
            "decoder_input_ids": self._padded(decoder, self.pad),
        }
        labels = self._padded([target for _, target in rows], IGNORED)
        return Batch(inputs, labels, sum(map(len, encoder)) + sum(map(len, decoder)))

    def _room(self, max_new_tokens: int) -> int:
        return self.context - len(self._tail)

    def _new_tokens(
        self, rows: Sequence[list[int]], max_new_tokens: int, stop: str | None
    ) -> list[list[int]]:
        encoder = [[*row, *self._tail] for row in rows]
        ids = self._padded(encoder, self.pad)
        mask = self._padded([[1] * len(row) for row in encoder], 0)
        start = self._decoder_start
        out = self._generate(ids, mask, max_new_tokens, stop, decoder_start_token_id=start)
        made: list[list[int]] = out[:, 1:].tolist()
        return made
