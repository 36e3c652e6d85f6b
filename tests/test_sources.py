"""Data of one's own: read as it is, divided by hash, refused with file, line and reason."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import sources
from bench.division import TableDataset
from bench.errors import UserError
from bench.sources import Source
from bench.splits import SHARES, divide_groups, divide_tasks
from bench.tasks import SPLITS


def open_dataset(data: str, revision: str | None = None, **more: Any) -> TableDataset:
    return sources.open_dataset(Source(data, revision, **more))


def rows(tasks: int = 6, each: int = 10, **more: Any) -> list[dict[str, Any]]:
    split = ["train"] * 6 + ["validation"] * 2 + ["test"] * 2
    return [
        {
            "task": f"t{t}",
            "split": split[i % 10],
            "input": f"in {t} {i}",
            "target": f"out {t} {i}",
            "id": f"{t}-{i}",
            "group": f"g{t}-{i}",
            **more,
        }
        for t in range(tasks)
        for i in range(each)
    ]


def write(path: Path, records: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return str(path)


def contents(data: Any) -> dict[str, Any]:
    return {t: data.task(t).parts for split in SPLITS for t in data.names(split)}


def test_jsonl_csv_parquet_and_saved_folders_are_the_same(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    records = rows()
    frame = pd.DataFrame(records)
    frame.to_csv(tmp_path / "d.csv", index=False)
    frame.to_parquet(tmp_path / "d.parquet")
    parts = {
        part: Dataset.from_pandas(
            frame[frame["split"] == part].drop(columns="split"), preserve_index=False
        )
        for part in ("train", "validation", "test")
    }
    DatasetDict(parts).save_to_disk(tmp_path / "saved")
    folder = tmp_path / "folder"
    folder.mkdir()
    write(folder / "a.jsonl", records[:30])
    write(folder / "b.jsonl", records[30:])
    first = open_dataset(write(tmp_path / "d.jsonl", records))
    for other in ("d.csv", "d.parquet", "saved", "folder"):
        again = open_dataset(str(tmp_path / other))
        assert again.splits == first.splits
        assert contents(again) == contents(first)
        assert again.revision != first.revision


def test_the_order_of_records_changes_nothing(tmp_path: Path) -> None:
    one = open_dataset(write(tmp_path / "a.jsonl", rows()))
    two = open_dataset(write(tmp_path / "b.jsonl", rows()[::-1]))
    assert contents(one) == contents(two)
    assert one.splits == two.splits


def test_columns_are_mapped(tmp_path: Path) -> None:
    records = [
        {"src": r["input"], "tgt": r["target"], "lang": r["task"], "split": r["split"]}
        for r in rows()
    ]
    path = write(tmp_path / "d.jsonl", records)
    data = open_dataset(path, columns={"input": "src", "target": "tgt", "task": "lang"})
    assert sorted(contents(data)) == [f"t{i}" for i in range(6)]
    with pytest.raises(UserError, match=r"no column 'source' for input; there are: lang, split"):
        open_dataset(path, columns={"input": "source"})
    with pytest.raises(UserError, match="did you mean input"):
        open_dataset(path, columns={"inputs": "src"})


def test_several_references_and_languages(tmp_path: Path) -> None:
    records = rows(
        target=None, references=["one", "two"], target_lang="mad", source_lang="eng_Latn"
    )
    data = open_dataset(write(tmp_path / "d.jsonl", records))
    task = data.task(data.names("meta-test")[0])
    assert (task.language, task.source_language) == ("mad", "en")
    assert task.parts["test"][0].language == "mad"
    assert task.parts["test"][0].references == ("one", "two")


def test_text_is_composed_and_odd_characters_stay(tmp_path: Path) -> None:
    odd = "a\u2028b\u0085c e\u0301"
    path = tmp_path / "d.jsonl"
    lines = [json.dumps({**r, "target": odd}, ensure_ascii=False) for r in rows()]
    path.write_bytes("\ufeff".encode() + "\r\n".join(lines).encode() + b"\r\n\r\n")
    data = open_dataset(str(path))
    target = data.task("t0").parts["train"][0].target
    assert target == unicodedata.normalize("NFC", odd)


def test_declared_task_splits_are_used(tmp_path: Path) -> None:
    records = [{**r, "task_split": SPLITS[int(r["task"][1]) % 3]} for r in rows(tasks=3)]
    data = open_dataset(write(tmp_path / "d.jsonl", records))
    assert data.splits == {s: [f"t{i}"] for i, s in enumerate(SPLITS)}
    records[-1]["task_split"] = "meta-train"
    with pytest.raises(UserError, match=r"line 30: task 't2' is in meta-train here"):
        open_dataset(write(tmp_path / "d.jsonl", records))


def test_without_parts_examples_are_divided_by_group(tmp_path: Path) -> None:
    records = [{k: v for k, v in r.items() if k != "split"} for r in rows(each=60)]
    data = open_dataset(write(tmp_path / "d.jsonl", records))
    parts = data.task("t0").parts
    assert {len(parts[p]) > 0 for p in parts} == {True}
    assert len(parts["train"]) > len(parts["test"]) > 0
    assert "divided by hash" in data.notes[0]


def test_a_parallel_corpus_keeps_its_sentences_apart(tmp_path: Path) -> None:
    records = [{**r, "group": f"sentence {r['id'].split('-')[1]}"} for r in rows(each=40)]
    data = open_dataset(write(tmp_path / "d.jsonl", records))
    groups = {
        split: {e.group for t in data.names(split) for p in data.task(t).parts.values() for e in p}
        for split in SPLITS
    }
    for one in SPLITS:
        for two in SPLITS:
            assert one == two or not groups[one] & groups[two]
    assert set().union(*groups.values()) == {r["group"] for r in records}
    assert "of 240 examples left out" in data.notes[0]


def bad(at: int, **change: Any) -> list[dict[str, Any]]:
    records = rows()
    records[at - 1] = {**records[at - 1], **change}
    return records


BAD_RECORDS = [
    (bad(17, target=" "), "line 17: target is empty"),
    (bad(17, input=""), "line 17: input is empty"),
    (bad(17, input=None), "line 17: no input; map its column"),
    (bad(17, target=5), "line 17: target must be text, not int"),
    (bad(17, target=None, references=[]), "line 17: references is an empty list"),
    (bad(17, split="dev"), "line 17: split = 'dev'; allowed are train"),
    (bad(17, split=None), "line 17: no split, which other records"),
    (bad(17, task_split="meta-test"), "line 1: no task_split, which other records"),
    (bad(17, id="0-0"), "line 17: the id '0-0' stands already at d.jsonl, line 1"),
    (rows(tasks=4), "4 task(s) cannot be divided"),
]


@pytest.mark.parametrize(("records", "told"), BAD_RECORDS)
def test_a_bad_record_is_told_with_its_line(
    tmp_path: Path, records: list[dict[str, Any]], told: str
) -> None:
    with pytest.raises(UserError) as error:
        open_dataset(write(tmp_path / "d.jsonl", records))
    assert told in error.value.message
    assert "\n" not in error.value.message


GOOD = "\n".join(json.dumps(r) for r in rows()).split("\n")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("d.jsonl", b"", "the file is empty"),
        ("d.jsonl", b"\n\n", "the file is empty"),
        (
            "d.jsonl",
            "\n".join([*GOOD[:16], '{"task": "t1" 2', *GOOD[17:]]).encode(),
            "line 17: broken JSON: Expecting ',' delimiter, column 15",
        ),
        ("d.jsonl", b"[1, 2]\n", "line 1: a JSON object is needed"),
        ("d.jsonl", (GOOD[0] + "\n\n" + GOOD[1]).encode(), "line 2: a blank line"),
        ("d.jsonl", GOOD[0].encode() + b'\n{"input": "\xff"}\n', "line 2: not UTF-8"),
        ("d.csv", b"", "the file is empty"),
        ("d.csv", b"input,target\nx\n", "line 2: another number of columns"),
        ("d.csv", b"input,target\nx,\xff\n", "line 2: not UTF-8"),
        ("d.csv", b"input,goal\nx,y\n", "line 2: no target; map its column"),
        ("d.parquet", b"nothing", "cannot be read as Parquet"),
        ("d.txt", b"x", "are read, not '.txt'"),
    ],
)
def test_a_bad_file_is_told(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        open_dataset(str(tmp_path / name))
    assert told in error.value.message
    assert "\n" not in error.value.message


def test_places_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no such file"):
        open_dataset(str(tmp_path / "none.jsonl"))
    with pytest.raises(UserError, match="file in that folder"):
        open_dataset(str(tmp_path))
    with pytest.raises(UserError, match="--revision"):
        open_dataset("owner/name")
    with pytest.raises(UserError, match="leave --revision out"):
        open_dataset(write(tmp_path / "d.jsonl", rows()), revision="main")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="the hub does not give it"):
        open_dataset("owner/name", "main")


names = st.sets(st.text(min_size=1, max_size=8), min_size=5, max_size=60)


@given(names)
def test_every_task_is_in_exactly_one_split(tasks: set[str]) -> None:
    splits = divide_tasks(tasks)
    assert sorted(t for held in splits.values() for t in held) == sorted(tasks)
    assert len(splits["meta-validation"]) >= 2
    assert len(splits["meta-test"]) >= 2
    for split, held in splits.items():
        assert abs(len(held) - SHARES[split] * len(tasks)) <= 3


@given(st.dictionaries(st.sampled_from(SPLITS), st.sets(st.integers(0, 30).map(str))))
def test_a_shared_group_is_given_to_one_split_that_holds_it(groups: dict[str, set[str]]) -> None:
    owners = divide_groups(groups)
    for group in set().union(*groups.values()):
        holders = [split for split in SPLITS if group in groups.get(split, ())]
        assert (group in owners) == (len(holders) > 1)
        assert owners.get(group, holders[0]) in holders


def test_files_without_a_task_column_are_tasks(tmp_path: Path) -> None:
    (tmp_path / ".hidden.jsonl").write_text("no data")
    for stem in "abcde":
        own = [{**r, "task": None, "id": f"{stem}{r['id']}", "group": None} for r in rows(tasks=1)]
        write(tmp_path / f"{stem}.jsonl", [{**r, "input": stem + r["input"]} for r in own])
    data = open_dataset(str(tmp_path))
    assert sorted(data.tasks) == list("abcde")
    assert data.notes == []


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_a_missing_label_is_missing_in_every_format(tmp_path: Path, suffix: str) -> None:
    records = rows(language=None)
    for number, record in enumerate(records):
        record["language"] = "ind" if number % 10 else None
        if number % 2:
            record["group"] = record["id"] = None
    path = tmp_path / f"d.{suffix}"
    if suffix == "jsonl":
        write(path, records)
    elif suffix == "csv":
        pd.DataFrame(records).to_csv(path, index=False)
    else:
        pd.DataFrame(records).to_parquet(path)
    data = open_dataset(str(path))
    examples = [e for task in data.tasks.values() for part in task.parts.values() for e in part]
    assert len({e.group for e in examples}) == len({e.id for e in examples}) == 60
    assert {task.language for task in data.tasks.values()} == {"id"}
    assert data.notes == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"task": None}, "line 17: no task, which other records"),
        ({"task": ["x"]}, "line 17: task must be text, not list"),
        ({"references": ["a", None]}, "line 17: references holds a null; remove it"),
        ({"references": 7}, "line 17: references must be a list of texts, not int"),
        ({"input": "\ud800"}, "line 17: input holds half of a surrogate pair"),
    ],
)
def test_a_record_of_wrong_types_is_told(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        open_dataset(write(tmp_path / "d.jsonl", bad(17, **change)))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('input,target\n"a\nb",c\nd\n', "line 4: another number of columns"),
        ('input,target\na,b\n"c,d\n', "line 3: broken CSV"),
        ("input,target,target\na,b,c\n", "line 1: two columns have one name"),
        ("input,target\n", "the file is empty"),
    ],
)
def test_a_bad_csv_is_told_with_the_first_line_of_the_record(
    tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / "d.csv").write_text(text)
    with pytest.raises(UserError, match=told):
        open_dataset(str(tmp_path / "d.csv"))


def test_long_documents_fit_into_a_csv_cell(tmp_path: Path) -> None:
    records = [{**r, "input": r["input"] + "x" * 140_000} for r in rows(each=1)]
    pd.DataFrame(records).to_csv(tmp_path / "d.csv", index=False)
    assert len(open_dataset(str(tmp_path / "d.csv")).tasks) == 6


def test_data_saved_again_has_the_same_revision(tmp_path: Path) -> None:
    from datasets import Dataset

    for turn in ("one", "two"):
        data = Dataset.from_list(rows(), split=None).map(lambda row: row)
        data._fingerprint = turn
        data.save_to_disk(tmp_path / turn / "d")
    one, two = (open_dataset(str(tmp_path / turn / "d")).revision for turn in ("one", "two"))
    assert one == two


def test_a_hub_name_may_hold_a_dot() -> None:
    with pytest.raises(UserError, match="--revision"):
        open_dataset("owner/name-1.1")
    with pytest.raises(UserError, match="no such file"):
        open_dataset("owner/name.csv")
