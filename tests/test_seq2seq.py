"""Encoder-decoder backbones: what the encoder reads, what the decoder learns."""

from pathlib import Path
from typing import Any

import pytest
import torch

from bench.checkpoints import backbone_of, load_backbone
from bench.prompt import Prompt
from bench.seq2seq import Seq2SeqBackbone
from bench.tasks import Example
from tests.conftest import build

CPU = torch.device("cpu")


@pytest.fixture
def t5(tokenizer: Any) -> Seq2SeqBackbone:
    backbone = backbone_of(build("t5", tokenizer, torch.float32), tokenizer, Prompt())
    assert isinstance(backbone, Seq2SeqBackbone)
    return backbone


def test_the_decoder_reads_its_start_and_the_target_up_to_the_last(
    t5: Seq2SeqBackbone, examples: list[Example]
) -> None:
    batch, cuts = t5.batch([examples])
    assert cuts == [0]
    width = batch.inputs["decoder_input_ids"].shape[1]
    for row, example in enumerate(examples):
        asked = batch.places[0] // width == row
        labels = batch.labels[0][asked].tolist()
        assert batch.places[0][asked].tolist() == [row * width + i for i in range(len(labels))]
        assert t5.tokenizer.decode(labels[:-1]) == f" {example.target}"
        assert labels[-1] == t5.eos
        read = batch.inputs["decoder_input_ids"][row].tolist()[: len(labels)]
        assert read == [2, *labels[:-1]]
        mask = batch.inputs["attention_mask"][row].bool()
        said = batch.inputs["input_ids"][row][mask]
        assert t5.tokenizer.decode(said) == f"{example.input} =>"


def test_demonstrations_stand_before_the_last_input_of_the_encoder(
    t5: Seq2SeqBackbone, examples: list[Example]
) -> None:
    pairs = [t5.pair_ids(example)[:2] for example in examples[:3]]
    prompt, target = t5.row(pairs)
    shown = "".join(t5.prompt.demonstrations(examples[:2]))
    assert t5.tokenizer.decode(prompt) == f"{shown}{examples[2].input} =>"
    assert target == pairs[2][1]
    many, _ = t5.row(pairs * 20)
    assert len(many) <= t5.context
    assert many[-len(pairs[2][0]) :] == pairs[2][0], "the last input stays whole"


def test_what_is_too_long_is_cut_on_both_sides_and_counted(t5: Seq2SeqBackbone) -> None:
    long = Example("goat " * 400, ("lamp " * 400,), "x", "x")
    batch, cuts = t5.batch([[long]])
    assert cuts == [1]
    assert batch.inputs["input_ids"].shape[1] == batch.labels.shape[1] == t5.context == 128
    assert t5.generate(t5.weights(), [[long.input, "a goat"]], 8)[0].cut_inputs == 1


def test_a_tokenizers_own_special_tokens_are_kept(
    tokenizer: Any, examples: list[Example], tmp_path: Path
) -> None:
    """T5's tokenizer ends a text with the end of sequence; BART's also begins it."""
    from tokenizers.processors import TemplateProcessing
    from transformers import BartConfig, BartForConditionalGeneration, PreTrainedTokenizerFast

    backend = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
    backend.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    own = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    config = BartConfig(
        vocab_size=len(own),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        decoder_start_token_id=1,
        forced_eos_token_id=None,
    )
    torch.manual_seed(0)
    BartForConditionalGeneration(config).save_pretrained(tmp_path)
    own.save_pretrained(tmp_path)
    bart = load_backbone(str(tmp_path), None, CPU, "float32")
    batch, _ = bart.batch([examples[:1]])
    assert batch.inputs["input_ids"][0].tolist() == own(f"{examples[0].input} =>").input_ids
    assert batch.labels[0].tolist() == own(f" {examples[0].target}").input_ids
    assert batch.inputs["decoder_input_ids"][0, :2].tolist() == [1, 0]
    assert bart.identity == load_backbone(str(tmp_path), None, CPU, "float32").identity
    assert bart.context == 64
    assert len(bart.generate(bart.weights(), [["the goat", "a"]], 5)[0].texts) == 2
