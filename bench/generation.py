"""Answers of a backbone: prompts in, texts and counts out, greedily, by sample or beam search."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList
from transformers.generation import StoppingCriteria, StoppingCriteriaList, StopStringCriteria

from bench.batches import padded
from bench.beams import beam_search
from bench.decoding import one_by_one, sampled
from bench.per_task import Parameters
from bench.streams import Stream
from bench.wrapping import UNSAID, Languages

if TYPE_CHECKING:
    from bench.backbone import Backbone

Prompts = Sequence[Sequence[list[int]]]  # tokens of each prompt of each task
Streams = Sequence[Sequence[Stream]]  # one of each prompt
Spoken = Sequence[Sequence[Languages]]  # of each prompt
Answers = list[list[int]]  # new tokens of each prompt of a task


@dataclass
class Generation:
    """Answers to the inputs of a task.

    Attributes:
        texts: one a row.
        tokens: new tokens of all rows, the end of sequence counted.
        cut_outputs: rows that had not ended at the maximum.
        cut_inputs: rows whose input did not fit the context.
        dropped: demonstrations that did not fit, over all rows.
        broken: rows for which the model gave logits that are NaN or infinite.
    """

    texts: list[str] = field(default_factory=list)
    tokens: int = 0
    cut_outputs: int = 0
    cut_inputs: int = 0
    dropped: int = 0
    broken: list[int] = field(default_factory=list)


class Writer:
    """Writes at most `most` tokens behind each prompt, up to an end of sequence or the text `stop`,
    as the backbone's `decoding` says.

    Attributes:
        broken: per task that was answered, the prompts for which a logit was NaN or infinite.
    """

    def __init__(self, backbone: "Backbone", most: int, stop: str | None) -> None:
        self.backbone, self.most, self.stop = backbone, most, stop
        self.broken: list[list[int]] = []

    def answers(
        self,
        weights: Parameters,
        prompts: Prompts,
        streams: Streams | None,
        spoken: Spoken | None = None,
    ) -> Iterator[Answers]:
        """New tokens of each task's prompts: of all tasks at once where they have weights of their
        own, else task by task, which saves nothing but the memory of the others."""
        backbone, sites = self.backbone, self.backbone.sites
        backbone.check_decoding()
        draws = self._draws(prompts, streams) if backbone.decoding.kind == "sample" else None
        spoken = spoken or [[UNSAID] * len(rows) for rows in prompts]
        own = sites.per_task(weights)
        with torch.no_grad():
            if own and not own & sites.without and backbone.steps_hold:
                yield from self._at_once(weights, prompts, draws, spoken)
                return
            for number, rows in enumerate(prompts):
                alone = backbone.of_task(weights, number)
                if backbone.steps_hold:
                    own_draws = draws and [draws[number]]
                    yield from self._at_once(alone, [rows], own_draws, [spoken[number]])
                else:
                    with sites.hold(alone, len(rows)):
                        yield self.by_transformers(rows, spoken[number])

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
        spoken: Spoken,
    ) -> Iterator[Answers]:
        """New tokens of each task's prompts, all in one batch."""
        backbone, runs, width = self.backbone, len(prompts), max(map(len, prompts))
        flat = [row for rows in prompts for row in [*rows, *[[backbone.eos]] * (width - len(rows))]]
        fillers = [
            task * width + row
            for task, rows in enumerate(prompts)
            for row in range(len(rows), width)
        ]
        pairs = [p for rows in spoken for p in [*rows, *[UNSAID] * (width - len(rows))]]
        steps = backbone.steps(weights, flat, runs, self.most, pairs)
        setting = (runs, fillers, self.most, backbone.pad, self._ended())
        broken = torch.zeros(len(flat), dtype=torch.bool, device=backbone.device)
        how = backbone.decoding
        if how.kind == "beam":
            made = beam_search(steps, *setting, how.beams, len(backbone.ends), broken)
        elif draws is not None:
            even = [d for rows in draws for d in [*rows, *[[0.0]] * (width - len(rows))]]
            drawn = padded(even, 0.0, backbone.device, torch.float64)
            choose = sampled(drawn, how.temperature, how.top_p)
            made = one_by_one(steps, *setting, choose, broken)
        else:
            made = one_by_one(steps, *setting, broken=broken)
        wrong = broken.view(runs, width)
        self.broken += [places.nonzero().flatten().tolist() for places in wrong]
        for new, rows in zip(made.view(runs, width, -1).tolist(), prompts, strict=True):
            yield new[: len(rows)]

    def _ended(self) -> Callable[[Tensor], Tensor]:
        """Whether rows of new tokens end with an end of sequence, or with `stop` in their text."""
        backbone = self.backbone
        ends = torch.tensor(sorted(backbone.ends), device=backbone.device)
        stops = self._stops()

        def ended(made: Tensor) -> Tensor:
            done = torch.isin(made[:, -1], ends)
            return done | stops(made, None) if stops else done

        return ended

    def _stops(self) -> "StoppingCriteria | None":
        """Finds `stop` at the end of new tokens: by transformers' tables of token overlaps where
        the tokenizer has tokens for it, else in the decoded text."""
        if not self.stop:
            return None
        if self.backbone.prompt.turns or not self.stop.strip():
            try:
                return StopStringCriteria(self.backbone.tokenizer, [self.stop])
            except ValueError:  # no token holds a part of it
                pass
        return _StopText(self.backbone.tokenizer, self.stop)

    def by_transformers(self, rows: Sequence[list[int]], pairs: Sequence[Languages]) -> Answers:
        """transformers' own search with the weights that the model holds, with no setting but
        ours; one call per language, or per prompt where the model's ways say so."""
        made: Answers = [[]] * len(rows)
        wrong = list[int]()
        alone = self.backbone.ways.answers == "alone"
        kinds = [(pair, alone and place) for place, pair in enumerate(pairs)]
        for kind in dict.fromkeys(kinds):
            pair, places = kind[0], [place for place, own in enumerate(kinds) if own == kind]
            answers, broken = self._in_one_language([rows[place] for place in places], pair)
            for place, new in zip(places, answers, strict=True):
                made[place] = new
            wrong += [places[number] for number in broken]
        self.broken.append(sorted(wrong))
        return made

    def _in_one_language(
        self, rows: Sequence[list[int]], pair: Languages
    ) -> tuple[Answers, list[int]]:
        """Answers, and the rows for which a logit was NaN or infinite."""
        backbone, how = self.backbone, self.backbone.decoding
        width = max(map(len, rows))
        twice = backbone.model.config.is_encoder_decoder
        fill = [[backbone.pad] * (width - len(row)) for row in rows]
        ids = [row + more if twice else more + row for row, more in zip(rows, fill, strict=True)]
        mask = [
            [1] * len(r) + [0] * len(m) if twice else [0] * len(m) + [1] * len(r)
            for r, m in zip(rows, fill, strict=True)
        ]
        watch, stops, first = (
            _Watch(len(rows), backbone.device),
            self._stops(),
            1 if twice else width,
        )
        out: Tensor = backbone.model.generate(
            input_ids=torch.tensor(ids, device=backbone.device),
            attention_mask=torch.tensor(mask, device=backbone.device),
            logits_processor=LogitsProcessorList([watch]),
            do_sample=False,
            num_beams=how.beams if how.kind == "beam" else 1,
            max_new_tokens=self.most,
            eos_token_id=sorted(backbone.ends),
            pad_token_id=backbone.pad,
            **backbone.opening(pair),
            stopping_criteria=StoppingCriteriaList([_Behind(stops, first)] if stops else []),
        )
        made: Answers = out[:, first:].tolist()
        return made, watch.broken.nonzero().flatten().tolist()

    def take(self, row: list[int], result: Generation) -> None:
        """Adds the answer that these new tokens are to the result."""
        backbone, stop = self.backbone, self.stop
        places = [place for place, token in enumerate(row) if token in backbone.ends]
        ended = bool(places)
        new = row[: places[0]] if ended else row
        while new and new[-1] == backbone.pad:  # a row that the stop string ended is filled up
            new.pop()
        text = text_of(backbone.tokenizer, new)
        stopped = bool(stop) and str(stop) in text
        result.texts.append((text.split(stop)[0] if stop else text).strip())
        result.tokens += len(new) + (ended and not stopped)
        result.cut_outputs += not (ended or stopped)


class _StopText(StoppingCriteria):  # type: ignore[misc]
    """Whether the decoded text of rows of tokens ends in, or has just passed, a text."""

    def __init__(self, tokenizer: Any, text: str) -> None:
        self._tokenizer, self._text = tokenizer, text
        self._window = 2 * len(text.encode()) + 4  # tokens that hold the text if it has just ended

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        rows = input_ids[:, -self._window :].tolist()
        found = [self._text in text_of(self._tokenizer, row) for row in rows]
        return torch.tensor(found, device=input_ids.device)


class _Behind(StoppingCriteria):  # type: ignore[misc]
    """Another criterion on the tokens from the place `first` on."""

    def __init__(self, criterion: Any, first: int) -> None:
        self._criterion, self._first = criterion, first

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        new = input_ids[:, self._first :]
        found: Tensor = self._criterion(new, scores)
        return found


class _Watch(LogitsProcessor):  # type: ignore[misc]
    """Notes the rows that a NaN or infinite logit is given for, and changes nothing."""

    def __init__(self, rows: int, device: torch.device) -> None:
        self.broken = torch.zeros(rows, dtype=torch.bool, device=device)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        wrong = ~scores.max(-1).values.isfinite()
        self.broken |= wrong.view(len(self.broken), -1).any(1)
        return scores


def text_of(tokenizer: Any, tokens: Sequence[int]) -> str:
    """The text of tokens without special ones, exactly as they spell it: the clean-up that some
    tokenizers ask for closes up spaces before punctuation."""
    text: str = tokenizer.decode(
        list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return text
