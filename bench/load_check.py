"""Tries a model once when it is loaded: alone against batched, our reading against its own code.

The reference is the model itself, with the layers that its checkpoint asks for and the same weights
in memory, reading one row at a time: its losses and gradients, and the logits of transformers' own
`generate`. What differs on the fast path takes a slower one (`bench.ways`); what differs on the
slowest is refused. The result is cached per weights, versions, device and type of number.
"""

import copy
import hashlib
import inspect
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bench import packing
from bench.errors import UserError
from bench.generation import Writer
from bench.tasks import Example
from bench.ways import Ways
from bench.wrapping import UNSAID

if TYPE_CHECKING:
    from bench.backbone import Backbone

Weights = Mapping[str, Tensor]
TEXTS = [  # inputs and targets of unlike lengths
    ("The goat sees a lamp near the old house.", "one two three"),
    ("No.", "Four, and then five!"),
    ("Where does the river end?", "6"),
]
TASKS = ((0, 1), (2,))  # which of them are one task's: two tasks of unlike size
LENGTH = 4  # tokens of an answer
LONG = 40  # tokens that prompts have in common, so that they are read once
OWN = 2**24  # a weight of more numbers is not copied for each task
NAMES = ("torch", "transformers", "tokenizers")
PARTS = (
    *("load_check", "ways", "per_task", "packing", "steps", "backbone", "causal", "seq2seq"),
    *("wrapping", "special_tokens", "prompt", "generation", "batches", "beams"),
)


@dataclass(frozen=True)
class Tolerance:
    """How far our reading may be from the reference: losses and gradients relative to it, logits
    relative to their standard deviation, and the two best logits of one another."""

    loss: float
    gradient: float
    logits: float


EXACT, COARSE = Tolerance(1e-3, 1e-2, 1e-3), Tolerance(2e-2, 0.5, 0.25)


def checked(backbone: "Backbone") -> Ways:
    """The fastest ways in which a backbone is read as its own code does; it is left in them.

    Raises:
        UserError: even the slowest ways differ.
    """
    place = _place(backbone)
    ways = _stored(place)
    if ways is None:
        with _undisturbed(backbone):
            ways = _found(backbone)
        _store(place, ways)
    backbone.use(ways)
    return ways


@contextmanager
def _undisturbed(backbone: "Backbone") -> Iterator[None]:
    """Random numbers and settings of the backbone are afterwards what they were before."""
    mean, decoding = backbone.mean, backbone.decoding
    backbone.mean, backbone.decoding = "token", type(decoding)()
    try:
        with torch.random.fork_rng(), torch.enable_grad():
            torch.manual_seed(0)
            yield
    except UserError:
        vars(backbone).pop("ways", None)
        raise
    finally:
        backbone.mean, backbone.decoding = mean, decoding


def _found(backbone: "Backbone") -> Ways:
    """The fastest ways that equal the reference."""
    ways = backbone.fastest
    backbone.use(Ways(lines=False, tasks=False))
    trial = Trial(backbone)
    if ways.lines and (fault := packing.lines_fault(backbone.model)):
        ways = ways.without(f"rows are padded: {fault}", lines=False)
    backbone.use(ways)
    if kinds := unknown_layers(backbone):
        reason = f"tasks are read one after another: layers of no known kind ({kinds})"
        ways = ways.without(reason, lines=False)
        backbone.use(ways)
    while fault := trial.losses_fault():
        if ways.lines:
            ways = ways.without(f"rows are padded: {fault}", lines=False)
        elif ways.tasks:
            ways = ways.without(f"all layers are the model's own: {fault}", tasks=False)
        else:
            raise UserError(f"losses of padded rows differ from those of rows alone: {fault}")
        backbone.use(ways)
    if backbone.steps_need_lines and not ways.lines:
        ways = ways.without("transformers' generate writes answers", answers="padded")
    backbone.use(ways)
    while fault := trial.answers_fault():
        if ways.answers == "steps":
            ways = ways.without(f"transformers' generate writes answers: {fault}", answers="padded")
        elif ways.answers == "padded" and not backbone.model.config.is_encoder_decoder:
            ways = ways.without(f"prompts are answered one by one: {fault}", answers="alone")
        else:
            raise UserError(f"answers to several prompts differ from those to one: {fault}")
        backbone.use(ways)
    return ways


def unknown_layers(backbone: "Backbone") -> str:
    """The classes of the layers that have no form, in a line; nothing where all have."""
    without, kinds = backbone.sites.without, set[str]()
    for path, module in backbone.model.named_modules():
        names = (f"{path}.{leaf}" for leaf, _ in module.named_parameters(recurse=False))
        if any(name in without for name in names):
            kinds.add(type(module).__name__)
    shown = sorted(kinds)[:3]
    return ", ".join(shown) + (f" and {len(kinds) - 3} more" if len(kinds) > 3 else "")


class Trial:
    """A backbone beside its reference, which shares its weights."""

    def __init__(self, backbone: "Backbone") -> None:
        self.backbone = backbone
        self.tolerance = COARSE if backbone.model.dtype.itemsize < 4 else EXACT
        self.model = _same_weights(backbone.model)
        examples = [Example(text, (target,), "", "") for text, target in TEXTS]
        self.tasks = [[examples[place] for place in places] for places in TASKS]
        self.shared = dict(backbone.model.named_parameters())
        self.own = _own_weights(self.shared, len(self.tasks))
        self.prompts = self._prompts()
        self._losses: dict[int, list[tuple[Tensor, list[Tensor]]]] = {}
        self._answers: dict[tuple[int, int], list[list[Answer]]] = {}

    def _own(self) -> list[dict[str, Tensor]]:
        """Weights that each task may have for itself: all that are tried, which are read task by
        task if some layer has no form, and those that all tasks read at once, as adapters are."""
        without = self.backbone.sites.without
        formed = {name: weight for name, weight in self.own.items() if name not in without}
        return [self.own, *([formed] if 0 < len(formed) < len(self.own) else [])]

    def _prompts(self) -> list[list[list[list[int]]]]:
        """Prompts of each task: those of the texts, and where the context allows it, the same
        behind a long common start."""
        backbone = self.backbone
        inputs = [[text for text, _ in TEXTS[:2]], [text for text, _ in TEXTS[1:]]]
        room = max(min(backbone.context - LENGTH, 2 * LONG), 2)
        plain = [[backbone.prompt_of(text, room)[:room] for text in texts] for texts in inputs]
        longest = max(len(row) for rows in plain for row in rows)
        if longest + LONG + LENGTH > backbone.context or backbone.model.config.is_encoder_decoder:
            return [plain]
        start = (plain[0][0] * LONG)[:LONG]
        return [plain, [[start + row for row in rows] for rows in plain]]

    # -- losses ----------------------------------------------------------------------------

    def losses_fault(self) -> str | None:
        """How losses and gradients of two tasks at once, with weights of their own, differ from
        those of each task's rows alone."""
        for given in self._own():
            reference = self._reference_losses(given)
            if fault := self._tried(self._losses_fault, given, reference):
                return fault
        return None

    def _reference_losses(self, given: Weights) -> list[tuple[Tensor, list[Tensor]]]:
        """Of each task, the loss and the gradient of its own weights."""
        if len(given) not in self._losses:
            found = list[tuple[Tensor, list[Tensor]]]()
            try:
                for number, rows in enumerate(self.tasks):
                    own = {n: w[number].clone().requires_grad_() for n, w in given.items()}
                    loss = self._loss_alone(own, rows)
                    parts = torch.autograd.grad(loss, list(own.values()), materialize_grads=True)
                    found.append((loss.detach(), list(parts)))
            except Exception as error:
                _raise_if_memory(error)
                raise UserError(f"it cannot read a short text: {_line(error)}") from error
            self._losses[len(given)] = found
        return self._losses[len(given)]

    def _loss_alone(self, own: Mapping[str, Tensor], rows: Sequence[Example]) -> Tensor:
        """The mean over the target tokens of rows that are read one by one."""
        values = []
        for example in rows:
            batch = self.rows_alone(example)
            inputs = {**batch.inputs, "use_cache": False}
            logits = functional_call(self.model, dict(own), (), inputs).logits
            logs = logits.flatten(0, 1)[batch.places[0]].log_softmax(-1)
            values.append(-logs.gather(1, batch.labels[0][:, None])[:, 0])
        return torch.cat(values).mean()

    def rows_alone(self, example: Example) -> Any:
        """A batch of one row, which nothing is padding of."""
        ways = self.backbone.ways
        vars(self.backbone)["ways"] = Ways(lines=False, tasks=False)
        try:
            return self.backbone.batch([[example]])[0]
        finally:
            vars(self.backbone)["ways"] = ways

    def _losses_fault(
        self, given: Weights, reference: list[tuple[Tensor, list[Tensor]]]
    ) -> str | None:
        own = {name: weight.clone().requires_grad_() for name, weight in given.items()}
        batch, _ = self.backbone.batch(self.tasks)
        losses = self.backbone.losses({**self.shared, **own}, batch)
        found = torch.autograd.grad(losses.sum(), list(own.values()), materialize_grads=True)
        for number, (wanted, gradients) in enumerate(reference):
            if not torch.isfinite(wanted):
                raise UserError(
                    "NaN or infinite logits: the loss of a short text is "
                    f"{float(wanted)} with its own weights"
                )
            apart = float((losses[number].detach() - wanted).abs() / wanted.abs())
            if not apart <= self.tolerance.loss:
                return f"losses differ by {apart:.1e}"
            most = max(float(gradient.norm()) for gradient in gradients)
            for name, ours, theirs in zip(own, found, gradients, strict=True):
                scale = float(theirs.norm()) + 0.01 * most
                apart = float((ours[number] - theirs).norm()) / (scale or 1.0)
                if not apart <= self.tolerance.gradient:
                    return f"gradients of {name} differ by {apart:.1e}"
        return None

    # -- answers ---------------------------------------------------------------------------

    def answers_fault(self) -> str | None:
        """How answers to the prompts of two tasks differ from those of `generate` to each."""
        for given in self._own():
            for kind, prompts in enumerate(self.prompts):
                reference = self._reference_answers(given, kind)
                if fault := self._tried(self._answers_fault, given, prompts, reference):
                    return fault
        return None

    def _reference_answers(self, given: Weights, kind: int) -> "list[list[Answer]]":
        if (len(given), kind) not in self._answers:
            made = []
            try:
                for number, rows in enumerate(self.prompts[kind]):
                    own = {name: weight[number] for name, weight in given.items()}
                    with torch.no_grad(), _held(self.model, own):
                        made.append([self._answer_alone(row) for row in rows])
            except Exception as error:
                _raise_if_memory(error)
                raise UserError(f"it cannot answer a short text: {_line(error)}") from error
            self._answers[len(given), kind] = made
        return self._answers[len(given), kind]

    def _answer_alone(self, prompt: list[int]) -> "Answer":
        """What transformers writes to one prompt, greedily; models that it cannot write with read
        the whole text again for every token."""
        backbone, ids = self.backbone, torch.tensor([prompt], device=self.backbone.device)
        if not self.model.can_generate():
            logits, new = [], list[int]()
            while len(new) < LENGTH and not {*new} & backbone.ends:
                whole = torch.cat([ids, ids.new_tensor([new])], 1)
                logits.append(self.model(input_ids=whole).logits[0, -1])
                new.append(int(logits[-1].argmax()))
            return Answer(new, torch.stack(logits))
        asked = {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "do_sample": False,
            "num_beams": 1,
            "max_new_tokens": LENGTH,
            "eos_token_id": sorted(backbone.ends),
            "pad_token_id": backbone.pad,
            "output_scores": True,
            "return_dict_in_generate": True,
            **backbone.opening(UNSAID),
        }
        try:
            made = self.model.generate(**asked)
        except Exception as error:  # some models fill no cache, and are right without one
            _raise_if_memory(error)
            made = self.model.generate(**asked, use_cache=False)
        scores = torch.cat(made.scores)
        return Answer(made.sequences[0, -len(scores) :].tolist(), scores)

    def _answers_fault(
        self,
        given: Weights,
        prompts: Sequence[Sequence[list[int]]],
        reference: "list[list[Answer]]",
    ) -> str | None:
        backbone, weights = self.backbone, {**self.shared, **given}
        with torch.no_grad():
            if backbone.ways.answers == "steps" and not {*given} & backbone.sites.without:
                flat = [row for rows in prompts for row in rows]
                wanted = [answer for answers in reference for answer in answers]
                return self._steps_fault(weights, flat, len(prompts), wanted)
            for number, (rows, answers) in enumerate(zip(prompts, reference, strict=True)):
                alone = backbone.of_task(weights, number)
                ask = self._steps_fault if backbone.ways.answers == "steps" else self._text_fault
                if fault := ask(alone, rows, 1, answers):
                    return fault
        return None

    def _text_fault(
        self, weights: Any, rows: Sequence[list[int]], runs: int, wanted: "Sequence[Answer]"
    ) -> str | None:
        """How the tokens differ that transformers writes to several prompts."""
        with self.backbone.sites.hold(weights, len(rows)):
            writer = Writer(self.backbone, LENGTH, None)
            made = writer.by_transformers(rows, [UNSAID] * len(rows))
        faults = (a.differs(new, self.tolerance) for new, a in zip(made, wanted, strict=True))
        return next((fault for fault in faults if fault), None)

    def _steps_fault(
        self, weights: Any, rows: Sequence[list[int]], runs: int, wanted: "Sequence[Answer]"
    ) -> str | None:
        """How the logits of our own decoding differ where it is given the reference's tokens."""
        steps = self.backbone.steps(weights, rows, runs, LENGTH)
        logits = steps.first()
        for place in range(LENGTH):
            for row, answer in zip(logits, wanted, strict=True):
                if place < len(answer.tokens) and (
                    fault := answer.logits_differ(place, row, self.tolerance)
                ):
                    return fault
            if place + 1 == LENGTH:
                break
            tokens = [(answer.tokens + [self.backbone.pad] * LENGTH)[place] for answer in wanted]
            logits = steps.next(torch.tensor(tokens, device=self.backbone.device))
        return None

    def _tried(self, ask: Callable[..., str | None], *given: Any) -> str | None:
        """A fault, or what the model's own code raised, in a line."""
        try:
            return ask(*given)
        except UserError:
            raise
        except Exception as error:  # whatever a model's own code raises, the reason is kept
            _raise_if_memory(error)
            return _line(error)


@dataclass(frozen=True)
class Answer:
    """What the reference wrote: tokens, and the logits (tokens, vocabulary) that it chose from."""

    tokens: list[int]
    logits: Tensor

    def differs(self, new: Sequence[int], tolerance: Tolerance) -> str | None:
        """How other tokens differ; not where the two best logits are as good as equal."""
        for place, (token, other) in enumerate(zip(self.tokens, new, strict=False)):
            if token != other:
                best = self.logits[place].topk(2).values
                gap = float(best[0] - best[1]) / self._spread(place)
                if gap <= tolerance.logits:
                    return None
                return f"token {place + 1} of an answer differs"
        return None

    def logits_differ(self, place: int, row: Tensor, tolerance: Tolerance) -> str | None:
        """How other logits of a place differ."""
        wanted, finite = self.logits[place], torch.isfinite(self.logits[place])
        if not torch.equal(finite, torch.isfinite(row)):
            return f"logits of token {place + 1} of an answer are not finite"
        apart = float((row - wanted)[finite].abs().max()) / self._spread(place)
        if apart <= tolerance.logits:
            return None
        return f"logits of token {place + 1} of an answer differ by {apart:.1e}"

    def _spread(self, place: int) -> float:
        row = self.logits[place]
        row = row[torch.isfinite(row)].double()
        return max(float(row.std()) if len(row) > 1 else 1.0, 1e-12)


def _same_weights(model: nn.Module) -> Any:
    """A copy of a model's modules around the same tensors."""
    held = chain(model.parameters(), model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in held})


def _own_weights(weights: Mapping[str, Tensor], tasks: int) -> dict[str, Tensor]:
    """For each task other values near the model's, (tasks, ...): of one layer of every kind and of
    no large weight, so that a model of any size is tried in little more than its own memory."""
    made, kinds = dict[str, Tensor](), set[str]()
    for name, weight in weights.items():
        kind = re.sub(r"\d+", "#", name)
        if kind in kinds or weight.numel() > OWN or not weight.is_floating_point():
            continue
        kinds.add(kind)
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(tasks, *weight.shape, generator=generator).to(weight)
        near = weight.detach()
        scale = 0.1 * near.double().square().mean().sqrt().to(weight)
        made[name] = near + scale.clamp(min=1e-3) * noise
    return made


@contextmanager
def _held(model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """A model that reads these weights in place of its own."""
    own = {id(p): name for name, p in model.named_parameters()}
    places = [
        (module, leaf, p)
        for module in model.modules()
        for leaf, p in list(module.named_parameters(recurse=False, remove_duplicate=False))
        if own[id(p)] in weights
    ]
    try:
        for module, leaf, p in places:
            module._parameters[leaf] = weights[own[id(p)]]  # type: ignore[assignment]
        yield
    finally:
        for module, leaf, p in places:
            module._parameters[leaf] = p


def _raise_if_memory(error: Exception) -> None:
    from bench.timing import out_of_memory

    if out_of_memory(error):
        raise error


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:120]}" if text else type(error).__name__


# -- cache ---------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Where what was found is kept: `$FEWGEN_CACHE`, else `$XDG_CACHE_HOME/fewgen`."""
    if own := os.environ.get("FEWGEN_CACHE"):
        return Path(own) / "checked"
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "fewgen" / "checked"


def _place(backbone: "Backbone") -> Path:
    """The file of a backbone; its name covers all that the result depends on."""
    model, device = backbone.model, backbone.device
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    attends = model.config.get_text_config()._attn_implementation
    facts = [
        backbone.identity,
        type(backbone).__qualname__,
        _shape_digest(model),
        repr(backbone.prompt),
        _cuts(backbone.tokenizer),
        attends if attends != packing.NAME else packing.REPLACED,
        where,
        str(model.dtype),
        _versions(),
    ]
    return cache_folder() / f"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]}.json"


def _shape_digest(model: nn.Module) -> str:
    """What a model is made of: a checkpoint's own code, or hooks, may alter it under one name."""
    parts = hashlib.sha256()
    brought = {inspect.getmodule(type(m)) for m in model.modules()}
    for code in sorted(str(getattr(module, "__file__", "")) for module in brought):
        if "transformers_modules" in code:  # what the checkpoint brought, under one name for all
            parts.update(Path(code).read_bytes())
    for path, module in model.named_modules():
        kind = type(module)
        hooks = len(module._forward_hooks) + len(module._forward_pre_hooks)
        parts.update(f"{path} {kind.__module__}.{kind.__qualname__} {hooks}\n".encode())
    return parts.hexdigest()


def _cuts(tokenizer: Any) -> str:
    """How a tokenizer cuts texts, beyond its vocabulary."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return "" if backend is None else hashlib.sha256(backend.to_str().encode()).hexdigest()


@lru_cache(maxsize=1)
def _versions() -> list[str]:
    """Of the libraries, and of the modules here that the result depends on."""
    parts = hashlib.sha256()
    for name in PARTS:
        parts.update((Path(__file__).parent / f"{name}.py").read_bytes())
    return [*map(metadata.version, NAMES), parts.hexdigest()]


def _stored(place: Path) -> Ways | None:
    """What an earlier check found; None where there is none that can be read."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        values = json.loads(place.read_text(encoding="utf-8"))
        ways = Ways(**{**values, "reasons": tuple(values["reasons"])})
        if isinstance(ways.lines, bool) and isinstance(ways.tasks, bool):
            return ways if ways.answers in ("steps", "padded", "alone") else None
    return None


def _store(place: Path, ways: Ways) -> None:
    """Keeps what was found; a folder that cannot be written is no fault."""
    part = place.with_name(f"{place.name}.{os.getpid()}")
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(asdict(ways)), encoding="utf-8")
        part.replace(place)
