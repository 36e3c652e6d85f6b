"""Many tasks at once are the same tasks one after another: losses, gradients, answers, records."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import bench
from bench import packing
from bench.backbone import Backbone, attention
from bench.baseline import MetaTrained
from bench.batches import chunks
from bench.causal import CausalBackbone
from bench.inner_loop import gradient
from bench.packing import NAME
from bench.per_task import TaskLinear
from bench.prompt import Prompt
from bench.records import read_cell
from bench.registry import load, names
from bench.tasks import Example
from bench.training import TaskLoss
from tests.conftest import build
from tests.proofs import direction, plain_loss, relative, start

TRAINED = [n for n in names("baseline") if issubclass(load("baseline", n), MetaTrained)]


def unequal(examples: list[Example]) -> list[tuple[list[Example], list[Example]]]:
    """Three tasks of other K, other Q and other lengths."""
    return [
        (examples[:3], examples[3:]),
        (examples[4:], examples[:1]),
        (examples[1:4], [examples[0], examples[5]]),
    ]


def spread(weights: Any, count: int) -> dict[str, torch.Tensor]:
    """Other weights for each task, all near the given ones."""
    torch.manual_seed(4)
    drawn = {n: w + 0.02 * torch.randn(count, *w.shape).to(w) for n, w in weights.items()}
    return {name: w.requires_grad_() for name, w in drawn.items()}


def test_losses_and_gradients_are_those_of_each_task(
    backbone: Backbone, examples: list[Example]
) -> None:
    tasks = [support for support, _ in unequal(examples)]
    weights = spread(backbone.weights(), 3)
    batch, _ = backbone.batch(tasks)
    with attention(True):
        losses = backbone.losses(weights, batch)
        found = gradient(losses, weights, differentiable=True)
        square = torch.stack([(g * g).sum() for g in found]).sum()
        twice = gradient(square, weights)
    for number, rows in enumerate(tasks):
        own = {n: w[number].detach().requires_grad_() for n, w in weights.items()}
        loss = plain_loss(backbone, own, rows)
        first = gradient(loss, own, differentiable=True)
        second = gradient(torch.stack([(g * g).sum() for g in first]).sum(), own)
        torch.testing.assert_close(losses[number], loss, rtol=1e-12, atol=0)
        assert relative([g[number] for g in found], first) < 1e-9
        assert relative([g[number] for g in twice], second) < 1e-9


@pytest.mark.parametrize("short", [0, 256])
def test_attention_in_many_groups_is_that_in_one(
    backbone: Backbone, examples: list[Example], short: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses and gradients, by the plain formula (of rows up to `short`) and by the fused one; a
    task that is lost leaves the others of its groups."""
    if not backbone.batch([examples])[0].packing:
        pytest.skip("reads rows, not lines")
    tasks = [support for support, _ in unequal(examples)]
    weights = spread(backbone.weights(), 3)
    one, _ = backbone.batch(tasks)
    theirs = backbone.losses(weights, one)
    monkeypatch.setattr(packing, "WORTH", 0)
    monkeypatch.setattr(packing, "SHORT", short)
    many, _ = backbone.batch(tasks)
    assert one.packing is not None
    assert many.packing is not None
    assert len(one.packing.groups) == 1
    assert len(many.packing.groups) > 1
    assert sum(rows for rows, _ in many.packing.groups) == sum(map(len, tasks))
    ours = backbone.losses(weights, many)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    assert relative(gradient(ours, weights), gradient(theirs, weights)) < 1e-9
    with torch.no_grad():
        for weight in weights.values():
            weight[1] = torch.nan
        spoiled = backbone.losses(weights, many)
    assert torch.isnan(spoiled).tolist() == [False, True, False]
    assert torch.equal(spoiled[::2], ours[::2])


def test_a_group_must_save_more_where_it_costs_launches() -> None:
    """On a CPU rows of unlike length are apart; elsewhere the same rows are one group."""
    sizes = [[200, 20], [190, 20], [180, 20]]
    apart, together = (packing.Packing.of(sizes, torch.device(name)) for name in ("cpu", "meta"))
    assert apart.groups == [(3, 201), (3, 21)]
    assert together.groups == [(6, 201)]
    assert together.length == apart.length


def test_some_weights_may_be_shared(backbone: Backbone, examples: list[Example]) -> None:
    """Every other weight is one for all tasks, its gradient the sum over them."""
    tasks = [support for support, _ in unequal(examples)]
    whole = spread(backbone.weights(), 3)
    shared = {n: w[0].detach().requires_grad_() for n, w in list(whole.items())[::2]}
    mixed = {n: shared.get(n, w) for n, w in whole.items()}
    batch, _ = backbone.batch(tasks)
    ours = gradient(backbone.losses(mixed, batch), mixed)
    spread_out = {n: w[None].expand(3, *w.shape) if n in shared else w for n, w in mixed.items()}
    each = gradient(backbone.losses(spread_out, batch), spread_out)
    theirs = [g.sum(0) if n in shared else g for n, g in zip(mixed, each, strict=True)]
    assert relative(ours, theirs) < 1e-12


@pytest.mark.parametrize("name", TRAINED)
def test_a_direction_is_the_sum_of_those_of_its_tasks(
    backbone: Backbone, examples: list[Example], name: str
) -> None:
    kind = load("baseline", name)
    fields = kind.Options.model_fields
    given = {"inner_steps": 3, "inner_rate": 0.02, "cg_steps": 3}
    learner = kind(kind.Options(**{k: v for k, v in given.items() if k in fields}))
    made = learner.prepare(backbone)
    begin = start(made, learner)
    tasks = unequal(examples)
    together = TaskLoss(made, tasks, step=4)
    ours = direction(learner, begin.for_tasks(3), together)
    alone = [TaskLoss(made, [task], step=4) for task in tasks]
    singles = [direction(learner, begin, task) for task in alone]
    summed = {n: sum(single[n] for single in singles) for n in ours}
    assert relative(ours.values(), summed.values()) < 1e-9
    assert together.tokens == [task.tokens[0] for task in alone]
    assert together.notes.keys() == alone[0].notes.keys()
    for note, values in together.notes.items():
        assert values == pytest.approx([task.notes[note][0] for task in alone], rel=1e-6)


def test_a_task_that_diverges_leaves_the_others(
    backbone: Backbone, examples: list[Example]
) -> None:
    tasks = [support for support, _ in unequal(examples)]
    weights = {n: w.detach() for n, w in spread(backbone.weights(), 3).items()}
    batch, _ = backbone.batch(tasks)
    whole = backbone.losses(weights, batch)
    spoiled = {n: w.clone() for n, w in weights.items()}
    for weight in spoiled.values():
        weight[1] = torch.nan
    ours = backbone.losses(spoiled, batch)
    assert torch.isnan(ours).tolist() == [False, True, False]
    assert torch.equal(ours[::2], whole[::2])


class Scale(nn.Module):
    """A layer of a kind that knows of no tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(16, dtype=torch.float64))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values * self.factor


def test_layers_without_a_form_are_read_task_by_task(
    tokenizer: Any, examples: list[Example]
) -> None:
    model = build("llama", tokenizer)
    model.model.layers[0].mlp.down_proj = nn.Sequential(
        model.model.layers[0].mlp.down_proj, Scale()
    )
    odd = CausalBackbone(model, tokenizer, Prompt())
    assert odd.sites.without == {"model.layers.0.mlp.down_proj.1.factor"}
    assert not odd.in_lines
    tasks = [support for support, _ in unequal(examples)]
    weights = spread(odd.weights(), 3)
    batch, _ = odd.batch(tasks)
    ours = odd.losses(weights, batch)
    texts = [example.input for example in examples]
    answers = odd.generate(weights, [texts] * 3, 6)
    for number, rows in enumerate(tasks):
        own = {n: w[number].detach() for n, w in weights.items()}
        torch.testing.assert_close(ours[number], plain_loss(odd, own, rows), rtol=1e-12, atol=0)
        assert odd.generate(own, [texts], 6) == [answers[number]]


def test_lines_are_read_where_rows_alone_give_the_same(tokenizer: Any) -> None:
    for kind in ("gpt2", "llama"):
        backbone = CausalBackbone(build(kind, tokenizer, torch.float32), tokenizer, Prompt())
        assert backbone.in_lines
        assert backbone.model.config._attn_implementation == NAME
    model = build("llama", tokenizer, torch.float32)
    model.model.layers[1].self_attn.register_forward_hook(
        # What a model would do that looks at its line up to a place: the row before is in it.
        lambda layer, given, out: (out[0] + out[0].cumsum(1), *out[1:])
    )
    other = CausalBackbone(model, tokenizer, Prompt())
    assert not other.in_lines
    assert other.model.config._attn_implementation == "sdpa"
    assert other.ways.reasons[0].startswith("rows are padded: gradients of ")


def test_a_model_with_forms_is_saved_as_it_was(tokenizer: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = build("llama", tokenizer, torch.float32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    backbone = CausalBackbone(model, tokenizer, Prompt())
    assert isinstance(model.lm_head, TaskLinear) or backbone.sites.without is not None
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(again) is type(model)
    assert again.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in again.state_dict().items())


def plan(checkpoint: str, out: Path, **changes: Any) -> dict[str, Any]:
    return {
        "backbone": checkpoint,
        "suites": ["translation"],
        "baselines": ["zero-shot", "fine-tuned", "fomaml", "in-context"],
        "options": {"fine-tuned": {"inner_steps": 3}, "fomaml": {"test_steps": 2}},
        "shots": [2],
        "queries": 3,
        "episodes": 5,
        "train_budget": 900,
        "max_new_tokens": 6,
        "length_edges": [],
        "workers": 1,
        "out": str(out),
        **changes,
    }


@pytest.mark.slow
def test_records_do_not_depend_on_how_many_at_once(checkpoint: str, tmp_path: Path) -> None:
    made = {}
    for count in (1, 3, 8):
        outcome = bench.run(plan(checkpoint, tmp_path / str(count), tasks_at_once=count))
        assert outcome.failures == {}
        for cell in outcome.cells:
            header, records = read_cell(cell.path(outcome.root))
            assert header["tasks_at_once"] == min(count, 5)
            assert [record["index"] for record in records] == list(range(5))
            answers = [record["predictions"] for record in records]
            losses = [value for record in records for value in record["losses"]]
            told = made.setdefault(cell.baseline, (answers, losses))
            assert answers == told[0]
            assert losses == pytest.approx(told[1], rel=1e-4)


def test_memory_that_does_not_do_is_told_or_shared_out(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than two tasks at once do not fit, it is said here."""
    from bench.cells import run_cell
    from bench.context import Context
    from bench.errors import CellError
    from bench.plan import make_plan
    from bench.records import Cell

    real = Backbone.losses

    def losses(self: Backbone, weights: Any, batch: Any) -> torch.Tensor:
        if len(batch) > 2:
            raise torch.OutOfMemoryError("no memory")
        return real(self, weights, batch)

    monkeypatch.setattr(Backbone, "losses", losses)
    cell = Cell("translation", "fine-tuned", 2, None, 0)
    values = plan(checkpoint, tmp_path)
    with pytest.raises(CellError, match=r"5 episodes at once .* set tasks_at_once = 2"):
        run_cell(Context(make_plan(values), tmp_path), cell)
    header, records = run_cell(
        Context(make_plan({**values, "allow_rechunk": True}), tmp_path), cell
    )
    assert header["rechunked"]
    assert header["tasks_at_once"] == 2
    assert [record["index"] for record in records] == list(range(5))


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=30),
    st.integers(1, 9),
    st.integers(1, 999),
    st.lists(st.integers(1, 300), max_size=4, unique=True),
)
def test_chunks_hold_every_task_once_between_two_edges(
    sizes: list[int], most: int, tokens: int, edges: list[int]
) -> None:
    edges.sort()
    made = list(chunks(sizes, most, tokens, edges))
    assert sorted(place for chunk in made for place in chunk) == list(range(len(sizes)))
    for chunk in made:
        assert 1 <= len(chunk) <= most
        assert len(chunk) == 1 or sum(sizes[place] for place in chunk) <= tokens
        inside = [sum(sizes[place] >= edge for edge in edges) for place in chunk]
        assert len(set(inside)) == 1
