"""Declared public data sets: their layouts are read from folders of the same shape, their commit
is recorded. The rows below were written for these tests; only their columns are the data sets'."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.division import TableDataset
from bench.errors import UserError
from bench.plan import make_plan
from bench.registry import load, names
from bench.runner import pinned
from bench.show import page
from bench.sources import Source, open_dataset
from bench.tasks import SPLITS, Example, PublicData

PUBLIC = {
    (suite, public.id): public
    for suite in names("suite")
    for public in load("suite", suite)().public
}
Writer = Callable[[Path], Any]
Rows = list[dict[str, Any]]
TRAIN, TEST = 12, 5


def parquet(path: Path, rows: Rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_parquet(path)


def card(folder: Path, configs: list[tuple[str, dict[str, str]]]) -> None:
    """A README.md as the hub's: which files belong to which config and part."""
    lines = ["---", "configs:"]
    for name, files in configs:
        lines += [f"- config_name: {name}", "  data_files:"]
        for part, path in files.items():
            lines += [f"  - split: {part}", f"    path: {path}"]
    (folder / "README.md").write_text("\n".join([*lines, "---", "# A data set"]), encoding="utf-8")


def nusax(folder: Path) -> None:
    for language in "ace ban bug jav sun min".split():
        for part, size in (("train", TRAIN), ("validation", 3), ("test", TEST)):
            parquet(
                folder / f"eng-{language}" / part / "0000.parquet",
                [
                    {
                        "id": i,
                        "text_1": f"{part} sentence {i}",
                        "text_2": f"{language} words {part} {i}",
                        "text_1_lang": "eng",
                        "text_2_lang": language,
                    }
                    for i in range(size)
                ],
            )


def flores(folder: Path) -> None:
    languages = "eng_Latn ace_Latn khm_Khmr jav_Latn sun_Latn war_Latn yor_Latn".split()
    for language in languages:
        for part, size in (("dev", TRAIN), ("devtest", TEST)):
            path = folder / part / f"{language}.jsonl"
            path.parent.mkdir(exist_ok=True, parents=True)
            rows = [{"id": i, "text": f"{language} {part} text {i}"} for i in range(size)]
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    card(
        folder,
        [(n, {p: f"{p}/{n}.jsonl" for p in ("dev", "devtest")}) for n in languages],
    )


def dialogsum(folder: Path) -> None:
    folder.mkdir(parents=True)
    for part, size in (("train", TRAIN), ("validation", 2), ("test", TEST)):
        rows = []
        for topic in "job interview,shopping,Weather,travel,cooking,music".split(","):
            for i in range(size):
                said = f"#Person_1#: {topic} {part} {i} ?\n#Person_2#: yes ."
                for turn in range(3 if part == "test" else 1):
                    end = f"_{turn + 1}" if part == "test" else ""
                    rows.append(
                        {
                            "id": f"{part}_{topic}_{i}{end}",
                            "dialogue": said,
                            "summary": f"They speak of {topic} {i}, told {turn}.",
                            "topic": topic,
                        }
                    )
        pd.DataFrame(rows).to_csv(folder / f"{part}.csv", index=False)
    card(folder, [("default", {p: f"{p}.csv" for p in ("train", "validation", "test")})])


def xlsum(folder: Path) -> None:
    for language in "amharic arabic burmese chinese_simplified english khmer".split()[:5]:
        for part, size in (("train", TRAIN), ("validation", 3), ("test", TEST)):
            parquet(
                folder / language / part / "0000.parquet",
                [
                    {
                        "id": f"{language}-{part}-{i}",
                        "url": "",
                        "title": "",
                        "summary": f"{language} in short {i}",
                        "text": f"{language} in full {part} {i}",
                    }
                    for i in range(size)
                ],
            )


def schema_guided(folder: Path) -> None:
    for part, size in (("train", TRAIN), ("validation", 2), ("test", TEST)):
        parquet(
            folder / "default" / part / "0000.parquet",
            [
                {
                    "gem_id": f"{service}-{part}-{i}",
                    "dialog_acts": [{"act": 1, "slot": "city", "values": ["here"]}],
                    "context": [f"hello {service} {part} {i}", "which one ?"],
                    "dialog_id": f"{service}-{part}-{i // 2}",
                    "service": service,
                    "turn_id": 2,
                    "prompt": "the second",
                    "target": f"done {i}",
                    "references": [f"done {i}"],
                }
                for service in ("Banks_1", "Hotels_2", "Media_1", "Buses_1", "Music_1", "Homes_1")
                for i in range(size)
            ],
        )


def personachat(folder: Path) -> None:
    for part in ("train", "validation"):
        parquet(
            folder / "full" / part / "0000.parquet",
            [
                {
                    "personality": [f"I am {part} {who}.", "I like rain."],
                    "candidates": ["not this", "nor this", f"answer {talk} {turn}"],
                    "history": [f"hi {part} {who} {talk} {turn}"] * (turn + 1),
                    "conv_id": 100 * who + talk,
                    "utterance_idx": turn,
                }
                for who in range(4)
                for talk in range(20)
                for turn in range(2)
            ],
        )


def poetry(folder: Path) -> None:
    parquet(
        folder / "data" / "train-00000-of-00001.parquet",
        [
            {"line": f"book {book} line {i}", "gutenberg_id": book}
            for book in range(10, 16)
            for i in range(4 * 40 + book % 3)
        ],
    )


def stories(folder: Path) -> None:
    for part, size in (("train", TRAIN), ("validation", 2), ("test", TEST)):
        parquet(
            folder / "data" / f"{part}-00000-of-00001.parquet",
            [
                {
                    "prompt": f"[ {tag} ] A door in {part} {i}" if tag else f"A sea in {part} {i}",
                    "story": f"It opened {i}. " + "And then it closed. " * 40 + "No end",
                }
                for tag in ("WP", "EU", "tt", "RF", "CW", "")
                for i in range(size)
            ],
        )


WRITERS: dict[str, Writer] = {
    "indonlp/NusaX-MT": nusax,
    "openlanguagedata/flores_plus": flores,
    "knkarthick/dialogsum": dialogsum,
    "csebuetnlp/xlsum": xlsum,
    "GEM/schema_guided_dialog": schema_guided,
    "bavard/personachat_truecased": personachat,
    "biglam/gutenberg-poetry-corpus": poetry,
    "euclaise/writingprompts": stories,
}


def read(public: PublicData, folder: Path, **more: Any) -> TableDataset:
    WRITERS[public.id](folder)
    if public.configs and "configs" not in more:
        on_disk = {path.stem for path in folder.rglob("*")} | {p.name for p in folder.iterdir()}
        more["configs"] = [config for config in public.configs if config in on_disk]
    return open_dataset(Source(str(folder), layout=public.id, **more), [public])


def tasks_of(data: TableDataset) -> list[str]:
    return sorted(name for split in SPLITS for name in data.names(split))


def first(data: TableDataset, task: str, part: str = "train") -> Example:
    return sorted(data.task(task).parts[part], key=lambda e: e.input)[0]


def test_every_suite_declares_two_and_each_is_tested_here() -> None:
    assert {public.id for public in PUBLIC.values()} == set(WRITERS)
    for suite in names("suite"):
        assert len(load("suite", suite)().public) >= 2


@pytest.mark.parametrize("key", PUBLIC, ids=lambda key: key[1])
def test_a_layout_gives_tasks_with_parts(key: tuple[str, str], tmp_path: Path) -> None:
    data = read(PUBLIC[key], tmp_path / "copy")
    assert len(tasks_of(data)) >= 5
    for task in tasks_of(data):
        parts = data.task(task).parts
        assert parts["train"] or parts["test"]  # groups that tasks share may empty one of them
        groups = [{e.group for e in part} for part in parts.values()]
        assert sum(map(len, groups)) == len(set().union(*groups))
    assert any(data.task(task).parts["train"] for task in data.names("meta-train"))
    assert any(data.task(task).parts["test"] for task in data.names("meta-test"))
    assert page(key[0]).count(key[1]) >= 2


EXPECTED = {
    "indonlp/NusaX-MT": ("eng-ban", r"train sentence \d+", r"ban words train \d+"),
    "openlanguagedata/flores_plus": ("eng-khm_Khmr", r"eng_Latn dev text", r"khm_Khmr dev text"),
    "knkarthick/dialogsum": ("weather", r"Person_1#: Weather train", r"They speak of Weather"),
    "csebuetnlp/xlsum": ("arabic", r"arabic in full train", r"arabic in short"),
    "GEM/schema_guided_dialog": ("Hotels_2", r"Hotels_2.*\nwhich one \?\nthe second", r"done \d"),
    "biglam/gutenberg-poetry-corpus": ("book-11", r"line \d+\nbook", r"line \d+\nbook"),
    "euclaise/writingprompts": ("TT", r"^A door in train", r"^It opened \d+\. .*closed\.$"),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_row_means_what_the_data_says(name: str, tmp_path: Path) -> None:
    public = next(public for public in PUBLIC.values() if public.id == name)
    data = read(public, tmp_path / "copy")
    task, text, target = EXPECTED[name]
    examples = [e for part in data.task(task).parts.values() for e in part]
    assert any(re.search(text, e.input) and re.search(target, e.target) for e in examples)


def test_three_summaries_are_references_of_one_dialogue(tmp_path: Path) -> None:
    data = read(PUBLIC["summarization", "knkarthick/dialogsum"], tmp_path / "copy")
    tests = data.task("shopping").parts["test"]
    assert len(tests) == TEST
    assert {len(e.references) for e in tests} == {3}
    assert {len(e.references) for e in data.task("shopping").parts["train"]} == {1}


def test_the_last_candidate_is_the_answer_and_a_conversation_is_in_one_part(tmp_path: Path) -> None:
    data = read(PUBLIC["dialogue", "bavard/personachat_truecased"], tmp_path / "copy")
    assert len(tasks_of(data)) == 8
    assert "divided by hash" in data.notes[0]
    one = first(data, tasks_of(data)[0])
    assert one.target.startswith("answer")


def test_a_sentence_is_one_group_in_all_languages(tmp_path: Path) -> None:
    data = read(PUBLIC["translation", "indonlp/NusaX-MT"], tmp_path / "copy")
    assert "left out" in data.notes[0]
    assert {data.task(task).language for task in tasks_of(data)} >= {"ban", "jv"}
    assert {data.task(task).source_language for task in tasks_of(data)} == {"en"}


def test_a_folder_of_another_shape_is_told(tmp_path: Path) -> None:
    public = PUBLIC["summarization", "knkarthick/dialogsum"]
    stories(tmp_path / "copy")
    with pytest.raises(UserError, match=r"has not the layout of knkarthick/dialogsum \(KeyError"):
        open_dataset(Source(str(tmp_path / "copy"), layout=public.id), [public])
    with pytest.raises(UserError, match=r"unknown layout of this suite 'dialogsum'; did you mean"):
        open_dataset(Source(str(tmp_path / "copy"), layout="dialogsum"), [public])
    with pytest.raises(UserError, match="leave --column out"):
        open_dataset(Source("x", layout=public.id, columns={"input": "a"}), [public])


def test_other_languages_need_the_english_side(tmp_path: Path) -> None:
    public = PUBLIC["translation", "openlanguagedata/flores_plus"]
    with pytest.raises(UserError, match="English comes first"):
        read(public, tmp_path / "copy", configs=["khm_Khmr", "eng_Latn"])


def test_a_config_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    public = PUBLIC["translation", "openlanguagedata/flores_plus"]
    with pytest.raises(UserError, match=r"xxx_Latn: cannot be read by datasets: .*eng_Latn"):
        read(public, tmp_path / "copy", configs=["xxx_Latn"])


def test_a_hub_id_is_read_at_the_commit_of_its_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub is played by a folder: what is asked of it is what counts."""
    import datasets
    import huggingface_hub

    public = PUBLIC["translation", "indonlp/NusaX-MT"]
    nusax(tmp_path / "hub")
    asked = []
    load_dataset = datasets.load_dataset

    class Info:
        sha = "c0ffee" * 6 + "abcd"

    class Api:
        def dataset_info(self, name: str, revision: str, timeout: float) -> Info:
            asked.append((name, revision))
            return Info()

    def fetch(name: str, revision: str, streaming: bool, **named: str) -> Any:
        assert streaming
        asked.append((name, revision))
        return load_dataset(str(tmp_path / "hub"), streaming=True, **named)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(datasets, "load_dataset", fetch)
    configs = [path.name for path in sorted((tmp_path / "hub").iterdir())]
    source = Source(public.id, "refs/convert/parquet", configs=configs)
    data = open_dataset(source, [public])
    assert asked == [(public.id, "refs/convert/parquet")] + [(public.id, Info.sha)] * len(configs)
    assert (data.name, data.revision) == (public.id, Info.sha[:12])
    with pytest.raises(UserError, match="name its revision with --revision"):
        open_dataset(Source(public.id), [public])
    values = {"suites": ["translation"], "data": public.id, "revision": "refs/convert/parquet"}
    assert pinned(make_plan(values)).revision == Info.sha


def test_a_folder_in_a_hub_layout_without_a_declaration(tmp_path: Path) -> None:
    """Configs are tasks where no column names one; parts come from the card."""
    for name in "one two three four five".split():
        for part in ("train", "test"):
            rows = [{"source": f"{part} {name} {i}", "goal": f"g {i}"} for i in range(9)]
            parquet(tmp_path / name / f"{part}.parquet", rows)
    configs = [path.name for path in sorted(tmp_path.iterdir())]
    card(tmp_path, [(n, {p: f"{n}/{p}.parquet" for p in ("train", "test")}) for n in configs])
    columns = {"input": "source", "target": "goal"}
    data = open_dataset(Source(str(tmp_path), columns=columns, configs=configs))
    assert tasks_of(data) == sorted(configs)
    assert {len(data.task("two").parts[part]) for part in ("train", "test")} == {9}
    with pytest.raises(UserError, match="cannot be read by datasets: Config name is missing"):
        open_dataset(Source(str(tmp_path), columns=columns))


def test_one_part_only_is_divided_by_hash(tmp_path: Path) -> None:
    parquet(
        tmp_path / "data" / "train.parquet",
        [
            {"input": f"{t} {i}", "target": "x", "task": f"t{t}"}
            for t in range(5)
            for i in range(40)
        ],
    )
    data = open_dataset(Source(str(tmp_path)))
    assert "divided by hash" in data.notes[0]
    assert all(data.task(f"t{t}").parts["test"] for t in range(5))
