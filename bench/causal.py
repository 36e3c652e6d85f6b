"""Decoder-only backbones: prompt and target are one sequence."""

from collections.abc import Sequence
from typing import ClassVar

from bench import packing
from bench.backbone import Backbone, Pair, Row
from bench.batches import IGNORED, Batch, padded, targets
from bench.packing import Packing, positions
from bench.per_task import Parameters
from bench.steps import CausalSteps, Steps
from bench.tasks import Example
from bench.ways import Ways
from bench.wrapping import Languages


class CausalBackbone(Backbone):
    """A decoder-only model: prompt and target are one sequence."""

    fastest: ClassVar[Ways] = Ways(lines=True)
    steps_need_lines: ClassVar[bool] = True

    def use(self, ways: Ways) -> None:
        """Sets the attention that reads lines, or the model's own."""
        super().use(ways)
        packing.attend(self.model, ways.lines)

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

    def collate(self, tasks: Sequence[Sequence[Row]]) -> Batch:
        """The rows of a task in one line; where a model does not read lines, rows padded on the
        right, for which causal attention needs no mask. The label at a place is the next token, so
        that of the first token is nowhere."""
        tokens = [sum(len(ids) for ids, _ in rows) for rows in tasks]
        labels = [[[*labels[1:], IGNORED] for _, labels in rows] for rows in tasks]
        packing = None
        if self.in_lines:
            sizes = [[len(ids) for ids, _ in rows] for rows in tasks]
            packing = Packing.of(sizes, self.device)
            length = packing.length
            lines = [[token for ids, _ in rows for token in ids] for rows in tasks]
            starts = [
                [sum(row[:place]) + line * length for place in range(len(row))]
                for line, row in enumerate(sizes)
            ]
            lines = [[*line, *[self.pad] * (length - len(line))] for line in lines]
            inputs = {
                "input_ids": padded(lines, self.pad, self.device),
                "position_ids": positions(sizes, length, self.device),
            }
        else:
            even = max(map(len, tasks))
            flat = [
                ids
                for rows in tasks
                for ids in [*(ids for ids, _ in rows), *[[self.pad]] * (even - len(rows))]
            ]
            inputs = {"input_ids": padded(flat, self.pad, self.device)}
            width = inputs["input_ids"].shape[1]
            starts = [
                [(task * even + row) * width for row in range(len(rows))]
                for task, rows in enumerate(tasks)
            ]
        made = targets(labels, starts, self.mean, self.device)
        return Batch(inputs, *made, tokens, packing)

    @property
    def in_lines(self) -> bool:
        """Whether the model reads the rows of a task in one line."""
        return self.ways.lines

    def _room(self, max_new_tokens: int) -> int:
        return self.context - max_new_tokens

    def steps(
        self,
        weights: Parameters,
        prompts: Sequence[list[int]],
        runs: int,
        most: int,
        languages: Sequence[Languages] | None = None,
    ) -> Steps:
        """Prompts that end in one column."""
        return CausalSteps(self.model, self.sites, weights, prompts, runs, self.pad, most)
