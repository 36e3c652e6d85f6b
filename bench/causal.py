"""Decoder-only backbones: prompt and target are one sequence."""

from collections.abc import Sequence

from bench.backbone import IGNORED, Backbone, Batch, Pair, Row
from bench.tasks import Example


class CausalBackbone(Backbone):
    """A decoder-only model: prompt and target are one sequence."""

    def pair_ids(self, example: Example) -> tuple[list[int], list[int], bool]:
        """Prompt and target; what does not fit is cut, first the input, to half of the context
        at most."""
        target = self._target_ids(example)
        around = len(self._before) + len(self.text_ids(self.prompt.after, template=True))
        whole = around + len(self.text_ids(example.input))
        kept = target[: max(self.context // 2, self.context - whole)]
        prompt, cut = self._prompt_ids(example.input, self.context - len(kept))
        return prompt, kept, cut or len(kept) < len(target)

    def row(self, pairs: Sequence[Pair]) -> Row:
        """Tokens and labels. Targets, separators and the end of sequence are learned, inputs are
        not."""
        separator = self.text_ids(self.prompt.separator) if len(pairs) > 1 else []
        ids: list[int] = []
        labels: list[int] = []
        end: list[int] = []
        for prompt, target in pairs:
            join, inner = (separator, prompt[len(self._before) :]) if ids else ([], prompt)
            if ids and len(ids) + len(join) + len(inner) + len(target) > self.context:
                break
            end = target[-1:] if target[-1] == self.eos else []
            body = target[: len(target) - len(end)]
            ids += [*join, *inner, *body]
            labels += [*join, *([IGNORED] * len(inner)), *body]
        return ids + end, labels + end

    def collate(self, rows: Sequence[Row]) -> Batch:
        """Pads on the right: causal attention then needs no mask. The label at a place is the next
        token, so that of the first token is nowhere."""
        ids = self._padded([ids for ids, _ in rows], self.pad)
        labels = self._padded([[*labels[1:], IGNORED] for _, labels in rows], IGNORED)
        return Batch({"input_ids": ids}, labels, sum(len(ids) for ids, _ in rows))

    def _room(self, max_new_tokens: int) -> int:
        return self.context - max_new_tokens

    def _new_tokens(
        self, rows: Sequence[list[int]], max_new_tokens: int, stop: str | None
    ) -> list[list[int]]:
        ids, mask = self._left_padded(rows)
        out = self._generate(ids, mask, max_new_tokens, stop)
        made: list[list[int]] = out[:, ids.shape[1] :].tolist()
        return made
