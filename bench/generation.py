"""Answers of a backbone: prompts in, texts and counts out, greedily, by sample or beam search."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers.generation import StopStringCriteria

from bench.batches import padded
from bench.beams import beam_search
from bench.decoding import one_by_one, sampled
from bench.per_task import Parameters
from bench.streams import Stream

if TYPE_CHECKING:
    from bench.backbone import Backbone

Prompts = Sequence[Sequence[list[int]]]  # tokens of each prompt of each task
Streams = Sequence[Sequence[Stream]]  # one of each prompt


@dataclass
class Generation:
    """Answers to the inputs of a task.

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


class Writer:
    """Writes at most `most` tokens behind each prompt, up to an end of sequence or the text `stop`,
    as the backbone's `decoding` says."""

    def __init__(self, backbone: "Backbone", most: int, stop: str | None) -> None:
        self.backbone, self.most, self.stop = backbone, most, stop

    def answers(
        self, weights: Parameters, prompts: Prompts, streams: Streams | None
    ) -> Iterator[list[list[int]]]:
        """New tokens of each task's prompts: of all tasks at once where they have weights of their
        own, else task by task, which saves nothing but the memory of the others."""
        backbone, sites = self.backbone, self.backbone.sites
        backbone.check_decoding()
        draws = self._draws(prompts, streams) if backbone.decoding.kind == "sample" else None
        own = sites.per_task(weights)
        with torch.no_grad():
            if own and not own & sites.without and backbone.steps_hold:
                yield from self._at_once(weights, prompts, draws)
                return
            for number, rows in enumerate(prompts):
                alone = backbone.of_task(weights, number)
                if backbone.steps_hold:
                    yield from self._at_once(alone, [rows], draws and [draws[number]])
                else:
                    with sites.hold(alone, len(rows)):
                        yield self.by_transformers(rows)

    def _draws(self, prompts: Prompts, streams: Streams | None) -> list[list[list[float]]]:
        """What the tokens of each prompt are drawn with, in [0, 1)."""
        if streams is None or list(map(len, streams)) != list(map(len, prompts)):
            raise ValueError("a sample needs a stream of each input")
        return [[[s.uniform() for _ in range(self.most)] for s in rows] for rows in streams]

    def _at_once(
        self,
        weights: Parameters,
        prompts: Prompts,
        draws: Sequence[Sequence[list[float]]] | None,
    ) -> Iterator[list[list[int]]]:
        """New tokens of each task's prompts, all in one batch."""
        backbone, runs, width = self.backbone, len(prompts), max(map(len, prompts))
        flat = [row for rows in prompts for row in [*rows, *[[backbone.eos]] * (width - len(rows))]]
        fillers = [
            task * width + row
            for task, rows in enumerate(prompts)
            for row in range(len(rows), width)
        ]
        steps = backbone.steps(weights, flat, runs, self.most)
        setting = (runs, fillers, self.most, backbone.pad, self._ended())
        how = backbone.decoding
        if how.kind == "beam":
            made = beam_search(steps, *setting, how.beams, len(backbone.ends))
        elif draws is not None:
            even = [d for rows in draws for d in [*rows, *[[0.0]] * (width - len(rows))]]
            drawn = padded(even, 0.0, backbone.device, torch.float64)
            made = one_by_one(steps, *setting, sampled(drawn, how.temperature, how.top_p))
        else:
            made = one_by_one(steps, *setting)
        for new, rows in zip(made.view(runs, width, -1).tolist(), prompts, strict=True):
            yield new[: len(rows)]

    def _ended(self) -> Callable[[Tensor], Tensor]:
        """Whether rows of new tokens end with an end of sequence, or with `stop` in their text."""
        backbone = self.backbone
        ends = torch.tensor(sorted(backbone.ends), device=backbone.device)
        stops = StopStringCriteria(backbone.tokenizer, [self.stop]) if self.stop else None

        def ended(made: Tensor) -> Tensor:
            done = torch.isin(made[:, -1], ends)
            return done | stops(made, None) if stops else done

        return ended

    def by_transformers(self, rows: Sequence[list[int]]) -> list[list[int]]:
        """New tokens of these prompts by transformers' own search, with the weights that the model
        holds and no setting but ours."""
        if self.backbone.ways.answers != "even":
            return self._searched(rows)
        made: dict[int, list[int]] = {}
        for length in sorted(set(map(len, rows))):
            places = [place for place, row in enumerate(rows) if len(row) == length]
            made.update(zip(places, self._searched([rows[p] for p in places]), strict=True))
        return [made[place] for place in range(len(rows))]

    def _searched(self, rows: Sequence[list[int]]) -> list[list[int]]:
        """Those of one batch."""
        backbone, how = self.backbone, self.backbone.decoding
        inputs, first = backbone.for_generate(rows)
        out: Tensor = backbone.model.generate(
            **inputs,
            do_sample=False,
            num_beams=how.beams if how.kind == "beam" else 1,
            max_new_tokens=self.most,
            eos_token_id=sorted(backbone.ends),
            pad_token_id=backbone.pad,
            **({"stop_strings": [self.stop], "tokenizer": backbone.tokenizer} if self.stop else {}),
        )
        made: list[list[int]] = out[:, first:].tolist()
        return made

    def take(self, row: list[int], result: Generation) -> None:
        """Adds the answer that these new tokens are to the result."""
        backbone, stop = self.backbone, self.stop
        places = [place for place, token in enumerate(row) if token in backbone.ends]
        ended = bool(places)
        new = row[: places[0]] if ended else row
        while new and new[-1] == backbone.pad:  # a row that the stop string ended is filled up
            new.pop()
        text = backbone.tokenizer.decode(new, skip_special_tokens=True)
        stopped = bool(stop) and str(stop) in text
        result.texts.append((text.split(stop)[0] if stop else text).strip())
        result.tokens += len(new) + (ended and not stopped)
        result.cut_outputs += not (ended or stopped)
