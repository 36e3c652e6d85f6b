"""Codes and names of languages, and the language of each record."""

import json
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.languages import code_among, normalised, script_of
from bench.plan import make_plan
from bench.records import read_cell
from bench.runner import execute
from bench.sources import Source, open_dataset

JAPANESE, CHINESE = "まととまみとずりと。", "水石石水云石鸟灯石。"


@pytest.mark.parametrize(
    ("names", "tag"),
    [
        (("zh", "zho", "chi", "ZH", "Chinese", " chinese ", "cn"), "zh"),
        (("zh-CN", "zh_CN"), "zh-CN"),
        (("zh-Hant", "zho_Hant", "Traditional Chinese", "Chinese (Traditional)"), "zh-Hant"),
        (("ja", "jpn", "Japanese", "japanese", "JP", "ja_XX"), "ja"),
        (("he", "heb", "iw", "Hebrew"), "he"),
        (("en", "eng", "eng-Latn", "en_XX", "English"), "en"),
        (("pt-BR", "por_BR", "Brazilian Portuguese"), "pt-BR"),
        (("de", "deu", "ger", "German"), "de"),
        (("cmn", "Mandarin Chinese"), "cmn"),
        (("apc_Arab_sout3123",), "apc-Arab"),
        (("und", "mul", "zxx"), ""),
    ],
)
def test_codes_and_names_of_a_language_have_one_tag(names: tuple[str, ...], tag: str) -> None:
    assert {normalised(name) for name in names} == {tag}


@pytest.mark.parametrize("name", ["Turkisch", "xx", "q", "", "12", "en--GB", "C"])
def test_what_is_no_language_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="use a code such as en"):
        normalised(name)


def test_the_script_of_a_language_is_the_named_or_the_usual_one() -> None:
    tags = ("ja", "sr", "sr-Latn", "zh-TW", "min-Arab", "xyz", "")
    assert [script_of(t) for t in tags] == ["Jpan", "Cyrl", "Latn", "Hant", "Arab", None, None]


def test_a_tokenizer_s_code_is_found_in_any_form() -> None:
    nllb = ["</s>", "eng_Latn", "zho_Hans", "zho_Hant", "zsm_Latn", "min_Latn", "min_Arab"]
    tags = ("en", "zh", "zh-Hant", "ms", "min-Arab", "ja")
    assert [code_among(tag, nllb) for tag in tags] == [*nllb[1:5], "min_Arab", None]
    assert code_among("pt-BR", ["en_XX", "pt_XX"]) == "pt_XX"
    assert code_among("zh-Hant", ["en", "zh"]) == "zh"


def data(path: Path, records: list[dict[str, str]]) -> str:
    """A file with five tasks of one record in every part, of these fields."""
    lines = [
        {"task": f"t{task}", "split": part, "input": f"{task} {part} {i}", **record}
        for task in range(5)
        for part in ("train", "test")
        for i, record in enumerate(records)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(path)


def test_a_record_s_language_comes_before_the_plan_s_and_that_before_the_script(
    tmp_path: Path,
) -> None:
    bare = data(tmp_path / "bare.jsonl", [{"target": JAPANESE}])
    said = data(tmp_path / "said.jsonl", [{"target": JAPANESE, "language": "jpn"}])
    assert open_dataset(Source(bare)).task("t0").language == "ja"
    assert open_dataset(Source(bare, language="zh")).task("t0").language == "zh"
    read = open_dataset(Source(said, language="zh"))
    assert read.task("t0").language == "ja"
    assert any("language = 'zh' is not used" in note for note in read.notes)


def test_a_task_of_several_languages_keeps_each_and_is_noted(tmp_path: Path) -> None:
    both = [{"target": JAPANESE, "language": "ja"}, {"target": CHINESE, "language": "Chinese"}]
    read = open_dataset(Source(data(tmp_path / "d.jsonl", both)))
    task = read.task("t0")
    assert task.language is None
    assert [example.language for example in task.parts["test"]] == ["ja", "zh"]
    assert any("t0 (ja, zh)" in note for note in read.notes)


@pytest.mark.parametrize(
    ("language", "target", "told"),
    [
        ("zh", "a text in Latin letters", "t0 is zh, but most of its letters are Latin"),
        ("en", CHINESE, "t0 is en, but most of its letters are Cjk"),
        ("zh", JAPANESE, "t0 is zh, but most of its letters are Hiragana"),
        ("ja", CHINESE, ""),
        ("kk", "мәтін", ""),
        ("kk-Latn", "mätin", ""),
        ("en", "12 + 3", ""),
    ],
)
def test_a_language_whose_script_the_references_lack_is_noted(
    tmp_path: Path, language: str, target: str, told: str
) -> None:
    path = data(tmp_path / "d.jsonl", [{"target": target, "language": language}])
    notes = [n for n in open_dataset(Source(path)).notes if "disagree" in n]
    assert [told in note for note in notes] == [True] * bool(told)


def test_a_run_over_languages_scores_each_by_its_own_tokenizer_and_says_so(
    tmp_path: Path,
) -> None:
    # A task for each of some languages, answers that are right in both.
    lines = [
        {"task": language, "split": part, "task_split": split, "input": f"{language} {part} {i}"}
        | {"target": target, "language": language}
        for language, target, split in (
            ("en", "a, b.", "meta-test"),
            ("Chinese", CHINESE, "meta-test"),
            ("Japanese", JAPANESE, "meta-train"),
        )
        for part in ("train", "test")
        for i in range(3)
    ]
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    values = {"suites": ["translation"], "baselines": ["nearest"], "data": str(path)}
    counts = {"shots": [2], "episodes": 2, "queries": 2, "workers": 1, "backbone": "tiny"}
    root = tmp_path / "run"
    execute(make_plan({**values, **counts, "out": str(root)}))
    header, records = read_cell(next((root / "cells").rglob("*.jsonl")))
    assert header["language"] is None
    assert header["languages"] == ["en", "zh"]
    tokens = {r["task"]: [counts[0] for counts in r["statistics"]["bleu"]] for r in records}
    assert tokens == {"en": [4, 4], "Chinese": [len(CHINESE)] * 2}
    table = (root / "leaderboard.md").read_text(encoding="utf-8")
    assert "BLEU mixes tokenizers (13a, zh), one for each language" in table
    assert "tok:13a+zh" in table


def test_an_unknown_language_is_refused_with_its_place(tmp_path: Path) -> None:
    path = data(tmp_path / "d.jsonl", [{"target": "a", "language": "Velarisch"}])
    with pytest.raises(UserError, match=r"d.jsonl, line 1: language = 'Velarisch': no language"):
        open_dataset(Source(path))
    with pytest.raises(UserError, match=r"plan: language = 'Velarisch': no language"):
        make_plan({"language": "Velarisch"})
    assert make_plan({"language": "Japanese"}).language == "ja"
