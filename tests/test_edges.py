"""Data at the edges of the protocol, through a whole run: few test items, no train part, several
references, long inputs, other scripts. Texts were written for these tests."""

import json
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sacrebleu

import bench
from bench.context import Context
from bench.errors import UserError
from bench.plan import make_plan
from bench.records import read_cell, read_json
from bench.runner import backbone_notes, execute

TASKS = [f"t{i}" for i in range(6)]


def example(task: str, part: str, number: int, **change: Any) -> dict[str, Any]:
    name = f"{task} {part} {number}"
    return {
        "task": task,
        "split": part,
        "id": name,
        "input": name,
        "target": f"say {name}",
        **change,
    }


def data(path: Path, parts: dict[str, int], **change: Any) -> Path:
    rows = [example(t, p, i, **change) for t in TASKS for p in parts for i in range(parts[p])]
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), "utf-8")
    return path


def values_of(path: Path, checkpoint: str, baselines: list[str], **more: Any) -> dict[str, Any]:
    return {
        "suites": ["translation"],
        "baselines": baselines,
        "data": str(path),
        "backbone": checkpoint,
        "shots": [4],
        "queries": 8,
        "episodes": 2,
        "train_budget": 500,
        "max_new_tokens": 4,
        "workers": 1,
        "out": str(path.parent / "run"),
        **more,
    }


def run(
    path: Path, checkpoint: str, baselines: list[str], **more: Any
) -> tuple[Path, pd.DataFrame]:
    outcome = bench.run(values_of(path, checkpoint, baselines, **more))
    if outcome.failures:
        raise UserError("; ".join(outcome.failures.values()))
    return outcome.root, bench.leaderboard([outcome.root]).set_index("baseline")


def cell_of(out: Path, baseline: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Header and records of the only cell of a baseline."""
    (path,) = (out / "cells" / "translation" / baseline).rglob("*.jsonl")
    return read_cell(path)


def test_without_a_train_part_support_is_validation_and_the_row_says_so(
    tmp_path: Path, checkpoint: str
) -> None:
    path = data(tmp_path / "d.jsonl", {"validation": 8, "test": 8})
    out, table = run(path, checkpoint, ["nearest", "fine-tuned"])
    assert set(table["support_part"]) == {"validation"}
    assert {r["support_part"] for r in cell_of(out, "fine-tuned")[1]} == {"validation"}


def test_meta_training_without_a_train_part_is_told(tmp_path: Path, checkpoint: str) -> None:
    path = data(tmp_path / "d.jsonl", {"validation": 8, "test": 8})
    with pytest.raises(UserError, match=r"no meta-train task of d\.jsonl"):
        run(path, checkpoint, ["fomaml"])


def test_tasks_too_small_to_train_on_are_listed(tmp_path: Path, checkpoint: str) -> None:
    path, small = tmp_path / "d.jsonl", [f"small-{i:02d}" for i in range(15)]
    splits = {**dict.fromkeys([*small, "large"], "meta-train"), "v": "meta-validation"}
    rows = [
        example(task, part, i, task_split=split)
        for task, split in {**splits, "t": "meta-test"}.items()
        for part in ("train", "test")
        for i in range(3 if task in small else 8)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    plan = make_plan(values_of(path, checkpoint, ["fomaml", "nearest"]))
    lines: list[str] = []
    assert execute(plan, say=lines.append).failures == {}
    told = [line for line in lines if "left out of meta-training" in line]
    assert told[0].endswith("small-00: 3 examples in train, 5 needed")
    assert len(told) == 13
    assert told[-1].endswith("3 more; run.json lists them")
    facts = read_json(Path(plan.out or "") / "run.json")["facts"]["suites"]["translation"]
    assert [reason.split(":")[0] for reason in facts["left_out_of_training"]] == small


def test_three_test_items_are_three_queries(tmp_path: Path, checkpoint: str) -> None:
    path = data(tmp_path / "d.jsonl", {"train": 8, "test": 3})
    out, _ = run(path, checkpoint, ["nearest"])
    assert {len(r["predictions"]) for r in cell_of(out, "nearest")[1]} == {3}


def test_all_references_count(tmp_path: Path, checkpoint: str) -> None:
    """Against sacreBLEU's own score of the same texts."""
    path = tmp_path / "d.jsonl"
    rows = [
        example(
            task,
            part,
            i,
            target=None,
            references=[f"one of {task} has {i} old goats", f"say {task} for all {i} new ships"],
        )
        for task in TASKS
        for part in ("train", "test")
        for i in range(8)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out, table = run(path, checkpoint, ["nearest"])
    references = {row["id"]: row["references"] for row in rows}
    found = cell_of(out, "nearest")[1]
    said = [text for r in found for text in r["predictions"]]
    asked = [references[name] for r in found for name in r["query_ids"]]
    expected = sacrebleu.corpus_bleu(said, [list(refs) for refs in zip(*asked, strict=True)])
    assert table.loc["nearest", "bleu"] == pytest.approx(expected.score)
    assert expected.score > 20


@pytest.mark.slow
def test_an_input_of_5000_tokens_is_cut_and_counted(tmp_path: Path, checkpoint: str) -> None:
    path = data(tmp_path / "d.jsonl", {"train": 6, "test": 4}, input=None)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for number, row in enumerate(rows):
        row["input"] = f"{number} " + "the old goat sees a lamp . " * 800
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, table = run(path, checkpoint, ["lead", "nearest", "zero-shot", "in-context", "fine-tuned"])
    for name in ("zero-shot", "in-context", "fine-tuned"):
        assert table.loc[name, "truncated"] > 0
    assert table.loc["lead", "truncated"] == 0
    assert table["chrf"].notna().all()


def test_a_backbone_of_other_data_is_told(tmp_path: Path, checkpoint: str) -> None:
    path = data(tmp_path / "d.jsonl", {"train": 6, "test": 4})
    folder = tmp_path / "trained"
    shutil.copytree(checkpoint, folder)
    plan = make_plan(values_of(path, str(folder), ["zero-shot"]))
    context = Context(plan, tmp_path)
    own = context.dataset("translation")
    for revision, told in ((own.revision, 0), ("another", 1)):
        facts = {"fewgen": "1", "sources": {"translation": [own.name, revision]}}
        (folder / "training.json").write_text(json.dumps(facts))
        notes = [line for line in backbone_notes(context) if "may have seen held-out" in line]
        assert len(notes) == told
    (folder / "training.json").write_text("[]")  # another trainer's
    assert not [line for line in backbone_notes(context) if "held-out" in line]


SCRIPTS = {
    "zh": ("老山羊看见一盏灯和小船", "bleu", "tok:zh"),
    "ar": ("الماعز العجوز يرى مصباحا وقاربا", "chrf", ""),
    "km": ("ពពែចាស់ឃើញចង្កៀងនិងទូក", "rougeL", ""),
    "vi": (
        unicodedata.normalize("NFD", "con dê già thấy một ngọn đèn và chiếc thuyền"),
        "chrf",
        "",
    ),
}


@pytest.mark.parametrize("language", SCRIPTS)
def test_other_scripts_score_themselves_fully_and_others_partly(
    language: str, tmp_path: Path, checkpoint: str
) -> None:
    """Answers are one of two texts, so that the nearest support example is right at times."""
    text, metric, signature = SCRIPTS[language]
    path = tmp_path / "d.jsonl"
    rows = [
        example(t, p, i, target=text if i % 2 else text[: len(text) // 2], language=language)
        for t in TASKS
        for p in ("train", "test")
        for i in range(8)
    ]
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), "utf-8")
    out, table = run(path, checkpoint, ["nearest", "fine-tuned"])
    header, found = cell_of(out, "nearest")
    assert header["language"] == language
    assert 20 < table.loc["nearest", metric] < 100
    assert signature in table.loc["nearest", "signature"]
    composed = unicodedata.normalize("NFC", text)
    assert composed in {said for record in found for said in record["predictions"]}
