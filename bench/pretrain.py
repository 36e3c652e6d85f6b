"""Pre-training: a tokenizer and a small model, from the meta-train tasks and nothing else."""

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.backbone import Pair, Row
from bench.batches import Batch
from bench.checkpoints import backbone_of, quiet
from bench.context import dataset_of
from bench.dials import check_dials, dial_flags
from bench.errors import UserError
from bench.prompt import Prompt
from bench.recipe import Recipe, build_model, read_recipe
from bench.records import locked, read_json, write_json, write_whole
from bench.registry import version
from bench.sources import Source
from bench.streams import Stream, digest_of
from bench.tasks import Dataset, Example, train_revision
from bench.tokenizer import train_tokenizer

FIRST_LOSSES = 5  # recorded, so that a test can repeat them
SAVE_EVERY = 200  # steps between two checkpoints
CHECKPOINT = "checkpoint.pt"


@dataclass
class Corpus:
    """The `train` parts of meta-train tasks, and nothing else.

    Attributes:
        suites: the tasks of each suite, each the examples of its `train` part.
    """

    suites: Sequence[Sequence[Sequence[Example]]]

    @classmethod
    def of(cls, datasets: Mapping[str, Dataset], limit: int | None = None) -> "Corpus":
        """The corpus of some suites' data, of the first `limit` tasks of each.

        Raises:
            UserError: a suite has no meta-train example.
        """
        suites = []
        for suite, dataset in datasets.items():
            parts = (
                dataset.task(n).parts.get("train") for n in dataset.names("meta-train")[:limit]
            )
            suites.append([tuple(examples) for examples in parts if examples])
            if not suites[-1]:
                raise UserError(f"no meta-train task of {suite} has train examples to learn from")
        return cls(suites)

    def tasks(self) -> Iterator[Sequence[Example]]:
        """All tasks in order."""
        return itertools.chain(*self.suites)

    def texts(self, prompt: Prompt) -> Iterator[str]:
        """Every example as text, for the tokenizer."""
        for examples in self.tasks():
            yield from prompt.demonstrations(examples)

    def digest(self) -> str:
        """SHA-256 over all examples in order."""
        return digest_of([[(e.input, e.references) for e in task] for task in self.tasks()])


class Pretraining:
    """Trains a model on single pairs and on rows of several pairs of one task."""

    def __init__(
        self, recipe: Recipe, datasets: Mapping[str, Dataset], device: torch.device
    ) -> None:
        quiet()
        self.recipe, self.device = recipe, device
        self.corpus = Corpus.of(datasets, recipe.training.tasks)
        self.sources = {s: [d.name, train_revision(d)] for s, d in datasets.items()}
        self.notes = [
            f"{s}: {note}" for s, d in datasets.items() for note in _notes(d, recipe.training.tasks)
        ]
        prompt = Prompt()
        seed = recipe.training.seed
        tokenizer = train_tokenizer(
            self.corpus.texts(prompt), recipe.tokenizer.vocabulary, _positions(recipe)
        )
        model = build_model(recipe, tokenizer, seed).to(device)
        self.backbone = backbone_of(model, tokenizer, prompt)
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=recipe.training.rate, weight_decay=0.01
        )
        self.tokens, self.step, self.truncated = 0, 0, 0
        self.losses: list[float] = []
        self._pairs: dict[tuple[str, str], tuple[Pair, bool]] = {}

    def batch(self, step: int) -> Batch:
        """The rows of a step; they depend on the seed and the step alone. All are of one suite,
        so of similar length: little of a step is padding."""
        training = self.recipe.training
        stream = Stream(training.seed, "pretrain", step)
        tasks = Stream(training.seed, "pretrain suite", step).pick(self.corpus.suites)
        examples = 1
        if stream.chance(training.in_context):
            examples = training.examples
        count = max(1, training.rows // examples)
        return self.backbone.collate(
            [[self._row(stream, stream.pick(tasks), examples) for _ in range(count)]]
        )

    def _row(self, stream: Stream, task: Sequence[Example], examples: int) -> Row:
        """One pair, or several of one task as they stand in a context."""
        return self.backbone.row([self._pair(stream.pick(task)) for _ in range(examples)])

    def _pair(self, example: Example) -> Pair:
        """Tokens of a pair; made once, counted whenever they had to be cut."""
        key = (example.input, example.target)
        if key not in self._pairs:
            prompt, target, cut = self.backbone.pair_ids(example)
            self._pairs[key] = (prompt, target), cut
        pair, cut = self._pairs[key]
        self.truncated += cut
        return pair

    def _rate(self) -> float:
        training = self.recipe.training
        warm = min(1.0, (self.step + 1) / 50)
        return training.rate * warm * max(0.02, 1 - self.tokens / training.tokens)

    def advance(self) -> float:
        """One step; its loss."""
        model = self.backbone.model
        batch = self.batch(self.step)
        self.optimizer.param_groups[0]["lr"] = self._rate()
        (loss,) = self.backbone.losses(dict(model.named_parameters()), batch)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        self.tokens += sum(batch.tokens)
        value = float(loss.detach())
        if len(self.losses) < FIRST_LOSSES:
            self.losses.append(value)
        self.last_loss = value
        return value

    def run(self, out: Path, progress: Callable[[float], None] = lambda fraction: None) -> None:
        """Trains to the recipe's budget and writes the backbone to `out`; goes on from a
        checkpoint of the same recipe and data if `out` holds one.

        Raises:
            UserError: `out` holds another training's backbone or checkpoint, or cannot be written.
        """
        out.mkdir(parents=True, exist_ok=True)
        if self._is_there(out):
            return
        self._resume(out / CHECKPOINT)
        while self.tokens < self.recipe.training.tokens:
            loss = self.advance()
            if loss != loss:
                raise UserError(f"the loss is not a number at step {self.step}; lower rate")
            if self.step % SAVE_EVERY == 0:
                self._save(out / CHECKPOINT)
            progress(min(1.0, self.tokens / self.recipe.training.tokens))
        self._finish(out)

    def _is_there(self, out: Path) -> bool:
        """Whether this very training has already ended in `out`."""
        facts = out / "training.json"
        if not facts.is_file():
            return False
        if read_json(facts).get("key") != self.key():
            raise UserError(
                f"{out} holds a backbone of another recipe or data; name another --out, or delete "
                f"{facts} to train it anew"
            )
        return True

    def key(self) -> str:
        """Names a training: recipe, data and version."""
        return digest_of(version(), self.recipe.model_dump(), self.corpus.digest())

    def _save(self, path: Path) -> None:
        part = path.with_suffix(".part")
        state = {
            "key": self.key(),
            "model": self.backbone.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "tokens": self.tokens,
            "step": self.step,
            "truncated": self.truncated,
            "losses": self.losses,
        }
        try:
            torch.save(state, part)
            part.replace(path)
        except (OSError, RuntimeError) as error:
            part.unlink(missing_ok=True)
            raise UserError(f"cannot write {path}: {error}") from None

    def _resume(self, path: Path) -> None:
        if not path.is_file():
            return
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            key = state["key"]
        except Exception:  # torch raises many kinds for a file that is not whole
            raise UserError(f"{path}: damaged; delete it and run again") from None
        if key != self.key():
            raise UserError(f"{path} belongs to another recipe or data; name another --out")
        self.backbone.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.tokens, self.step = state["tokens"], state["step"]
        self.truncated, self.losses = state["truncated"], state["losses"]

    def _finish(self, out: Path) -> None:
        self.backbone.model.save_pretrained(out)
        self.backbone.tokenizer.save_pretrained(out)
        facts = {
            "fewgen": version(),
            "key": self.key(),
            "recipe": self.recipe.model_dump(),
            "sources": self.sources,
            "corpus_digest": self.corpus.digest(),
            "steps": self.step,
            "tokens": self.tokens,
            "truncated": self.truncated,
            "notes": self.notes,
            "first_losses": self.losses,
            "parameters": sum(p.numel() for p in self.backbone.model.parameters()),
            "digests": {n: file_digest(out / n) for n in ("model.safetensors", "tokenizer.json")},
        }
        write_json(out / "training.json", facts)
        write_whole(out / "CARD.md", card(facts))
        (out / CHECKPOINT).unlink(missing_ok=True)


def pretrain_to(
    out: Path,
    backbone: str,
    *,
    suites: Sequence[str],
    source: Source | None = None,
    dials: Mapping[str, Mapping[str, int | float]] | None = None,
    tokens: int | None = None,
    seed: int | None = None,
    threads: int | None = None,
    device: str = "cpu",
    progress: Callable[[float], None] = lambda fraction: None,
) -> dict[str, Any]:
    """Pre-trains a backbone for some suites, or for one suite's kind of data, into `out`.

    Returns the facts of `training.json`.

    Raises:
        UserError: see `read_recipe`, `check_dials`, `Corpus.of` and `Pretraining.run`.
    """
    recipe = read_recipe(backbone)
    changes = {"tokens": tokens, "seed": seed}
    recipe = recipe.with_training(**{k: v for k, v in changes.items() if v is not None})
    if source and len(suites) != 1:
        raise UserError("--data needs exactly one --suite, which says how it is measured")
    if source and dials:
        raise UserError("--dial turns embedded data, and --data is read; leave one out")
    levels = check_dials(dials or {}, suites, "pretrain") or {}
    datasets = {name: dataset_of(name, source, levels.get(name)) for name in suites}
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda, but torch sees no GPU here; see `fewgen doctor`")
    torch.set_num_threads(threads or os.cpu_count() or 1)
    with locked(out):
        Pretraining(recipe, datasets, torch.device(device)).run(out, progress)
    facts: dict[str, Any] = read_json(out / "training.json")
    return facts


def _notes(dataset: Dataset, limit: int | None) -> list[str]:
    """What a data set left out, and the meta-train tasks that have nothing to learn from, of the
    first `limit`."""
    names = dataset.names("meta-train")[:limit]
    bare = [name for name in names if not dataset.task(name).parts.get("train")]
    notes = list(getattr(dataset, "notes", []))
    if bare:
        some = ", ".join(bare[:5])
        notes.append(f"{len(bare)} of {len(names)} meta-train tasks have no train part: {some}")
    return notes


def _positions(recipe: Recipe) -> int:
    values = recipe.model
    return int(values.get("max_position_embeddings") or values.get("n_positions") or 1024)


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def card(facts: Mapping[str, Any]) -> str:
    """The model card of a pre-trained backbone."""
    recipe = facts["recipe"]
    sources = "; ".join(f"{s}: {n} ({r})" for s, (n, r) in facts["sources"].items())
    training = ", ".join(f"{k} {v}" for k, v in recipe["training"].items() if v is not None)
    digests = "\n".join(f"- {name}: SHA-256 `{value}`" for name, value in facts["digests"].items())
    notes = "".join(f"- Note: {note}.\n" for note in facts.get("notes", []))
    suites = "".join(f" --suite {s}{dial_flags(s, r)}" for s, (_, r) in facts["sources"].items())
    return f"""# A backbone pre-trained by fewgen {facts["fewgen"]}

- Model: {json.dumps(recipe["model"])}, {facts["parameters"]:,} parameters.
- Tokenizer: byte-level BPE of at most {recipe["tokenizer"]["vocabulary"]} tokens, trained on the
  same text.
- Data: the `train` parts of the meta-train tasks of {sources}; no other split was read.
  SHA-256 of all its examples: `{facts["corpus_digest"]}`.
- Training: {training}; {facts["steps"]:,} steps, {facts["tokens"]:,} tokens;
  {facts["truncated"]:,} examples were cut to the context as they passed.
- First losses: {", ".join(f"{loss:.4f}" for loss in facts["first_losses"])}.
- Made by: `fewgen pretrain{suites} --backbone RECIPE --out DIR` with the recipe in `training.json`.
{digests}
{notes}- Use: a start for few-shot baselines on the same suites; it knows nothing else.
- Licence: Apache-2.0 for the weights of embedded suites; data of your own keeps its licence.
"""
