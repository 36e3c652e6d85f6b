"""The report: agreement with the leaderboard, sacrebleu's own scores, texts, folders, figures."""

import os
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
from scipy import stats

from bench.across import THRESHOLDS, aggregate
from bench.cli import main
from bench.errors import UserError
from bench.records import read_cell, read_json, write_json
from bench.report import build, folder
from bench.report.blocks import Block, families, read_blocks
from bench.report.figures import Curve, Point, cost_figure, curve_figure
from bench.report.over import over_suites
from bench.report.plots import cost_plot, loss_plot, profile_plot, score_plot, shots_plot
from bench.report.site import visible
from bench.report.tables import over_table
from bench.tables import entries, leaderboard
from tests.report_runs import changed_records, floor_run, learner
from tests.runs import write_run
from tests.test_cli import command


class Content(HTMLParser):
    """Elements with their attributes, texts, and ids of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def content(path: Path) -> Content:
    return Content(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = floor_run(
        tmp_path_factory.mktemp("runs") / "run", shots=[4, 8], episodes=4, seeds=[0, 1]
    )
    learner(root, "learner", "nearest", [4.0, 2.0, 1.0])
    return root


@pytest.fixture(scope="module")
def blocks(run: Path) -> list[Block]:
    return read_blocks([run])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("small") / "run"
    return floor_run(root, baselines=["copy"], episodes=1, queries=1)


@pytest.fixture(scope="module")
def site(run: Path) -> Path:
    out = run.parent / "site"
    assert build([run], out) == len(list(out.rglob("*.html")))
    return out


def test_every_number_of_the_leaderboard_stands_in_the_index(
    run: Path, site: Path, blocks: list[Block]
) -> None:
    shown = content(site / "index.html").texts
    for line in command("leaderboard", str(run)).output.splitlines():
        if line.startswith("| ") and "chrF" not in line:
            _, *cells = (cell.strip().strip("*") for cell in line.strip("|").split("|"))
            assert all(cell in shown for cell in cells if cell), line
    table = leaderboard([run])
    assert [block.number for block in blocks] == [int(b) for b in table["block"].unique()]
    assert [line.values["chrf"] for b in blocks for line in b.lines] == table["chrf"].tolist()


def test_each_link_leads_somewhere_and_nothing_is_asked_from_outside(site: Path) -> None:
    reached = set()
    for path in site.rglob("*.html"):
        page = content(path)
        ids = [a["id"] for _, a in page.elements if a.get("id")]
        assert max(Counter(ids).values()) == 1, path
        for tag, attributes in page.elements:
            for name in ("href", "src"):
                target = attributes.get(name)
                if not target or target == "data:," or tag in ("use",):
                    continue
                file, _, anchor = target.partition("#")
                there = (path.parent / file).resolve() if file else path.resolve()
                assert there.is_relative_to(site.resolve())
                assert there.is_file(), (path, target)
                reached.add(there)
                if anchor and there.suffix == ".html":
                    assert any(a.get("id") == anchor for _, a in content(there).elements)
        for attributes in page.of("use"):
            assert str(attributes["xlink:href"])[1:] in ids
        assert re.findall(r"url\((?!#)", path.read_text()) == []
    assert {p.resolve() for p in site.rglob("*.*") if p.name[0] != "."} == reached


def test_scores_of_tasks_and_episodes_are_sacrebleus_own(run: Path, blocks: list[Block]) -> None:
    """Predictions and references from the episodes themselves, scored as one corpus a seed."""
    from bench.cells import cell_episodes
    from bench.context import Context
    from bench.plan import Plan
    from bench.records import Cell

    block = next(b for b in blocks if b.shots == 8)
    line = next(line for line in block.lines if line.label == "nearest")
    found: dict[str, list[float]] = {}
    context = Context(Plan.model_validate(read_json(run / "run.json")["plan"]), run)
    for seed in (0, 1):
        cell = Cell("translation", "nearest", 8, None, seed)
        records = read_cell(cell.path(run))[1]
        corpora: dict[str, tuple[list[str], list[str]]] = {}
        for episode, record in zip(cell_episodes(context, cell), records, strict=True):
            texts = [query.target for query in episode.query]
            own = sacrebleu.corpus_chrf(record["predictions"], [texts]).score
            assert line.score(record) == pytest.approx(own)
            for score, said, meant in zip(
                line.query_scores(record), record["predictions"], texts, strict=True
            ):
                assert score == pytest.approx(sacrebleu.sentence_chrf(said, [meant]).score)
            corpus = corpora.setdefault(episode.task, ([], []))
            corpus[0].extend(record["predictions"])
            corpus[1].extend(texts)
        for task, (said_all, meant_all) in corpora.items():
            found.setdefault(task, []).append(sacrebleu.corpus_chrf(said_all, [meant_all]).score)
    expected = {task: sum(scores) / len(scores) for task, scores in found.items()}
    assert line.task_scores == pytest.approx(expected)


def test_an_episode_shows_its_texts_and_every_output(
    run: Path, site: Path, blocks: list[Block]
) -> None:
    from bench.cells import cell_episodes
    from bench.context import Context
    from bench.plan import Plan
    from bench.records import Cell

    context = Context(Plan.model_validate(read_json(run / "run.json")["plan"]), run)
    cell = Cell("translation", "nearest", 8, None, 1)
    block = next(b for b in blocks if b.shots == 8)
    for episode in cell_episodes(context, cell):
        page = site / block.folder / "episodes" / f"s1-{episode.index}.html"
        shown = content(page).texts
        assert episode.digest in shown
        for example in (*episode.support, *episode.query):
            assert example.input in shown
            assert example.target in shown
        for baseline in ("copy", "nearest", "learner"):
            path = Cell("translation", baseline, 8, None, 1).path(run)
            assert set(read_cell(path)[1][episode.index]["predictions"]) <= set(shown)


def test_changed_data_and_lost_data_are_told_on_the_page(tmp_path: Path) -> None:
    root, told = floor_run(tmp_path / "run"), list[str]()
    changed_records(root, lambda record: {**record, "digest": "0" * 64})
    build([root], tmp_path / "site", say=told.append)
    page = (tmp_path / "site" / "1-translation-k8" / "episodes" / "s0-0.html").read_text()
    assert "The texts of support and queries are not shown: drawn again, the data give" in page
    assert read_cell(next(root.rglob("s0.jsonl")))[1][0]["query_ids"][0] in page
    assert len(told) == 1
    run = read_json(root / "run.json")
    for plan, why in (
        ({**run["plan"], "data": str(tmp_path / "gone.jsonl")}, "gone.jsonl"),
        ({**run["plan"], "seeds": [0], "suites": ["nonesuch"]}, "no plan of these runs names"),
        ({**run["plan"], "of_a_later_version": 1}, "of_a_later_version"),
    ):
        write_json(root / "run.json", {"plan": plan})
        build([root], tmp_path / "site")
        page = (tmp_path / "site" / "1-translation-k8" / "episodes" / "s0-2.html").read_text()
        assert "The texts of support and queries are not shown" in page
        assert why in page


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script></title></style><svg onload=alert(1)>",
    "javascript:alert(1)",
    "{{ 7 * 7 }} {% raw %} ]]> <!-- ",
    "\u202eevil\u202c \x00\x1b\x7f\ufeff",
]


def test_no_text_of_the_data_becomes_an_element(tmp_path: Path) -> None:
    def elements(name: str, change: Any) -> list[Counter[tuple[str, frozenset[str]]]]:
        root = floor_run(tmp_path / name, episodes=2)
        changed_records(root, change, options={}, changed={})
        build([root], tmp_path / f"{name}-site")
        pages = sorted((tmp_path / f"{name}-site").rglob("*.html"))
        return [Counter((tag, frozenset(a)) for tag, a in content(page).elements) for page in pages]

    def hostile(record: dict[str, Any]) -> dict[str, Any]:
        ids = [f"{HOSTILE[1]}{i}" for i, _ in enumerate(record["query_ids"])]
        return {
            **record,
            "task": HOSTILE[record["index"]],
            "predictions": [HOSTILE[5] + HOSTILE[2], HOSTILE[4]],
            "query_ids": ids,
            "support_part": HOSTILE[0],
        }

    assert elements("plain", lambda record: record) == elements("hostile", hostile)


def test_control_characters_are_made_visible() -> None:
    assert visible("a\tb\nc\x00\x1b\x7f") == "a\tb\nc␀␛␡"


def test_rows_of_one_name_are_told_apart(tmp_path: Path) -> None:
    root = floor_run(tmp_path / "a")
    other = floor_run(tmp_path / "b", baselines=["nearest"])
    changed_records(other, lambda record: record, device="abacus")
    labels = [line.label for block in read_blocks([root, other]) for line in block.lines]
    assert sorted(labels) == ["copy", "nearest (device = abacus)", "nearest (device = cpu)"]


def test_each_train_seed_is_shown(tmp_path: Path) -> None:
    root = floor_run(
        tmp_path / "run", baselines=["copy", "nearest"], episodes=1, train_seeds=[3, 4]
    )
    for seed, of in ((3, "copy"), (4, "nearest")):
        learner(root, "trained", of, [2.0, 1.0], train_seed=seed)
    build([root], tmp_path / "site")
    (block,) = read_blocks([root])
    line = next(line for line in block.lines if line.label == "trained")
    scores = [line.score(record) for _, record in line.records[0, 0]]
    folder = tmp_path / "site" / block.folder
    shown = content(folder / "task-0.html").texts
    assert scores[0] != scores[1]
    place = shown.index(f"{scores[0]:.1f} · {scores[1]:.1f}")
    assert place > 0
    assert next(iter(line.task_scores.values())) == pytest.approx(sum(scores) / 2)
    page = content(folder / "episodes" / "s0-0.html")
    seeds = [a["data-value"] for a in page.of("td") if a.get("data-value") in ("3", "4")]
    assert seeds.count("3") == seeds.count("4") == 3  # of the episode and of two queries


def test_slim_records_lead_to_scores_and_questions(tmp_path: Path) -> None:
    """Beside whole ones, whose outputs are shown."""
    whole = floor_run(tmp_path / "whole", baselines=["copy"])
    other = floor_run(tmp_path / "other", baselines=["nearest"])
    record = read_cell(next(other.rglob("s0.jsonl")))[1][0]
    done = command("export", str(other), "--to", "records", "--out", str(tmp_path / "slim"))
    assert done.exit_code == 0, done.output
    build([whole, tmp_path / "slim"], tmp_path / "site")
    (block,) = read_blocks([whole, other])
    line = next(line for line in block.lines if line.label == "nearest")
    page = content(tmp_path / "site" / block.folder / "episodes" / "s0-0.html")
    assert f"{line.score(record):.1f}" in page.texts
    assert page.texts.count("copy") == 3  # scores and two queries
    assert page.texts.count("nearest") == 2  # scores and the notice
    assert any("These records are slim" in text for text in page.texts)
    assert sum(a.get("class") == "asked" for a in page.of("dl")) == 2
    assert sum(a.get("class") == "texts sortable" for a in page.of("table")) == 2


def test_nothing_of_the_machine_is_told(tmp_path: Path) -> None:
    root = floor_run(tmp_path / "run", episodes=1, queries=1)
    run = read_json(root / "run.json")
    run["plan"]["data"] = str(tmp_path / "gone.jsonl")
    write_json(root / "run.json", run)
    build([root], tmp_path / "site")
    for path in (tmp_path / "site").rglob("*.html"):
        assert str(tmp_path) not in path.read_text(), path
    assert "gone.jsonl" in (tmp_path / "site" / "index.html").read_text()


def test_a_block_without_a_finished_cell_is_shown(tmp_path: Path) -> None:
    from bench.records import Cell, write_failure

    root = floor_run(tmp_path / "run", baselines=["nearest"])
    told, _ = read_cell(next(root.rglob("*.jsonl")))
    for path in root.rglob("*.jsonl"):
        path.unlink()
    cell = Cell("translation", "nearest", 8, None, 0)
    write_failure(root, cell, told, "the loss is <nan>")
    build([root], tmp_path / "site")
    page = (tmp_path / "site" / "index.html").read_text()
    assert "the loss is &lt;nan&gt;" in page
    assert "No row of this block is scored" in page


# -- figures -------------------------------------------------------------------------------


def test_a_figure_is_the_same_bytes_every_time() -> None:
    points = [
        Point(0, None, (1.0, 2.0, 3.0), on_front=True),
        Point(1, (5.0, 9.0, 11.0), (30.0, 40.0, 50.0), on_front=True),
        Point(10, (90.0, 900.0, 1100.0), (70.0, 80.0, 90.0), on_front=True),
    ]
    first, again = cost_figure(points, "salt"), cost_figure(points, "salt")
    assert first == again
    assert "var(--series-1)" in first.body
    assert "currentColor" in first.body
    assert not re.search(r"#fe00|#fd00|<style|<metadata|date", first.body)
    curve = Curve(3, [0, 1, 2], [4.0, 2.0, 1.0], [3.0, 1.5, 0.5], [5.0, 3.0, 2.0])
    assert curve_figure([curve], "s", "x", "y") == curve_figure([curve], "s", "x", "y")


@pytest.mark.parametrize("cost", [(0.0, 0.0, 0.0), (0.0, 5.0, 9.0), (1e-3, 1.0, 1e6)])
def test_any_cost_can_be_drawn(cost: tuple[float, float, float]) -> None:
    for end in (0.0, float("inf")):  # of a metric without limits, on a single episode
        points = [Point(2, cost, (-end, 0.0, end), on_front=True)]
        assert "var(--series-2)" in cost_figure(points, "s").body


def test_quality_after_steps_is_that_of_the_statistics(tmp_path: Path) -> None:
    """After step 0 as `copy`, after step 1 and the last as `nearest`."""
    root = floor_run(tmp_path)
    copied = read_cell(next(root.rglob("copy/*/s0.jsonl")))[1]

    def after(record: dict[str, Any]) -> dict[str, Any]:
        return {"0": copied[record["index"]]["statistics"], "1": record["statistics"]}

    (block,) = read_blocks([root])
    assert "--score-steps" in score_plot(block).note
    learner(root, "learner", "nearest", [4.0, 2.0, 1.0], after)
    (block,) = read_blocks([root])
    plot, told = score_plot(block), {line.label: line.values for line in block.lines}
    assert plot.picture
    assert plot.head == ["baseline", "step 0", "step 1", "step 2"]
    shown = [
        f"{told[name]['chrf']:.1f} [{told[name]['chrf_low']:.1f}, {told[name]['chrf_high']:.1f}]"
        for name in ("copy", "nearest", "nearest")
    ]
    assert plot.rows == [["learner", *shown]]


def test_plots_hold_the_numbers_of_the_records(blocks: list[Block]) -> None:
    block = next(block for block in blocks if block.shots == 8)
    costs = {row[0]: row[1:] for row in cost_plot(block).rows}
    line = next(line for line in block.lines if line.label == "learner")
    low, middle, high = (line.values[f"chrf{end}"] for end in ("_low", "", "_high"))
    assert costs["learner"][0] == "60.0 [60.0, 60.0]"
    assert costs["learner"][1] == f"{middle:.1f} [{low:.1f}, {high:.1f}]"
    assert costs["nearest"][0] == "none"
    assert costs["nearest"][2] == "yes"
    loss = loss_plot(block)
    assert loss.head == ["baseline", "step 0", "step 1", "step 2"]
    assert loss.rows == [["learner", "4 [4, 4]", "2 [2, 2]", "1 [1, 1]"]]
    (family,) = families(
        [Block(b.number, b.frame, b.lines[:: 1 - 2 * (b.shots > 4)]) for b in blocks]
    )
    shots = shots_plot(family)
    assert shots.head == ["baseline", "K = 4", "K = 8"]
    assert next(row for row in shots.rows if row[0] == "learner")[2] == costs["learner"][1]
    assert "one number of shots was run, K = 8" in shots_plot([block]).note
    assert shots_plot([block, block]).picture is None


# -- over suites ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def suites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two suites with different metrics; one of them lacks `learner`."""
    root = tmp_path_factory.mktemp("suites") / "run"
    floor_run(root, suites=["dialogue", "translation"], episodes=4, seeds=[0, 1])
    learner(root, "tuned", "nearest", [2.0, 1.0])
    learner(root, "learner", "nearest", [2.0, 1.0])
    for path in (root / "cells" / "dialogue" / "learner").rglob("*.jsonl"):
        path.unlink()
    return root


@pytest.mark.parametrize(("episodes", "ends"), [(12, (12, 19)), (4, (10, 13))])
def test_the_cost_of_a_row_has_the_interval_of_a_median(
    episodes: int, ends: tuple[int, int], tmp_path: Path
) -> None:
    """Episodes take 10, 11, 12 ... ms. Of twelve the third and the third last hold the median with
    96.1 %, by the binomial distribution; no two of four do so with 95 %."""
    held = [stats.binom.cdf(12 - k, 12, 0.5) - stats.binom.cdf(k - 1, 12, 0.5) for k in (3, 4)]
    assert held[0] > 0.95 > held[1]
    [block] = read_blocks([write_run(tmp_path, {"good": 0.9}, episodes=episodes)])
    [(_, cost, *_)] = cost_plot(block).rows
    median = 10 + (episodes - 1) / 2
    assert [float(number) for number in re.findall(r"[\d.]+", cost)] == [median, *ends]


def test_suites_stand_side_by_side_with_what_is_over_them(suites: Path) -> None:
    blocks = read_blocks([suites])
    (over,) = over_suites(blocks)
    plot, table = profile_plot(over), over_table(over)
    assert plot.head == ["baseline", *(f"> {threshold}" for threshold in THRESHOLDS)]
    assert [row[0] for row in plot.rows] == [label for label, _ in plot.legend]
    assert sorted(row[0] for row in plot.rows) == ["copy", "nearest", "tuned"]
    assert plot.note.endswith("met different tasks: learner.")
    assert table.titles[2:] == ["dialogue (BLEU)", "translation (chrF)", "over suites (IQM)"]
    for name, *shares in plot.rows:
        lines = [line for block in blocks for line in block.lines if line.label == name]
        found = aggregate([(entries(line.row, line.metric.name), line.metric) for line in lines])
        assert shares == [
            f"{point.share:.2f} [{point.interval.low:.2f}, {point.interval.high:.2f}]"
            for point in found.profile
        ]
        tasks = [score for line in lines for score in line.task_scores.values()]
        assert float(shares[2].split()[0]) == round(sum(s > 10 for s in tasks) / len(tasks), 2)
        row = next(row for row in table.rows if row.label == name)
        low, high = found.interval.low, found.interval.high
        assert row.cells[-1].text == f"{found.iqm:.1f} [{low:.1f}, {high:.1f}]"
        assert row.cells[-1].value == repr(found.iqm)
        assert [cell.value for cell in row.cells[2:4]] == [
            repr(line.values[line.metric.name]) for line in lines
        ]
    lacking = next(row for row in table.rows if row.label == "learner")
    assert [cell.value for cell in lacking.cells[2::2]] == ["", ""]


def test_cells_over_suites_lead_to_their_tasks(suites: Path, tmp_path: Path) -> None:
    build([suites], tmp_path / "site")
    page = (tmp_path / "site" / "index.html").read_text()
    (section,) = re.findall(r'<section id="over-\d".*?</section>', page, flags=re.S)
    for block in read_blocks([suites]):
        for line in block.lines:
            score = f"{line.values[block.metric]:.1f} ["
            target = f'href="{block.folder}/index.html#line-{line.number}"'
            assert f"<a {target}>{score}" in section
    bold = re.findall(r'class="number leads"[^>]*><a[^>]*>([^<]*)', section)
    assert len(bold) >= 2
    assert all(text.endswith("a") for text in bold)
    assert section.count("<svg") == 1
    done = command("leaderboard", str(suites), "--pivot", "suite")
    texts = Content(section).texts
    for row in (line for line in done.output.splitlines() if line.startswith("| ")):
        assert all(cell.strip(" *") in texts for cell in row.strip("|").split("|")), row


def test_aggregates_are_computed_once(
    suites: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def counted(measured: Any) -> Any:
        calls.append(measured)
        return aggregate(measured)

    monkeypatch.setattr("bench.across.aggregate", counted)
    build([suites], tmp_path / "site")
    assert len(calls) == 3  # copy, nearest and tuned


def test_one_suite_has_no_section_over_suites(site: Path, blocks: list[Block]) -> None:
    assert over_suites(blocks) == []
    assert "Over suites" not in (site / "index.html").read_text()


def test_suites_without_a_complete_row_have_no_profile(tmp_path: Path) -> None:
    root = floor_run(tmp_path, suites=["translation", "writing"])
    for path in (root / "cells" / "translation" / "copy", root / "cells" / "writing" / "nearest"):
        for cell in path.rglob("*.jsonl"):
            cell.unlink()
    (over,) = over_suites(read_blocks([root]))
    plot = profile_plot(over)
    assert plot.picture is None
    assert plot.note.startswith("Not shown: every baseline lacks cells of a suite")
    assert over_table(over).titles[2:] == ["translation (chrF)", "writing (form)"]


def test_tables_over_suites_are_told_apart(tmp_path: Path) -> None:
    roots = [tmp_path / name for name in ("a", "b")]
    for root, baseline in zip(roots, ("copy", "nearest"), strict=True):
        floor_run(root, suites=["translation", "writing"], baselines=[baseline], shots=[4, 8])
    learner(roots[0], "learner", "copy", [2.0, 1.0])
    assert [over.title for over in over_suites(read_blocks(roots))] == [
        "Over suites, K = 4",
        "Over suites, K = 8",
    ]
    learner(roots[1], "learner", "nearest", [2.0, 1.0], backbone="big", backbone_identity="gpt2-2")
    titles = [over.title for over in over_suites(read_blocks(roots))]
    assert sorted(titles) == [
        f"Over suites, K = {shots}, backbone = {name}"
        for shots in (4, 8)
        for name in ("big", "tiny")
    ]


def test_a_known_span_is_the_axis() -> None:
    """Shares that never reach 0 stay on a linear axis."""
    curve = Curve(0, [0, 50, 100], [1.0, 0.5, 0.05], [1.0, 0.4, 0.01], [1.0, 0.6, 0.1])
    free = curve_figure([curve], "s", "x", "y").body
    fixed = curve_figure([curve], "s", "x", "y", span=(0, 1)).body
    assert "0.6" in fixed
    assert "0.6" not in re.findall(r">([^<>]+)</text>", free)


# -- folder --------------------------------------------------------------------------------


def test_only_a_report_is_replaced(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    out.mkdir()
    build([small], out)
    first = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    build([small], out)
    assert first == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (out / "CNAME").write_text("mine")
    with pytest.raises(UserError, match="holds 'CNAME', which no report wrote"):
        build([small], out)
    assert (out / "CNAME").read_text() == "mine"
    with pytest.raises(UserError, match="which no report wrote"):
        build([small], small)
    with pytest.raises(UserError, match="is not a folder"):
        build([small], small / "run.json")
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_an_interrupted_build_leaves_the_older_report(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "site"
    build([small], out)
    before = (out / "index.html").read_bytes()

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.report.site.Site._episodes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build([small], out)
    assert (out / "index.html").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_what_killed_and_refused_builds_left_is_swept(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, out = 2**22 + 1, tmp_path / "site"  # above any process number
    (tmp_path / f".site.{gone}.part").mkdir()
    build([small], out)
    assert [path.name for path in tmp_path.iterdir()] == ["site"]

    def refused(self: Path, target: Path) -> Any:
        raise OSError(28, "No space left on device")

    before = (out / "index.html").read_bytes()
    with monkeypatch.context() as patch:
        rename = Path.rename
        patch.setattr(Path, "rename", lambda s, t: (refused if ".part" in s.name else rename)(s, t))
        with pytest.raises(UserError, match="No space left"):
            build([small], out)
    assert (out / "index.html").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    out.rename(tmp_path / f".site.{gone}.old")  # killed between two renames
    folder._sweep(out)
    assert (out / "index.html").is_file()
    other = tmp_path / f".site.{os.getppid()}.part"  # of a build that still goes on
    other.mkdir()
    folder._sweep(out)
    assert other.is_dir()


def test_mistakes_are_told_in_one_line(small: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "site")
    for words, told in (
        (["report", str(small), "--out", out, "--metric", "chrff"], "did you mean chrf"),
        (["report", str(tmp_path), "--out", out], "not a run directory"),
        (["report", str(small), "--out", str(small)], "which no report wrote"),
        (["report", str(small), "--out", "/"], "which no report wrote"),
    ):
        result = command(*words)
        assert result.exit_code == 2
        assert told in result.output
        assert len(result.output.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
    done = command("report", str(small), "--out", out, "--metric", "bleu")
    assert done.exit_code == 0
    assert "BLEU to best" in (tmp_path / "site" / "index.html").read_text()
    assert main.commands["report"].help
