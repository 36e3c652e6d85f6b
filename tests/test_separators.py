"""What stands between demonstrations survives the tokenizer and cuts no target."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.asking import notes, prompt_settings
from bench.backbone import Backbone
from bench.cells import run_cell, shared_header
from bench.checkpoints import backbone_of
from bench.context import Context
from bench.decoding import Decoding
from bench.generation import Generation, Writer
from bench.plan import make_plan
from bench.prompt import Prompt
from bench.records import Cell
from bench.separators import ARROWS, SEPARATORS, free_separators, plain_prompt, written
from bench.tasks import Example
from tests.conftest import PAIRS, build
from tests.proofs import Scripted

CPU = torch.device("cpu")
BLANK = "mira lod\n\nkanu tesh"


def sentencepiece_like(but: str = "") -> Any:
    """A tokenizer as T5's: white space is one space, and no token holds a newline."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    letters = sorted({c for pair in PAIRS for text in pair for c in text if c != " "})
    pieces = ["<s>", "</s>", "<pad>", "<unk>", "▁", *letters, *"=>#|*;:-.!"]
    kept = [(piece, -float(len(piece) < 3)) for piece in pieces if piece not in but]
    made = Tokenizer(models.Unigram(kept, unk_id=[p for p, _ in kept].index("<unk>")))
    made.normalizer = normalizers.Replace(Regex(r"\s+"), " ")
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    made.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=128,
    )


@pytest.fixture
def plain_t5() -> Backbone:
    tokenizer = sentencepiece_like()
    return backbone_of(build("t5", tokenizer, torch.float32), tokenizer, plain_prompt(tokenizer))


def test_the_usual_separator_where_it_is_kept(tokenizer: Any) -> None:
    assert plain_prompt(tokenizer) == Prompt()
    assert plain_prompt(tokenizer, SEPARATORS[1:]).separator == "\n###\n"


@pytest.mark.parametrize(
    ("lost", "separator", "after"),
    [
        ("", " ### ", " =>"),
        ("#", " ||| ", " =>"),
        ("#|=", " *** ", " ->"),
        ("#|*;=>", "\n\n", " :"),
    ],
)
def test_pieces_that_a_tokenizer_loses_are_replaced(lost: str, separator: str, after: str) -> None:
    tokenizer = sentencepiece_like(lost)
    prompt = plain_prompt(tokenizer)
    assert (prompt.separator, prompt.after) == (separator, after)
    assert set(SEPARATORS) > {separator}
    assert after in ARROWS
    shown = prompt.demonstrations([Example("the goat", ("mira lod",), "", "")])[0]
    if separator != "\n\n":
        assert written(tokenizer, f"{shown}a bird") == f"{shown}a bird"


@pytest.mark.parametrize(
    ("targets", "free"),
    [
        (["mira", "lod\nkanu"], SEPARATORS),
        (["mira", BLANK], SEPARATORS[1:]),
        (["a ### b", "mira"], ("\n\n", *SEPARATORS[3:])),
        (["mira\n\n"], SEPARATORS),  # answers are stripped too
        ([f"a{each}b" for each in SEPARATORS], ()),
    ],
)
def test_separators_that_no_target_holds(targets: list[str], free: tuple[str, ...]) -> None:
    assert tuple(free_separators(targets)) == free


def test_an_answer_ends_at_the_text_of_the_separator(
    plain_t5: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that hold it leave; what stands behind it is not counted."""
    stop = plain_t5.prompt.stop
    assert stop == "###"
    word, hashes, more = (plain_t5.text_ids(text) for text in ("mira", stop, "lod ## kanu"))
    rows = [[*word, *hashes, *more], [*more, *hashes], [*more, plain_t5.eos], more * 2]
    most = max(map(len, rows))
    assert plain_t5.steps_hold, "checked before its steps are replaced"
    monkeypatch.setattr(plain_t5, "steps", lambda *args: Scripted(rows, len(plain_t5.tokenizer)))
    (made,) = plain_t5.generate(plain_t5.weights(), [["a"] * 4], most, [[EXAMPLE]])
    assert made.texts == ["mira", "lod ## kanu", "lod ## kanu", plain_t5.tokenizer.decode(more * 2)]
    assert made.cut_outputs == 1
    assert made.tokens == len([*word, *hashes, *more, *hashes, *more, plain_t5.eos, *more, *more])


@pytest.mark.parametrize("beams", [1, 3])
def test_both_ways_to_write_end_at_the_same_text(plain_t5: Backbone, beams: int) -> None:
    if beams > 1:
        plain_t5.decoding = Decoding("beam", beams)
    torch.manual_seed(5)
    drawn = {n: w + 0.5 * torch.randn_like(w) for n, w in plain_t5.weights().items()}
    asked = [[text for text, _ in PAIRS]]
    (free,) = plain_t5.generate(drawn, asked, 12)
    pairs = [text[i : i + 2] for text in free.texts for i in range(len(text) - 1)]
    stop = max((p for p in pairs if " " not in p), key=pairs.count)
    ends = []
    assert plain_t5.steps_hold
    for by_steps in (True, False):
        if not by_steps:
            plain_t5.use(plain_t5.ways.without("transformers generates", answers="padded"))
        writer, made = Writer(plain_t5, 12, stop), Generation()
        prompts = [[plain_t5._prompt_ids(text, 64)[0] for text in asked[0]]]
        for rows in writer.answers(drawn, prompts, None):
            for row in rows:
                writer.take(row, made)
        ends.append((made.texts, made.tokens, made.cut_outputs))
    assert ends[0] == ends[1]
    assert not any(stop in text for text in made.texts)
    assert made.tokens < free.tokens
    if beams == 1:
        assert made.texts == [text.split(stop)[0].strip() for text in free.texts]


@pytest.fixture
def paragraphs(tmp_path: Path) -> Path:
    """Data whose targets hold a blank line."""
    rows = [
        {"id": f"{t}-{p}-{i}", "task": t, "split": p, "input": f"{t} {p} {i}", "target": BLANK}
        for t in ("t0", "t1", "t2", "t3", "t4", "t5")
        for p in ("train", "test")
        for i in range(3)
    ]
    file = tmp_path / "data.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def context_of(root: Path, data: Path, **more: Any) -> Context:
    values = {"suites": ["translation"], "baselines": ["in-context", "zero-shot"], "shots": [2]}
    return Context(make_plan({**values, "data": str(data), **more}), root)


def test_targets_with_a_blank_line_get_another_separator(paragraphs: Path, tmp_path: Path) -> None:
    context = context_of(tmp_path, paragraphs)
    assert prompt_settings(context) == {"separator": "\n###\n"}
    (line,) = notes(context)
    assert "'\\n###\\n'" in line
    assert "blank line" in line
    cell = Cell("translation", "in-context", 2, None, 0)
    assert shared_header(context, cell)["settings"]["separator"] == "\n###\n"
    backbone = context.backbone(None)
    writer = Writer(backbone, 99, backbone.prompt.stop)
    made = Generation()
    writer.take([*backbone.text_ids(f" {BLANK}\n###\nthe goat")], made)
    assert made.texts == [BLANK], "it is not cut"


def test_targets_that_hold_every_separator_are_counted(paragraphs: Path, tmp_path: Path) -> None:
    text = paragraphs.read_text().replace('kanu tesh"', 'kanu ### ||| *** ;;; tesh"', 7)
    paragraphs.write_text(text)
    context = context_of(tmp_path, paragraphs)
    assert prompt_settings(context) == {}
    (line,) = notes(context)
    assert line.startswith("36 of 36 targets hold the separator")


def test_usual_data_has_the_usual_prompt(tmp_path: Path) -> None:
    context = Context(make_plan({"suites": ["translation"], "baselines": ["in-context"]}), tmp_path)
    assert prompt_settings(context) == {}
    assert notes(context) == []


def test_in_context_learning_without_a_newline_token(paragraphs: Path, tmp_path: Path) -> None:
    tokenizer = sentencepiece_like()
    build("t5", tokenizer, torch.float32).save_pretrained(tmp_path / "t5")
    tokenizer.save_pretrained(tmp_path / "t5")
    more = {"backbone": str(tmp_path / "t5"), "max_new_tokens": 4, "episodes": 2, "queries": 2}
    context = context_of(tmp_path, paragraphs, **more)
    lines = notes(context)
    assert any("' ### '" in line for line in lines)
    assert any(re.search(r"cannot write (\d+) of \1 targets exactly", line) for line in lines)
    _, records = run_cell(context, Cell("translation", "in-context", 2, None, 0))
    assert len(records) == 2


EXAMPLE = Example(PAIRS[0][0], (PAIRS[0][1],), "", "")
