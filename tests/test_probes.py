"""Wrong supports: what they are, what they leave as it was, and what tables make of them."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from bench.baseline import Floor
from bench.cells import run_cell
from bench.cli import main
from bench.context import Context
from bench.episodes import Episode, draw_episode, usable_tasks
from bench.errors import UserError
from bench.exports.slim import export
from bench.pivots import pivot
from bench.plan import make_plan
from bench.probed import loss_of
from bench.probes import PROBES, NotProbed, shuffled, wrong_support
from bench.publish import READ, render, to_markdown
from bench.records import Cell, read_cell, write_cell
from bench.statistics import Entry, difference
from bench.streams import Stream
from bench.tables import leaderboard, metrics, ranked, read_rows
from bench.tasks import SPLITS, Example, Task
from tests.runs import METRICS, write_run

K, QUERIES = 4, 3


class Tables:
    """Tasks in which every target is the input and the task's own word; contents are shared."""

    name, revision = "tables", "1"

    def names(self, split: str) -> list[str]:
        return [f"{split}-{i}" for i in range(4)]

    def task(self, name: str) -> Task:
        def make(part: str, first: int, count: int) -> tuple[Example, ...]:
            return tuple(
                Example(f"say w{i}", (f"say w{i} {name}",), f"{name}-{part}-{i}", f"g{i % 13}")
                for i in range(first, first + count)
            )

        return Task(name, {"train": make("train", 0, 12), "test": make("test", 12, 12)})


NAMES = Tables().names("meta-test")


def drawn(task: str = NAMES[0], seed: int = 3, index: int = 1) -> Episode:
    return draw_episode("s", Tables().task(task), K, QUERIES, seed, index)


def wrong(probe: str, episode: Episode, names: list[str] = NAMES) -> tuple[Example, ...]:
    return wrong_support(probe, episode, "s", Tables(), names)


# -- what each probe's support is ----------------------------------------------------------


@pytest.mark.parametrize("index", range(8))
def test_another_tasks_support_is_that_of_its_episode_without_the_queries(index: int) -> None:
    episode = drawn(index=index)
    found = wrong("other-task", episode)
    task = found[0].id.split("-train")[0]
    assert task in NAMES[1:]
    order = Stream(3, "episode", "s", task, index).shuffled(Tables().task(task).parts["train"])
    asked = {query.group for query in episode.query}
    assert list(found) == [example for example in order if example.group not in asked][:K]
    assert not asked & {example.group for example in found}


def test_other_tasks_differ_between_episodes_and_shared_groups_are_met() -> None:
    episodes = [drawn(index=index) for index in range(20)]
    assert len({wrong("other-task", e)[0].id.split("-train")[0] for e in episodes}) == 3
    apart = [
        wrong("other-task", e) != draw_episode("s", Tables().task(t), K, 1, 3, e.index).support
        for e in episodes
        for t in [wrong("other-task", e)[0].id.split("-train")[0]]
    ]
    assert any(apart), "else no query's group was ever in the way"


@given(st.lists(st.integers(0, 4), min_size=2, max_size=12), st.integers(0, 99))
def test_shuffled_targets_are_moved_as_far_as_they_can_be(kinds: list[int], seed: int) -> None:
    support = [Example(f"x{i}", (f"y{k}", f"z{i}"), f"{i}", f"g{i}") for i, k in enumerate(kinds)]
    most = max(Counter(kinds).values())
    if most == len(kinds):
        with pytest.raises(NotProbed, match="one target"):
            shuffled(Stream(seed), support)
        return
    made = shuffled(Stream(seed), support)
    assert [(e.input, e.id, e.group) for e in made] == [(e.input, e.id, e.group) for e in support]
    assert Counter(e.references for e in made) == Counter(e.references for e in support)
    kept = sum(a.target == b.target for a, b in zip(made, support, strict=True))
    assert kept == max(0, 2 * most - len(kinds)), "the fewest there can be"


def test_targets_of_an_episode_go_to_other_examples() -> None:
    episode = drawn()
    found = wrong("shuffled-targets", episode)
    assert {e.target for e in found} == {e.target for e in episode.support}
    assert not any(a.target == b.target for a, b in zip(found, episode.support, strict=True))
    orders = {tuple(e.target for e in wrong("shuffled-targets", drawn(index=i))) for i in range(9)}
    assert len(orders) > 5


def test_no_support_and_one_example() -> None:
    episode = drawn()
    assert wrong("no-support", episode) == ()
    found = wrong("one-repeated", episode)
    assert len(found) == K
    assert set(found) < set(episode.support)
    assert len({wrong("one-repeated", drawn(index=i))[0].id for i in range(12)}) > 3


def test_what_cannot_be_wrong_is_not_probed() -> None:
    with pytest.raises(NotProbed, match="no other task"):
        wrong("other-task", drawn(), NAMES[:1])
    alone = draw_episode("s", Tables().task(NAMES[0]), 1, QUERIES, 0, 0)
    for probe in ("shuffled-targets", "one-repeated"):
        with pytest.raises(NotProbed):
            wrong(probe, alone)


def test_meta_train_tasks_are_measured_where_they_are_trained_and_have_queries() -> None:
    sizes = {"a": (5, 3), "b": (5, 0), "c": (3, 3)}

    def examples(part: str, count: int) -> tuple[Example, ...]:
        return tuple(
            Example(f"{part}{i}", ("y",), f"{part}{i}", f"{part}{i}") for i in range(count)
        )

    class Some:
        name, revision = "some", "1"

        def names(self, split: str) -> list[str]:
            return list(sizes)

        def task(self, name: str) -> Task:
            counts = dict(zip(("train", "test"), sizes[name], strict=True))
            return Task(name, {part: examples(part, count) for part, count in counts.items()})

    usable, reasons = usable_tasks(Some(), "meta-train", 4, measured=True)
    assert usable == ["a"]
    assert reasons == ["b: no examples in test", "c: 3 examples in train, 5 needed"]
    assert usable_tasks(Some(), "meta-train", 4)[0] == ["a", "b"]


# -- the plan ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"probes": ["other-tsk"]}, "other-tsk.*did you mean other-task"),
        ({"probes": ["no-support", "no-support"]}, "named twice"),
        ({"probe_episodes": 3}, "add --probe NAME"),
        ({"probes": ["no-support"], "probe_episodes": -1}, "greater than or equal to 0"),
        ({"split": "meta-tran"}, "'meta-train'"),
    ],
)
def test_wrong_plans_are_told(values: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        make_plan(values)


def test_no_episodes_is_no_probe() -> None:
    plan = make_plan({"suites": ["writing"], "probes": ["no-support"], "probe_episodes": 0})
    assert plan.probed == []
    assert make_plan({"probes": ["no-support"]}).probed == ["no-support"]


# -- cells ---------------------------------------------------------------------------------


class Deaf(Floor):
    """Answers without looking at its support."""

    def answer(self, query: str, support: Any) -> str:
        return f"{query} meta-test-0"


class Listening(Floor):
    """Answers with the word that its support ends with."""

    def answer(self, query: str, support: Any) -> str:
        return " ".join([query, *(example.target.split()[-1] for example in support[:1])])


def cell(
    method: Floor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **more: Any
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    values = {
        "suites": ["translation"],
        "baselines": ["copy"],
        "shots": [K],
        "queries": QUERIES,
        "episodes": 8,
        "metrics": [],
        **more,
    }
    context = Context(make_plan(values), tmp_path)
    monkeypatch.setattr(context, "dataset", lambda suite: Tables())
    monkeypatch.setattr(context, "baseline", lambda name: method)
    monkeypatch.setattr(context, "metrics", lambda suite: METRICS)
    return run_cell(context, Cell("translation", "copy", K, None, 0))


def test_who_listens_loses_and_who_is_deaf_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eight = [f"meta-test-{i}" for i in range(8)]  # fewer that lose alike show nothing
    monkeypatch.setattr(Tables, "names", lambda self, split: eight)
    flags, losses = {}, {}
    for number, method in enumerate((Deaf(Floor.Options()), Listening(Floor.Options()))):
        head, records = cell(method, tmp_path, monkeypatch, probes=list(PROBES))
        root = tmp_path / f"run{number}"
        write_cell(root, Cell("translation", "copy", K, None, 0), head, records)
        (root / "run.json").write_text(json.dumps({"plan": {"seeds": [0], "train_seeds": [0]}}))
        (row,) = read_rows([root])
        exact = next(metric for metric in metrics(row) if metric.name == "exact")
        found = {probe: loss_of(row, exact, probe) for probe in PROBES}
        losses[number] = {probe: loss and loss.estimate.value for probe, loss in found.items()}
        flags[number] = leaderboard([root])["probe_loss_low"].item() <= 0
    assert flags == {0: True, 1: False}
    assert set(losses[0].values()) == {0.0}
    assert losses[1] == {
        "other-task": 100.0,
        "shuffled-targets": 0.0,  # all its targets end alike
        "no-support": 100.0,
        "one-repeated": 0.0,
    }


def test_the_first_episodes_are_probed_and_nothing_else_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = Listening(Floor.Options())
    bare, plain = cell(method, tmp_path, monkeypatch)
    head, probed = cell(
        method, tmp_path, monkeypatch, probes=["no-support", "other-task"], probe_episodes=3
    )
    assert [sorted(r.get("probes", {})) for r in probed] == [["no-support", "other-task"]] * 3 + [
        []
    ] * 5
    assert [{k: v for k, v in r.items() if k != "probes"} for r in probed] == plain
    assert head.pop("probes") == {"names": ["no-support", "other-task"], "episodes": 3}
    assert head == bare
    _, alone = cell(method, tmp_path, monkeypatch, probes=["other-task"])
    for some, one in zip(probed[:3], alone, strict=False):
        assert some["probes"]["other-task"] == one["probes"]["other-task"]


def test_meta_train_tasks_answer_queries_of_their_test_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, records = cell(Deaf(Floor.Options()), tmp_path, monkeypatch, split="meta-train")
    assert head["split"] == "meta-train"
    for record in records:
        assert record["task"].startswith("meta-train")
        assert all("-train-" in name for name in record["support_ids"])
        assert all("-test-" in name for name in record["query_ids"])


@pytest.fixture
def data(tmp_path: Path) -> str:
    lines = [
        {"input": f"the w{i} runs {part}", "target": f"mira {task} w{i}", "task": f"t{task}",
         "split": part, "task_split": SPLITS[task % 3], "group": f"{task % 3}{part}{i}"}
        for task in range(9)
        for part, count in (("train", 6), ("test", 3))
        for i in range(count)
    ]  # fmt: skip
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def learned(
    baseline: str, checkpoint: str, data: str, root: Path, **more: Any
) -> list[dict[str, Any]]:
    """The records of a cell of a small model."""
    rates = {"inner_steps": 3, "inner_rate": 0.05}
    values = {
        "suites": ["translation"],
        "baselines": [baseline],
        "options": {baseline: rates} if baseline == "fine-tuned" else {},
        "backbone": checkpoint,
        "data": data,
        "shots": [3],
        "queries": 2,
        "episodes": 3,
        "max_new_tokens": 6,
        **more,
    }
    context = Context(make_plan(values), root)
    _, records = run_cell(context, Cell("translation", baseline, 3, None, 0))
    return [{**record, "costs": None} for record in records]


@pytest.mark.parametrize("baseline", ["fine-tuned", "in-context", "zero-shot"])
@pytest.mark.parametrize("decoding", ["greedy", "sample"])
def test_a_models_answers_stay_what_they_are(
    baseline: str, decoding: str, checkpoint: str, data: str, tmp_path: Path
) -> None:
    def records(**more: Any) -> list[dict[str, Any]]:
        return learned(baseline, checkpoint, data, tmp_path, decoding=decoding, **more)

    every = list(PROBES)
    plain, probed = records(), records(probes=every)
    assert [{k: v for k, v in r.items() if k != "probes"} for r in probed] == plain
    assert all(set(record["probes"]) == set(PROBES) for record in probed)
    assert records(probes=every, tasks_at_once=1) == probed
    assert records(probes=every[::-1]) == probed
    for record in probed:
        same = {name: found == record["statistics"] for name, found in record["probes"].items()}
        if baseline == "zero-shot":
            assert all(same.values())
    if baseline == "fine-tuned":
        assert not all(r["probes"]["other-task"] == r["statistics"] for r in probed)
        for record in records(probes=["no-support"], score_steps=[0]):
            assert record["probes"]["no-support"] == record["after"]["0"], "the initialisation"


# -- tables --------------------------------------------------------------------------------


def texts_of(record: dict[str, Any], share: float) -> dict[str, list[list[float]]]:
    """Statistics of answers that keep a share of the words of their references."""
    random = np.random.default_rng(record["index"])
    pairs = []
    for text in record["predictions"]:
        reference = text or "ant"
        kept = [word for word in reference.split() if random.random() < share]
        pairs.append((" ".join(kept), [reference]))
    return {m.name: [m.statistics(t, r) for t, r in pairs] for m in METRICS}


def probe(root: Path, shares: dict[str, float], episodes: int = 12, **kinds: float) -> Path:
    """Adds answers under wrong supports to the cells of some baselines; a share above 1 stands for
    answers that are the same."""
    for path in sorted((root / "cells").rglob("*.jsonl")):
        head, records = read_cell(path)
        if head["baseline"] not in shares:
            continue
        for record in records[:episodes]:
            record["probes"] = {}
            for name, share in {"other-task": shares[head["baseline"]], **kinds}.items():
                same = share > 1
                record["probes"][name] = record["statistics"] if same else texts_of(record, share)
        place = Cell(*(head[k] for k in ("suite", "baseline", "shots", "train_seed", "seed")))
        write_cell(root, place, head, records)
    return root


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", {"good": 1.0, "deaf": 0.6, "bare": 0.4})


def test_a_loss_is_the_paired_difference_on_the_probed_episodes(run: Path) -> None:
    probe(run, {"good": 0.3, "deaf": 2.0}, episodes=5)
    rows = {row.header["baseline"]: row for row in read_rows([run])}
    chrf = next(metric for metric in metrics(rows["good"]) if metric.name == "chrf")
    own, wrong = (
        [
            Entry(r["task"], None, 0, r["index"], np.sum(kept(r)["chrf"], axis=0))
            for r in rows["good"].records()[:5]
        ]
        for kept in (lambda r: r["statistics"], lambda r: r["probes"]["other-task"])
    )
    expected, found = difference(own, wrong, chrf), loss_of(rows["good"], chrf)
    assert found
    assert found.estimate == expected
    assert found.own == 100.0
    assert found.wrong == pytest.approx(chrf.score(sum(e.sums for e in wrong)))
    assert (found.episodes, found.tasks, found.uses_support) == (5, 5, True)
    same = loss_of(rows["deaf"], chrf)
    assert same
    assert (same.interval.low, same.interval.high, same.uses_support) == (0.0, 0.0, False)
    assert loss_of(rows["bare"], chrf) is None


def test_tables_tell_losses_and_mark_who_loses_nothing(run: Path, tmp_path: Path) -> None:
    before = {kind: render(kind, leaderboard([run])) for kind in (*READ, "csv")}
    assert not any("†" in str(text) or "wrong support" in str(text) for text in before.values())
    assert "probe" not in str(before["csv"])
    probe(run, {"good": 0.3, "deaf": 2.0}, episodes=5)
    text = to_markdown(leaderboard([run]))
    rows = [line for line in text.splitlines() if "|" in line]
    lines = {line.split("|")[1].strip().strip("*"): line for line in rows}
    assert {"good", "deaf †", "bare"} <= set(lines)
    assert "+0.0 [+0.0, +0.0]" in lines["deaf †"]
    assert "† deaf +0.0 [+0.0, +0.0] on 5 episode(s)." in text.splitlines()
    assert "Not probed: bare." in text.splitlines()
    assert r"\textdagger{}" in str(render("tex", leaderboard([run])))
    assert "deaf †" in str(render("html", leaderboard([run])))
    frame = pd.read_csv(pd.io.common.StringIO(str(render("csv", leaderboard([run])))))
    told = frame.set_index("baseline")["probe_loss_episodes"]
    assert (told["good"], told["deaf"], told.isna()["bare"]) == (5, 5, True)
    slim = tmp_path / "slim"
    export([run], slim)
    assert to_markdown(leaderboard([slim])) == text
    shutil.rmtree(slim)


def test_pivots_mark_the_column_in_which_a_row_loses_nothing(tmp_path: Path) -> None:
    root = write_run(tmp_path, {"good": 1.0}, suites=("translation", "writing"))
    probe(root, {"good": 0.3})
    for path in (root / "cells" / "writing").rglob("*.jsonl"):
        head, records = read_cell(path)
        for record in records:
            record["probes"]["other-task"] = record["statistics"]
        write_cell(root, Cell("writing", "good", 8, None, 0), head, records)
    frame, (shown,) = pivot(ranked([root]), "suite")
    cells = shown.cells.iloc[0]
    assert "†" in cells["writing (chrF)"]
    assert "†" not in cells["translation (chrF)"]
    caption = "\n".join(shown.caption)
    assert "writing (chrF): † good +0.0" in caption
    assert "translation (chrF): Lost by others: good +" in caption
    assert frame["writing:probe_loss"].item() == 0
    assert frame["translation:probe_loss_low"].item() > 0


def test_the_report_and_exports_mark_it_too(run: Path, tmp_path: Path) -> None:
    probe(run, {"good": 0.3, "deaf": 2.0})
    done = CliRunner().invoke(main, ["report", str(run), "--out", str(tmp_path / "site")])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "site" / "index.html").read_text()
    assert "deaf †" in page
    assert "lost, wrong support" in page
    assert "good †" not in page
    for kind in ("model-card", "every-eval-ever"):
        done = CliRunner().invoke(
            main, ["export", str(run), "--to", kind, "--out", str(tmp_path / kind)]
        )
        assert done.exit_code == 0, done.output
    cards = {path.parent.name: path.read_text() for path in tmp_path.glob("model-card/*/README.md")}
    assert "chrF +0.0 [+0.0, +0.0] †" in cards["tiny-deaf"]
    assert "nothing shows that the method uses" in cards["tiny-good"]
    assert "wrong support" not in cards["tiny-bare"]
    told = [
        json.loads(path.read_text()) for path in tmp_path.glob("every-eval-ever/data/**/*.json")
    ]
    details = {
        (document["model_info"]["name"], result["metric_config"]["metric_id"]): result[
            "score_details"
        ]["details"]
        for document in told
        for result in document["evaluation_results"]
    }
    assert details["tiny + deaf", "chrf"]["probe_loss"] == "0.0"
    assert float(details["tiny + good", "chrf"]["probe_loss_low"]) > 0
    assert "probe_loss" not in details["tiny + bare", "chrf"]


def test_damaged_probes_are_refused(run: Path) -> None:
    probe(run, {"good": 0.3})
    path = Cell("translation", "good", 8, None, 0).path(run)
    head, records = read_cell(path)
    for change in (
        lambda found: found["chrf"][0].pop(),
        lambda found: found.__setitem__("chrf", []),
        lambda found: found.pop("chrf"),
    ):
        copy = json.loads(json.dumps(records))
        change(copy[2]["probes"]["other-task"])
        write_cell(run, Cell("translation", "good", 8, None, 0), head, copy)
        with pytest.raises(UserError, match="not of a run"):
            read_cell(path)
