"""Multilingual backbones: languages of inputs and targets, as their own tokenizers set them."""

import string
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    M2M100Config,
    M2M100ForConditionalGeneration,
    MBart50Tokenizer,
    MBartConfig,
    MBartForConditionalGeneration,
    MBartTokenizer,
    NllbTokenizer,
    PreTrainedTokenizerFast,
)

from bench.asking import check_languages
from bench.checkpoints import backbone_of, load_backbone
from bench.context import Context
from bench.decoding import Decoding
from bench.errors import UserError
from bench.generation import text_of
from bench.plan import make_plan
from bench.prompt import Prompt
from bench.seq2seq import Seq2SeqBackbone
from bench.tasks import Example
from bench.wrapping import surroundings

CPU = torch.device("cpu")
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
SIGNS = ["▁", *string.ascii_letters, *string.punctuation]
SIZES = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "max_position_embeddings": 64,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "init_std": 0.5,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "scale_embedding": True,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "forced_eos_token_id": None,
}
CODES = {"mbart": ("en_XX", "de_DE", "ro_RO"), "nllb": ("eng_Latn", "deu_Latn", "ron_Latn")}
CODES |= {"mbart50": CODES["mbart"], "nllb-legacy": CODES["nllb"], "m2m": ("en", "de", "ro")}
MOST = 6


def scored(pieces: list[str]) -> list[tuple[str, float]]:
    return [(piece, 0.0 if piece in SPECIAL else -2.0) for piece in pieces]


def m2m_like() -> Any:
    """A tokenizer in the form of M2M100's, `__en__ X </s>`, whose class takes sentencepiece."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    codes = [f"__{code}__" for code in CODES["m2m"]]
    made = Tokenizer(models.Unigram([*scored([*SPECIAL, *SIGNS])], unk_id=3))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    made.add_special_tokens(codes)
    ends = [(name, made.token_to_id(name)) for name in (codes[0], "</s>")]
    made.post_processor = processors.TemplateProcessing(
        single=f"{codes[0]} $A </s>", special_tokens=ends
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens=codes,
    )


def tokenizer_of(kind: str, source: str = "", target: str = "") -> Any:
    """The kind's own tokenizer, for a pair of its codes."""
    names = {"src_lang": source or None, "tgt_lang": target or None}
    if kind == "mbart":
        codes = MBartTokenizer().extra_special_tokens
        return MBartTokenizer(vocab=scored([*SPECIAL, *SIGNS, *codes, "<mask>"]), **names)
    if kind == "mbart50":
        return MBart50Tokenizer(vocab=scored(["<unk>", "<s>", "</s>", *SIGNS]), **names)
    if kind == "m2m":
        return m2m_like()
    vocab = {piece: i for i, piece in enumerate([*SPECIAL, *SIGNS])}
    return NllbTokenizer(vocab=vocab, legacy_behaviour=kind == "nllb-legacy", **names)


def model_of(kind: str, tokenizer: Any) -> Any:
    """mBART's checkpoints start with a code, all others with the end of sequence."""
    torch.manual_seed(3)
    if kind.startswith("mbart"):
        start = tokenizer.convert_tokens_to_ids("ro_RO") if kind == "mbart" else 2
        config = MBartConfig(vocab_size=len(tokenizer), decoder_start_token_id=start, **SIZES)
        return MBartForConditionalGeneration(config).eval()
    config = M2M100Config(vocab_size=len(tokenizer), decoder_start_token_id=2, **SIZES)
    return M2M100ForConditionalGeneration(config).eval()


def backbone_for(kind: str) -> Seq2SeqBackbone:
    tokenizer = tokenizer_of(kind)
    made = backbone_of(model_of(kind, tokenizer), tokenizer, Prompt())
    assert isinstance(made, Seq2SeqBackbone)
    return made


def example(text: str, target: str, languages: tuple[str | None, str | None]) -> Example:
    return Example(text, (target,), text, text, languages[1], languages[0])


@pytest.mark.parametrize("kind", ["mbart", "mbart50", "nllb"])
@pytest.mark.parametrize("pair", [("de", "en"), ("en", "ro"), ("ro", "de")])
def test_inputs_and_targets_are_those_of_the_tokenizer(kind: str, pair: tuple[str, str]) -> None:
    backbone = backbone_for(kind)
    known = dict(zip(("en", "de", "ro"), CODES[kind], strict=True))
    own = tokenizer_of(kind, *(known[language] for language in pair))
    made = own(text="a goat =>", text_target=" kanu tesh")
    batch, _ = backbone.batch([[example("a goat", "kanu tesh", pair)]])
    assert batch.inputs["input_ids"][0].tolist() == made.input_ids
    assert batch.labels[0].tolist() == made.labels
    read = list[Any]()
    backbone.model.get_decoder().register_forward_pre_hook(
        lambda layer, args, given: read.append(given["input_ids"]), with_kwargs=True
    )
    ids, labels = torch.tensor([made.input_ids]), torch.tensor([made.labels])
    with torch.no_grad():
        loss = backbone.model(input_ids=ids, labels=labels).loss
    assert batch.inputs["decoder_input_ids"].tolist() == read[0].tolist()
    assert float(backbone.losses(backbone.weights(), batch)[0]) == pytest.approx(float(loss))


def generated(backbone: Seq2SeqBackbone, kind: str, text: str, pair: Any, beams: int) -> str:
    """By transformers, as its documentation says for each kind."""
    codes = dict(zip(("en", "de", "ro"), CODES[kind], strict=True))
    own = tokenizer_of(kind, *(codes[language] for language in pair))
    name = f"__{codes[pair[1]]}__" if kind == "m2m" else codes[pair[1]]
    code = own.convert_tokens_to_ids(name)
    ids = own(f"{text} =>").input_ids
    if kind == "m2m":
        ids[0] = own.convert_tokens_to_ids(f"__{codes[pair[0]]}__")
    begin = "decoder_start_token_id" if kind == "mbart" else "forced_bos_token_id"
    model = backbone.model
    out = model.generate(
        torch.tensor([ids]), max_new_tokens=MOST, num_beams=beams, do_sample=False, **{begin: code}
    )
    assert code in out[0].tolist()[:2]
    new = out[0, 1:].tolist()
    cut = new.index(2) if 2 in new else len(new)
    return text_of(own, new[:cut]).strip()


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("kind", CODES)
def test_tasks_of_several_languages_in_one_batch(kind: str, beams: int) -> None:
    """Each begins as transformers begins it alone."""
    backbone = backbone_for(kind)
    if beams > 1:
        backbone.decoding = Decoding("beam", beams)
    asked = [["a goat", "the lamp runs"], ["some boats"], ["a goat", "foxes"]]
    pairs = [("en", "de"), ("de", "en"), ("en", "ro")]
    spoken = [[pair] * len(rows) for pair, rows in zip(pairs, asked, strict=True)]
    own = {name: torch.stack([w] * 3) for name, w in backbone.weights().items()}
    for weights in (own, backbone.weights()):
        made = backbone.generate(weights, asked, MOST, languages=spoken)
        for rows, result, pair in zip(asked, made, pairs, strict=True):
            wanted = [generated(backbone, kind, text, pair, beams) for text in rows]
            assert result.texts == wanted
    backbone.use(backbone.ways.without("transformers generates", answers="padded"))
    slow = backbone.generate(own, asked, MOST, languages=spoken)
    assert [result.texts for result in slow] == [result.texts for result in made]


@pytest.mark.parametrize("kind", CODES)
def test_what_an_answer_begins_with_is_also_taught(kind: str) -> None:
    backbone = backbone_for(kind)
    for pair in (("en", "de"), ("en", "ro"), ("ro", "en")):
        around = backbone.wrappings.of(pair)
        _, target, _ = backbone.pair_ids(example("a goat", "kanu", pair))
        assert around.forced in (None, target[0])
        batch, _ = backbone.batch([[example("a goat", "kanu", pair)]])
        assert int(batch.inputs["decoder_input_ids"][0, 0]) == around.start
    long = example("a goat", "kanu " * 40, ("en", "de"))
    assert len(backbone.pair_ids(long)[1]) == backbone.context


def test_a_batch_of_other_languages_changes_no_loss() -> None:
    backbone = backbone_for("mbart")
    tasks = [[example("a goat", "kanu", pair)] for pair in (("en", "de"), ("de", "en"))]
    own = {name: torch.stack([w] * 2) for name, w in backbone.weights().items()}
    both = backbone.losses(own, backbone.batch(tasks)[0])
    alone = [backbone.losses(backbone.weights(), backbone.batch([t])[0])[0] for t in tasks]
    assert both.tolist() == pytest.approx([float(loss) for loss in alone], rel=1e-5)
    assert float(alone[0]) != pytest.approx(float(alone[1]), rel=1e-3)


def test_languages_by_code_by_name_and_in_place_of_the_data() -> None:
    backbone = backbone_for("nllb")
    code = backbone.tokenizer.convert_tokens_to_ids
    for name in ("deu_Latn", "de", "German", "ger"):
        backbone.name_languages(None, name)
        assert backbone.wrappings.of(("en", "ro")).forced == code("deu_Latn")
    plain = backbone_for("nllb")
    assert plain.wrappings.of(("zh-Hant", "zh")).head == [code("zho_Hant")]
    assert plain.wrappings.of(("zh-Hant", "zh")).forced == code("zho_Hans")
    assert plain.identity != backbone.identity, "another question to the same weights"


def test_an_unknown_language_is_refused_with_close_ones() -> None:
    backbone = backbone_for("mbart")
    with pytest.raises(UserError, match=r"target language 'gsw'.*--target-language") as error:
        backbone.wrappings.of(("en", "gsw"))
    assert "\n" not in error.value.message
    with pytest.raises(UserError, match=r"de_DE"):
        backbone.name_languages(None, "de_AT_X")


def test_a_tokenizer_without_languages_refuses_the_option(llama: Any) -> None:
    with pytest.raises(UserError, match="--target-language"):
        llama.name_languages(None, "de")
    llama.name_languages(None, None)


def test_a_forced_token_is_the_default_language(tmp_path: Path) -> None:
    """A checkpoint that forces a code, with a tokenizer that knows only the source's."""
    tokenizer = m2m_like()
    model = model_of("m2m", tokenizer)
    model.generation_config.forced_bos_token_id = tokenizer.convert_tokens_to_ids("__ro__")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    backbone = load_backbone(str(tmp_path), None, CPU, "float32")
    assert isinstance(backbone, Seq2SeqBackbone)
    _, target, _ = backbone.pair_ids(Example("a goat", ("kanu",), "", ""))
    assert backbone.tokenizer.convert_ids_to_tokens(target[0]) == "__ro__"
    assert backbone.wrappings.default == "__ro__"
    (made,) = backbone.generate(backbone.weights(), [["a goat"]], 2)
    assert made.tokens == 2
    own = backbone.model.generate(
        torch.tensor([tokenizer("a goat =>").input_ids]), max_new_tokens=2
    )
    assert own[0, 1] == target[0]
    assert made.texts == [text_of(tokenizer, own[0, 1:].tolist()).strip()]


def test_targets_of_a_tokenizer_with_two_vocabularies() -> None:
    """As Marian's, which cuts targets by another model of pieces."""

    class TwoSides(PreTrainedTokenizerFast):  # type: ignore[misc]
        def _switch_to_target_mode(self) -> None:
            self.shift = 1

        def _switch_to_input_mode(self) -> None:
            self.shift = 0

        def _encode_plus(self, *args: Any, **kwargs: Any) -> Any:
            made = super()._encode_plus(*args, **kwargs)
            if getattr(self, "shift", 0):
                made["input_ids"] = [i + 1 for i in made["input_ids"]]
            return made

    plain = m2m_like()
    tokenizer = TwoSides(
        tokenizer_object=plain.backend_tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
    )
    backbone = backbone_of(model_of("m2m", plain), tokenizer, Prompt())
    assert isinstance(backbone, Seq2SeqBackbone)
    given = backbone.text_ids("kanu")
    assert backbone.target_text_ids("kanu") == [i + 1 for i in given]
    assert backbone.text_ids("kanu") == given


def test_targets_named_by_a_prefix_of_the_input() -> None:
    """Multi-target Marian models read `>>deu<<` before the input."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    pieces = [*SPECIAL, ">>deu<<", ">>ron<<", *SIGNS]
    made = Tokenizer(models.Unigram(scored(pieces), unk_id=3))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    assert surroundings(tokenizer) == ([], [])
    backbone = backbone_of(model_of("m2m", tokenizer), tokenizer, Prompt())
    plain, _, _ = backbone.pair_ids(example("a goat", "kanu", (None, None)))
    named, target, _ = backbone.pair_ids(example("a goat", "kanu", ("en", "de")))
    assert named == [tokenizer.convert_tokens_to_ids(">>deu<<"), *plain]
    assert target == backbone.pair_ids(example("a goat", "kanu", (None, None)))[1]
    with pytest.raises(UserError, match=">>ron<<"):
        backbone.pair_ids(example("a goat", "kanu", ("en", "rn")))


def test_languages_of_the_data_are_looked_up_before_a_run(tmp_path: Path) -> None:
    import json

    rows = [
        {"id": f"{t}-{p}-{i}", "task": t, "split": p, "input": f"{t} {p} {i}", "target": "kanu"}
        | {"language": "gsw" if t == "t3" else "de", "source_language": "en"}
        for t in ("t0", "t1", "t2", "t3", "t4", "t5")
        for p in ("train", "test")
        for i in range(3)
    ]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    plan = make_plan({"suites": ["translation"], "data": str(data), "shots": [2]})
    context = Context(plan, tmp_path)
    with pytest.raises(UserError, match="gsw"):
        check_languages(context, backbone_for("mbart"))
    backbone = backbone_for("mbart")
    backbone.name_languages(None, "German")
    check_languages(context, backbone)
