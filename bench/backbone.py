"""Model and tokenizer behind one interface: a loss and a generator for any set of weights."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import astuple
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.batches import CACHED, TOKENS, Batch, Mean
from bench.decoding import Decoding
from bench.errors import CellError, UserError
from bench.generation import Generation, Writer, text_of
from bench.per_task import Parameters, Sites
from bench.prompt import Prompt
from bench.special_tokens import clean_generation_config, from_config, special_tokens
from bench.steps import Steps
from bench.streams import Stream
from bench.tasks import Example
from bench.ways import Ways
from bench.wrapping import UNSAID, Languages, surroundings
from bench.written import cross_entropy

Pair = tuple[list[int], list[int]]  # tokens of a prompt, tokens of its target and the end
Row = tuple[list[int], list[int]]  # a pair, or several of one task, as a model reads them
POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
ENCODER = "max_encoder_position_embeddings"
SIDES = (ENCODER, "max_decoder_position_embeddings")


def double_backward() -> AbstractContextManager[None]:
    """Attention that can be differentiated twice; the fused kernels cannot."""
    return sdpa_kernel(SDPBackend.MATH)


class Backbone(ABC):
    """A model of transformers with its tokenizer; what differs by architecture is abstract.

    The model's own weights never change; every method takes the weights it should use. Weights
    are plain dicts in the order of `named_parameters`, where a tied weight stands once; one with a
    leading dimension more than the model's, (tasks, ...), holds a weight for each task.

    Attributes:
        fastest: the ways of a model that has none but known layers.
        steps_need_lines: our own decoding is right only for models that read lines.
    """

    fastest: ClassVar[Ways] = Ways(lines=False)
    steps_need_lines: ClassVar[bool] = False

    def __init__(self, model: Any, tokenizer: Any, prompt: Prompt) -> None:
        self.notes: list[str] = []  # what was noticed when it was loaded
        self.mean: Mean = "token"  # what a loss is the mean of
        self.decoding = Decoding()  # how answers are written
        self.model = model.eval()
        self.tokens = special_tokens(model, tokenizer)
        self._differs = self.tokens != from_config(model, tokenizer)
        if model.can_generate():
            # A checkpoint may bring settings for decoding; here all models decode alike.
            self.model.generation_config = clean_generation_config(model, self.tokens)
        self.tokenizer = tokenizer
        self.prompt = prompt
        self.context = _context_of(model.config, tokenizer)
        end = int(tokenizer.eos_token_id)
        self.pad = end if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)
        self._head, _ = surroundings(tokenizer)
        if prompt.turns:  # a chat template brings its own first token, and a turn may end otherwise
            self._head = []
        self.eos = self._end_of_turn(end)
        self.ends = {self.eos, *self.tokens.ends}

    def _end_of_turn(self, end: int) -> int:
        """What ends a target: a chat template's own token for the end of a turn, if it has one."""
        behind = self.text_ids(self.prompt.separator, template=True) if self.prompt.turns else []
        added = self.tokenizer.added_tokens_decoder.get(behind[0]) if behind else None
        return behind[0] if added is not None and added.special else end

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
        for name, weight in chain(self.model.named_parameters(), saved_buffers(self.model)):
            parts.update(name.encode())
            parts.update(weight.detach().float().cpu().numpy().tobytes())
        if self._differs:  # the generation config changes how answers begin and end
            parts.update(repr((sorted(self.tokens.ends), *astuple(self.tokens)[1:])).encode())
        if named := self.named_languages:
            parts.update(repr(named).encode())
        if self.prompt.turns:  # another template asks the same weights another question
            parts.update(repr(self.prompt).encode())
        return f"{self.model.config.model_type}-{parts.hexdigest()[:12]}"

    @property
    def named_languages(self) -> Languages | None:
        """Languages of inputs and targets that hold for all tasks; None if none was named."""
        return None

    def name_languages(self, source: str | None, target: str | None) -> None:
        """Sets the languages of all inputs and all targets, in place of what the data say.

        Raises:
            UserError: the tokenizer does not know one of them, or knows no languages.
        """
        if source or target:
            side = "source" if source else "target"
            raise UserError(
                f"{side}_language = {source or target!r}: the backbone's tokenizer knows no "
                f"languages; leave --{side}-language out"
            )

    @property
    def tokens_at_once(self) -> int:
        """How many tokens one batch should have at most: on a CPU, what its caches hold."""
        if self.device.type != "cpu":
            return TOKENS
        config = self.model.config.get_text_config()
        width = getattr(config, "hidden_size", None)
        return max(CACHED // int(width or self.model.get_input_embeddings().weight.shape[1]), 1)

    @property
    def vocabulary(self) -> int:
        """How many tokens the model chooses from."""
        known = getattr(self.model.config.get_text_config(), "vocab_size", None)
        return int(known or self.model.get_input_embeddings().weight.shape[0])

    # -- text to tokens --------------------------------------------------------------------

    def text_ids(self, text: str, template: bool = False) -> list[int]:
        """Tokens of a text as it stands inside a prompt. The name of a special token in it is text
        as any other, but in pieces of a `template`, where it is meant."""
        if not text:
            return []
        made = self.tokenizer(text, add_special_tokens=False, split_special_tokens=not template)
        return list(made.input_ids)

    def target_text_ids(self, text: str) -> list[int]:
        """Tokens of a target without special ones."""
        return self.text_ids(text)

    def given_back(self, target: str) -> str:
        """A target as its tokens spell it: what a perfect model would answer."""
        return text_of(self.tokenizer, self.target_text_ids(self.prompt.target(target))).strip()

    def _demonstration_ids(self, example: Example) -> list[int]:
        """Tokens of a solved example; a chat template's pieces are read apart from the data's."""
        if not self.prompt.turns:
            return self.text_ids(self.prompt.demonstration(example))
        return [
            *self.text_ids(example.input),
            *self.text_ids(self.prompt.shown or "", template=True),
            *self.text_ids(self.prompt.target(example.target)),
            *self.text_ids(self.prompt.separator, template=True),
        ]

    @cached_property
    def _before(self) -> list[int]:
        """Tokens that stand once at the start of a prompt."""
        return self._head + self.text_ids(self.prompt.opening, template=True)

    def _around(self, languages: Languages) -> tuple[list[int], list[int]]:
        """Tokens that stand once at the start of a prompt in these languages, and at its end."""
        return self._before, []

    def _prompt_ids(
        self, text: str, room: int, languages: Languages = UNSAID
    ) -> tuple[list[int], bool]:
        """Tokens of a prompt in at most `room`; the input is cut at its end if it must be."""
        before, behind = self._around(languages)
        after, inner = self.text_ids(self.prompt.after, template=True), self.text_ids(text)
        keep = max(room - len(before) - len(after) - len(behind), 0)
        return before + inner[:keep] + after + behind, len(inner) > keep

    def prompt_of(self, text: str, room: int) -> list[int]:
        """Tokens of the prompt of one text, without demonstrations, in at most `room`."""
        return self._prompt_ids(text, room)[0]

    def _target_ids(self, example: Example) -> list[int]:
        return [*self.target_text_ids(self.prompt.target(example.target)), self.eos]

    @abstractmethod
    def pair_ids(self, example: Example) -> tuple[list[int], list[int], bool]:
        """Prompt and target tokens of an example, the end of sequence among them, and whether
        they were cut to the context."""

    @abstractmethod
    def row(self, pairs: Sequence[Pair]) -> Row:
        """One pair, or several of one task as they stand in a context, the last ones left out
        where they do not fit."""

    @abstractmethod
    def collate(self, tasks: Sequence[Sequence[Row]]) -> Batch:
        """Rows of `row` of some tasks as one batch; no task is without rows."""

    def batch(
        self,
        tasks: Sequence[Sequence[Example]],
        supports: Sequence[Sequence[Example]] | None = None,
    ) -> tuple[Batch, list[int]]:
        """The examples of some tasks as a batch whose labels are the targets and the end of
        sequence; each stands behind its task's support as demonstrations if `supports` is given, as
        in `generate`.

        Returns the batch, and of each task how many examples had to be cut to the context, or lost
        one of their demonstrations.
        """
        rows, cuts = [], []
        for examples, support in zip(tasks, supports or [()] * len(tasks), strict=True):
            pieces = [self._demonstration_ids(example) for example in support]
            rows.append(list[Row]())
            cuts.append(0)
            for example in examples:
                prompt, target, cut = self.pair_ids(example)
                room = self._room(len(target))
                prompt, dropped = self._demonstrated(prompt, pieces, room, languages_of(example))
                cuts[-1] += cut or dropped > 0
                rows[-1].append(self.row([(prompt, target)]))
        return self.collate(rows), cuts

    def _demonstrated(
        self, prompt: list[int], pieces: Sequence[list[int]], room: int, languages: Languages
    ) -> tuple[list[int], int]:
        """A prompt behind as many demonstrations as fit into `room` with it, and how many do
        not."""
        fitting, start = list(pieces), len(self._around(languages)[0])
        while fitting and sum(map(len, fitting)) + len(prompt) > room:
            fitting.pop()
        shown = [token for piece in fitting for token in piece]
        return prompt[:start] + shown + prompt[start:], len(pieces) - len(fitting)

    # -- model -----------------------------------------------------------------------------

    @cached_property
    def ways(self) -> Ways:
        """How the model is read: the fastest ways that equal its own, which are tried once.

        Raises:
            UserError: even the slowest ways differ.
        """
        from bench.load_check import checked

        return checked(self)

    def use(self, ways: Ways) -> None:
        """Reads the model in these ways from now on."""
        if "sites" in vars(self):
            self.sites.undo()
            del self.sites
        vars(self)["ways"] = ways

    @cached_property
    def sites(self) -> Sites:
        """Where the model reads its weights."""
        return Sites(self.model, self.ways.tasks)

    def losses(self, weights: Parameters, batch: Batch) -> Tensor:
        """Cross-entropy of each task's labels under its weights, (tasks,), in the dtype of the
        weights; transformers' own goes through float32, too coarse for float64 proofs.

        Every label of a task weighs the same; where `mean` is "sequence", every row that has a
        label does. The gradient of the sum holds that of each task, if no weight is shared.
        """
        alone = self.sites.per_task(weights) & self.sites.without
        if alone and len(batch) > 1:
            return torch.cat([self._losses(w, b) for w, b in self._each(weights, batch)])
        if alone:
            weights = next(self._each(weights, batch))[0]
        return self._losses(weights, batch)

    def check_finite(self, task: str, examples: Sequence[Example]) -> None:
        """Distinguishes a backbone with NaN logits from training or adaptation that diverged.

        Raises:
            CellError: the loss of a task's examples is not finite with the model's own weights.
        """
        batch, _ = self.batch([examples])
        with torch.no_grad():
            loss = self.losses(self.weights(), batch)
        if not bool(loss.isfinite().all()):
            raise not_finite(task)

    def _losses(self, weights: Parameters, batch: Batch) -> Tensor:
        rows = len(batch.inputs["input_ids"])
        at = self._logits_at(batch.places) if self.ways.tasks else nullcontext()
        with at, batch.reading(), self.sites.hold(weights, rows):
            logits = self.model(**batch.inputs, use_cache=False).logits
        if not self.ways.tasks:
            logits = logits.flatten(0, 1)[batch.places]
        losses = cross_entropy(logits.flatten(0, 1), batch.labels.flatten())
        return (losses.view_as(batch.labels) * batch.shares.to(losses)).sum(1)

    def _each(self, weights: Parameters, batch: Batch) -> Iterator[tuple[Parameters, Batch]]:
        """Task by task, where some layer knows of no tasks: its weights and its part of a batch."""
        for number in range(len(batch)):
            yield self.of_task(weights, number), batch.task(number)

    def of_task(self, weights: Parameters, number: int) -> Parameters:
        """The weights of one task; those that all share are among them."""
        own = self.sites.per_task(weights)
        return {name: w[number] if name in own else w for name, w in weights.items()}

    def output_layer(self) -> Any:
        """The model's last layer.

        Raises:
            UserError: it names none.
        """
        head = self.model.get_output_embeddings()
        if head is None:
            kind = type(self.model).__name__
            raise UserError(
                f"{kind} names no output layer, so cannot be trained; take another model"
            )
        return head

    @contextmanager
    def _logits_at(self, places: Tensor) -> Iterator[None]:
        """The output layer reads only these places of the flattened lines, (tasks, labels): most
        places of a batch have no label, and a vocabulary is wide."""
        hook = self.output_layer().register_forward_pre_hook(
            lambda layer, hidden: (hidden[0].flatten(0, 1)[places],)
        )
        try:
            yield
        finally:
            hook.remove()

    def generate(
        self,
        weights: Parameters,
        tasks: Sequence[Sequence[str]],
        max_new_tokens: int,
        supports: Sequence[Sequence[Example]] | None = None,
        streams: Sequence[Sequence[Stream]] | None = None,
        languages: Sequence[Sequence[Languages]] | None = None,
    ) -> list[Generation]:
        """Answers to the inputs of each task as `decoding` says, after its support as
        demonstrations if `supports` is given.

        Args:
            weights: of the model, or of one model per task.
            tasks: the inputs of each.
            max_new_tokens: where an answer is cut.
            supports: the demonstrations of each task.
            streams: one per input, which a sample is drawn from.
            languages: of each input and its answer, for multilingual models.

        Demonstrations that do not fit the context are left out whole, the last first.

        Raises:
            UserError: a sample is wanted, and this model cannot be sampled from.
            ValueError: a sample is wanted, and there are no streams.
        """
        room = self._room(max_new_tokens)
        results, prompts = [], []
        spoken = languages or [[UNSAID] * len(inputs) for inputs in tasks]
        shown = supports or [()] * len(tasks)
        for inputs, support, pairs in zip(tasks, shown, spoken, strict=True):
            pieces = [self._demonstration_ids(example) for example in support]
            result, rows = Generation(), []
            for text, pair in zip(inputs, pairs, strict=True):
                prompt, cut = self._prompt_ids(text, room, pair)
                row, dropped = self._demonstrated(prompt, pieces, room, pair)
                result.cut_inputs += cut
                result.dropped += dropped
                rows.append(row)
            results.append(result)
            prompts.append(rows)
        stop = self.prompt.stop if supports or self.prompt.turns else None
        writer = Writer(self, max_new_tokens, stop)
        written = writer.answers(weights, prompts, streams, spoken)
        for number, (result, answers) in enumerate(zip(results, written, strict=True)):
            for new in answers:
                writer.take(new, result)
            result.broken = writer.broken[number]
        return results

    def check_decoding(self) -> None:
        """Refuses what this model cannot do.

        Raises:
            UserError: it cannot be sampled from, or has fewer tokens than there are beams.
        """
        known = self.vocabulary
        if self.decoding.kind == "beam" and self.decoding.beams > known:
            raise UserError(
                f"beams = {self.decoding.beams}: the backbone knows {known} tokens; lower --beams"
            )
        if self.decoding.kind == "sample" and not self.steps_hold:
            raise UserError(
                f"decoding = 'sample': {type(self.model).__name__} can write greedily or by beam "
                "search only; set --decoding greedy or beam, or take another --backbone"
            )

    @property
    def steps_hold(self) -> bool:
        """Whether `steps` reads this model as its own code does; else transformers generates."""
        return self.ways.answers == "steps"

    @abstractmethod
    def steps(
        self,
        weights: Parameters,
        prompts: Sequence[list[int]],
        runs: int,
        most: int,
        languages: Sequence[Languages] | None = None,
    ) -> Steps:
        """The model about to read prompts, which are in equal runs; `languages` holds those of
        each."""

    def opening(self, languages: Languages) -> dict[str, int | None]:
        """What transformers' `generate` needs to know of how an answer begins."""
        return {}

    @abstractmethod
    def _room(self, max_new_tokens: int) -> int:
        """Tokens that a prompt may have when so many are to follow."""


def saved_buffers(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """What a checkpoint saves beside its parameters, such as the bias of BART's logits."""
    saved = model.state_dict(keep_vars=True)
    return ((name, value) for name, value in model.named_buffers() if name in saved)


def not_finite(task: str) -> CellError:
    """That a backbone cannot be measured."""
    return CellError(
        f"task {task!r}: the backbone gives NaN or infinite logits before anything is trained or "
        "adapted; check its weights, or use --dtype float32"
    )


def languages_of(example: Example) -> Languages:
    """The languages of an example's input and target, as far as the data say."""
    return example.source_language, example.language


def _context_of(config: Any, tokenizer: Any) -> int:
    """Positions the model has, by whatever name and in whatever part of a nested configuration; the
    tokenizer's own limit if it is smaller and meant."""
    found = [n for part in _text_parts(config) if (n := _positions_of(part))]
    positions = min(found, default=1024)
    return min(positions, int(tokenizer.model_max_length or positions))


def _positions_of(config: Any) -> int | None:
    """Positions by any of their names; the fewer where encoder and decoder have their own."""
    sides = [int(value) for name in SIDES if (value := getattr(config, name, None))]
    named = (getattr(config, name, None) for name in POSITIONS)
    most = min(sides, default=next((int(value) for value in named if value), None))
    # Past this length such a model turns the positions of all tokens otherwise, also of those that
    # it has read, so that a row's values would depend on what else is in its batch.
    turned = _longrope_limit(config)
    return min(most, turned) if most and turned else most


def _longrope_limit(config: Any) -> int | None:
    """The length up to which a model with LongRoPE (Ding et al. 2024) uses its short factors."""
    rope = getattr(config, "rope_parameters", None) or {}
    for part in (rope, *rope.values()):
        if isinstance(part, dict) and part.get("rope_type") == "longrope":
            own = part.get("original_max_position_embeddings")
            return own or getattr(config, "original_max_position_embeddings", None)
    return None


def _text_parts(config: Any) -> list[Any]:
    """A configuration and those in it that speak of text."""
    names = ("text_config", "encoder", "decoder")
    nested = (getattr(config, name, None) for name in names)
    return [config, *(part for part in nested if hasattr(part, "model_type"))]


def attention(order_two: bool) -> AbstractContextManager[None]:
    """The attention kernels that a gradient of this order may use."""
    return double_backward() if order_two else nullcontext()
