"""Backbones: the two padding sides, cutting, loading, and generation against transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch

from bench.backbone import Backbone
from bench.batches import IGNORED
from bench.causal import CausalBackbone
from bench.checkpoints import load_backbone
from bench.errors import UserError
from bench.tasks import Example
from tests.proofs import Scripted

CPU = torch.device("cpu")


def test_generation_equals_plain_greedy_search(backbone: Backbone, examples: list[Example]) -> None:
    """One row at a time, no padding, no cache: the whole prefix again for every token."""
    (made,) = backbone.generate(backbone.weights(), [[e.input for e in examples]], 12)
    for example, text in zip(examples, made.texts, strict=True):
        prompt, new = backbone.tokenizer(f"{example.input} =>").input_ids, list[int]()
        while len(new) < 12 and 1 not in new:
            inputs = {"input_ids": torch.tensor([prompt + new])}
            config = backbone.model.config
            if config.is_encoder_decoder:
                inputs = {
                    "input_ids": torch.tensor([prompt]),
                    "decoder_input_ids": torch.tensor([[config.decoder_start_token_id, *new]]),
                }
            new.append(int(backbone.model(**inputs).logits[0, -1].argmax()))
        assert text == backbone.tokenizer.decode(new, skip_special_tokens=True).strip()


def test_generation_uses_the_weights_it_is_given_and_keeps_its_own(llama: CausalBackbone) -> None:
    own = llama.weights()
    other = llama.scratch_weights(seed=7)
    before = llama.generate(own, [["the goat"]], 8)[0].texts
    assert llama.generate(other, [["the goat"]], 8)[0].texts != before
    assert llama.generate(own, [["the goat"]], 8)[0].texts == before
    assert all(torch.equal(w, own[name]) for name, w in llama.weights().items())
    assert all(torch.equal(w, other[n]) for n, w in llama.scratch_weights(seed=7).items())


def test_padding_side_and_missing_pad_token_change_nothing(
    checkpoint: str, examples: list[Example], tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    answers = []
    for side, pad in (("left", "<pad>"), ("right", "<pad>"), ("right", None)):
        tokenizer.padding_side, tokenizer.pad_token = side, pad
        folder = tmp_path / f"{side}-{pad}"
        AutoModelForCausalLM.from_pretrained(checkpoint).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        backbone = load_backbone(str(folder), None, CPU, "float32")
        batch, _ = backbone.batch([examples])
        loss = float(backbone.losses(backbone.weights(), batch)[0])
        texts = backbone.generate(backbone.weights(), [[e.input for e in examples]], 8)[0].texts
        answers.append((loss, texts))
    assert answers[0] == answers[1]
    assert answers[2][1] == answers[0][1]
    assert answers[2][0] == pytest.approx(answers[0][0], rel=1e-6)


def test_labels_are_the_target_and_the_end(llama: CausalBackbone, examples: list[Example]) -> None:
    batch, _ = llama.batch([examples[:1]])
    learned = [i for i in batch.labels[0].tolist() if i != IGNORED]
    assert llama.tokenizer.decode(learned[:-1]) == f" {examples[0].target}"
    assert learned[-1] == llama.eos
    end = batch.tokens[0]
    assert batch.inputs["input_ids"][0, end - len(learned) : end].tolist() == learned


def test_what_does_not_fit_the_context_is_cut_and_counted(llama: CausalBackbone) -> None:
    long = Example("goat " * 400, ("lamp " * 400,), "x", "x")
    batch, cuts = llama.batch([[long]])
    assert cuts == [1]
    assert batch.tokens[0] <= llama.context == 128
    arrow = llama.text_ids(" =>")
    row = batch.inputs["input_ids"][0].tolist()
    assert any(row[i : i + len(arrow)] == arrow for i in range(len(row))), "the arrow stays"
    (made,) = llama.generate(llama.weights(), [[long.input, "a goat"]], 8)
    assert made.cut_inputs == 1


def test_demonstrations_are_dropped_whole(llama: CausalBackbone, examples: list[Example]) -> None:
    many = examples * 10
    (made,) = llama.generate(llama.weights(), [["a goat runs"]], 8, [many])
    sizes = [len(llama.text_ids(piece)) for piece in llama.prompt.demonstrations(many)]
    room = llama.context - 8 - len(llama.text_ids("a goat runs =>"))
    fitting = max(n for n in range(len(sizes) + 1) if sum(sizes[:n]) <= room)
    assert made.dropped == len(many) - fitting > 0
    (made,) = llama.generate(llama.weights(), [["a goat runs"]], 8, [examples[:2]])
    assert made.dropped == 0


def test_a_backbone_knows_itself(llama: CausalBackbone, checkpoint: str) -> None:
    one = load_backbone(checkpoint, None, CPU, "float32")
    two = load_backbone(checkpoint, None, CPU, "float32")
    assert one.identity == two.identity != llama.identity
    assert one.identity.startswith("gpt2-")


def test_identity_is_the_models_and_not_the_librarys(checkpoint: str) -> None:
    plain, loaded_by_another, other = (
        load_backbone(checkpoint, None, CPU, "float32") for _ in range(3)
    )
    loaded_by_another.model.config.transformers_version = "4.0.0"
    other.model.config.layer_norm_epsilon *= 2
    for backbone in (loaded_by_another, other):
        del backbone.identity  # as of when it was loaded
    assert plain.identity == loaded_by_another.identity != other.identity


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda d: (d / "model.safetensors").unlink(), "cannot be loaded"),
        (lambda d: (d / "config.json").unlink(), "no config.json"),
        (lambda d: (d / "model.safetensors").write_bytes(b"x" * 100), "cannot be loaded"),
        (lambda d: (d / "config.json").write_text("{"), "cannot be loaded"),
        (lambda d: [p.unlink() for p in d.glob("*token*")], "its tokenizer knows no text"),
    ],
)
def test_a_damaged_checkpoint_is_told(
    spoil: Any, told: str, tmp_path: Path, tokenizer: Any
) -> None:
    from tests.conftest import build

    build("gpt2", tokenizer, torch.float32).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    spoil(tmp_path)
    with pytest.raises(UserError) as error:
        load_backbone(str(tmp_path), None, CPU, "float32")
    assert told in error.value.message
    assert "\n" not in error.value.message


def test_a_model_that_reads_both_ways_is_refused(tokenizer: Any, tmp_path: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    BertForMaskedLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="reads a text in both directions"):
        load_backbone(str(tmp_path), None, CPU, "float32")


def test_a_hub_id_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="the hub does not give it"):
        load_backbone("owner/no-such-model", None, CPU, "float32")


def test_bfloat16(checkpoint: str, examples: list[Example]) -> None:
    backbone = load_backbone(checkpoint, None, CPU, "bfloat16")
    assert {w.dtype for w in backbone.weights().values()} == {torch.bfloat16}
    batch, _ = backbone.batch([examples])
    assert torch.isfinite(backbone.losses(backbone.weights(), batch)[0])


def test_a_checkpoints_own_decoding_settings_are_not_used(
    checkpoint: str, examples: list[Example], tmp_path: Path
) -> None:
    import shutil

    from transformers import GenerationConfig

    folder = tmp_path / "spoiled"
    shutil.copytree(checkpoint, folder)
    GenerationConfig(repetition_penalty=5.0, no_repeat_ngram_size=1).save_pretrained(folder)
    texts = [
        (b := load_backbone(str(place), None, CPU, "float32"))
        .generate(b.weights(), [[e.input for e in examples]], 12)[0]
        .texts
        for place in (checkpoint, folder)
    ]
    assert texts[0] == texts[1]


def test_tokens_after_a_stop_string_are_not_counted(
    llama: CausalBackbone, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that ended early are filled up to the longest; with and without a pad token."""
    stop = llama.text_ids(llama.prompt.separator)
    word = llama.text_ids(" mira")
    rows = [[*word, *stop], [*word * 3, *stop], [*word, llama.eos], word * 4]
    most = max(map(len, rows))

    for pad in (llama.pad, llama.eos):
        monkeypatch.setattr(llama, "pad", pad)
        monkeypatch.setattr(llama, "steps", lambda *args: Scripted(rows, len(llama.tokenizer)))
        (made,) = llama.generate(llama.weights(), [["a", "b", "c", "d"]], most, [examples[:1]])
        assert made.tokens == sum(map(len, rows))
        assert made.cut_outputs == 1
        assert made.texts[2] == "mira"
