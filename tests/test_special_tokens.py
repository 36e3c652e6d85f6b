"""Tokens that begin and end an answer are the checkpoint's, as transformers resolves them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from bench.backbone import Backbone
from bench.checkpoints import backbone_of, load_backbone
from bench.decoding import Decoding
from bench.errors import UserError
from bench.generation import text_of
from bench.parts import with_adapters
from bench.prompt import Prompt
from bench.tasks import Example
from tests.conftest import build

CPU = torch.device("cpu")
ASKED = ["the goat sees a lamp", "a bird"]
MOST = 6


def saved(
    folder: Path, kind: str, tokenizer: Any, generation: dict[str, Any] | None, **config: Any
) -> Any:
    """A checkpoint as it lies on a disk, and transformers' own model of it."""
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    model = build(kind, tokenizer, torch.float32)
    torch.manual_seed(1)
    for weight in model.parameters():
        weight.data += 0.3 * torch.randn_like(weight)  # so that answers differ
    for name, value in config.items():
        setattr(model.config, name, value)
    model.generation_config = GenerationConfig(**(generation or {}))
    model.save_pretrained(folder)
    if generation is None:
        (folder / "generation_config.json").unlink(missing_ok=True)
    tokenizer.save_pretrained(folder)
    found = AutoModelForSeq2SeqLM if model.config.is_encoder_decoder else AutoModelForCausalLM
    return found.from_pretrained(folder).eval()


def own_answers(backbone: Backbone, model: Any, beams: int = 1) -> list[list[int]]:
    """What transformers' `generate` writes, with the checkpoint's own special tokens."""
    made = []
    for text in ASKED:
        prompt = backbone._prompt_ids(text, 64)[0]
        out = model.generate(
            torch.tensor([prompt]),
            max_new_tokens=MOST,
            num_beams=beams,
            do_sample=False,
            **({"forced_eos_token_id": None} if model.config.is_encoder_decoder else {}),
        )[0].tolist()
        made.append(out[1:] if model.config.is_encoder_decoder else out[len(prompt) :])
    return made


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize(
    ("generation", "config", "start"),
    [
        ({"decoder_start_token_id": 7}, {}, 7),
        ({"bos_token_id": 0}, {}, 0),
        (None, {}, 0),  # the BOS token of the config
        (None, {"decoder_start_token_id": 9}, 9),
        ({"decoder_start_token_id": 7, "forced_bos_token_id": 12}, {}, 7),
        ({"decoder_start_token_id": 7, "suppress_tokens": [31, 32, 33]}, {}, 7),
        ({"decoder_start_token_id": 7, "bad_words_ids": [[40], [50, 51]]}, {}, 7),
    ],
)
def test_answers_begin_as_transformers_begins_them(
    tokenizer: Any, tmp_path: Path, generation: Any, config: Any, start: int, beams: int
) -> None:
    generation = generation and {"eos_token_id": 1, "pad_token_id": 2, **generation}
    config = {"decoder_start_token_id": None, **config}
    model = saved(tmp_path, "bart", tokenizer, generation, **config)
    backbone = load_backbone(str(tmp_path), None, CPU, "float32")
    assert backbone.tokens.start == start
    if beams > 1:
        backbone.decoding = Decoding("beam", beams)
    (made,) = backbone.generate(backbone.weights(), [ASKED], MOST)
    ends = backbone.ends
    for text, own in zip(made.texts, own_answers(backbone, model, beams), strict=True):
        cut = next((i for i, token in enumerate(own) if token in ends), len(own))
        assert text == text_of(tokenizer, own[:cut]).strip()
    batch, _ = backbone.batch([[Example("a goat", ("kanu",), "", "")]])
    assert int(batch.inputs["decoder_input_ids"][0, 0]) == start
    forced = (generation or {}).get("forced_bos_token_id")
    assert forced in (None, int(batch.labels[0, 0])), "what is forced is also taught"


def test_the_start_of_the_generation_config_precedes_that_of_the_config(
    tokenizer: Any, tmp_path: Path
) -> None:
    generation = {"decoder_start_token_id": 9, "eos_token_id": 1, "pad_token_id": 2}
    model = saved(tmp_path, "bart", tokenizer, generation, decoder_start_token_id=7)
    backbone = load_backbone(str(tmp_path), None, CPU, "float32")
    assert backbone.tokens.start == 9
    (made,) = backbone.generate(backbone.weights(), [ASKED], MOST)
    for text, own in zip(made.texts, own_answers(backbone, model), strict=True):
        cut = next((i for i, token in enumerate(own) if token in backbone.ends), len(own))
        assert text == text_of(tokenizer, own[:cut]).strip()


def test_a_start_that_is_no_token_is_refused(tokenizer: Any, tmp_path: Path) -> None:
    saved(tmp_path, "bart", tokenizer, {"decoder_start_token_id": 99999})
    with pytest.raises(UserError, match="decoder_start_token_id = 99999 is none of the"):
        load_backbone(str(tmp_path), None, CPU, "float32")


@pytest.mark.parametrize(
    ("kind", "settings", "told"),
    [
        ("gpt2", {"suppress_tokens": [5]}, "suppress_tokens"),
        ("gpt2", {"bad_words_ids": [[5]]}, "bad_words_ids"),
        ("bart", {"begin_suppress_tokens": [5]}, "begin_suppress_tokens"),
        ("bart", {"suppress_tokens": [5], "bad_words_ids": [[6]]}, ""),
        ("bart", {"bad_words_ids": [[6, 7]]}, "bad_words_ids"),
    ],
)
def test_what_answers_do_not_follow_is_noted(
    tokenizer: Any, tmp_path: Path, kind: str, settings: dict[str, Any], told: str
) -> None:
    common = {"decoder_start_token_id": 7, "eos_token_id": 1, "pad_token_id": 2}
    saved(tmp_path, kind, tokenizer, {**common, **settings})
    notes = load_backbone(str(tmp_path), None, CPU, "float32").notes
    assert [f"its generation config has {told}," in note for note in notes] == [True] * bool(told)


def test_a_decoder_without_a_start_is_refused(tokenizer: Any, tmp_path: Path) -> None:
    saved(tmp_path, "t5", tokenizer, None, decoder_start_token_id=None, bos_token_id=None)
    with pytest.raises(UserError, match="decoder_start_token_id") as error:
        load_backbone(str(tmp_path), None, CPU, "float32")
    assert "\n" not in error.value.message


@pytest.mark.parametrize("where", ["config", "generation"])
def test_all_end_tokens_end_an_answer(tokenizer: Any, tmp_path: Path, where: str) -> None:
    plain = tmp_path / "plain"
    model = saved(plain, "gpt2", tokenizer, {"eos_token_id": 1})
    free = load_backbone(str(plain), None, CPU, "float32")
    second = own_answers(free, model)[0][2]  # a token that the free answer holds
    ends = {"eos_token_id": [1, second]}
    folder = tmp_path / "several"
    saved(
        folder,
        "gpt2",
        tokenizer,
        *((ends,) if where == "generation" else ({},)),
        **(ends if where == "config" else {}),
    )
    backbone = load_backbone(str(folder), None, CPU, "float32")
    assert backbone.ends == {1, second}
    assert backbone.eos == 1, "targets end as before"
    (made,) = backbone.generate(backbone.weights(), [ASKED[:1]], MOST)
    own = own_answers(free, model)[0]
    assert made.texts == [text_of(tokenizer, own[: own.index(second)]).strip()]
    assert made.cut_outputs == 0
    assert (backbone.identity == free.identity) is False, "it answers otherwise"


def test_what_a_method_alters_keeps_the_special_tokens(tokenizer: Any, tmp_path: Path) -> None:
    generation = {"decoder_start_token_id": 7, "forced_bos_token_id": 12, "eos_token_id": [1, 9]}
    saved(tmp_path, "bart", tokenizer, generation, decoder_start_token_id=None)
    backbone = load_backbone(str(tmp_path), None, CPU, "float32")
    copied = with_adapters(backbone, 2, 4.0)
    assert copied.tokens == backbone.tokens
    assert copied.model.generation_config.decoder_start_token_id == 7


def test_decoding_settings_of_a_checkpoint_are_dropped(tokenizer: Any, tmp_path: Path) -> None:
    generation = {"repetition_penalty": 5.0, "max_length": 3, "num_beams": 4, "eos_token_id": 1}
    saved(tmp_path, "gpt2", tokenizer, generation)
    kept = load_backbone(str(tmp_path), None, CPU, "float32").model.generation_config
    assert (kept.repetition_penalty, kept.max_length, kept.num_beams) == (None, None, None)


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_answers_are_decoded_without_clean_up(tokenizer: Any, kind: str) -> None:
    """BERT's clean-up, which old checkpoints ask for, turns `a .` into `a.`."""
    import copy

    own = copy.deepcopy(tokenizer)
    own.clean_up_tokenization_spaces = True
    own.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output = True
    ids = own("mira . kanu , do n't", add_special_tokens=False).input_ids
    assert own.decode(ids) != "mira . kanu , do n't", "the flag has an effect"
    backbone = backbone_of(build(kind, own, torch.float32), own, Prompt())
    from bench.generation import Generation, Writer

    result = Generation()
    Writer(backbone, len(ids) + 1, None).take([*ids, backbone.eos], result)
    assert result.texts == ["mira . kanu , do n't"]
