"""`fewgen advise`: the suite that texts are like, and advice whose truth is known."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from scipy.stats import ttest_1samp

from bench import advise_rows as module
from bench.advise import MARGIN, Advice, Asked, _what_would_decide, advise, within_margin
from bench.advise_command import as_json, as_text, budget_seconds, read_texts
from bench.cli import main
from bench.errors import UserError
from bench.gate import grown
from bench.likeness import FEATURES, Pair, features, likeness, own_features, suite_tasks
from bench.registry import load_suite, names
from bench.sources import Source
from bench.statistics import Estimate, holm
from bench.tables import read_rows
from tests.runs import write_run
from tests.upper import as_upper_reference

SUITE = "translation"  # its primary metric is that of the rows
HOUR = 3600.0


def texts(suite: str = SUITE, tasks: int = 5, examples: int = 12) -> dict[str, list[Pair]]:
    """Examples that no recorded task holds."""
    data = load_suite(suite).embedded()
    return {
        name: [(e.input, e.target) for e in data.task(name).parts["test"][:examples]]
        for name in data.names("meta-train")[:tasks]
    }


def as_file(path: Path, found: dict[str, list[Pair]]) -> Path:
    lines = [
        json.dumps({"input": source, "target": target, "task": task})
        for task, pairs in found.items()
        for source, target in pairs
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


# -- likeness ------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", names("suite"))
def test_a_suites_own_texts_lead_to_it(suite: str, tmp_path: Path) -> None:
    suites = {name: suite_tasks(name) for name in names("suite")}
    for tasks, examples in ((5, 12), (1, 8)):
        path = as_file(tmp_path / "own.jsonl", texts(suite, tasks, examples))
        found = likeness(own_features(read_texts(Source(str(path)))), suites)
        assert found.nearest == suite
        assert not found.far


def test_texts_of_another_kind_are_far() -> None:
    suites = {name: suite_tasks(name) for name in names("suite")}
    pages = [(" ".join(f"w{i}" for i in range(900)), f"title {n}") for n in range(9)]
    assert likeness(own_features({"pages": pages}), suites).far


def test_features_by_hand() -> None:
    found = dict(
        zip(FEATURES, features([("a b c d", "a x"), ("a b\nq q", "x x y z")]), strict=True)
    )
    assert found["log2 words of an input"] == 2
    assert found["log2 words of a target"] == 1.5
    assert found["log2 lines of an input"] == 0.5
    assert found["log2 lines of a target"] == 0
    assert found["target words that stand in the input"] == 0.25
    assert found["input words that stand in another input"] == 0.5
    assert found["target words that stand in another target"] == 0.5
    assert found["different words of a target"] == (1 + 0.75) / 2
    assert np.isfinite(features([("?", "!")])).all()


def test_distances_by_hand() -> None:
    suites = {"low": np.array([[0.0], [2.0]]), "high": np.array([[10.0], [12.0]])}
    found = likeness(np.array([3.0]), suites)
    spread = np.std([0, 2, 10, 12])
    assert found.distances == pytest.approx({"low": 2 / spread, "high": 8 / spread})
    assert found.reaches == pytest.approx({"low": 1 / spread, "high": 1 / spread})
    assert found.nearest == "low"
    assert found.far
    assert not likeness(np.array([2.4]), suites).far


# -- advice --------------------------------------------------------------------------------


def run(root: Path, name: str, kept: float, training: float = 0.0, **more: Any) -> Path:
    """A recorded row that keeps a share of the words, with so many seconds of meta-training; a
    task takes it 10 to 21 ms, and 30 ms of answers."""
    if training:
        more = {"train": {"seconds": training, "waited_ms": 0.0, "tokens": 1, "flops": 1e9}, **more}
        more = {"train_seeds": (0, 1), "init": "meta-trained", **more}
    revision = load_suite(SUITE).embedded().revision
    more = {"suites": (SUITE,), "revision": revision, "episodes": 24, **more}
    return write_run(root / name, {name: kept}, **more)


def ask(
    *roots: Path,
    tasks: int = 10,
    budget: float = HOUR,
    shots: int = 8,
    margin: float = MARGIN,
    **of: Any,
) -> Advice:
    return advise(roots, texts(**of), Asked(shots, tasks, budget, margin))


def verdicts(made: Advice) -> dict[str, str]:
    return {candidate.name: candidate.verdict for candidate in made.candidates}


def chosen(made: Advice) -> str | None:
    return made.recommended.name if made.recommended else None


def test_the_best_is_taken_where_it_fits(tmp_path: Path) -> None:
    made = ask(run(tmp_path, "plain", 0.4), run(tmp_path, "learned", 0.9, training=100))
    assert chosen(made) == "learned"
    assert verdicts(made) == {"learned": "recommended", "plain": "worse"}
    assert made.thin == []
    assert made.like.nearest == SUITE
    assert "The evidence is not thin." in as_text(made)


def test_what_is_needed_is_training_and_all_tasks(tmp_path: Path) -> None:
    made = ask(run(tmp_path, "learned", 0.9, training=100), tasks=1000)
    adaptation = np.mean([10 + i for i in range(24)]) + 30  # ms
    assert made.candidates[0].needs.value == pytest.approx(100 + adaptation)
    bounds = made.candidates[0].needs.interval()
    assert bounds.low < 100 + adaptation < bounds.high


def test_a_budget_that_is_too_small_for_the_best(tmp_path: Path) -> None:
    roots = run(tmp_path, "plain", 0.4), run(tmp_path, "learned", 0.9, training=100)
    made = ask(*roots, budget=60)
    assert chosen(made) == "plain"
    assert verdicts(made) == {"learned": "over budget", "plain": "recommended"}
    assert made.thin == ["One row fits the budget: nothing is compared with it."]


def near_ties(tmp_path: Path, **more: Any) -> list[Path]:
    return [
        run(tmp_path, "dearest", 0.72, training=300, **more),
        run(tmp_path, "dear", 0.7, training=20, **more),
        run(tmp_path, "cheap", 0.7, **more),
        run(tmp_path, "cheap-and-bad", 0.3, **more),
    ]


def test_the_cheapest_within_the_margin_is_taken(tmp_path: Path) -> None:
    made = ask(*near_ties(tmp_path), margin=15)
    assert chosen(made) == "cheap"
    found = verdicts(made)
    assert found["dear"] == found["dearest"] == "within 15 points of the best, more expensive"
    assert found["cheap-and-bad"] == "worse"
    behind = next(c for c in made.candidates if c.name == "cheap-and-bad").behind
    assert behind is not None
    assert behind.interval().low > 0
    assert made.lacking == ""


def test_what_was_not_shown_to_be_worse_is_not_recommended(tmp_path: Path) -> None:
    """Two points are less than 24 tasks can show of these rows."""
    made = ask(*near_ties(tmp_path))
    assert chosen(made) is None
    found = verdicts(made)
    assert {found[name] for name in ("cheap", "dear", "dearest")} == {
        "not shown to be within 2 points of the best"
    }
    assert made.lacking.startswith("About ")
    text, told = as_text(made), as_json(made)
    assert text.startswith("**Evidence is lacking: no row that fits is shown to be within 2 points")
    assert made.lacking in text
    assert (told["recommended"], told["nearest_evidence"]) == (None, None)
    assert (told["lacking"], told["margin"]) == (made.lacking, 2)


def test_fewer_tasks_never_make_a_cheaper_row_good_enough(tmp_path: Path) -> None:
    """The rule that this replaces recommended `worse` of few tasks, and not of many."""
    few, many = tmp_path / "few", tmp_path / "many"
    sides = [
        [run(root, "better", 0.75, 100, episodes=n), run(root, "cheap", 0.68, episodes=n)]
        for root, n in ((few, 10), (many, 200))
    ]
    assert chosen(ask(*sides[0])) != "cheap"
    assert chosen(ask(*sides[1])) == "better"


def differences(values: np.ndarray) -> dict[tuple[int, int], Estimate]:
    """Of all pairs of rows `(rows, tasks)`, by Student's t."""
    count, tasks = values.shape
    found = {}
    for j in range(count):
        for i in range(j):
            apart = values[i] - values[j]
            error = float(apart.std(ddof=1)) / tasks**0.5
            found[i, j] = Estimate(float(apart.mean()), error, tasks - 1)
    return found


@pytest.mark.parametrize("gaps", [(0, 2, 2, 2), (0, 0, 2), (0, 2), (0, 2, 5, 9, 2)])
def test_rows_a_margin_behind_are_rarely_called_within_it(gaps: tuple[float, ...]) -> None:
    """By simulation: any of the rows at the margin or beyond, in 5 % at most but for chance; the
    best row of the data need not be the truly best."""
    rng, runs, wrong = np.random.default_rng(3), 400, 0
    for _ in range(runs):
        values = rng.normal(0, 3, (len(gaps), 12)) - np.array(gaps)[:, None]
        ps = within_margin(differences(values), len(gaps), 2.0)
        wrong += any(p < 0.05 for p, gap in zip(ps, gaps, strict=True) if gap >= 2)
    assert wrong / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


def test_margins_are_paired_one_sided_tests() -> None:
    """Two rows: scipy's t-tests, the larger p-value of a row against every other, Holm."""
    values = np.random.default_rng(4).normal(50, 3, (2, 20))
    one, two = (
        ttest_1samp(values[i] - values[1 - i], -2, alternative="greater").pvalue for i in (0, 1)
    )
    ps = within_margin(differences(values), 2, 2.0)
    assert ps == pytest.approx(holm([one, two]))


def test_what_would_decide_does(tmp_path: Path) -> None:
    """Tasks like these, so many in all, show a row to be within the margin; half as many more do
    not."""
    rng = np.random.default_rng(5)
    pairs = differences(rng.normal(0, 4, (2, 12)))
    told = _what_would_decide(pairs, 2, 2.0, 12)
    more = int(told.split()[1].replace(",", ""))
    for count, expected in ((12 + more, True), (12 + more // 2, False)):
        found = {pair: grown(estimate, count / 12) for pair, estimate in pairs.items()}
        assert (min(within_margin(found, 2, 2.0)) < 0.05) == expected


def test_nothing_fits(tmp_path: Path) -> None:
    made = ask(run(tmp_path, "plain", 0.4), run(tmp_path, "learned", 0.9, training=100), budget=0.1)
    assert chosen(made) is None
    assert made.thin == ["Nothing fits the budget; the cheapest is plain."]
    assert "Nothing recorded fits" in as_text(made)


def test_what_makes_evidence_thin(tmp_path: Path) -> None:
    two = run(tmp_path, "plain", 0.4), run(tmp_path, "learned", 0.9, training=100)
    assert ask(*two, shots=5).thin == ["Nothing is recorded at K = 5: these rows are of K = 8."]
    near = ask(*two, budget=101.05, tasks=20)
    assert any("beyond the budget" in line for line in near.thin)
    pages = [(" ".join(f"w{i}" for i in range(900)), f"title {n}") for n in range(9)]
    far = advise(two, {"pages": pages}, Asked(8, 10, HOUR))
    assert len(far.thin) == 1
    assert far.grave == far.thin
    assert far.thin[0].startswith(
        f"Your data lie outside every recorded suite: the nearest, {SUITE}"
    )
    few = tmp_path / "few"
    roots = run(few, "plain", 0.4, episodes=4), run(few, "learned", 0.9, 9.0, episodes=4)
    assert ask(*roots).thin == ["Only 4 task(s) were measured; 10 are the least."]
    busy = tmp_path / "busy"
    train = {"seconds": 9.0, "waited_ms": 8e3, "tokens": 1, "flops": 1e9}
    roots = run(busy, "plain", 0.4), run(busy, "learned", 0.9, 9.0, train=train)
    assert [line[:24] for line in ask(*roots).thin] == ["Threads waited up to 89%"]
    once = tmp_path / "once"
    roots = run(once, "plain", 0.4), run(once, "learned", 0.9, 9.0, train_seeds=(0,))
    assert ask(*roots).thin == ["One train seed: another training may rank otherwise (learned)."]


def test_what_says_too_little_is_no_recommendation(tmp_path: Path) -> None:
    two = run(tmp_path, "plain", 0.4), run(tmp_path, "learned", 0.9, training=100)
    pages = [(" ".join(f"w{i}" for i in range(900)), f"title {n}") for n in range(9)]
    few = run(tmp_path / "few", "plain", 0.4, episodes=4)
    for made, name in (
        (advise(two, {"pages": pages}, Asked(8, 10, HOUR)), "learned"),
        (ask(*two, shots=32), "learned"),
        (ask(few), "plain"),
    ):
        head = f"**Too thin to recommend; the nearest evidence says {name}**: 10 tasks"
        assert as_text(made).startswith(head)
        assert verdicts(made)[name] == "nearest evidence"
        told = as_json(made)
        assert (told["recommended"], told["nearest_evidence"]) == (None, name)
        assert len(told["too_thin"]) == 1
        assert told["too_thin"][0] in told["thin"]
    sound = as_json(ask(*two, shots=16))
    assert (sound["recommended"], sound["too_thin"]) == ("learned", [])
    assert len(sound["thin"]) == 1


def test_an_upper_reference_is_never_advised(tmp_path: Path) -> None:
    upper = as_upper_reference(run(tmp_path, "oracle", 0.99))
    made = ask(run(tmp_path, "plain", 0.4), upper)
    assert verdicts(made) == {"plain": "recommended"}
    assert "Left out, as these are no few-shot methods: oracle." in made.notes
    missing = next(note for note in made.notes if note.startswith("Not measured there"))
    assert "maml" in missing
    assert "oracle" not in missing
    with pytest.raises(UserError, match="no few-shot methods: oracle"):
        ask(upper)


@pytest.mark.parametrize("split", ["meta-train", "meta-validation"])
def test_rows_of_other_tasks_than_meta_test_are_left_out_and_said(
    tmp_path: Path, split: str
) -> None:
    other = run(tmp_path, "tuned-on", 0.99, split=split)
    made = ask(run(tmp_path, "plain", 0.4), other)
    assert verdicts(made) == {"plain": "recommended"}
    said = f"Left out, as their tasks are not meta-test tasks: {SUITE} ({split})."
    assert said in made.notes
    with pytest.raises(UserError, match="and of the split meta-test"):
        ask(other)


def test_an_older_primary_metric_is_told(tmp_path: Path) -> None:
    suite = load_suite("writing")
    more = {"suites": ("writing",), "revision": suite.embedded().revision}
    two = run(tmp_path, "plain", 0.4, **more), run(tmp_path, "other", 0.9, **more)
    assert suite.primary == "form"
    assert ask(*two, suite="writing").thin == [
        "These rows are older than the suite's primary metric: they rank by chrF, writing now by "
        "form."
    ]


def test_one_train_seed_counts_of_meta_trained_rows_alone(tmp_path: Path) -> None:
    more: dict[str, Any] = {"train_seeds": (0,), "init": "pretrained"}
    stopped = run(tmp_path, "stopped", 0.9, training=100, **more)
    made = ask(run(tmp_path, "plain", 0.4), stopped)
    assert made.thin == []
    assert made.candidates[0].needs.value > 100, "it is paid for all the same"


@pytest.mark.parametrize("at_once", [1, 7])
def test_seconds_have_an_interval_only_where_tasks_went_alone(tmp_path: Path, at_once: int) -> None:
    train = {"seconds": 100.0, "waited_ms": 0.0, "tokens": 1, "flops": 1e9}
    root = run(tmp_path, "learned", 0.9, 1, train_seeds=(0,), train=train, tasks_at_once=at_once)
    made = ask(root, tasks=20, budget=101.04)
    (row,) = as_json(made)["rows"]
    assert row["needs_s"]["value"] == pytest.approx(100 + 20 * 0.0515)
    alone, squeezed = at_once == 1, " ".join(as_text(made).split())
    assert any("beyond the budget" in line for line in made.thin) == alone
    assert ("| 1.7m [1.7m, 1.7m] |" in squeezed) == alone
    assert ("| 1.7m |" in squeezed) != alone
    assert (row["needs_s"]["low"] is not None) == alone


def test_what_costs_nothing_has_no_interval() -> None:
    made = advise(module.shipped(), texts(), Asked(8, 10, HOUR))
    free = [c for c in made.candidates if not c.needs.value]
    assert free
    assert all(c.spread is None for c in free)


def test_train_seeds_that_cost_differently_have_an_interval(tmp_path: Path) -> None:
    from bench.records import Cell, read_cell, write_cell

    root = run(tmp_path, "learned", 0.9, training=100, tasks_at_once=24)
    path = next((root / "cells").rglob("t1-s0.jsonl"))
    head, records = read_cell(path)
    dearer = {**head, "train": {**head["train"], "seconds": 140.0}}
    write_cell(root, Cell(SUITE, "learned", 8, 1, 0), dearer, records)
    candidate = ask(root).candidates[0]
    assert candidate.needs.value == pytest.approx(120 + 10 * 0.0515)
    assert candidate.spread is not None
    assert candidate.spread.low < candidate.needs.value < candidate.spread.high
    assert any("beyond the budget" in line for line in ask(root, budget=121).thin)


def test_it_says_which_directories_the_rows_are_from(tmp_path: Path) -> None:
    used = run(tmp_path, "plain", 0.4), run(tmp_path, "other", 0.9)
    made = ask(*used, run(tmp_path, "foreign", 0.9, dataset="mine.jsonl"))
    assert made.directories == sorted(path.name for path in used)
    assert f"chrf, from {', '.join(made.directories)}:" in as_text(made)
    told = as_json(made)
    assert told["directories"] == made.directories
    assert [row["directories"] for row in told["rows"]] == [["other"], ["plain"]]


def test_the_nearest_shots_are_used(tmp_path: Path) -> None:
    from bench.records import Cell, read_cell, write_cell

    root = run(tmp_path, "plain", 0.4)
    path = next((root / "cells").rglob("*.jsonl"))
    header, records = read_cell(path)
    own = {
        key: value for key, value in header.items() if key not in ("shots", "seed", "train_seed")
    }
    write_cell(root, Cell(SUITE, "plain", 32, None, 0), own, records)
    assert {row.header["shots"] for row in read_rows([root])} == {8, 32}
    assert "K = 32" in ask(root, shots=20).place
    assert "K = 8" in ask(root, shots=15).place


def test_rows_that_tell_nothing_are_left_out_and_said(tmp_path: Path) -> None:
    foreign = run(tmp_path, "foreign", 0.9, dataset="mine.jsonl")
    older = run(tmp_path / "older", "older", 0.9, revision="0")
    made = ask(run(tmp_path, "plain", 0.4), foreign, older)
    assert verdicts(made) == {"plain": "recommended"}
    assert any("mine.jsonl" in note and "revision 0" in note for note in made.notes)
    with pytest.raises(UserError, match=r"mine\.jsonl.* without --data"):
        ask(foreign)


# -- the command ---------------------------------------------------------------------------


def command(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["advise", *map(str, words)])


def test_the_command_prints_and_writes(tmp_path: Path) -> None:
    own = as_file(tmp_path / "own.jsonl", texts())
    roots = run(tmp_path, "plain", 0.4), run(tmp_path, "learned", 0.9, training=100)
    wanted = ["--shots", "8", "--tasks", "200", "--budget", "2m", "--suite-like", own]
    done = command(*wanted, "--json", tmp_path / "a.json", *roots)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("**Take learned**: 200 tasks of 8 examples within 2.0m on cpu")
    assert f"Nearest suite: {SUITE}." in done.output
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["recommended"] == "learned"
    assert found["budget_s"] == 120
    assert [row["verdict"] for row in found["rows"]] == ["recommended", "worse"]
    assert found["rows"][1]["behind"]["low"] > 0


def test_other_columns_and_no_tasks(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    pairs = [pair for found in texts().values() for pair in found]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("source", "output"), *pairs])
    columns = {"input": "source", "target": "output"}
    assert read_texts(Source(str(path), columns=columns)).keys() == {"pairs"}
    root = run(tmp_path, "plain", 0.4)
    wanted = ["--shots", "8", "--tasks", "2", "--budget", "1h", "--suite-like", path]
    assert "line 2: no input" in command(*wanted, root).output
    done = command(*wanted, "--column", "input=source", "--column", "target=output", root)
    assert done.exit_code == 0, done.output


def test_bad_input_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = as_file(tmp_path / "own.jsonl", texts())
    wanted = ["--shots", "8", "--tasks", "2", "--budget", "1h", "--suite-like"]
    root = run(tmp_path, "plain", 0.4)
    monkeypatch.setattr(module, "RECORDS", tmp_path / "nowhere")
    for words, message in (
        ([*wanted, own], "no records come with this installation"),
        ([*wanted, tmp_path / "missing.jsonl", root], "no such file or folder"),
        ([*wanted, own, tmp_path], "is not a run directory"),
        ([*wanted, own, "--budget", "2", root], "as 90s, 2m, 1h"),
        ([*wanted, own, "--budget", "0s", root], "as 90s, 2m, 1h"),
        ([*wanted, own, "--json", tmp_path, root], "a directory; name a file in it"),
        ([*wanted, own, "--layout", "a/b", root], "unknown layout"),
        ([*wanted, own, "--tasks", "0", root], "0 is not in the range"),
    ):
        done = command(*words)
        assert done.exit_code == 2, words
        assert message in " ".join(done.output.split()), done.output


def test_budgets() -> None:
    assert [budget_seconds(text) for text in ("90s", "2m", "1.5 h")] == [90, 120, 5400]
    for text in ("", "m", "-2m", "2 days", "1e3s", "nan"):
        with pytest.raises(UserError):
            budget_seconds(text)


def test_the_records_of_the_checkout_give_advice(tmp_path: Path) -> None:
    own = as_file(tmp_path / "own.jsonl", texts("writing"))
    done = command("--shots", "8", "--tasks", "200", "--budget", "1h", "--suite-like", own)
    assert done.exit_code == 0, done.output
    assert "Nearest suite: writing." in done.output
    assert ", from quick:" in done.output
    assert "older than the suite" not in done.output
