"""Recurrent backbones: the cells are torch's, padding leaves no trace, folders load again."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.checkpoints import load_backbone
from bench.errors import UserError
from bench.recurrent import (
    CELLS,
    RecurrentConfig,
    RecurrentForCausalLM,
)
from bench.tasks import Example
from tests.conftest import build

CPU = torch.device("cpu")
TORCHS: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU}


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_equals_torchs_in_values_and_gradients(name: str) -> None:
    torch.manual_seed(0)
    ours = CELLS[name](12).double()
    theirs = TORCHS[name](12, 12, batch_first=True).double()
    pairs = [
        (ours.of_input.weight, theirs.weight_ih_l0),
        (ours.of_input.bias, theirs.bias_ih_l0),
        (ours.of_state.weight, theirs.weight_hh_l0),
        (ours.of_state.bias, theirs.bias_hh_l0),
    ]
    with torch.no_grad():
        for mine, torchs in pairs:
            torchs.copy_(mine)
    one = torch.randn(3, 7, 12, dtype=torch.float64, requires_grad=True)
    two = one.detach().clone().requires_grad_()
    mine, state = ours(one, None, None)
    torchs, last = theirs(two)
    torch.testing.assert_close(mine, torchs, rtol=1e-12, atol=1e-14)
    last = last if name == "lstm" else (last,)
    for a, b in zip(state, last, strict=True):
        torch.testing.assert_close(a, b[0], rtol=1e-12, atol=1e-14)
    weights = torch.randn_like(mine)
    (mine * weights).sum().backward()
    (torchs * weights).sum().backward()
    torch.testing.assert_close(one.grad, two.grad, rtol=1e-10, atol=1e-13)
    for a, b in pairs:
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", CELLS)
def test_padding_on_the_left_leaves_the_state_as_it_was(name: str, tokenizer: Any) -> None:
    model = build(name, tokenizer)
    ids = torch.tensor([[5, 6, 7]])
    padded, mask = torch.tensor([[2, 2, 5, 6, 7]]), torch.tensor([[0, 0, 1, 1, 1]])
    plain, behind = model(ids), model(padded, attention_mask=mask)
    torch.testing.assert_close(plain.logits, behind.logits[:, 2:], rtol=1e-12, atol=0)
    for a, b in zip(plain.state, behind.state, strict=True):
        for x, y in zip(a, b, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", CELLS)
def test_a_sequence_in_two_pieces_is_the_sequence(name: str, tokenizer: Any) -> None:
    model = build(name, tokenizer)
    ids = torch.randint(3, 90, (2, 9), generator=torch.Generator().manual_seed(0))
    first = model(ids[:, :4])
    second = model(ids[:, 4:], state=first.state)
    whole = model(ids).logits
    torch.testing.assert_close(torch.cat([first.logits, second.logits], 1), whole)


@pytest.mark.parametrize("name", CELLS)
def test_a_folder_loads_again(
    name: str, tokenizer: Any, examples: list[Example], tmp_path: Path
) -> None:
    model = build(name, tokenizer, torch.float32)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    backbone = load_backbone(str(tmp_path), None, CPU, "float32")
    for key, weight in model.named_parameters():
        assert torch.equal(backbone.weights()[key], weight)
    assert backbone.identity.startswith("recurrent-")
    assert backbone.context == 128, "the tokenizer's"
    (made,) = backbone.generate(backbone.weights(), [["the goat"]], 6, [examples[:2]])
    assert len(made.texts) == 1


def test_an_unknown_cell_is_told() -> None:
    with pytest.raises(ValueError, match="cell = 'rnn'; allowed are lstm, gru"):
        RecurrentForCausalLM(RecurrentConfig(cell="rnn"))


def test_a_recipe_with_an_unknown_cell_is_one_line(tokenizer: Any) -> None:
    from bench.recipe import Recipe, build_model
    from tests.test_pretrain import RECIPE

    recipe = Recipe.model_validate(
        {**RECIPE.model_dump(), "model": {"model_type": "recurrent", "cell": "rnn"}}
    )
    with pytest.raises(UserError, match="allowed are lstm, gru"):
        build_model(recipe, tokenizer, 0)


def test_a_new_lstm_keeps_its_memory_and_a_loaded_one_its_bias(tmp_path: Path) -> None:
    config = RecurrentConfig(cell="lstm", hidden_size=8, num_hidden_layers=2, vocab_size=20)
    model = RecurrentForCausalLM(config)
    for layer in model.layers:
        gates = layer.of_input.bias.detach().view(4, 8)
        assert (gates[1] == 1).all()
        assert (gates[[0, 2, 3]] < 0.5).all()
        layer.of_input.bias.data.fill_(0.25)
    model.save_pretrained(tmp_path)
    for layer in RecurrentForCausalLM.from_pretrained(tmp_path).layers:
        assert (layer.of_input.bias == 0.25).all()
