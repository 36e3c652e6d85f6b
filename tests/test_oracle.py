"""The oracle: what it learns from, that this is apart from what it is asked, and its steps."""

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from click.testing import CliRunner

import bench
from baselines.oracle import Oracle
from bench.backbone import Backbone
from bench.baseline import GradientLearner, Learner
from bench.cli import main
from bench.context import dataset_of
from bench.episodes import Episode, draw_episode
from bench.errors import CellError
from bench.paired_command import paired_table
from bench.pivots import pivot
from bench.publish import block_tables
from bench.reading import Reading
from bench.records import read_cell
from bench.registry import load, names
from bench.report.site import build
from bench.shown import MISSING
from bench.studies.stability import stability
from bench.tables import frame_of, ranked
from bench.tasks import Example, Task
from suites.translation.grammar import Language, english
from tests.proofs import plain_loss
from tests.runs import write_run
from tests.upper import as_upper_reference

SUITES = ["dialogue", "summarization", "translation", "writing"]


def oracle(**values: Any) -> Oracle:
    return Oracle(Oracle.Options(**values))


def small_task(name: str, train: int = 20, test: int = 6) -> Task:
    """Groups are pairs of examples; the first three of the test part are also in train."""
    parts = {
        part: tuple(
            Example(f"{part} {i}", (f"t {i}",), f"{part}{i}", f"{part if i > 5 else ''}{i // 2}")
            for i in range(count)
        )
        for part, count in (("train", train), ("test", test))
    }
    return Task(name, parts)


def given(task: Task, episode: Episode, **values: Any) -> Counter[str]:
    """How often each example is passed, by id."""
    steps = oracle(**values).minibatches(task, episode)
    return Counter(example.id for step in steps for example in step)


@pytest.mark.parametrize("suite", SUITES)
def test_an_embedded_task_has_two_thousand_apart_from_its_queries(suite: str) -> None:
    data = dataset_of(suite)
    for name in (data.names("meta-test")[3], data.names("meta-validation")[1]):
        task = data.task(name)
        episode = draw_episode(suite, task, 8, 16, 0, 0)
        steps = oracle().minibatches(task, episode)
        known = {e.id: e for step in steps for e in step}
        assert len(known) == 2000
        assert {e.id for e in task.parts["train"]} <= set(known)
        groups, inputs = (
            {e.group for e in task.parts["test"]},
            {e.input for e in task.parts["test"]},
        )
        assert not groups & {e.group for e in known.values()}
        assert not inputs & {e.input for e in known.values()}
        assert not {e.id for e in task.parts["validation"]} & set(known)


def test_further_examples_follow_the_tasks_rules_on_what_meta_training_says() -> None:
    data = dataset_of("translation")
    name = data.names("meta-test")[0]
    task, language = data.task(name), Language(int(name.rsplit("-", 1)[1]))
    said = {english(meaning): meaning for _, meaning in data._pool("meta-train")}  # type: ignore[attr-defined]
    assert len(task.further) == len({e.group for e in task.further}) == len(said)
    for example in task.further[:200]:
        assert example.target == language.say(said[example.input])
    train = data.task(data.names("meta-train")[0])
    assert list(train.further) == []
    assert {e.group for e in train.parts["test"]} < set(said)


def test_minibatches_pass_every_example_as_often() -> None:
    task = small_task("a", train=45, test=40)
    task = replace(
        task, further=tuple(Example(f"f {i}", ("t",), f"f{i}", f"f{i}") for i in range(99))
    )
    episode = draw_episode("s", task, 4, 3, 0, 0)
    passed = given(task, episode, examples=100, rows=8, inner_steps=30)
    assert len(passed) == 100
    assert sum(passed.values()) == 8 * 30
    assert set(passed.values()) == {2, 3}
    assert passed == given(task, episode, examples=100, rows=8, inner_steps=30)
    other = given(task, replace(episode, index=1), examples=100, rows=8, inner_steps=30)
    assert other != passed


def test_a_small_task_gives_what_it_has_in_smaller_minibatches() -> None:
    task = small_task("a")
    episode = draw_episode("s", task, 4, 6, 0, 0)
    asked = {query.group for query in episode.query}
    apart = {e.id for e in task.parts["train"] if e.group not in asked}
    assert 0 < len(apart) < 20, "some are of a query's group"
    passed = given(task, episode, examples=100, rows=10, inner_steps=50)
    assert set(passed) == apart
    assert sum(passed.values()) == 50 * max(1, round(10 * len(apart) / 100))


class Leaky(Learner):
    """Learns from its queries."""

    few_shot = False

    def minibatches(self, task: Task, episode: Episode) -> Sequence[Sequence[Example]]:
        return [episode.query]


def test_a_method_that_learns_from_queries_is_stopped(llama: Backbone) -> None:
    task = small_task("a")
    episode = draw_episode("s", task, 4, 3, 0, 0)
    with pytest.raises(CellError, match="task 'a': an example to learn from is of a query's group"):
        Reading(llama, Leaky(Leaky.Options()), [task], [episode])


class Eager(Oracle):
    """Says that it is a few-shot method, and reads all of the task."""

    few_shot = True


def test_a_few_shot_method_that_reads_more_than_its_support_is_stopped(llama: Backbone) -> None:
    task = small_task("a")
    episode = draw_episode("s", task, 4, 3, 0, 0)
    said = "Eager is a few-shot method, yet its minibatches are read in place of the support set"
    with pytest.raises(CellError, match=said):
        Reading(llama, Eager(Eager.Options()), [task], [episode])


def test_a_task_of_nothing_but_query_groups_is_told(llama: Backbone) -> None:
    shared = tuple(Example(f"x {i}", ("y",), f"x{i}", f"{i}") for i in range(3))
    task = Task("a", {"train": shared, "test": shared})
    episode = replace(draw_episode("s", task, 1, 2, 0, 0), query=shared)
    with pytest.raises(CellError, match="task 'a' has no example to learn from"):
        Reading(llama, oracle(), [task], [episode])


def test_support_sets_are_read_as_they_always_were(
    backbone: Backbone, examples: list[Example]
) -> None:
    episode = Episode("a", 0, 0, tuple(examples[:4]), tuple(examples[4:]), "train", "")
    fine_tuned = load("baseline", "fine-tuned")
    reading = Reading(backbone, fine_tuned(fine_tuned.Options()), [Task("a", {})], [episode])
    whole, cuts = backbone.batch([episode.support])
    weights, loss = backbone.weights(), reading.loss()
    assert reading.taught == [None]
    assert reading.cuts == cuts
    for _ in range(2):
        assert torch.equal(loss(weights), backbone.losses(weights, whole))
    assert reading.tokens == whole.tokens


def test_steps_equal_a_plain_loop_of_torchs_adam(
    backbone: Backbone, examples: list[Example]
) -> None:
    """Also for two tasks at once, of unequal minibatches."""
    learner = oracle(inner_steps=5, inner_rate=0.01, examples=4, rows=4)
    tasks = [Task("a", {"train": examples[:4]}), Task("b", {"train": examples[2:4]})]
    episodes = [Episode(t.name, 0, 0, (), tuple(examples[5:]), "train", "") for t in tasks]
    reading = Reading(backbone, learner, tasks, episodes)
    assert reading.taught == [4, 2]
    begin = learner.start(backbone, 0)
    adapted = learner.adapt(reading.loss(), begin.for_tasks(2)).weights
    for place, (task, episode) in enumerate(zip(tasks, episodes, strict=True)):
        leaves = {n: w.clone().requires_grad_() for n, w in begin.weights.items()}
        stepper = torch.optim.Adam(leaves.values(), lr=0.01)
        for step in learner.minibatches(task, episode):
            stepper.zero_grad()
            plain_loss(backbone, leaves, step).backward()
            stepper.step()
        for name, weight in leaves.items():
            assert torch.allclose(adapted[name][place], weight.detach(), atol=1e-7), name
            assert not torch.equal(weight, begin.weights[name]) or weight.grad is None


def test_no_few_shot_method_reads_anything_but_its_support() -> None:
    """The seam is the oracle's alone."""
    kinds = {name: load("baseline", name) for name in names("baseline")}
    learners = {name: kind for name, kind in kinds.items() if issubclass(kind, Learner)}
    told = {n for n, kind in learners.items() if kind.minibatches is not Learner.minibatches}
    assert told == {"oracle"}
    assert {n for n, kind in learners.items() if not kind.few_shot} == told
    assert issubclass(kinds["oracle"], GradientLearner)


# -- its row ---------------------------------------------------------------------------------


def upper_reference(root: Path, **more: Any) -> Path:
    """A run whose `oracle` is the best by far, beside two others that differ."""
    write_run(root, {"oracle": 0.95, "good": 0.8, "poor": 0.3}, **more)
    return as_upper_reference(root)


def test_an_upper_reference_is_shown_and_not_ranked(tmp_path: Path) -> None:
    without = write_run(tmp_path / "without", {"good": 0.8, "poor": 0.3})
    (block,) = ranked([upper_reference(tmp_path / "with")])
    (alone,) = ranked([without])
    names = [line["baseline"] for line in block.lines]
    assert names == ["good", "poor", "oracle"]
    *others, line = block.lines
    assert line["chrf"] > others[0]["chrf"]
    assert line["group"] == ""
    assert line["pareto"] is None
    assert "to_best" not in line
    for one, two in zip(others, alone.lines, strict=True):
        for key in ("group", "pareto", "to_best", "to_best_low", "to_best_high", "to_best_p"):
            assert one.get(key) == two.get(key), key
    (shown,) = block_tables(frame_of([block]))
    assert {place for place, _ in shown.bold} == {0}
    told = shown.cells.set_index("baseline").loc["oracle"]
    assert told["chrF"].startswith(f"{line['chrf']:.1f} [")
    assert told["group"] == told["chrF to best"] == told["Pareto"] == MISSING
    assert any(text.startswith("No few-shot method: oracle") for text in shown.caption)


def test_an_upper_reference_alone_is_no_table_of_ranks(tmp_path: Path) -> None:
    root = upper_reference(tmp_path)
    for name in ("good", "poor"):
        shutil.rmtree(root / "cells" / "translation" / name)
    (block,) = ranked([root])
    assert [line["group"] for line in block.lines] == [""]
    assert block.complete == []


def test_other_views_hold_an_upper_reference(tmp_path: Path) -> None:
    root = upper_reference(tmp_path / "run", suites=["translation", "writing"])
    frame, (shown,) = pivot(ranked([root]), "suite")
    assert frame["row"].tolist() == shown.cells["baseline"].tolist() == ["good", "poor", "oracle"]
    line = frame.set_index("row").loc["oracle"]
    assert line["translation:chrf"] > frame["translation:chrf"].iloc[0]
    assert line["translation:group"] == ""
    assert pd.isna(line["translation:pareto"])
    assert 2 not in {place for place, _ in shown.bold}
    (sentence, *_) = stability([root])
    assert "of 1 pairs of rows are ties" in sentence
    assert sentence.endswith("Holm)."), "twelve tasks"
    assert build([root], tmp_path / "site") > 1
    assert "oracle" in (tmp_path / "site" / "index.html").read_text()
    done = CliRunner().invoke(main, ["compare", str(root), str(root)])
    assert done.exit_code in (0, 3), done.output
    found = paired_table([root], ["oracle"], "good", None)
    assert set(found["baseline"]) == {"oracle"}
    assert (found["difference"] > 0).all()


OPTIONS = {"oracle": {"inner_steps": 3, "rows": 4}, "fine-tuned": {"inner_steps": 2}}


def run(out: Path, checkpoint: str, **more: Any) -> Path:
    values = {"suites": ["translation"], "baselines": list(OPTIONS), "shots": [2], "queries": 2}
    small = {"episodes": 2, "max_new_tokens": 4, "workers": 1, "backbone": checkpoint}
    assert (
        bench.run({**values, **small, "options": OPTIONS, "out": str(out), **more}).failures == {}
    )
    return out


@pytest.mark.slow
def test_its_row_stands_beside_the_others(checkpoint: str, tmp_path: Path) -> None:
    out = run(tmp_path / "run", checkpoint, score_steps=[1], probes=["other-task"])
    (block,) = ranked([out])
    assert {row.header["baseline"] for row in block.rows} == set(OPTIONS)
    one, two = (row.digests for row in block.rows)
    assert one == two
    table = pd.read_csv(out / "leaderboard.csv").set_index("baseline")
    assert table.loc["oracle", "init"] == "pretrained"
    # 3 steps of 4 rows read 12 examples; of the queries' groups is none.
    assert table.loc["oracle", ["learned_from_fewest", "learned_from_most"]].tolist() == [12, 12]
    assert table.loc[["fine-tuned"], "learned_from_fewest"].isna().all()
    assert (table["adapt_ms"] > 0).all()
    assert (table["inner_step_ms"] > 0).all()
    note = "oracle learned from 12 examples of each task; it is not ranked."
    assert note in (out / "leaderboard.md").read_text()
    header, records = read_cell(next((out / "cells/translation/oracle").rglob("*.jsonl")))
    assert header["init"] == "pretrained"
    assert "Not probed: oracle." in (out / "leaderboard.md").read_text()
    for record in records:
        assert "probes" not in record
        assert len(record["losses"]) == 4
        assert record["costs"]["support_tokens"] > 0
        assert set(record["after"]) == {"1"}


@pytest.mark.slow
def test_a_file_gives_what_its_tasks_have(checkpoint: str, tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    lines = [
        {
            "task": f"t{t}",
            "split": part,
            "input": f"{part} {t} {i}",
            "target": f"y {i}",
            "group": f"{t}{part}{i}",
        }
        for t in range(6)
        for part, count in (("train", 10 + t), ("test", 4))
        for i in range(count)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    many = {"oracle": {"inner_steps": 30, "rows": 2000}}
    out = run(tmp_path / "run", checkpoint, data=str(path), baselines=["oracle"], options=many)
    _, records = read_cell(next((out / "cells").rglob("*.jsonl")))
    assert [r["learned_from"] for r in records] == [10 + int(r["task"][1:]) for r in records]
