"""A model is what its checkpoint's files hold: nothing is drawn, nothing unpickled unasked."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.checkpoints import load_backbone
from bench.errors import UserError
from tests.conftest import build

CPU = torch.device("cpu")
Weights = dict[str, torch.Tensor]


@pytest.fixture
def folder(tokenizer: Any, tmp_path: Path) -> Path:
    build("gpt2", tokenizer, torch.float32).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def rewrite(folder: Path, change: Callable[[Weights], Weights]) -> None:
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def set_config(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: rewrite(d, lambda weights: {"other": torch.zeros(2)}),
        lambda d: rewrite(d, lambda w: {k: v for k, v in w.items() if "h.1.mlp" not in k}),
        lambda d: set_config(d, n_layer=3),
        lambda d: set_config(d, n_positions=64),
    ],
    ids=["foreign", "a layer less", "a layer more in the config", "another shape"],
)
def test_weights_that_are_not_in_the_files_are_not_drawn(
    spoil: Callable[[Path], None], folder: Path
) -> None:
    spoil(folder)
    with pytest.raises(UserError, match=r"its files lack|cannot be loaded") as error:
        load_backbone(str(folder), None, CPU, "float32")
    assert "\n" not in error.value.message


def test_weights_that_stay_unread_are_noted(folder: Path) -> None:
    assert load_backbone(str(folder), None, CPU, "float32").notes == []
    set_config(folder, n_layer=1)
    (note,) = load_backbone(str(folder), None, CPU, "float32").notes
    assert "weight(s) in its files are not in the model" in note
    assert "transformer.h.1." in note


def test_an_index_that_names_pickles_is_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "weights.pt")
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, "weights.pt")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="holds its weights as pickles"):
        load_backbone(str(folder), None, CPU, "float32")


def test_pickles_beside_other_safetensors_are_told_with_the_flag(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").rename(folder / "adapter.safetensors")
    with pytest.raises(UserError, match="--allow-pickle"):
        load_backbone(str(folder), None, CPU, "float32")


def test_the_name_of_a_special_token_in_a_text_is_text(folder: Path) -> None:
    backbone = load_backbone(str(folder), None, CPU, "float32")
    ids = backbone.text_ids("a </s> b <pad>")
    assert not {backbone.eos, backbone.pad} & set(ids)
    assert backbone.tokenizer.decode(ids) == "a </s> b <pad>"
    assert backbone.prompt.target("x </s> y").count("</s>") == 1


@pytest.mark.parametrize(
    "name", ["max_seq_len", "seq_length", "max_decoder_position_embeddings", "n_positions"]
)
def test_the_context_is_found_by_any_of_its_names(name: str) -> None:
    from bench.backbone import _context_of

    class Any_:
        model_max_length = 10**30

    config = type("Config", (), {name: 48})()
    assert _context_of(config, Any_()) == 48
