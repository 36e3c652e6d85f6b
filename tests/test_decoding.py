"""Answers of many trained models at once: transformers' own, and samples by the book."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor
from transformers import GenerationMixin
from transformers.generation import TemperatureLogitsWarper, TopPLogitsWarper

from bench.backbone import Backbone
from bench.cells import run_cell
from bench.checkpoints import backbone_of
from bench.context import Context
from bench.decoding import Decoding, one_by_one, sampled
from bench.episodes import Episode
from bench.errors import UserError
from bench.generation import Writer
from bench.plan import make_plan
from bench.prompt import Prompt
from bench.records import Cell
from bench.recurrent import RecurrentForCausalLM, RecurrentOutput
from bench.solver import Solver
from bench.steps import Steps
from bench.streams import Stream
from bench.tasks import Example
from tests.conftest import PAIRS, build
from tests.proofs import Scripted, next_token_logs

SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("gpt2", "bart")]
KINDS = ["llama", "t5", "lstm", *SLOW]
TASKS, ROWS, MOST = 3, 24, 14
TIE = 1e-5
WORDS = sorted({word for text, _ in PAIRS for word in text.split()})
ANSWERS = sorted({word for _, text in PAIRS for word in text.split()})


class Searched(RecurrentForCausalLM, GenerationMixin):
    """The recurrent model as transformers can generate with it: it reads all again every token."""

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, attention_mask: Tensor, **more: Any
    ) -> dict[str, Any]:
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    def forward(self, return_dict: bool = True, **inputs: Any) -> Any:
        return RecurrentOutput(logits=super().forward(**inputs).logits)


@dataclass
class Trained:
    """Three models of a kind, each trained on its own task."""

    backbone: Backbone
    plain: Any  # the same kind, never touched by us
    weights: dict[str, Tensor]

    def of(self, number: int) -> Any:
        """The plain model with the weights of one task."""
        own = {name: weight[number] for name, weight in self.weights.items()}
        self.plain.load_state_dict(own, strict=False)
        self.plain.tie_weights()
        return self.plain


def draw(number: int, dice: random.Random) -> tuple[str, str]:
    """One to four words, each told in the task's own, once or twice: nothing is certain."""
    words = dice.choices(WORDS, k=dice.randint(1, 4))
    told = {word: ANSWERS[(i + number) % len(ANSWERS)] for i, word in enumerate(WORDS)}
    return " ".join(words), " ".join(told[w] for w in words for _ in range(dice.randint(1, 2)))


@cache
def _trained(kind: str, tokenizer: Any) -> Trained:
    plain = build(kind, tokenizer, torch.float32).eval()
    if kind == "lstm":
        plain = Searched(plain.config).eval()
    backbone = backbone_of(build(kind, tokenizer, torch.float32), tokenizer, Prompt())
    torch.manual_seed(1)
    drawn = {n: w + 0.02 * torch.randn(TASKS, *w.shape) for n, w in backbone.weights().items()}
    weights = {name: weight.requires_grad_() for name, weight in drawn.items()}
    rate, dice = 1e-2 if kind in ("t5", "bart") else 2e-2, random.Random(2)
    optimizer = torch.optim.Adam(list(weights.values()), rate)
    for _ in range(150):
        rows = [[draw(t, dice) for _ in range(16)] for t in range(TASKS)]
        tasks = [[Example(text, (target,), "", "") for text, target in r] for r in rows]
        losses = backbone.losses(weights, backbone.batch(tasks)[0])
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.step()
    assert losses.max() < 2.0, "it has learned"
    return Trained(backbone, plain, {name: w.detach() for name, w in weights.items()})


@pytest.fixture(params=KINDS)
def trained(request: pytest.FixtureRequest, tokenizer: Any) -> Trained:
    return _trained(request.param, tokenizer)


def asked(backbone: Backbone) -> list[list[list[int]]]:
    """Prompts of each task, of other lengths and other counts."""
    dice = random.Random(3)
    texts = [[draw(t, dice)[0] for _ in range(ROWS - t)] for t in range(TASKS)]
    return [[backbone._prompt_ids(text, 64)[0] for text in rows] for rows in texts]


def transformers_own(
    trained: Trained, number: int, prompts: Sequence[list[int]], beams: int, stop: str | None
) -> list[list[int]]:
    """What `generate` makes of one task's prompts in a padded batch."""
    backbone, model = trained.backbone, trained.of(number)
    rows = prompts
    width, reads_twice = max(map(len, rows)), model.config.is_encoder_decoder
    ids = torch.full((len(rows), width), backbone.pad)
    mask = torch.zeros_like(ids)
    for line, seen, row in zip(ids, mask, rows, strict=True):
        place = slice(0, len(row)) if reads_twice else slice(width - len(row), width)
        line[place], seen[place] = torch.tensor(row), 1
    out = model.generate(
        input_ids=ids,
        attention_mask=mask,
        do_sample=False,
        num_beams=beams,
        max_new_tokens=MOST,
        eos_token_id=sorted(backbone.ends),
        pad_token_id=backbone.pad,
        use_cache=not isinstance(model, Searched),
        **({"stop_strings": [stop], "tokenizer": backbone.tokenizer} if stop else {}),
    )
    made: list[list[int]] = out[:, 1 if reads_twice else width :].tolist()
    return [bare(row, backbone) for row in made]


def bare(row: list[int], backbone: Backbone) -> list[int]:
    """New tokens up to the end."""
    row = list(row)
    while row and row[-1] == backbone.pad:
        row.pop()
    return row


def is_tie(trained: Trained, number: int, prompt: list[int], ours: Any, theirs: Any) -> bool:
    """Whether the two likeliest tokens where greedy answers part, or the scores of two answers,
    are as good as equal."""
    backbone, model = trained.backbone, trained.of(number)
    own = {name: weight.detach() for name, weight in model.named_parameters()}
    as_backbone: Any = SimpleNamespace(model=model)
    logs = {tuple(row): next_token_logs(as_backbone, own, prompt, row) for row in (ours, theirs)}
    if backbone.decoding.kind == "beam":
        scores = [float(log[range(len(row)), list(row)].mean()) for row, log in logs.items()]
        return abs(scores[0] - scores[1]) < TIE
    pairs = zip(ours, theirs, strict=False)
    place = next(i for i, (one, other) in enumerate(pairs) if one != other)
    one, other = logs[tuple(theirs)][place].topk(2).values.tolist()
    return one - other < TIE


def compared(trained: Trained, stop: str | None = None) -> tuple[list[list[int]], float]:
    """transformers' answers, and the share of them that are not ours, which must be ties."""
    backbone, prompts = trained.backbone, asked(trained.backbone)
    beams = backbone.decoding.beams if backbone.decoding.kind == "beam" else 1
    ours = list(Writer(backbone, MOST, stop).answers(trained.weights, prompts, None))
    answers, ties = list[list[int]](), 0
    for number, (rows, found) in enumerate(zip(prompts, ours, strict=True)):
        theirs = transformers_own(trained, number, rows, beams, stop)
        assert len(found) == len(theirs) == ROWS - number
        for prompt, new, other in zip(rows, found, theirs, strict=True):
            mine = bare(new, backbone)
            if mine != other:
                assert is_tie(trained, number, prompt, mine, other), (mine, other)
                ties += 1
        answers += theirs
    return answers, ties / len(answers)


@pytest.mark.parametrize("end", ["", "stop string", "second end"])
@pytest.mark.parametrize("beams", [1, 2, 4])
def test_tokens_are_those_of_transformers(
    trained: Trained, beams: int, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several models at once, prompts of different lengths, ends at different places."""
    backbone = trained.backbone
    stop = f" {ANSWERS[2]} {ANSWERS[2]}" if end == "stop string" else None
    if end == "second end":
        more = backbone.text_ids(f" {ANSWERS[3]}")[-1]
        monkeypatch.setattr(backbone, "ends", {backbone.eos, more})
    monkeypatch.setattr(backbone, "decoding", Decoding("beam" if beams > 1 else "greedy", beams))
    kept, keep = list[int](), Steps.keep

    def counted(self: Steps, index: Tensor, tasks: Tensor | None = None) -> None:
        keep(self, index, tasks)
        kept.append(len(index))

    monkeypatch.setattr(Steps, "keep", counted)
    answers, ties = compared(trained, stop)
    assert min(kept) < (max(kept) if beams > 1 else TASKS * ROWS), "rows that have ended leave"
    assert ties <= 0.02
    lengths = list(map(len, answers))
    assert len(set(lengths)) >= 5, "ends fall at different places"
    assert lengths.count(MOST) < len(lengths) / 2
    ended_otherwise = [row for row in answers if row[-1] != backbone.eos and len(row) < MOST]
    assert bool(ended_otherwise) == bool(end)


@pytest.mark.parametrize("beams", [2, 3, 5])
@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_beams_that_are_close_are_those_of_transformers(
    tokenizer: Any, kind: str, beams: int
) -> None:
    """Untrained models, for which many beginnings and many of many ends are nearly as good."""
    backbone = backbone_of(build(kind, tokenizer, torch.float32), tokenizer, Prompt())
    torch.manual_seed(7)
    drawn = {n: w + 0.2 * torch.randn(TASKS, *w.shape) for n, w in backbone.weights().items()}
    backbone.decoding, backbone.ends = Decoding("beam", beams), set(range(1, 320, 2))
    plain = build(kind, tokenizer, torch.float32).eval()
    answers, ties = compared(Trained(backbone, plain, drawn))
    assert ties <= 0.02
    assert len({len(row) for row in answers}) >= 3


def streams(prompts: Sequence[Sequence[Any]]) -> list[list[Stream]]:
    return [[Stream(5, t, row) for row in range(len(rows))] for t, rows in enumerate(prompts)]


def test_a_sample_does_not_depend_on_what_is_beside_it(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = trained.backbone
    monkeypatch.setattr(backbone, "decoding", Decoding("sample", temperature=1.3, top_p=0.95))
    writer, prompts = Writer(backbone, MOST, None), asked(backbone)
    whole = list(writer.answers(trained.weights, prompts, streams(prompts)))
    assert list(writer.answers(trained.weights, prompts, streams(prompts))) == whole
    for number, rows in enumerate(prompts):
        alone = {name: weight[number] for name, weight in trained.weights.items()}
        own = streams(prompts)[number]
        (backward,) = writer.answers(alone, [rows[::-1]], [own[::-1]])
        assert backward[::-1] == whole[number]
        own = streams(prompts)[number]
        (some,) = writer.answers(alone, [rows[3:7]], [own[3:7]])
        assert some == whole[number][3:7]
    same = [[rows[0]] * len(rows) for rows in prompts]
    apart = list(writer.answers(trained.weights, same, streams(same)))
    assert all(len(set(map(tuple, rows))) > 2 for rows in apart), "each draws its own"
    monkeypatch.setattr(backbone, "decoding", Decoding())
    assert list(writer.answers(trained.weights, prompts, None)) != whole
    monkeypatch.setattr(backbone, "decoding", Decoding("sample"))
    with pytest.raises(ValueError, match="a stream of each input"):
        list(writer.answers(trained.weights, prompts, None))


class Fixed(Scripted):
    """Gives every row the same logits, whatever it reads."""

    def __init__(self, logits: Tensor, rows: int) -> None:
        super().__init__([[]] * rows, len(logits))
        self.logits = logits

    def first(self) -> Tensor:
        return self.logits.expand(self.rows, -1)


def expected_shares(logits: Tensor, temperature: float, top_p: float) -> Tensor:
    """By transformers' own filters."""
    scores = TemperatureLogitsWarper(temperature)(None, logits[None])
    if top_p < 1:
        scores = TopPLogitsWarper(top_p)(None, scores)
    shares: Tensor = scores.double().softmax(-1)[0]
    return shares


def fits(drawn: Tensor, shares: Tensor) -> bool:
    """Whether tokens may well come from this distribution, those that are rare taken together; and
    none is of no probability at all."""
    counts = torch.bincount(drawn.flatten(), minlength=len(shares)).double()
    wanted = shares * drawn.numel()
    often = wanted >= 5
    found, hoped = ([*x[often].tolist(), float(x[~often].sum())] for x in (counts, wanted))
    if hoped[-1] == 0:
        found, hoped = found[:-1], hoped[:-1]
    total = sum(hoped)
    hoped = [value * sum(found) / total for value in hoped]
    p: float = chisquare(found, hoped).pvalue if len(found) > 1 else 1.0
    return p > 1e-3 and bool((counts[shares == 0] == 0).all())


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
@pytest.mark.parametrize("top_p", [1.0, 0.85, 0.4])
def test_samples_are_of_their_distribution(temperature: float, top_p: float) -> None:
    logits, rows, most = torch.tensor([0.5, 2.0, -1.0, 1.4, 0.2, -3.0, 1.1]), 3000, 2
    draws = [[s.uniform() for _ in range(most)] for s in (Stream(1, i) for i in range(rows))]
    choose = sampled(torch.tensor(draws, dtype=torch.float64), temperature, top_p)
    made = one_by_one(Fixed(logits, rows), 1, [], most, 99, lambda new: new[:, -1] > 98, choose)
    shares = expected_shares(logits, temperature, top_p)
    assert fits(made, shares)
    pairs = made[:, 0] * len(logits) + made[:, 1]
    assert fits(pairs, torch.outer(shares, shares).flatten()), "tokens follow independently"
    if shares.max() < 1:
        assert not fits(made, expected_shares(logits, temperature * 2, top_p))


def test_a_models_samples_are_of_its_distribution(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = _trained("llama", tokenizer)
    backbone, (prompt, *_) = trained.backbone, asked(trained.backbone)[0]
    monkeypatch.setattr(backbone, "decoding", Decoding("sample", temperature=1.5, top_p=0.9))
    rows = [[prompt] * 1000] * TASKS
    made = list(Writer(backbone, 1, None).answers(trained.weights, rows, streams(rows)))
    logits = []
    for number in range(TASKS):
        with torch.no_grad():
            logits.append(trained.of(number)(torch.tensor([prompt])).logits[0, -1])
    shares = [expected_shares(row, 1.5, 0.9) for row in logits]
    assert all(fits(torch.tensor(m), s) for m, s in zip(made, shares, strict=True))
    assert not fits(torch.tensor(made[0]), shares[1]), "other tasks write otherwise"


def test_models_that_are_not_read_step_by_step_search_by_transformers(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = build("llama", tokenizer, torch.float32)
    plain.set_attn_implementation("eager")
    trained, other = _trained("llama", tokenizer), backbone_of(plain, tokenizer, Prompt())
    assert not other.steps_hold
    prompts = asked(other)
    for decoding in (Decoding(), Decoding("beam", beams=3)):
        made = []
        for backbone in (other, trained.backbone):
            monkeypatch.setattr(backbone, "decoding", decoding)
            answers = Writer(backbone, MOST, None).answers(trained.weights, prompts, None)
            made.append([bare(row, other) for rows in answers for row in rows])
        assert made[0] == made[1]
    other.decoding = Decoding("sample")
    with pytest.raises(UserError, match=r"LlamaForCausalLM .* --decoding greedy or beam") as told:
        other.generate(other.weights(), [["the goat"]], 3, streams=[[Stream(0)]])
    assert "\n" not in told.value.message


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"decoding": "sample", "temperature": 0.8}, "sample, temperature = 0.8, top_p = 1.0"),
        ({"decoding": "beam", "beams": 2}, "beam, beams = 2"),
    ],
)
def test_a_cell_is_written_as_the_plan_says_whatever_the_number_at_once(
    checkpoint: str, tmp_path: Path, settings: dict[str, Any], named: str
) -> None:
    values = {
        "backbone": checkpoint,
        "suites": ["translation"],
        "baselines": ["copy", "zero-shot", "fine-tuned"],
        "options": {"fine-tuned": {"inner_steps": 3, "adapt": "lora"}},
        "shots": [2],
        "queries": 3,
        "episodes": 5,
        "max_new_tokens": 6,
        "length_edges": [],
    }
    made: dict[str, list[Any]] = {}
    for more in ({"tasks_at_once": 1, **settings}, {"tasks_at_once": 3, **settings}, {}):
        context = Context(make_plan({**values, **more}), tmp_path)
        for baseline in values["baselines"]:
            header, records = run_cell(context, Cell("translation", baseline, 2, None, 0))
            made.setdefault(baseline, []).append([record["predictions"] for record in records])
            written = named if more else "greedy"
            assert header["settings"]["decoding"] == (None if baseline == "copy" else written)
    for baseline, (one, three, greedy) in made.items():
        assert one == three
        assert (three == greedy) == (baseline == "copy")


def test_another_decoding_seed_draws_other_answers_of_the_same_episodes(
    checkpoint: str, tmp_path: Path
) -> None:
    values = {
        "backbone": checkpoint,
        "suites": ["translation"],
        "baselines": ["zero-shot"],
        "shots": [2],
        "queries": 3,
        "episodes": 3,
        "max_new_tokens": 6,
        "decoding": "sample",
    }
    made = []
    for seed in (0, 1, 1):
        context = Context(make_plan({**values, "decoding_seed": seed}), tmp_path)
        header, records = run_cell(context, Cell("translation", "zero-shot", 2, None, 0))
        made.append([(record["digest"], record["predictions"]) for record in records])
        assert ("decoding_seed = 1" in header["settings"]["decoding"]) == (seed == 1)
    assert made[1] == made[2]
    assert [digest for digest, _ in made[0]] == [digest for digest, _ in made[1]]
    assert all(one != two for (_, one), (_, two) in zip(made[0], made[1], strict=True))


def test_decoding_seed_0_draws_what_was_drawn_before_there_was_one() -> None:
    query = Example("a", ("b",), "e", "g")
    episode = Episode("task", 5, 7, (), (query,), "train", "digest")
    keys = []
    for seed in (0, 1):
        plan = make_plan({"decoding": "sample", "decoding_seed": seed})
        solver: Any = SimpleNamespace(
            cell=Cell("s", "b", 2, None, 5), context=SimpleNamespace(plan=plan)
        )
        keys += [stream.key for stream in Solver._streams(solver, episode)]
    before = Stream(5, "answer", "s", "task", 7, "a", ("b",)).key
    assert keys[0] == before != keys[1]
