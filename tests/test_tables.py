"""Tables: scores against sacrebleu's own, blocks, differences, every format readable."""

import csv
import io
import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sacrebleu
import scipy.stats
from click.testing import CliRunner

from bench.cli import main
from bench.errors import UserError
from bench.publish import READ, USED, render, to_markdown
from bench.ranks import ALPHA
from bench.records import Cell, finished, read_json, write_cell, write_failure, write_json
from bench.statistics import Estimate
from bench.tables import leaderboard
from tests.runs import METRICS, header, write_run

REFERENCES = [
    ["the goat sees a lamp today", "a bird finds the old rope here"],
    ["some boats move to the river", "the fox & the 100% owl_1 run"],
]


def record(index: int, texts: list[str], seed: int = 0) -> dict[str, Any]:
    pairs = list(zip(texts, REFERENCES[index % len(REFERENCES)], strict=True))
    return {
        "index": index,
        "task": f"t{index}",
        "seed": seed,
        "digest": f"d{seed}{index}",
        "support_part": "train",
        "predictions": texts,
        "statistics": {m.name: [m.statistics(t, [r]) for t, r in pairs] for m in METRICS},
        "costs": {
            "adapt_ms": 10.0 * (index + 1),
            "inner_steps_ms": [4.0, 6.0],
            "adapt_peak_mib": 100.0 + index,
            "generate_ms": 30.0,
            "generated_tokens": 10,
        },
    }


GOOD = [REFERENCES[0], ["some boats move to a river", "the fox runs"]]
POOR = [["goat", "bird"], ["boats", "fox"]]


def add(
    root: Path, baseline: str, texts: list[list[str]], train_seed: int | None = None, **more: Any
) -> None:
    cell = Cell("translation", baseline, 8, train_seed, 0)
    records = [record(i, part) for i, part in enumerate(texts)]
    write_cell(root, cell, header(**more), records)
    plan(root, [0], [train_seed or 0])


def plan(root: Path, seeds: list[int], train_seeds: list[int]) -> None:
    write_json(root / "run.json", {"plan": {"seeds": seeds, "train_seeds": train_seeds}})


def test_episodes_are_counted_once_for_all_train_seeds(tmp_path: Path) -> None:
    for train_seed in (0, 1):
        add(tmp_path, "trained", GOOD, train_seed, init="meta-trained", order="1")
    plan(tmp_path, [0], [0, 1])
    assert leaderboard([tmp_path]).iloc[0]["episodes"] == len(GOOD)


def test_scores_are_sacrebleus_own(tmp_path: Path) -> None:
    add(tmp_path, "good", GOOD)
    line = leaderboard([tmp_path]).iloc[0]
    texts, references = list(chain(*GOOD)), [list(chain(*REFERENCES))]
    assert line["bleu"] == sacrebleu.corpus_bleu(texts, references).score
    assert line["chrf"] == sacrebleu.corpus_chrf(texts, references).score
    assert line["exact"] == 50
    assert line["bleu_low"] <= line["bleu"] <= line["bleu_high"]
    assert (line["adapt_ms"], line["adapt_ms_q1"], line["adapt_ms_q3"]) == (15, 12.5, 17.5)
    assert (line["inner_step_ms"], line["generate_ms_per_token"]) == (5, 3)
    assert line["adapt_peak_mib"] == 101


def test_rows_are_ranked_and_compared_in_pairs(tmp_path: Path) -> None:
    add(tmp_path, "poor", POOR * 6)
    add(tmp_path, "good", GOOD * 6, train_seed=0, train={"seconds": 2.0, "tokens": 7, "flops": 9.0})
    table = leaderboard([tmp_path]).set_index("baseline")
    assert list(table.index) == ["good", "poor"]
    assert table.loc["good", "to_best"] == 0
    assert table.loc["poor", "to_best"] == table.loc["poor", "chrf"] - table.loc["good", "chrf"]
    assert table.loc["poor", "to_best_low"] < table.loc["poor", "to_best"]
    assert table.loc["poor", "to_best"] < table.loc["poor", "to_best_high"] < 0
    assert table.loc["poor", "to_best_p"] < ALPHA
    assert table["group"].to_dict() == {"good": "a", "poor": "b"}
    assert table.loc["good", "train_tokens"] == 7
    assert "conditional" in table.loc["good", "interval"]
    text = to_markdown(leaderboard([tmp_path]))
    assert "**good**" in text
    assert "**poor**" not in text
    assert "conditional on their one train seed" in text


def test_backbones_stand_in_separate_blocks_and_floors_in_each(tmp_path: Path) -> None:
    add(tmp_path / "a", "good", GOOD)
    add(tmp_path / "a", "floor", POOR, init="none", backbone=None, backbone_identity=None)
    add(tmp_path / "b", "good", POOR, backbone="other", backbone_identity="gpt2-2")
    table = leaderboard([tmp_path / "a", tmp_path / "b"])
    assert table[table["baseline"] == "good"]["block"].nunique() == 2
    assert (table[table["baseline"] == "good"]["to_best"] == 0).all()


def test_what_was_decoded_otherwise_stands_apart(tmp_path: Path) -> None:
    """Floors write nothing, so are beside each; from-scratch rows only beside their like."""
    for name, texts in (("greedy", GOOD), ("beam, beams = 2", POOR)):
        settings = {**header()["settings"], "decoding": name}
        add(tmp_path / name[:4], "good", texts, settings=settings)
        add(tmp_path / name[:4], "scratch", texts, init="scratch", settings=settings)
    floor = {**header()["settings"], "decoding": None}
    add(tmp_path / "floor", "floor", POOR, init="none", backbone_identity=None, settings=floor)
    table = leaderboard([tmp_path / part for part in ("gree", "beam", "floor")])
    blocks = table.groupby("block")["baseline"].agg(sorted).tolist()
    assert blocks == [["floor", "good", "scratch"]] * 2
    assert set(table.groupby("block")["decoding"].nunique()) == {1}
    text = to_markdown(table)
    assert text.count("Decoding: greedy. Device") == 1
    assert text.count("Decoding: beam, beams = 2. Device") == 1


def test_other_episodes_are_another_block(tmp_path: Path) -> None:
    add(tmp_path / "a", "good", GOOD)
    cell = Cell("translation", "poor", 8, None, 1)
    write_cell(tmp_path / "b", cell, header(), [record(0, POOR[0], seed=1)])
    plan(tmp_path / "b", [1], [0])
    table = leaderboard([tmp_path / "a", tmp_path / "b"])
    assert table["block"].nunique() == 2


def test_a_failed_cell_stays_visible(tmp_path: Path) -> None:
    add(tmp_path, "good", GOOD)
    for baseline in ("good", "broken"):
        cell = Cell("translation", baseline, 8, None, 5)
        write_failure(tmp_path, cell, header(), "the loss is nan")
    table = leaderboard([tmp_path]).set_index("baseline")
    assert table.loc["good", "failed"] == 1
    assert table.loc["broken", "failed"] == 1
    assert table.loc["broken", "episodes"] == 0
    assert to_markdown(leaderboard([tmp_path])).count("the loss is nan") == 2


def test_pairs_of_all_blocks_are_adjusted_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand: p is 0.01 for every pair. One block has 3 pairs, so Holm gives 0.03; two have 6,
    which gives 0.06, and nothing differs."""

    def estimates(rows: list[Any], metric: Any) -> dict[tuple[int, int], Estimate]:
        pairs = [(i, j) for j in range(len(rows)) for i in range(j)]
        error = 1 / float(scipy.stats.t.isf(0.005, 9))
        return {pair: Estimate(1.0, error, 9) for pair in pairs}

    monkeypatch.setattr("bench.statistics.pairwise", estimates)
    for root in ("a", "b"):
        for name in ("x", "y", "z"):
            add(tmp_path / root, name, GOOD * 3, backbone_identity=root)
    one = leaderboard([tmp_path / "a"])
    assert one["to_best_p"].tolist() == pytest.approx([math.nan, 0.03, 0.03], nan_ok=True)
    assert one["group"].tolist() == ["a", "b", "c"]
    assert to_markdown(one).count("**") == 2 * 2
    two = leaderboard([tmp_path / "a", tmp_path / "b"])
    assert two["to_best_p"].dropna().tolist() == pytest.approx([0.06] * 4)
    assert two["group"].tolist() == ["a"] * 6
    assert to_markdown(two).count("**") == 2 * 2 * 6
    others = two["to_best_p"].notna()
    assert two.loc[others, "to_best_high"].max() < 0, "the interval is not adjusted"


def test_the_front_is_of_score_and_adaptation(tmp_path: Path) -> None:
    """GOOD beats POOR; a floor and a row without steps cost nothing, whatever the clock said."""

    def timed(name: str, texts: Any, ms: float | None, steps: list[float], **more: Any) -> None:
        cell = Cell("translation", name, 8, None, 0)
        records = [record(i, part) for i, part in enumerate(texts)]
        for told in records:
            if ms is None:
                del told["costs"]
            else:
                told["costs"] |= {"adapt_ms": ms, "inner_steps_ms": steps}
        write_cell(tmp_path, cell, header(**more), records)

    plan(tmp_path, [0], [0])
    timed("fast", GOOD, 5.0, [5.0])
    timed("slow", GOOD, 50.0, [50.0])
    timed("same", GOOD, 5.0, [5.0])
    timed("elsewhere", GOOD, 9.0, [9.0], device="another")
    timed("still", POOR, 0.04, [])
    timed("floor", POOR, None, [], init="none", backbone_identity=None)
    timed("cheap", POOR, 1.0, [1.0])
    table = leaderboard([tmp_path]).set_index("baseline")
    assert table["pareto"].to_dict() == {
        "fast": True,
        "same": True,
        "elsewhere": True,  # its time is not comparable with that of fast
        "slow": False,
        "still": True,
        "floor": True,
        "cheap": False,
    }
    lines = to_markdown(leaderboard([tmp_path])).splitlines()
    marked = [line.split("|")[1].strip(" *") for line in lines if " • " in line and "|" in line[:1]]
    assert sorted(marked) == sorted(table.index[table["pareto"].astype(bool)])


HOSTILE = '<b>|&_%$\\x\n"~^{}</script>'


def test_every_format_holds_every_row(tmp_path: Path) -> None:
    add(tmp_path, "good_one", GOOD, changed={"note": HOSTILE})
    add(tmp_path, "poor", POOR)
    table = leaderboard([tmp_path])
    rows = list(csv.DictReader(io.StringIO(str(render("csv", table)))))
    assert [row["baseline"] for row in rows] == ["good_one", "poor"]
    assert [row["group"] for row in rows] == table["group"].tolist()
    assert [row["pareto"] for row in rows] == ["True", "False"]
    assert float(rows[0]["bleu"]) == table["bleu"][0]
    told = json.loads(render("json", table))
    assert told[0]["chrf"] == pytest.approx(table["chrf"][0])
    assert [line["pareto"] for line in told] == [True, False]
    parquet = render("parquet", table)
    assert isinstance(parquet, bytes)
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(parquet)), table)
    assert table["options"][0] == f"note = {HOSTILE}"


def test_markdown_keeps_its_columns(tmp_path: Path) -> None:
    add(tmp_path, "good", GOOD, changed={"note": HOSTILE})
    head, rule, row = to_markdown(leaderboard([tmp_path])).splitlines()[:3]
    assert len(re.findall(r"(?<!\\)\|", row)) == head.count("|") == rule.count("|")


def test_latex_is_whole(tmp_path: Path) -> None:
    """Rules of booktabs, a caption with signatures, a label of each table, balanced braces, as many
    cells in each line, and no bare sign that LaTeX would read as its own."""
    add(tmp_path / "a", "good_one", GOOD * 6, changed={"note": HOSTILE})
    add(tmp_path / "a", "poor", POOR * 6)
    add(tmp_path / "b", "good_one", GOOD * 6, backbone_identity="other")
    text = str(render("tex", leaderboard([tmp_path / "a", tmp_path / "b"])))
    for rule in ("toprule", "midrule", "bottomrule"):
        assert text.count(f"\\{rule}\n") == 2
    assert r"\textbf{good\_one (note = \textless{}b\textgreater{}" in text
    assert r"\textbf{poor}" not in text
    assert r"95 \% intervals" in text
    assert r"chrf=nrefs:1\textbar{}case:mixed" in text
    labels = re.findall(r"\\label\{([a-z0-9:-]+)\}", text)
    assert labels == ["tab:fewgen-translation-embedded-1", "tab:fewgen-translation-embedded-2"]
    bare = re.sub(r"\\([&%$#_{}\\]|[a-zA-Z]+(\{\})?)", "", text.split("\n", 1)[1])
    assert bare.count("{") == bare.count("}")
    assert not set(bare) & set('%$#_~^<>|"\\')
    for table in text.split(r"\toprule")[1:]:
        lines = [line for line in table.split(r"\bottomrule")[0].splitlines() if "&" in line]
        assert len({len(re.findall(r"(?<!\\)&", line)) for line in lines}) == 1
    if shutil.which("pdflatex"):
        page = (
            r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs}"
            rf"\begin{{document}}{text}\end{{document}}"
        )
        (tmp_path / "page.tex").write_text(page)
        words = ["pdflatex", "-halt-on-error", "page.tex"]
        subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)


class Page(HTMLParser):
    """The tags of a page and its texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_html_escapes_all_and_asks_for_nothing(tmp_path: Path) -> None:
    add(tmp_path, "good", GOOD * 6, changed={"note": HOSTILE}, backbone=f"tiny{HOSTILE}")
    add(tmp_path, "poor", POOR * 6)
    text = str(render("html", leaderboard([tmp_path])))
    page = Page(text)
    assert f"good (note = {HOSTILE})" in page.texts
    assert any(f", tiny{' '.join(HOSTILE.split())}" in told for told in page.texts)
    assert page.tags.count("strong") == 2  # the name and the score of the best
    assert page.tags.count("tr") == 3
    assert not {"b", "script", "link", "img", "iframe"} & set(page.tags)
    assert not {"src", "href", "onload", "onerror", "onclick", "style"} & set(page.attributes)
    assert "url(" not in text
    assert "@import" not in text


def test_another_metric_ranks(tmp_path: Path) -> None:
    add(tmp_path, "good", GOOD)
    assert (leaderboard([tmp_path], metric="bleu")["rank_metric"] == "bleu").all()
    with pytest.raises(UserError, match="did you mean bleu"):
        leaderboard([tmp_path], metric="blue")


def test_damaged_records_are_told(tmp_path: Path) -> None:
    add(tmp_path, "good", GOOD)
    path = next(tmp_path.rglob("*.jsonl"))
    path.write_text(path.read_text()[:-40])
    with pytest.raises(UserError, match="damaged or changed"):
        leaderboard([tmp_path])
    plan(tmp_path / "empty", [0], [0])
    with pytest.raises(UserError, match="no finished cell"):
        leaderboard([tmp_path / "empty"])


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "".join(text.splitlines(keepends=True)[:-1]),
        lambda text: text.replace("costs", "casts"),
        lambda text: "5\n",
        lambda text: '{"cell": {}}\n',
        lambda text: "",
        lambda text: text.encode("utf-16"),
    ],
)
def test_a_file_that_is_not_what_was_written(tmp_path: Path, damage: Any) -> None:
    add(tmp_path, "good", GOOD)
    path = next(tmp_path.rglob("*.jsonl"))
    damaged = damage(path.read_text())
    path.write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
    with pytest.raises(UserError, match="damaged or changed by hand"):
        leaderboard([tmp_path])
    with pytest.raises(UserError, match="damaged or changed by hand"):
        finished(tmp_path, [Cell("translation", "good", 8, None, 0)])


@pytest.mark.parametrize("content", ["{}", "[]", '{"plan": 3}', "{"])
def test_a_damaged_run_file(tmp_path: Path, content: str) -> None:
    add(tmp_path, "good", GOOD)
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match="damaged"):
        leaderboard([tmp_path])


def test_a_row_that_is_not_finished_is_shown_and_not_ranked(tmp_path: Path) -> None:
    add(tmp_path, "good", GOOD * 3)
    add(tmp_path, "half", POOR * 3)
    cell = Cell("translation", "good", 8, None, 1)
    write_cell(tmp_path, cell, header(), [record(i, GOOD[i], seed=1) for i in (0, 1)])
    plan(tmp_path, [0, 1], [0])
    table = leaderboard([tmp_path]).set_index("baseline")
    assert table["block"].nunique() == 1
    assert table.loc["half", "missing"] == 1
    assert table["to_best"].notna().to_dict() == {"good": True, "half": False}
    assert table["group"].to_dict() == {"good": "a", "half": ""}
    assert table["pareto"].isna().to_dict() == {"good": False, "half": True}
    assert "Unfinished, not ranked: half: 1 cell(s) missing" in to_markdown(leaderboard([tmp_path]))


def test_a_run_in_which_all_failed_gives_the_reasons(tmp_path: Path) -> None:
    plan(tmp_path, [0], [0])
    write_failure(tmp_path, Cell("translation", "x", 8, None, 0), header(), "the loss is nan")
    text = to_markdown(leaderboard([tmp_path]))
    assert "Failed: x: 1 cell(s): the loss is nan" in text
    table = leaderboard([tmp_path])
    assert table["group"].tolist() == [""]
    for kind in (*READ, *USED):
        content = render(kind, table)
        assert ("the loss" if isinstance(content, str) else b"the loss") in content


def test_other_settings_are_another_row(tmp_path: Path) -> None:
    add(tmp_path / "a", "good", GOOD)
    more = {**header()["settings"], "queries": 5}
    cell = Cell("translation", "good", 8, None, 1)
    write_cell(
        tmp_path / "b", cell, header(settings=more), [record(i, GOOD[i], seed=1) for i in (0, 1)]
    )
    plan(tmp_path / "b", [1], [0])
    table = leaderboard([tmp_path / "a", tmp_path / "b"])
    assert (len(table), table["block"].nunique()) == (2, 2)


def test_backbones_of_one_name_are_two_rows(tmp_path: Path) -> None:
    add(tmp_path / "a", "good", GOOD)
    add(tmp_path / "b", "good", POOR, backbone_identity="llama-2")
    assert len(leaderboard([tmp_path / "a", tmp_path / "b"])) == 2


def test_floors_stand_in_every_block(tmp_path: Path) -> None:
    add(tmp_path / "a", "good", GOOD)
    add(tmp_path / "a", "floor", POOR, init="none", backbone=None, backbone_identity=None)
    add(tmp_path / "b", "good", POOR, backbone_identity="llama-2")
    table = leaderboard([tmp_path / "a", tmp_path / "b"])
    assert sorted(zip(table["block"], table["baseline"], strict=True)) == [
        ("1", "floor"),
        ("1", "good"),
        ("2", "floor"),
        ("2", "good"),
    ]
    assert table.groupby("block")["to_best"].max().tolist() == [0, 0]


def test_a_floor_of_two_runs_is_one_row_if_it_is_the_same(tmp_path: Path) -> None:
    """The same command with another backbone runs the floors again."""
    for root, identity in (("a", "llama-1"), ("b", "llama-2")):
        add(tmp_path / root, "floor", POOR, init="none", backbone=None, backbone_identity=None)
        add(tmp_path / root, "good", GOOD, backbone_identity=identity)
    table = leaderboard([tmp_path / "a", tmp_path / "b"])
    assert table.groupby("block")["baseline"].agg(list).tolist() == [["good", "floor"]] * 2
    assert table.loc[table["baseline"] == "floor", "episodes"].tolist() == [2, 2]
    add(tmp_path / "b", "floor", GOOD, init="none", backbone=None, backbone_identity=None)
    with pytest.raises(UserError, match="repeats translation / floor seed 0"):
        leaderboard([tmp_path / "a", tmp_path / "b"])


def test_one_train_seed_of_two_digits_is_one(tmp_path: Path) -> None:
    add(tmp_path, "good", GOOD, train_seed=10)
    assert "conditional" in leaderboard([tmp_path])["interval"][0]


def test_a_name_is_not_changed_in_the_caption(tmp_path: Path) -> None:
    add(tmp_path, "good", GOOD, backbone="finance-nano")
    assert "Backbone: finance-nano (llama-1)" in to_markdown(leaderboard([tmp_path]))


@pytest.mark.parametrize(
    "text",
    ["{}", "[]", '{"cell": {}, "reason": "x"}', '{"cell": null, "reason": "x"}', '{"reason": 3}'],
)
def test_a_damaged_note_of_a_failure_is_named(tmp_path: Path, text: str) -> None:
    root = write_run(tmp_path / "run", {"copy": 0.5})
    path = root / "cells" / "translation" / "copy" / "k8" / "s9.failed.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"s9\.failed\.json: damaged"):
        leaderboard([root])
    result = CliRunner().invoke(main, ["leaderboard", str(root)])
    assert (result.exit_code, len(result.output.strip().splitlines())) == (2, 1)


def test_a_file_that_is_missing_is_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x\.json: no such file$"):
        read_json(tmp_path / "x.json")
    with pytest.raises(UserError, match="cannot be read"):
        read_json(tmp_path)
    (tmp_path / "y.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        read_json(tmp_path / "y.json")
