"""Folders of files: which are parts, which stay unread, what their names and cards say."""

from pathlib import Path

import pandas as pd
import pytest

from bench.errors import UserError
from tests.test_sources import open_dataset, rows, write


@pytest.mark.parametrize(
    "names",
    [
        ("train.jsonl", "dev.jsonl", "test.jsonl"),
        ("train.csv", "valid.csv", "eval.csv"),
        ("train.jsonl", "val.csv", "devtest.parquet"),
        ("train-00000-of-00001.jsonl", "validation-00000-of-00001.jsonl", "test.jsonl"),
    ],
)
def test_files_that_are_called_as_parts_are_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    """Labels with leading zeros and texts such as None are kept as they stand."""
    for part, name in zip(("train", "validation", "test"), names, strict=True):
        own = [
            {"task": f"0{r['task'][1]}", "input": r["input"], "target": f"None {i}"}
            for i, r in enumerate(r for r in rows() if r["split"] == part)
        ]
        if name.endswith(".jsonl"):
            write(tmp_path / name, own)
        elif name.endswith(".csv"):
            pd.DataFrame(own).to_csv(tmp_path / name, index=False)
        else:
            pd.DataFrame(own).to_parquet(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    data = open_dataset(".")
    assert sorted(data.tasks) == [f"0{t}" for t in range(6)]
    assert {p: len(found) for p, found in data.task("03").parts.items()} == {
        "train": 6,
        "validation": 2,
        "test": 2,
    }
    assert data.task("03").parts["test"][0].target.startswith("None ")
    assert data.notes == []


def test_files_of_which_only_some_are_called_as_parts_are_noted(tmp_path: Path) -> None:
    for stem in ("train", "test", "train_extra"):
        write(tmp_path / f"{stem}.jsonl", [{**r, "id": f"{stem} {r['id']}"} for r in rows()])
    (note,) = open_dataset(str(tmp_path)).notes
    assert "some files are called as parts are and some are not" in note


def card(folder: Path, *lines: str) -> None:
    (folder / "README.md").write_text("\n".join(["---", "configs:", *lines, "---", ""]))


def test_what_a_card_says_of_its_files_holds(tmp_path: Path) -> None:
    for part in ("train", "test"):
        lines = [f"t{t};{part} in {t} {i};out {i}" for t in range(6) for i in range(4)]
        (tmp_path / f"{part}.csv").write_text("\n".join(["task;input;target", *lines]))
    parts = [f"  - split: {part}\n    path: {part}.csv" for part in ("train", "test")]
    card(tmp_path, "- config_name: default", '  sep: ";"', "  data_files:", *parts)
    data = open_dataset(str(tmp_path))
    assert {p: len(found) for p, found in data.task("t3").parts.items()} == {
        "train": 4,
        "validation": 0,
        "test": 4,
    }


@pytest.mark.parametrize("identified", [True, False])
def test_a_file_that_is_two_parts_is_told(tmp_path: Path, identified: bool) -> None:
    own = [{**r, "split": None, "group": None} for r in rows()]
    write(tmp_path / "d.jsonl", [r if identified else {**r, "id": None} for r in own])
    parts = [f"  - split: {part}\n    path: d.jsonl" for part in ("train", "test")]
    card(tmp_path, "- config_name: default", "  data_files:", *parts)
    if identified:
        with pytest.raises(UserError, match=r"test d\.jsonl, line 1: the id '0-0' stands already"):
            open_dataset(str(tmp_path))
    else:  # nothing but a group tells them apart, and it keeps them so
        data = open_dataset(str(tmp_path))
        assert len(data.task("t1").parts["train"]) == len(data.task("t1").parts["test"]) == 10


def test_files_that_stay_unread_are_noted(tmp_path: Path) -> None:
    write(tmp_path / "d.jsonl", rows())
    write(tmp_path / "more.ndjson", rows())
    (tmp_path / "LICENSE.txt").write_text("free")
    (note,) = open_dataset(str(tmp_path)).notes
    assert note == f"{tmp_path.name}: 1 file(s) not read: more.ndjson"


def test_files_of_no_part_are_noted(tmp_path: Path) -> None:
    for place in ("train", "test", "heldout"):
        (tmp_path / place).mkdir()
        write(tmp_path / place / "a.jsonl", [{**r, "split": None, "id": None} for r in rows()])
    (note,) = open_dataset(str(tmp_path)).notes
    assert note == f"{tmp_path.name}: 1 file(s) not read, in no part: heldout/a.jsonl"


def test_a_link_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    write(tmp_path / "d.jsonl", rows())
    (tmp_path / "e.jsonl").symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match=r"e\.jsonl: a link to a file that is not there"):
        open_dataset(str(tmp_path))


def test_a_repositorys_card_and_folders_are_part_of_its_revision(tmp_path: Path) -> None:
    own = [{**r, "split": None, "id": None} for r in rows()]
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        write(tmp_path / part / "a.jsonl", own)
    first = open_dataset(str(tmp_path)).revision
    (tmp_path / "test").rename(tmp_path / "validation")
    second = open_dataset(str(tmp_path)).revision
    (tmp_path / "README.md").write_text("# Another card")
    assert len({first, second, open_dataset(str(tmp_path)).revision}) == 3


def test_a_saved_folder_has_no_layout_and_no_configs(tmp_path: Path) -> None:
    from datasets import Dataset

    Dataset.from_list(rows()).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(UserError, match="no layout and no configs"):
        open_dataset(str(tmp_path / "saved"), configs=["one"])
