"""A model is tried once when it is loaded: what reads it wrongly is not used, or it is refused."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench import load_check
from bench.causal import CausalBackbone
from bench.cells import run_cell
from bench.checkpoints import backbone_of, load_backbone
from bench.context import Context
from bench.errors import UserError
from bench.facts import describe
from bench.plan import make_plan
from bench.prompt import Prompt
from bench.records import Cell
from bench.steps import CausalSteps
from bench.tasks import Example
from bench.ways import Ways
from tests.conftest import build

CPU = torch.device("cpu")
WIDTH = 16


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("FEWGEN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fewgen" / "checked"


def made(tokenizer: Any, kind: str = "llama") -> Any:
    return build(kind, tokenizer, torch.float32)


class Clipped(nn.Module):
    """Has the name, the weight and for small values the results of a known norm."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))
        self.variance_epsilon = 1e-6

    def forward(self, values: Tensor) -> Tensor:
        mean = values.square().mean(-1, keepdim=True)
        # The values that a norm is tried with stay below; those of a model need not.
        scale = torch.where(values.abs().amax(-1, keepdim=True) > 1e4, 0.5, 1.0)
        return scale * values * torch.rsqrt(mean + self.variance_epsilon) * self.weight


Clipped.__name__ = "LookalikeRMSNorm"


class Loud(nn.Embedding):
    """Gives the values that `Clipped` treats otherwise."""

    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(ids) * 1e6


class Scaled(nn.Linear):
    """A linear layer that reads its weight itself, and otherwise than one does."""

    def forward(self, values: Tensor) -> Tensor:
        return values @ self.weight.T * self.weight.norm()


class RowMixing(nn.Linear):
    """What a row gives depends on the others of its batch."""

    def forward(self, values: Tensor) -> Tensor:
        return super().forward(values - values.mean(0, keepdim=True) / 2 * (len(values) > 1))


def replaced(layer: nn.Linear, kind: type[nn.Linear]) -> nn.Linear:
    new = kind(layer.in_features, layer.out_features, bias=False)
    new.weight = layer.weight
    return new


def test_shipped_architectures_take_the_fast_path(tokenizer: Any) -> None:
    expected = {"gpt2": True, "bart": False, "lstm": False}
    for kind, lines in expected.items():
        assert backbone_of(made(tokenizer, kind), tokenizer, Prompt()).ways == Ways(lines=lines)


def test_a_norm_that_only_looks_like_a_known_one_is_found_by_the_model(tokenizer: Any) -> None:
    """Alone it passes as known, so all layers are the model's own."""
    model = made(tokenizer)
    model.model.norm = Clipped()
    model.model.layers[0].input_layernorm = Clipped()
    embedding = model.model.embed_tokens
    loud = Loud(*embedding.weight.shape)
    loud.weight = embedding.weight
    model.model.embed_tokens = loud
    other = CausalBackbone(model, tokenizer, Prompt())
    assert not other.ways.tasks
    assert not other.in_lines
    assert type(model.model.norm) is Clipped
    assert any("all layers are the model's own" in reason for reason in other.ways.reasons)


def test_a_subclass_of_a_known_layer_is_not_taken_for_it(
    tokenizer: Any, examples: list[Any]
) -> None:
    model = made(tokenizer)
    mlp = model.model.layers[0].mlp
    mlp.down_proj = replaced(mlp.down_proj, Scaled)
    backbone = CausalBackbone(model, tokenizer, Prompt())
    assert backbone.sites.without == {"model.layers.0.mlp.down_proj.weight"}
    assert "Scaled" in backbone.ways.reasons[0]
    weights = {n: torch.stack([w, w * 1.1]) for n, w in backbone.weights().items()}
    batch, _ = backbone.batch([examples[:2], examples[2:3]])
    together = backbone.losses(weights, batch)
    for number, rows in enumerate((examples[:2], examples[2:3])):
        single, _ = backbone.batch([rows])
        own = {n: w[number] for n, w in weights.items()}
        with torch.no_grad():
            model.load_state_dict(own, strict=False)
            logits = model(**single.inputs, use_cache=False).logits
        logs = logits.flatten(0, 1)[single.places[0]].log_softmax(-1)
        wanted = -logs.gather(1, single.labels[0][:, None]).mean()
        torch.testing.assert_close(together[number], wanted, rtol=1e-5, atol=0)
        model.load_state_dict({n: w[0] for n, w in weights.items()}, strict=False)


def test_a_model_that_mixes_the_rows_of_a_batch_is_refused_by_name(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tokenizer).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    from transformers import LlamaForCausalLM

    whole = LlamaForCausalLM.__init__

    def planted(self: Any, *given: Any, **more: Any) -> None:
        whole(self, *given, **more)
        mlp = self.model.layers[0].mlp
        mlp.down_proj = replaced(mlp.down_proj, RowMixing)

    monkeypatch.setattr(LlamaForCausalLM, "__init__", planted)
    with pytest.raises(UserError, match="losses of padded rows differ from those of rows") as told:
        load_backbone(str(tmp_path), None, CPU, "float32")
    assert str(tmp_path) in told.value.message
    assert "LlamaForCausalLM" in told.value.message
    assert "\n" not in told.value.message


def test_decoding_that_differs_leaves_answers_to_transformers(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses are right, our own decoding counts places otherwise than the model."""
    whole = CausalSteps.next

    def shifted(self: Any, tokens: Tensor) -> Tensor:
        self._place = self._place + 1
        return whole(self, tokens)

    monkeypatch.setattr(CausalSteps, "next", shifted)
    ways = CausalBackbone(made(tokenizer), tokenizer, Prompt()).ways
    assert (ways.lines, ways.tasks, ways.answers) == (True, True, "padded")
    assert "logits of token 2 of an answer differ" in ways.reasons[-1]


def test_the_check_is_made_once_per_weights_and_kept(
    tokenizer: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0
    whole = load_check._found

    def counted(backbone: Any) -> Ways:
        nonlocal count
        count += 1
        return whole(backbone)

    monkeypatch.setattr(load_check, "_found", counted)

    def ways(model: Any) -> Ways:
        return backbone_of(model, tokenizer, Prompt()).ways

    first = ways(made(tokenizer))
    assert (count, len(list(cache.iterdir()))) == (1, 1)
    assert ways(made(tokenizer)) == first
    assert count == 1
    (kept,) = cache.iterdir()
    for spoiled in ("{", '{"lines": 1, "tasks": true, "reasons": []}'):
        kept.write_text(spoiled)
        assert ways(made(tokenizer)) == first
        assert json.loads(kept.read_text())["lines"] is True
    assert count == 3
    other = made(tokenizer)
    with torch.no_grad():
        other.model.norm.weight[0] += 1
    ways(other)
    ways(made(tokenizer).double())
    monkeypatch.setattr(load_check, "_versions", lambda: ["another"])
    ways(made(tokenizer))
    assert count == 6
    assert len(list(cache.iterdir())) == 4


def test_a_cache_that_cannot_be_written_is_no_fault(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert backbone_of(made(tokenizer), tokenizer, Prompt()).ways == Ways(lines=True)


def test_the_check_shares_the_weights_and_leaves_no_trace(tokenizer: Any) -> None:
    model = made(tokenizer)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    places = {name: value.data_ptr() for name, value in model.named_parameters()}
    same = load_check._same_weights(model)
    assert {name: w.data_ptr() for name, w in same.named_parameters()} == places
    state = torch.get_rng_state()
    backbone = backbone_of(model, tokenizer, Prompt())
    backbone.mean = "sequence"
    assert backbone.ways.lines
    assert backbone.mean == "sequence"
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert {name: w.data_ptr() for name, w in model.named_parameters()} == places


def folder_of(model: Any, tokenizer: Any, folder: Path) -> str:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_a_slower_path_is_recorded(tokenizer: Any, tmp_path: Path) -> None:
    from transformers import FalconConfig, FalconForCausalLM

    torch.manual_seed(0)
    config = FalconConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        alibi=False,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    place = folder_of(FalconForCausalLM(config), tokenizer, tmp_path / "falcon")
    backbone = load_backbone(place, None, CPU, "float32")
    assert any("FalconLinear" in note for note in backbone.notes)
    values = {
        "backbone": place,
        "suites": ["translation"],
        "baselines": ["fine-tuned"],
        "options": {"fine-tuned": {"inner_steps": 1}},
        "shots": [2],
        "queries": 1,
        "episodes": 1,
        "max_new_tokens": 4,
        "workers": 1,
        "out": str(tmp_path / "run"),
    }
    context = Context(make_plan(values), tmp_path)
    header, _ = run_cell(context, Cell("translation", "fine-tuned", 2, None, 0))
    assert header["slower_path"] == list(backbone.ways.reasons)
    assert describe(context)["facts"]["slower_path"] == header["slower_path"]


def test_weights_that_are_not_finite_are_named(tokenizer: Any, tmp_path: Path) -> None:
    place = folder_of(made(tokenizer, "gpt2"), tokenizer, tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    weights["transformer.h.1.mlp.c_fc.bias"][3] = torch.inf
    weights["transformer.ln_f.weight"][0] = torch.nan
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"not finite, first in transformer\.h\.1\.mlp\.c_fc\.bias"):
        load_backbone(place, None, CPU, "float32")


def test_what_is_saved_beside_parameters_is_part_of_a_backbone(
    tokenizer: Any, tmp_path: Path
) -> None:
    """BART's `final_logits_bias` is a buffer, and answers depend on it."""
    place, file = folder_of(made(tokenizer, "bart"), tokenizer, tmp_path), "model.safetensors"
    before = load_backbone(place, None, CPU, "float32").identity
    weights = load_file(tmp_path / file)
    weights["final_logits_bias"][0, 5] = 9
    save_file(weights, tmp_path / file, metadata={"format": "pt"})
    assert load_backbone(place, None, CPU, "float32").identity != before
    weights["final_logits_bias"][0, 5] = torch.nan
    save_file(weights, tmp_path / file, metadata={"format": "pt"})
    with pytest.raises(UserError, match="not finite, first in final_logits_bias"):
        load_backbone(place, None, CPU, "float32")


def test_another_cut_of_texts_is_checked_anew(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder_of(made(tokenizer), tokenizer, tmp_path)
    first = load_check._place(load_backbone(place, None, CPU, "float32"))
    file = tmp_path / "tokenizer.json"
    values = json.loads(file.read_text())
    values["normalizer"] = {"type": "Lowercase"}
    file.write_text(json.dumps(values))
    assert load_check._place(load_backbone(place, None, CPU, "float32")) != first


def test_a_model_whose_attention_changes_for_good_is_refused(
    tokenizer: Any, tmp_path: Path
) -> None:
    place = folder_of(made(tokenizer), tokenizer, tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "attention_type": "block_sparse"}))
    with pytest.raises(UserError, match='set attention_type = "original_full"'):
        load_backbone(place, None, CPU, "float32")


def test_the_context_of_a_longrope_ends_where_its_factors_change(
    tokenizer: Any, tmp_path: Path
) -> None:
    place = folder_of(made(tokenizer), tokenizer, tmp_path)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    half = config["hidden_size"] // config["num_attention_heads"] // 2
    config["max_position_embeddings"] = 512
    config["rope_parameters"] = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "original_max_position_embeddings": 100,
        "short_factor": [1.0] * half,
        "long_factor": [4.0] * half,
    }
    file.write_text(json.dumps(config))
    backbone = load_backbone(place, None, CPU, "float32")
    assert backbone.context == 100


def test_an_encoder_may_be_longer_than_its_decoder(tokenizer: Any) -> None:
    from transformers import LEDConfig, LEDForConditionalGeneration

    shape = {"d_model": 16, "attention_window": 8, "vocab_size": len(tokenizer)}
    layers = {f"{side}_layers": 1 for side in ("encoder", "decoder")}
    heads = {f"{side}_attention_heads": 2 for side in ("encoder", "decoder")}
    widths = {f"{side}_ffn_dim": 16 for side in ("encoder", "decoder")}
    ends = {"max_encoder_position_embeddings": 256, "max_decoder_position_embeddings": 32}
    config = LEDConfig(**shape, **layers, **heads, **widths, **ends, decoder_start_token_id=2)
    backbone = backbone_of(LEDForConditionalGeneration(config), tokenizer, Prompt())
    long = Example("a goat " * 60, ("a goat " * 60,), "", "")
    prompt, target, cut = backbone.pair_ids(long)
    assert cut, "the target, not the input"
    assert len(prompt) > 100
    assert len(target) == backbone.context == 32


@pytest.mark.parametrize("length", ["512", -1, 0])
def test_a_wrong_length_of_a_tokenizer_is_named(
    tokenizer: Any, tmp_path: Path, length: Any
) -> None:
    place = folder_of(made(tokenizer), tokenizer, tmp_path)
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_max_length": length}))
    with pytest.raises(UserError, match=f"model_max_length = {length!r}"):
        load_backbone(place, None, CPU, "float32")


def test_a_tokenizer_that_raises_is_named(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder_of(made(tokenizer), tokenizer, tmp_path)

    def broken(*_: Any) -> None:
        raise Exception("Missing [UNK] token")

    monkeypatch.setattr("bench.separators.written", broken)
    with pytest.raises(UserError, match=r"its tokenizer cannot be used: Missing \[UNK\] token"):
        load_backbone(place, None, CPU, "float32")


@pytest.mark.parametrize(
    ("alter", "fault"),
    [
        (lambda weights: weights.popitem(), "lack 1 weight"),
        (lambda weights: weights.update({"base_model.foreign": torch.ones(1)}), "hold 1 weight"),
    ],
)
def test_an_adapter_whose_weights_do_not_fit_is_refused(
    tokenizer: Any, tmp_path: Path, alter: Any, fault: str
) -> None:
    peft = pytest.importorskip("peft", reason="the extra `peers` is not installed")
    model = made(tokenizer)
    model.name_or_path = folder_of(made(tokenizer), tokenizer, tmp_path / "base")
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peft.get_peft_model(model, config).save_pretrained(tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    weights = load_file(file)
    alter(weights)
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(UserError, match=fault):
        load_backbone(str(tmp_path / "adapter"), None, CPU, "float32")


def test_an_adapter_is_merged_into_its_base(tokenizer: Any, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="the extra `peers` is not installed")
    base = folder_of(made(tokenizer), tokenizer, tmp_path / "base")
    model = made(tokenizer)
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    model.name_or_path = base
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT asks transformers for what it calls deprecated
        adapted = peft.get_peft_model(model, config).eval()
        adapted.save_pretrained(tmp_path / "adapter")
    backbone = load_backbone(str(tmp_path / "adapter"), None, CPU, "float32")
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        torch.testing.assert_close(backbone.model(ids).logits, adapted(ids).logits)
    assert backbone.identity != load_backbone(base, None, CPU, "float32").identity


@pytest.mark.parametrize(
    ("base", "said"),
    [("no/such/base", "is an adapter of 'no/such/base'"), (None, "names no base model")],
)
def test_an_adapter_without_its_base_says_which_it_is(
    base: str | None, said: str, tmp_path: Path
) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    with pytest.raises(UserError, match=said) as told:
        load_backbone(str(tmp_path), None, CPU, "float32")
    assert "base_model_name_or_path" in told.value.message
    assert "\n" not in told.value.message


def test_an_adapter_without_peft_says_what_to_install(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = folder_of(made(tokenizer), tokenizer, tmp_path / "base")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    (adapter / "adapter_model.safetensors").touch()
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(UserError, match="pip install peft"):
        load_backbone(str(adapter), None, CPU, "float32")
