"""Rows of data of one's own that look right and are not, or look wrong and are right."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.division import TableDataset
from bench.duplicates import essence
from bench.episodes import draw_episode, usable_tasks
from bench.errors import UserError
from bench.plan import read_toml
from bench.rows import is_visible, list_in
from bench.sources import Source, open_dataset


def rows(**more: Any) -> list[dict[str, Any]]:
    """Five tasks with a record in every part."""
    return [
        {"task": f"t{t}", "split": part, "input": f"in {t} {part}", "target": f"out {t}", **more}
        for t in range(5)
        for part in ("train", "test")
    ]


def read(path: Path, records: list[dict[str, Any]], **more: Any) -> TableDataset:
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return open_dataset(Source(str(path), **more))


def references(data: TableDataset) -> set[tuple[str, ...]]:
    parts = (part for task in data.tasks.values() for part in task.parts.values())
    return {example.references for part in parts for example in part}


texts = st.lists(st.text(st.characters(codec="utf-8"), max_size=9), min_size=1, max_size=4)


@given(texts)
def test_a_list_is_read_back_from_json_and_from_python_s_own_text(items: list[str]) -> None:
    assert list_in(json.dumps(items)) == items
    assert list_in(json.dumps(items, ensure_ascii=False)) == items
    assert list_in(repr(items)) == items


@pytest.mark.parametrize(
    "text", ["[laughs] so", "[applause]", "[1]", "[1, 'a']", "['a'", "a", "[]x"]
)
def test_brackets_alone_make_no_list(text: str) -> None:
    assert list_in(text) is None


def test_a_numpy_array_s_text_is_not_joined() -> None:
    assert list_in(str(np.array(["a b", "c"], dtype=object))) == ["a b", "c"]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("written", [json.dumps, str])
def test_a_list_in_a_cell_is_several_references(tmp_path: Path, suffix: str, written: Any) -> None:
    records = [{**r, "references": written(["a, b", 'c "d"'])} for r in rows(target="a, b")]
    path = tmp_path / f"d.{suffix}"
    if suffix == "csv":
        pd.DataFrame(records).to_csv(path, index=False)
    elif suffix == "parquet":
        pd.DataFrame(records).to_parquet(path)
    else:
        read(path, records)
    assert references(open_dataset(Source(str(path)))) == {("a, b", 'c "d"')}


def test_a_list_as_target_is_refused_and_can_be_mapped(tmp_path: Path) -> None:
    records = rows(target='["one", "two"]')
    with pytest.raises(UserError, match=r"line 1: target is a list of texts; map its column as"):
        read(tmp_path / "d.jsonl", records)
    mapped = read(tmp_path / "d.jsonl", records, columns={"references": "target"})
    assert references(mapped) == {("one", "two")}
    literal = read(tmp_path / "d.jsonl", rows(target=None, references=['["one", "two"]']))
    assert references(literal) == {('["one", "two"]',)}


def test_a_target_beside_references_is_the_first_of_them(tmp_path: Path) -> None:
    beside = read(tmp_path / "d.jsonl", rows(target="a", references=["b", "c"]))
    assert references(beside) == {("a", "b", "c")}
    assert any("10 example(s) have a target that is not among" in note for note in beside.notes)
    among = read(tmp_path / "d.jsonl", rows(target="c", references=["b", "c"]))
    assert references(among) == {("b", "c")}
    assert among.notes == []


@pytest.mark.parametrize(
    "text", ["\u200b", "\u200b \u2060\ufeff", "\u00ad", "\u2800", "\u3164\ufe0f"]
)
@pytest.mark.parametrize("field", ["input", "target", "references"])
def test_a_text_without_a_visible_character_is_refused(
    tmp_path: Path, text: str, field: str
) -> None:
    records = rows()
    records[3][field] = ["a", text] if field == "references" else text
    with pytest.raises(UserError, match=f"line 4: {field} has no visible character"):
        read(tmp_path / "d.jsonl", records)


def test_what_shows_is_visible() -> None:
    assert all(map(is_visible, ["a", "\u200b.", "字", "\u0301", "😀", "ᄀ", "\ue000"]))
    assert not any(map(is_visible, ["", " \n", "\u200b"]))


@pytest.mark.parametrize(
    "line", ['{"input": "a", "target": "b", "target": "c"}', '{"m": {"target": 1, "target": 1}}']
)
def test_a_key_that_is_there_twice_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps(rows()[0]) + "\n" + line + "\n")
    with pytest.raises(UserError, match="line 2: the key 'target' is there twice"):
        open_dataset(Source(str(path)))


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_separator_of_csv_is_seen_in_its_header(
    tmp_path: Path, separator: str, mark: str
) -> None:
    records = rows(target="a, b; c|d\te")
    path = tmp_path / "d.csv"
    text = pd.DataFrame(records).to_csv(index=False, sep=separator)
    path.write_text(mark + text, encoding="utf-8")
    assert references(open_dataset(Source(str(path)))) == {("a, b; c|d\te",)}


def nested() -> list[dict[str, Any]]:
    return [
        {
            "task": r["task"],
            "split": r["split"],
            "translation": {"en": r["input"], "de": r["target"]},
            "turns": [{"says": "hello"}, {"says": "good day"}],
        }
        for r in rows()
    ]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_keys_inside_of_a_column_are_mapped(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"d.{suffix}"
    pd.DataFrame(nested()).to_parquet(path)
    if suffix == "jsonl":
        read(path, rows())
        path.write_text("".join(json.dumps(r) + "\n" for r in nested()))
    columns = {"input": "translation.en", "target": "translation.de"}
    data = open_dataset(Source(str(path), columns=columns))
    assert references(data) == {(f"out {t}",) for t in range(5)}
    turns = {"input": "turns.0.says", "target": "turns.1.says"}
    assert references(open_dataset(Source(str(path), columns=turns))) == {("good day",)}


def test_the_advice_for_nested_columns_can_be_followed(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in nested()))
    inside = "translation.de, translation.en"
    with pytest.raises(UserError, match=f"no input; .*there are: split, task, {inside}, turns"):
        open_dataset(Source(str(path)))
    with pytest.raises(UserError, match=f"must be text, not dict; map what is inside: {inside}"):
        open_dataset(Source(str(path), columns={"input": "translation"}))
    with pytest.raises(UserError, match=f"no column 'translation.fr' for input; .*{inside}"):
        open_dataset(Source(str(path), columns={"input": "translation.fr"}))


@pytest.mark.parametrize(
    ("one", "two"),
    [("a  b", " a b\n"), ("Straße", "STRASSE"), ("e\u0301", "é"), ("ﬁ", "fi"), ("a\u200bb", "ab")],
)
def test_texts_are_the_same_but_for_space_case_and_form(one: str, two: str) -> None:
    assert essence(one) == essence(two)
    assert essence(one) != essence(one + " c")


def near(group: bool, other: str = " IN\u00a0 {}  TRAIN") -> list[dict[str, Any]]:
    """Every test input is a train input written otherwise, beside one that is not."""
    records = [
        {"task": f"t{t}", "split": part, "target": "x", "input": text.format(f"{t} {i}")}
        for t in range(5)
        for part, written in (("train", ["in {} train"]), ("test", [other, "apart {}"]))
        for text in written
        for i in range(4)
    ]
    return [{**r, "group": f"g{i}"} if group else r for i, r in enumerate(records)]


def test_near_duplicates_are_never_both_support_and_query(tmp_path: Path) -> None:
    data = read(tmp_path / "d.jsonl", near(group=False))
    assert any("40 example(s) have an input that differs from another's" in n for n in data.notes)
    for task in data.tasks.values():
        episode = draw_episode("s", task, 4, 8, 0, 0)
        assert {e.input.split()[0] for e in episode.query} == {"apart"}
    only = [r for r in near(group=False) if not r["input"].startswith("apart")]
    names, reasons = usable_tasks(read(tmp_path / "d.jsonl", only), "meta-test", 4)
    assert not names
    assert "4 examples of train can hold every group of its queries" in reasons[0]


def test_near_duplicates_in_declared_groups_are_counted(tmp_path: Path) -> None:
    data = read(tmp_path / "d.jsonl", near(group=True))
    assert any("20 test example(s) have the input of a support example" in n for n in data.notes)


def test_groups_of_data_without_near_duplicates_keep_their_names(tmp_path: Path) -> None:
    data = read(tmp_path / "d.jsonl", near(group=False, other="else {}"))
    assert data.notes == []
    examples = [e for t in data.tasks.values() for p in t.parts.values() for e in p]
    assert all(example.group == example.input for example in examples)


def test_a_plan_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text("\ufeffepisodes = 2\n", encoding="utf-8")
    assert read_toml(path) == {"episodes": 2}
