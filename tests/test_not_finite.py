"""NaN logits: a fault of a checkpoint fails the cell, a diverged inner loop is a result."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from baselines.reptile import Reptile
from bench.backbone import Backbone
from bench.cells import run_cell
from bench.checkpoints import backbone_of
from bench.context import Context, dataset_of
from bench.decoding import Decoding
from bench.errors import CellError
from bench.generation import Generation
from bench.plan import make_plan
from bench.prompt import Prompt
from bench.records import Cell
from bench.streams import Stream
from bench.training import Training
from tests.conftest import build

ASKED = [["the goat", "a lamp moves"], ["a bird"]]
HOW = [Decoding(), Decoding("beam", 3), Decoding("sample"), Decoding("sample", top_p=0.5)]
NORMS = {"gpt2": "transformer.ln_f.weight", "t5": "decoder.final_layer_norm.weight"}


def made_of(kind: str, tokenizer: Any, value: float = 0.0) -> Backbone:
    """A small model, whose last norm holds `value` if that is no number."""
    model = build(kind, tokenizer, torch.float32)
    if value:
        dict(model.named_parameters())[NORMS[kind]].data.fill_(value)
    backbone = backbone_of(model, tokenizer, Prompt())
    if value:
        backbone.use(backbone.fastest)  # the check at load would refuse it
    return backbone


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("how", HOW, ids=str)
@pytest.mark.parametrize("kind", NORMS)
def test_answers_for_which_logits_were_nan_are_named(
    tokenizer: Any, kind: str, how: Decoding, value: float
) -> None:
    """Of the tasks with such weights alone, in one batch with others."""
    backbone = made_of(kind, tokenizer)
    backbone.decoding = how
    weights = {name: torch.stack([w] * 2) for name, w in backbone.weights().items()}
    streams = [[Stream(0, text) for text in rows] for rows in ASKED]
    made = backbone.generate(weights, ASKED, 3, streams=streams)
    assert [result.broken for result in made] == [[], []]
    weights[NORMS[kind]][0] = value
    made = backbone.generate(weights, ASKED, 3, streams=streams)
    assert [result.broken for result in made] == [[0, 1], []]


@pytest.mark.parametrize("how", HOW[:2], ids=str)
@pytest.mark.parametrize("kind", NORMS)
def test_so_are_those_that_transformers_writes(tokenizer: Any, kind: str, how: Decoding) -> None:
    for value, broken in ((0.0, [[], []]), (float("nan"), [[0, 1], [0]])):
        backbone = made_of(kind, tokenizer, value)
        backbone.decoding = how
        backbone.use(backbone.ways.without("transformers generates", answers="padded"))
        made = backbone.generate(backbone.weights(), ASKED, 3)
        assert [result.broken for result in made] == broken


def work(
    root: Path, backbone: Backbone, baseline: str, **options: Any
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A cell of one method on this backbone."""
    plan = make_plan(
        {
            "suites": ["translation"],
            "baselines": [baseline],
            "shots": [2],
            "queries": 2,
            "episodes": 2,
            "max_new_tokens": 3,
            "options": {baseline: options},
        }
    )
    context = Context(plan, root)
    context.backbone = lambda seed: backbone  # type: ignore[assignment]
    return run_cell(context, Cell("translation", baseline, 2, None, 0))


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("baseline", ["zero-shot", "in-context", "fine-tuned"])
def test_a_backbone_with_nan_logits_fails_the_cell(
    tokenizer: Any, tmp_path: Path, kind: str, baseline: str
) -> None:
    with pytest.raises(CellError, match="NaN or infinite logits") as error:
        work(tmp_path, made_of(kind, tokenizer, float("nan")), baseline)
    assert "\n" not in str(error.value)


def test_so_does_meta_training(tokenizer: Any) -> None:
    backbone = made_of("gpt2", tokenizer, float("nan"))
    method = Reptile(Reptile.Options())
    training = Training(backbone, dataset_of("translation"), [2], 0)
    with pytest.raises(CellError, match="NaN or infinite logits"):
        method.meta_train(training, 1000, lambda fraction: None)


def test_an_inner_loop_that_diverges_is_a_result(tokenizer: Any, tmp_path: Path) -> None:
    _, records = work(tmp_path, made_of("gpt2", tokenizer), "fine-tuned", inner_rate=1e30)
    assert all(record["diverged"] for record in records)
    assert {text for record in records for text in record["predictions"]} == {""}


def test_adapted_weights_that_give_nan_for_a_query_alone_are_a_result(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The support loss may be finite behind steps that a query's logits do not survive."""
    backbone = made_of("gpt2", tokenizer)
    generate = type(backbone).generate

    def spoiled(self: Backbone, weights: Any, tasks: Sequence[Any], *args: Any, **more: Any) -> Any:
        made = generate(self, weights, tasks, *args, **more)
        if self.sites.per_task(weights):
            made[0].broken = [1]
            made[0].texts[1] = "left over"
        return made

    monkeypatch.setattr(type(backbone), "generate", spoiled)
    _, records = work(tmp_path, backbone, "fine-tuned", inner_steps=1)
    spoilt = [record for record in records if record["predictions"][1] == ""]
    assert spoilt
    assert all(record["diverged"] for record in spoilt)
    assert not any("left over" in record["predictions"] for record in records)
    assert Generation().broken == []
