"""The work that `fewgen time --peers` compares: ours and others' on the same episodes."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from bench.backbone import Backbone, Row, attention
from bench.batches import Batch, chunks
from bench.causal import CausalBackbone
from bench.checkpoints import quiet
from bench.episodes import Episode, draw_episode
from bench.errors import UserError, unknown
from bench.inner_loop import Adapted, Path, Sgd, adapt, gradient
from bench.parts import adapter_names, with_adapters
from bench.peers import PEERS, MetaStep, Rows, cross_entropy
from bench.prompt import Prompt
from bench.tasks import SPLITS, Dataset, Example
from bench.tokenizer import train_tokenizer

Run = Callable[[], list[Tensor]]
VOCABULARY, POSITIONS, TEXTS = 4096, 512, 10_000
TASKS, SHOTS, STEPS, RATE = 8, 8, 5, 0.05
EPISODES, QUERIES, MOST = 32, 16, 32  # of adapt-generate
RANK, LENGTH, LORA_TASKS = 8, 128, 4
MEDIUM = {"n_embd": 1024, "n_layer": 24, "n_head": 16}  # of GPT-2
LOOPED = ("adapt-generate", "lora")  # works of one peer, the loop
CHECKED_ROWS = 2  # of each task, in float32, where all would take 15 GiB


@dataclass(frozen=True)
class Work:
    """One piece of work, and who does it.

    Attributes:
        ours: does it once; returns gradients, or the weights that it reached.
        peers: the same by others, by name.
        errors: of ours against each peer, relative, in float32.
    """

    name: str
    ours: Run
    peers: Mapping[str, Run]
    errors: Mapping[str, float]


def largest_error(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    """Over all tensors, the largest |ours - theirs| / |theirs|; where theirs is 0, so must be ours;
    no number where one is none."""
    errors = []
    for one, other in zip(ours, theirs, strict=True):
        size, apart = float(other.norm()), float((one - other).norm())
        errors.append(apart / size if size else apart)
    return math.nan if any(map(math.isnan, errors)) else max(errors)


def errors_of(ours: Run, peers: Mapping[str, Run]) -> dict[str, float]:
    """`largest_error` against each peer, all run once."""
    made = ours()
    return {name: largest_error(made, run()) for name, run in peers.items()}


@dataclass(frozen=True)
class Material:
    """What all works are done on: episodes, and text to train a tokenizer on.

    Attributes:
        dataset: its tasks of every split are used, in turn.
        device: where models run.
        peers: names of the peers that are asked.
    """

    dataset: Dataset
    device: torch.device
    peers: Sequence[str]

    def episodes(self, count: int, shots: int, queries: int) -> list[Episode]:
        """So many, each of the next task that holds enough examples, all of them again and again.

        Raises:
            UserError: no task holds enough.
        """
        made, usable = list[Episode](), list[str]()
        for name in (name for split in SPLITS for name in self.dataset.names(split)):
            if len(made) == count:
                break
            try:
                made.append(self._episode(name, shots, queries, len(made)))
            except UserError as error:
                reason = error
            else:
                usable.append(name)
        if not made:
            raise reason
        for index in range(len(made), count):
            made.append(self._episode(usable[index % len(usable)], shots, queries, index))
        return made

    def _episode(self, name: str, shots: int, queries: int, index: int) -> Episode:
        return draw_episode("time", self.dataset.task(name), shots, queries, 0, index)

    def small(self) -> tuple[Backbone, Any]:
        """A Llama of 4 layers, 128 wide, with random weights and a tokenizer of the data's own; and
        its model once more, for peers."""
        from transformers import LlamaConfig, LlamaForCausalLM

        quiet()
        prompt = Prompt()
        names = [name for split in SPLITS for name in self.dataset.names(split)]
        texts = (
            text
            for name in names
            for example in self.dataset.task(name).parts.get("train", ())
            for text in prompt.demonstrations([example])
        )
        tokenizer = train_tokenizer(islice(texts, TEXTS), VOCABULARY, POSITIONS)
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=POSITIONS,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = LlamaForCausalLM(config).to(self.device).eval()
        return CausalBackbone(copy.deepcopy(model), tokenizer, prompt), model


@dataclass(frozen=True)
class InnerLoop:
    """Descent on the support of some tasks from one start.

    Attributes:
        first: all weights of the backbone, without tasks.
        moving: the names of those that move.
        support: the tasks.
        checkpoint_steps: steps are taken anew for an outer gradient of order 2.
    """

    backbone: Backbone
    first: Mapping[str, Tensor]
    moving: Sequence[str]
    support: Batch
    steps: int
    checkpoint_steps: bool = False

    def adapted(self, path: Path = "none") -> Adapted:
        """What the steps reach; all weights are in it, those that move as (tasks, ...)."""
        return self._from({name: self.first[name] for name in self.moving}, path)

    def outer_gradient(self, query: Batch, order: int) -> list[Tensor]:
        """The gradient of the sum of query losses behind the steps, of order 1 or 2, in the order
        of `moving`."""
        leaves = {name: self.first[name].detach().requires_grad_() for name in self.moving}
        with attention(order == 2):
            made = self._from(leaves, "2" if order == 2 else "1")
            return gradient(self.backbone.losses(made.weights, query), leaves)

    def _from(self, start: Mapping[str, Tensor], path: Path) -> Adapted:
        spread = {name: w.expand(len(self.support), *w.shape) for name, w in start.items()}
        made = adapt(
            lambda weights: self.backbone.losses({**self.first, **weights}, self.support),
            spread,
            Sgd(RATE),
            self.steps,
            path,
            anew=() if self.checkpoint_steps else None,
        )
        return Adapted({**self.first, **made.weights}, made.losses)


def rows_of(backbone: Backbone, examples: Sequence[Example]) -> list[Row]:
    """Ids and labels of examples."""
    return [backbone.row([backbone.pair_ids(example)[:2]]) for example in examples]


def meta_step(name: str, order: int, material: Material) -> Work:
    """One outer gradient of MAML (order 2) or first-order MAML."""
    backbone, model = material.small()
    episodes = material.episodes(TASKS, SHOTS, SHOTS)
    tasks = [
        (
            Rows.of(rows_of(backbone, episode.support), backbone.pad, material.device),
            Rows.of(rows_of(backbone, episode.query), backbone.pad, material.device),
        )
        for episode in episodes
    ]
    work = MetaStep(model, tasks, STEPS, RATE, order == 2)

    def peer(run: Callable[[MetaStep], list[Tensor]]) -> list[Tensor]:
        with attention(order == 2):
            return run(work)

    first = backbone.weights()
    loops = [
        (InnerLoop(backbone, first, list(first), support, STEPS), query)
        for support, query in _batches(backbone, episodes)
    ]

    def ours() -> list[Tensor]:
        parts = (loop.outer_gradient(query, order) for loop, query in loops)
        return [torch.stack(found).sum(0) / TASKS for found in zip(*parts, strict=True)]

    peers = {name: partial(peer, PEERS[name]) for name in material.peers}
    return Work(name, ours, peers, errors_of(ours, peers))


def _chunks(backbone: Backbone, episodes: Sequence[Episode]) -> Iterator[list[Episode]]:
    """Episodes that are adapted at once, as in a run."""
    sizes = [sum(backbone.batch([episode.support])[0].tokens) for episode in episodes]
    for places in chunks(sizes, TASKS, backbone.tokens_at_once, []):
        yield [episodes[place] for place in places]


def _batches(backbone: Backbone, episodes: Sequence[Episode]) -> Iterator[tuple[Batch, Batch]]:
    """Support and query of the episodes of each chunk."""
    for chunk in _chunks(backbone, episodes):
        support, query = [e.support for e in chunk], [e.query for e in chunk]
        yield backbone.batch(support)[0], backbone.batch(query)[0]


def adapt_generate(name: str, material: Material) -> Work:
    """Descent on each of some episodes' supports, then greedy answers to its queries.

    What is compared is the gradient of the first episode's support where each of both ends: of the
    steps themselves, some move a weight by so little that its rounding is 1e-4 of it.
    """
    backbone, model = material.small()
    episodes = material.episodes(EPISODES, SHOTS, QUERIES)
    first = backbone.weights()

    def rows_for(episode: Episode) -> Rows:
        return Rows.of(rows_of(backbone, episode.support), backbone.pad, material.device)

    def ours() -> list[Tensor]:
        reached: list[Tensor] = []
        for chunk in _chunks(backbone, episodes):
            batch, _ = backbone.batch([episode.support for episode in chunk])
            made = InnerLoop(backbone, first, list(first), batch, STEPS).adapted()
            asked = [[query.input for query in episode.query] for episode in chunk]
            backbone.generate(made.weights, asked, MOST)
            if episodes[0] in chunk:
                place = chunk.index(episodes[0])
                reached = [made.weights[name][place] for name in first]
        return reached

    def loop() -> list[Tensor]:
        reached: list[Tensor] = []
        own = dict(model.named_parameters())
        for episode in episodes:
            with torch.no_grad():
                for name, weight in own.items():
                    weight.copy_(first[name])
            rows = rows_for(episode)
            optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
            for _ in range(STEPS):
                optimizer.zero_grad()
                logits = model(input_ids=rows.ids, use_cache=False).logits
                cross_entropy(logits, rows.labels).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            prompts = [backbone._prompt_ids(q.input, POSITIONS - MOST)[0] for q in episode.query]
            _generate(model, backbone, prompts)
            reached = reached or [own[name].detach().clone() for name in first]
        return reached

    def gradient_behind(run: Run) -> list[Tensor]:
        weights = {n: w.clone().requires_grad_() for n, w in zip(first, run(), strict=True)}
        rows = rows_for(episodes[0])
        words = {"input_ids": rows.ids, "use_cache": False}
        logits = functional_call(model, weights, kwargs=words).logits
        return gradient(cross_entropy(logits, rows.labels), weights)

    errors = errors_of(partial(gradient_behind, ours), {"loop": partial(gradient_behind, loop)})
    return Work(name, ours, {"loop": loop}, errors)


def _generate(model: Any, backbone: Backbone, prompts: Sequence[list[int]]) -> Tensor:
    """transformers' own greedy search, padded on the left."""
    width = max(map(len, prompts))
    ids = [[backbone.pad] * (width - len(row)) + row for row in prompts]
    mask = [[0] * (width - len(row)) + [1] * len(row) for row in prompts]
    made: Tensor = model.generate(
        input_ids=torch.tensor(ids, device=backbone.device),
        attention_mask=torch.tensor(mask, device=backbone.device),
        do_sample=False,
        max_new_tokens=MOST,
        pad_token_id=backbone.pad,
    )
    return made


def lora(name: str, material: Material) -> Work:
    """A first-order gradient of low-rank adapters on a model of GPT-2 medium's shape."""
    from transformers import GPT2Config, GPT2LMHeadModel

    quiet()
    config = GPT2Config(**MEDIUM)
    tokenizer = train_tokenizer(["a"], 300, LENGTH)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GPT2LMHeadModel(config).to(material.device).eval()
    plain = CausalBackbone(model, tokenizer, Prompt())
    plain.use(plain.fastest)  # gradients are compared below
    backbone = with_adapters(plain, RANK, 2 * RANK)
    backbone.use(backbone.fastest)
    del plain, model
    generator = torch.Generator().manual_seed(0)
    names = adapter_names(backbone)
    shapes = {n: p.shape for n, p in backbone.model.named_parameters()}
    # B is 0 at first, and A then without gradient.
    drawn = {n: 0.02 * torch.randn(LORA_TASKS, *shapes[n], generator=generator) for n in names}
    ids = torch.randint(config.vocab_size, (LORA_TASKS, SHOTS, LENGTH), generator=generator)
    checked = _lora_gradients(backbone, drawn, ids[:, :CHECKED_ROWS].tolist())
    errors = errors_of(*checked)
    del checked
    backbone.model.to(torch.bfloat16)
    ours, peers = _lora_gradients(backbone, drawn, ids.tolist())
    return Work(name, ours, peers, errors)


def _lora_gradients(
    backbone: Backbone, drawn: Mapping[str, Tensor], ids: Sequence[Sequence[list[int]]]
) -> tuple[Run, dict[str, Run]]:
    """Gradients of each task's adapters, `drawn` in the dtype of the model, by us and in a loop;
    `ids` are rows of tokens of each task, all of which are labels."""
    weights = {name: p.detach() for name, p in backbone.model.named_parameters()}
    adapters = {name: weight.to(weights[name]) for name, weight in drawn.items()}
    most = max(backbone.tokens_at_once // (len(ids[0]) * LENGTH), 1)
    parts = [range(start, min(start + most, len(ids))) for start in range(0, len(ids), most)]
    batches = [backbone.collate([[(row, row) for row in ids[n]] for n in part]) for part in parts]
    tasks = [Rows.of([(row, row) for row in rows], backbone.pad, backbone.device) for rows in ids]

    def ours() -> list[Tensor]:
        found = []
        for part, batch in zip(parts, batches, strict=True):
            own = slice(part.start, part.stop)
            leaves = {n: weight[own].detach().requires_grad_() for n, weight in adapters.items()}
            found.append(gradient(backbone.losses({**weights, **leaves}, batch), leaves))
        return [torch.cat(pieces) for pieces in zip(*found, strict=True)]

    def loop() -> list[Tensor]:
        found = []
        for number, rows in enumerate(tasks):
            leaves = {n: w[number].detach().requires_grad_() for n, w in adapters.items()}
            with backbone.sites.hold({**weights, **leaves}, len(rows.ids)):
                logits = backbone.model(input_ids=rows.ids, use_cache=False).logits
            found.append(gradient(cross_entropy(logits, rows.labels), leaves))
        return [torch.stack(parts) for parts in zip(*found, strict=True)]

    return ours, {"loop": loop}


WORKS: dict[str, Callable[[str, Material], Work]] = {
    "meta-step-order-2": lambda name, material: meta_step(name, 2, material),
    "meta-step-order-1": lambda name, material: meta_step(name, 1, material),
    "adapt-generate": adapt_generate,
    "lora": lora,
}


def missing_peers(names: Sequence[str]) -> list[str]:
    """Those of them that are not installed."""
    from importlib.util import find_spec

    return [name for name in names if name != "loop" and find_spec(name) is None]


def check_peers(names: Sequence[str]) -> None:
    """Raises `UserError` where a peer is not known or not installed."""
    for name in names:
        if name not in PEERS:
            raise unknown("peer", name, PEERS)
    if lacking := missing_peers(names):
        raise UserError(
            f"{', '.join(lacking)}: not installed; pip install 'fewgen[peers]', or name other peers"
        )


def works_of(named: Sequence[str], device: str, peers: Sequence[str]) -> list[str]:
    """The works that are named, else all that one of the peers does (any, if none is named); on a
    CPU `lora` only where it is named: it takes minutes and 10 GiB there.

    Raises:
        UserError: no such work, or none of the peers does it.
    """
    looped = not peers or "loop" in peers
    for name in named:
        if name not in WORKS:
            raise unknown("work", name, WORKS)
        if name in LOOPED and not looped:
            raise UserError(f"{name}: no peer does it but loop; add --peer loop, or name others")
    usual = [name for name in WORKS if name != "lora" or device == "cuda"]
    return list(dict.fromkeys(named)) or [n for n in usual if looped or n not in LOOPED]
