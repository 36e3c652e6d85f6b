"""Pivots: what stands side by side, what may not, and that nothing crosses a column."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from bench.across import aggregate
from bench.cli import main
from bench.cli_results import FORMATS
from bench.pivots import OVER, pivot
from bench.publish import READ, USED, markdown, render
from bench.records import Cell, write_cell, write_failure
from bench.shown import Shown
from bench.tables import entries, leaderboard, metrics, ranked, read_rows
from tests.runs import write_run
from tests.test_tables import GOOD, POOR, header, plan, record


def put(
    root: Path,
    baseline: str,
    texts: list[list[str]],
    suite: str = "translation",
    shots: int = 8,
    settings: dict[str, Any] | None = None,
    mark: str = "",
    **more: Any,
) -> None:
    """A finished cell; episodes differ between suites and shots as they do in a run."""
    records = [record(i, part) for i, part in enumerate(texts)]
    for told in records:
        told["digest"] = f"{suite}{shots}{told['index']}{mark}"
    head = header(**more)
    head["settings"] |= settings or {}
    write_cell(root, Cell(suite, baseline, shots, None, 0), head, records)
    plan(root, [0], [0])


def floor(root: Path, **more: Any) -> None:
    put(root, "floor", POOR * 6, init="none", backbone=None, backbone_identity=None, **more)


def made(by: str, *roots: Path) -> tuple[pd.DataFrame, list[Shown]]:
    return pivot(ranked(roots), by)


def columns(shown: list[Shown]) -> list[list[str]]:
    """The headings of each table's values."""
    return [list(table.cells.columns[3:]) for table in shown]


def cell(table: Shown, row: str, column: str) -> str:
    cells = table.cells.set_index("baseline")
    assert cells.index.is_unique
    return str(cells.loc[row, column])


def test_suites_stand_side_by_side_each_with_its_metric(tmp_path: Path) -> None:
    put(tmp_path, "tuned", GOOD * 6)
    put(tmp_path, "plain", POOR * 6)
    floor(tmp_path)
    put(tmp_path, "tuned", POOR * 6, suite="dialogue", primary="bleu", revision="3")
    put(tmp_path, "plain", GOOD * 6, suite="dialogue", primary="bleu", revision="3")
    frame, shown = made("suite", tmp_path)
    assert columns(shown) == [["dialogue (BLEU)", "translation (chrF)", OVER]]
    board = leaderboard([tmp_path]).set_index(["suite", "baseline"])
    for suite, metric, title in (
        ("dialogue", "bleu", "dialogue (BLEU)"),
        ("translation", "chrf", "translation (chrF)"),
    ):
        for name in ("tuned", "plain"):
            line = board.loc[(suite, name)]
            text = f"{line[metric]:.1f} [{line[metric + '_low']:.1f}, {line[metric + '_high']:.1f}]"
            assert cell(shown[0], name, title) == f"{text} {line['group']}"
    assert cell(shown[0], "floor", "dialogue (BLEU)") == "–"  # noqa: RUF001
    places = dict(enumerate(shown[0].cells["baseline"]))
    assert {(places[row], column) for row, column in shown[0].bold} == {
        ("tuned", "translation (chrF)"),
        ("plain", "dialogue (BLEU)"),
    }
    text = markdown(shown)
    assert "dialogue (BLEU): dialogue (embedded, revision 3, meta-test), K = 8" in text
    assert text.count("\nSignatures: ") == text.count("Signatures: ") == 1
    assert "translation (chrF): Backbone: " in text or "\nBackbone: tiny (llama-1)" in text
    assert "Ranked by" not in text
    assert "\nBy suite, K = 8: dialogue, translation\n" in text
    line = frame.set_index("row").loc["tuned"]
    assert line["translation:chrf"] == board.loc[("translation", "tuned"), "chrf"]
    assert line["dialogue:bleu_low"] == board.loc[("dialogue", "tuned"), "bleu_low"]
    assert (line["translation:group"], line["dialogue:group"]) == ("a", "b")
    assert (line["dialogue:revision"], line["shots"], line["backbone"]) == ("3", 8, "tiny")
    assert not {"translation:bleu", "dialogue:chrf"} & set(frame.columns)


def test_suites_are_aggregated_where_a_method_has_all_of_them(tmp_path: Path) -> None:
    write_run(tmp_path, {"good": 0.9, "fair": 0.7}, ("translation", "writing"), (0, 1))
    write_run(tmp_path / "more", {"floor": 0.1}, ("writing",), (0, 1), init="none")
    frame, shown = made("suite", tmp_path, tmp_path / "more")
    rows = [row for row in read_rows([tmp_path]) if row.header["baseline"] == "good"]
    metric = next(metric for metric in metrics(rows[0]) if metric.name == "chrf")
    expected = aggregate([(entries(row, "chrf"), metric) for row in rows])
    line = frame.set_index("row").loc["good"]
    assert (line["iqm"], line["iqm_low"]) == (expected.iqm, expected.interval.low)
    shares = {point.threshold: point.share for point in expected.profile}
    assert [line[f"above_{t}"] for t in (25, 50, 75)] == [shares[t] for t in (25, 50, 75)]
    assert cell(shown[0], "good", OVER) == (
        f"{expected.iqm:.1f} [{expected.interval.low:.1f}, {expected.interval.high:.1f}]"
    )
    assert cell(shown[0], "floor", OVER) == "–"  # noqa: RUF001
    assert OVER in shown[0].caption[-1]


def test_train_seeds_with_different_tasks_have_no_aggregate(tmp_path: Path) -> None:
    """Each task of `write_run` belongs to a seed; here each train seed met another seed."""
    suites = ("translation", "writing")
    for name, seed, train in (("a", 0, 3), ("b", 1, 4)):
        write_run(tmp_path / name, {"plain": 0.5}, suites, (seed,))
        write_run(tmp_path / name, {"trained": 0.9}, suites, (seed,), (train,))
        told = {"seeds": [seed], "train_seeds": [train]}
        (tmp_path / name / "run.json").write_text(json.dumps({"plan": told}))
    frame, shown = made("suite", tmp_path / "a", tmp_path / "b")
    found = frame.set_index("row")["iqm"].notna()
    assert (found["plain"], found["trained"]) == (True, False)
    assert cell(shown[0], "trained", OVER) == "–"  # noqa: RUF001
    assert "its train seeds differ or met different tasks" in shown[0].caption[-1]


def test_shots_stand_side_by_side_in_order(tmp_path: Path) -> None:
    for shots in (16, 2, 8):
        put(tmp_path, "tuned", GOOD, shots=shots)
    frame, shown = made("shots", tmp_path)
    assert columns(shown) == [["K = 2 (chrF)", "K = 8 (chrF)", "K = 16 (chrF)"]]
    assert shown[0].caption[0] == "By shots, translation: K = 2, K = 8, K = 16"
    assert [name for name in frame.columns if name.endswith(":shots")] == [
        "k2:shots",
        "k8:shots",
        "k16:shots",
    ]


def test_backbones_stand_side_by_side_and_floors_beside_each(tmp_path: Path) -> None:
    floor(tmp_path)
    put(tmp_path / "a", "tuned", GOOD * 6)
    put(tmp_path / "b", "tuned", POOR * 6, backbone="big", backbone_identity="gpt2-2")
    put(tmp_path / "c", "tuned", POOR * 6, backbone="tiny", backbone_identity="llama-9")
    _, shown = made("backbone", tmp_path, *(tmp_path / part for part in "abc"))
    headings = ["tiny llama-1 (chrF)", "big (chrF)", "tiny llama-9 (chrF)"]
    assert columns(shown) == [headings]
    assert shown[0].caption[0].startswith("By backbone, translation, K = 8: tiny llama-1, big, ")
    assert cell(shown[0], "floor", headings[0]).endswith(" b")
    assert cell(shown[0], "floor", headings[1]).endswith(" a"), "ties with what is as poor"
    places = list(shown[0].cells["baseline"])
    assert (places.index("floor"), headings[0]) not in shown[0].bold
    assert (places.index("floor"), headings[1]) in shown[0].bold


@pytest.mark.parametrize("by", ["suite", "shots", "backbone"])
@pytest.mark.parametrize(
    ("other", "apart"),
    [
        ({"shots": 4}, {"suite", "backbone"}),
        ({"suite": "dialogue"}, {"shots", "backbone"}),
        ({"backbone_identity": "llama-2"}, {"suite", "shots"}),
        ({"revision": "2"}, {"suite", "shots", "backbone"}),
        ({"dataset": "mine"}, {"suite", "shots", "backbone"}),
        ({"split": "meta-validation"}, {"suite", "shots", "backbone"}),
        ({"settings": {"decoding": "beam"}}, {"suite", "shots", "backbone"}),
        ({"settings": {"queries": 9}}, {"suite", "shots", "backbone"}),
        ({"signatures": {"chrf": "other"}}, {"suite", "shots", "backbone"}),
        ({"mark": "new", "backbone_identity": "llama-2"}, {"suite", "shots", "backbone"}),
    ],
)
def test_what_may_not_stand_together_is_tables_apart(
    tmp_path: Path, by: str, other: dict[str, Any], apart: set[str]
) -> None:
    """One block, and another that differs in one thing: one table with two columns only if the
    pivot is over that thing, each number told once either way."""
    put(tmp_path / "a", "tuned", GOOD)
    put(tmp_path / "b", "tuned", POOR, **other)
    frame, shown = made(by, tmp_path / "a", tmp_path / "b")
    assert len(shown) == (2 if by in apart else 1)
    assert sum(name != OVER for names in columns(shown) for name in names) == 2
    scores = frame.filter(regex=":chrf$").to_numpy().ravel()
    assert sorted(x for x in scores if x == x) == sorted(
        leaderboard([tmp_path / "a", tmp_path / "b"])["chrf"]
    )
    assert frame["table"].nunique() == len(shown)


def test_what_differs_by_suite_alone_does_not_part_suites(tmp_path: Path) -> None:
    put(tmp_path, "tuned", GOOD)
    put(tmp_path, "tuned", GOOD, suite="dialogue", settings={"max_new_tokens": 8, "queries": 1})
    _, shown = made("suite", tmp_path)
    assert len(shown) == 1


def test_methods_of_one_name_are_told_apart(tmp_path: Path) -> None:
    put(tmp_path / "a", "tuned", GOOD, options={"rate": 1}, changed={"rate": 1})
    put(tmp_path / "b", "tuned", POOR, settings={"train_budget": 5})
    put(tmp_path / "c", "tuned", GOOD, settings={"train_budget": 7})
    put(tmp_path / "d", "tuned", POOR, shots=4, settings={"train_budget": 7})
    _, shown = made("shots", *(tmp_path / part for part in "abcd"))
    assert columns(shown) == [["K = 4 (chrF)", "K = 8 (chrF)"]]
    assert sorted(shown[0].cells["baseline"]) == [
        "tuned (rate = 1)",
        "tuned, train_budget = 5",
        "tuned, train_budget = 7",
    ]
    assert cell(shown[0], "tuned, train_budget = 7", "K = 4 (chrF)")[:2] != "–"  # noqa: RUF001
    assert cell(shown[0], "tuned (rate = 1)", "K = 4 (chrF)") == "–"  # noqa: RUF001


def test_scratch_rows_of_two_backbones_are_two(tmp_path: Path) -> None:
    """They stand in every block of their episodes."""
    put(tmp_path / "a", "scratch", GOOD, init="scratch")
    put(tmp_path / "b", "scratch", POOR, init="scratch", backbone_identity="llama-2")
    put(tmp_path / "b", "tuned", POOR, backbone_identity="llama-2")
    _, shown = made("backbone", tmp_path / "a", tmp_path / "b")
    assert columns(shown) == [["tiny (chrF)"]]
    assert sorted(shown[0].cells["baseline"]) == [
        "scratch, start = llama-1",
        "scratch, start = llama-2",
        "tuned",
    ]


@pytest.mark.parametrize("by", ["suite", "shots", "backbone"])
def test_one_backbone_by_two_names_is_two_rows(tmp_path: Path, by: str) -> None:
    put(tmp_path / "a", "tuned", GOOD)
    put(tmp_path / "b", "tuned", POOR, backbone="./copy")
    frame, shown = made(by, tmp_path / "a", tmp_path / "b")
    assert frame["row"].tolist() == ["tuned", "tuned, backbone = copy"]
    assert [len(table.cells) for table in shown] == [2]


def test_backbones_without_weights_to_tell_them_apart_keep_their_columns(tmp_path: Path) -> None:
    for name, steps in (("a", 1), ("b", 2)):
        anew = {"pretrain": {"steps": steps}}
        put(tmp_path / name, "tuned", GOOD, settings=anew, backbone_identity=None)
    _, shown = made("backbone", tmp_path / "a", tmp_path / "b")
    assert columns(shown) == [["tiny 1 (chrF)", "tiny 2 (chrF)"]]


def test_every_format_of_a_pivot(tmp_path: Path) -> None:
    put(tmp_path, "tuned", GOOD * 6)
    put(tmp_path, "plain", POOR * 6)
    put(tmp_path, "tuned", GOOD * 6, shots=4)
    frame, shown = made("shots", tmp_path)
    assert {*READ, *USED} == set(FORMATS)
    for kind in ("md", "tex", "html"):
        text = render(kind, frame, shown)
        assert isinstance(text, str)
        assert "K = 4 (chrF)" in text
        assert text.endswith("\n")
    told = json.loads(render("json", frame, shown))
    assert [line["k4:group"] for line in told] == ["a", None]
    assert [line["k8:pareto"] for line in told] == [True, False]
    parquet = render("parquet", frame, shown)
    assert isinstance(parquet, bytes)
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(parquet)), frame)
    text = str(render("csv", frame, shown))
    assert pd.read_csv(io.StringIO(text))["k8:chrf"].tolist() == frame["k8:chrf"].tolist()


@pytest.mark.parametrize("by", ["suite", "shots", "backbone"])
def test_what_failed_or_lacks_cells_is_told_and_has_no_letter(tmp_path: Path, by: str) -> None:
    put(tmp_path, "whole", GOOD * 3)
    put(tmp_path, "half", GOOD * 3)
    records = [record(i, GOOD[i], seed=1) for i in (0, 1)]
    write_cell(tmp_path, Cell("translation", "whole", 8, None, 1), header(), records)
    plan(tmp_path, [0, 1], [0])
    write_failure(tmp_path, Cell("translation", "none", 8, None, 0), header(), "nan |\n<b>")
    write_failure(tmp_path, Cell("dialogue", "none", 4, None, 0), header(), "nan")
    frame, shown = made(by, tmp_path)
    text = markdown(shown)
    assert "Unfinished, not ranked: half: 1 cell(s) missing" in text
    assert "Failed: none: 1 cell(s): nan | <b>" in text
    table = next(table for table in shown if len(table.cells) == 3)
    found = table.cells.set_index("baseline")
    (column,) = (name for name in found.columns if found.loc["whole", name][-1] == "a")
    assert found.loc["half", column][-1] == "]"
    assert found.loc["none", column] == "–"  # noqa: RUF001
    assert {row for row, _ in table.bold} == {list(found.index).index("whole")}
    for kind in FORMATS:
        assert render(kind, frame, shown)


def call(*words: object) -> Result:
    return CliRunner().invoke(main, ["leaderboard", *map(str, words)])


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("more", [[], ["--pivot", "suite"]])
def test_the_command_writes_what_its_file_is_called(
    tmp_path: Path, kind: str, more: list[str]
) -> None:
    put(tmp_path, "tuned", GOOD)
    out = tmp_path / f"board.{kind.upper()}"
    assert call(tmp_path, "--out", out, *more).exit_code == 0
    named = tmp_path / "named"
    assert call(tmp_path, "--out", named, "--format", kind, *more).exit_code == 0
    assert named.read_bytes() == out.read_bytes()
    assert b"tuned" in out.read_bytes()
    done = call(tmp_path, "--format", kind, *more)
    if kind == "parquet":
        assert done.exit_code == 2
        assert done.output == "Error: --format parquet is not text; name its file with --out\n"
    else:
        assert done.output == out.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--out", "board.xlsx"], "the name tells no format; add --format md|csv|tex"),
        (["--out", "board"], "the name tells no format"),
        (["--out", "board.parquet/x.csv"], "cannot write"),
        (["--out", "folder.csv"], "folder.csv: not a file; name one"),
        (["--format", "csv", "--out", "/dev/null"], "/dev/null: not a file"),
        (["--pivot", "baseline"], "'baseline' is not one of 'suite', 'shots', 'backbone'"),
    ],
)
def test_a_wrong_command_says_so_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "run", "tuned", GOOD)
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "board.parquet").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    done = call("run", *words)
    assert done.exit_code == 2
    assert told in done.output
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "board.parquet").read_text() == "mine"
    shutil.rmtree(tmp_path / "run")
