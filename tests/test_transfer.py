"""Training on other suites than those measured, and the study that makes a matrix of it."""

from collections import Counter
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from safetensors.torch import load_file
from scipy.stats import binom

from bench.artefacts import initialisation_folder, make_initialisation, pretrained_folder
from bench.blocks import blocks
from bench.cells import shared_header
from bench.cli import main
from bench.code_state import own_digest
from bench.context import Context
from bench.errors import UserError
from bench.exports.runs import read_cells
from bench.facts import describe
from bench.jobs import grid, jobs_for
from bench.overlap import Overlap, training_examples
from bench.plan import make_plan
from bench.records import Cell
from bench.registry import load_suite, version
from bench.shown import FLAG
from bench.statistics import Interval, difference, estimate, holm
from bench.streams import Stream, digest_of
from bench.studies.transfer import Transfer, text_overlaps
from bench.studies.transfer_answer import _overlap_notes, answer
from bench.studies.transfer_cells import GIVEN, Cells, Difference
from bench.studies.transfer_picture import draw
from bench.studies.transfer_told import APART, LEAK, VERDICTS, Told, _figures
from bench.tables import entries, leaderboard, metrics, read_rows
from bench.tasks import Example, Task
from bench.training import Training, draw_training_task
from bench.union import Union
from tests.runs import header, write_run
from tests.test_cli import command

SMALL: dict[str, Any] = {
    "baselines": ["fomaml"],
    "options": {"fomaml": {"inner_steps": 1, "train_queries": 2, "tasks_per_step": 1}},
    "train_budget": 600,
    "shots": [2],
}


def context_of(root: Path, **more: Any) -> Context:
    return Context(make_plan({**SMALL, **more}), root)


# -- the plan key ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"train_suites": ["dialog"]}, "dialogue"),
        ({"pretrain": {"suites": ["writting"]}}, "writing"),
        ({"train_suites": ["writing", "writing"]}, "named twice"),
        ({"pretrain": {"suites": ["writing", "writing"]}}, "named twice"),
        (
            {"suites": ["writing"], "data": "x.jsonl", "train_suites": ["writing"]},
            "data brings the tasks that are trained on",
        ),
        (
            {"suites": ["writing"], "data": "x.jsonl", "pretrain": {"suites": ["writing"]}},
            "data brings the tasks that are trained on",
        ),
    ],
)
def test_a_wrong_source_is_one_line(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        make_plan(values)


def test_sources_on_the_command_line() -> None:
    done = CliRunner().invoke(main, ["run", "--suite", "writing", "--train-suite", "dialoge"])
    assert done.exit_code == 2
    assert "dialogue" in done.output


def test_pretraining_reads_what_is_trained_on_unless_it_names_suites() -> None:
    def read(**values: Any) -> list[str]:
        return make_plan({"suites": ["writing"], **values}).pretrain_suites

    assert read(pretrain={}) == ["writing"]
    assert read(pretrain={}, train_suites=["dialogue"]) == ["dialogue"]
    assert read(pretrain={"suites": ["translation"]}, train_suites=["dialogue"]) == ["translation"]


def test_dials_turn_the_suites_that_are_trained_on(tmp_path: Path) -> None:
    name, dial = next(iter(load_suite("dialogue").dials.items()))
    level = next(level for level in dial.levels if level != dial.default)
    more = {"suites": ["writing"], "dials": {"dialogue": {name: level}}}
    turned = context_of(tmp_path, **more, train_suites=["dialogue"])
    plain = context_of(tmp_path, suites=["writing"], train_suites=["dialogue"])
    assert turned.dataset("dialogue").revision != plain.dataset("dialogue").revision
    with pytest.raises(UserError, match="'dialogue', which is not among the suites"):
        make_plan(more)


# -- several suites as one data set ----------------------------------------------------------


class Few:
    """Tasks whose examples name them."""

    name, revision = "few", "1"

    def __init__(self, count: int) -> None:
        self.count = count

    def names(self, split: str) -> list[str]:
        return [f"{split}-{i}" for i in range(self.count)]

    def task(self, name: str) -> Task:
        made = [Example(f"{self.count} {name}", ("t",), f"e{i}", f"g{i}") for i in range(4)]
        return Task(name, {"train": made, "test": made}, "en")


def test_a_union_tells_names_apart_and_takes_each_suite_alike() -> None:
    union = Union({"large": Few(30), "small": Few(2)})
    names = union.names("meta-train")
    assert len(set(names)) == 32
    assert union.task("small/meta-train-1").parts["train"][0].input == "2 meta-train-1"
    assert union.task("large/meta-train-1").name == "large/meta-train-1"
    with pytest.raises(UserError, match="large"):
        union.task("larg/meta-train-1")
    stream = Stream(0, "draws")
    drawn = [draw_training_task(stream, union, names, [2], 2)[0][0].input for _ in range(2000)]
    sides = Counter(text.split()[0] for text in drawn)
    low, high = binom.interval(0.9999, 2000, 0.5)
    assert low <= sides["2"] <= high
    assert len(set(drawn)) == 32
    kept = [name for name in names if not name.startswith("small")]
    assert {union.pick(stream, kept).split("/")[0] for _ in range(50)} == {"large"}


def test_validation_tasks_are_those_of_the_sources(tmp_path: Path) -> None:
    context = context_of(tmp_path, suites=["translation"], train_suites=["writing", "dialogue"])
    data = context.training_data(context.sources("translation"))
    training = Training(SimpleNamespace(), data, [2], 0)  # type: ignore[arg-type]
    assert Counter(name.split("/")[0] for name in training.names("meta-validation")) == {
        "writing": 48,
        "dialogue": 48,
    }


# -- artefacts and jobs ----------------------------------------------------------------------


def old_digest(context: Context, suite: str, seed: int) -> str:
    """What names an initialisation of a plan that names no sources."""
    plan, data = context.plan, context.dataset(suite)
    return digest_of(
        version(),
        [suite, context.suite(suite).version, data.name, data.revision],
        [plan.columns, plan.configs, plan.layout],
        ["fomaml", plan.options["fomaml"], plan.shots, plan.train_budget, seed],
        [context.backbone(None).identity, plan.dtype],
        ["cpu", 1, plan.loss_mean, plan.tasks_at_once, plan.tokens_at_once, False],
        [own_digest(), {}, {}],  # no plug-in, no file that a baseline reads
    )


def test_digests_are_what_they_were_without_the_key(tmp_path: Path) -> None:
    own = context_of(tmp_path, suites=["writing", "dialogue"])
    other = context_of(tmp_path, suites=["translation", "dialogue"], train_suites=["writing"])
    both = context_of(tmp_path, train_suites=["writing", "dialogue"])

    def folder(context: Context, suite: str) -> str:
        return initialisation_folder(context, context.sources(suite), "fomaml", 3).name

    assert folder(own, "writing") == f"fomaml-{old_digest(own, 'writing', 3)[:16]}"
    assert folder(other, "translation") == folder(other, "dialogue") == folder(own, "writing")
    assert len({folder(own, "dialogue"), folder(own, "writing"), folder(both, "writing")}) == 3
    pre = context_of(tmp_path, suites=["writing"], pretrain={"tokens": 50})
    sources = [["writing", "embedded", pre.dataset("writing").revision]]
    from bench.recipe import read_recipe

    recipe = read_recipe("tiny").model_dump()
    key = digest_of(version(), recipe, {"tokens": 50}, sources, {}, 2, [own_digest(), {}, {}])
    assert pretrained_folder(pre, 2).name == f"backbone-{key[:16]}"


def test_one_training_serves_all_measured_suites(tmp_path: Path) -> None:
    more = {"suites": ["dialogue", "writing", "translation"], "train_seeds": [0, 1]}

    def trainings(context: Context) -> list[Any]:
        jobs = jobs_for(context, grid(context))
        cells = [job for job in jobs if job.message["kind"] == "cell"]
        assert len(cells) == 6
        assert all(job.after for job in cells)
        return [job.key[1] for job in jobs if job.message["kind"] == "train"]

    assert len(trainings(context_of(tmp_path, **more))) == 6
    sources = ("summarization",)
    assert sorted(trainings(context_of(tmp_path, **more, train_suites=list(sources)))) == [
        ("train", sources, "fomaml", 0),
        ("train", sources, "fomaml", 1),
    ]


def test_runs_that_pretrain_alike_share_the_job(tmp_path: Path) -> None:
    pretrain = {"tokens": 50, "suites": ["writing", "dialogue"]}
    keys = []
    for suite, store in (("writing", "s"), ("dialogue", "s"), ("dialogue", "other")):
        plan = make_plan({**SMALL, "suites": [suite], "pretrain": pretrain})
        context = Context(plan, tmp_path / suite, tmp_path / store)
        jobs = jobs_for(context, grid(context))
        (job,) = (job for job in jobs if job.message["kind"] == "pretrain")
        assert len(jobs) == 3
        assert all(job.key in other.after for other in jobs if other is not job)
        keys.append(job.key)
    assert keys[0] == keys[1] != keys[2]


def test_levels_of_one_meta_train_share_a_backbone(tmp_path: Path) -> None:
    def folder(**dials: int) -> str:
        given = {"dials": {"writing": dials}} if dials else {}
        more = {"suites": ["writing"], "pretrain": {"tokens": 50}, **given}
        return pretrained_folder(context_of(tmp_path, **more), 0).name

    assert folder(distance=1) == folder(distance=2) == folder(distance=4)
    assert len({folder(), folder(distance=1), folder(rules=3), folder(rules=6)}) == 4


def test_a_training_is_the_same_whatever_is_measured(tmp_path: Path) -> None:
    made = []
    for name, more in (
        ("own", {"suites": ["writing"]}),
        ("elsewhere", {"suites": ["dialogue"], "train_suites": ["writing"]}),
        ("all", {"suites": ["dialogue"], "train_suites": ["writing", "dialogue"]}),
    ):
        context = context_of(tmp_path / name, **more)
        sources = context.sources(context.plan.suites[0])
        make_initialisation(context, sources, "fomaml", 0, lambda fraction: None)
        folder = initialisation_folder(context, sources, "fomaml", 0)
        made.append(load_file(folder / "initialisation.safetensors"))
    own, elsewhere, both = made
    assert all((own[name] == value).all() for name, value in elsewhere.items())
    assert any((own[name] != value).any() for name, value in both.items())


# -- what a run tells ------------------------------------------------------------------------


def told(root: Path, baseline: str = "fomaml", **more: Any) -> dict[str, Any]:
    options = SMALL["options"] if baseline == "fomaml" else {}
    context = context_of(root, suites=["writing"], baselines=[baseline], options=options, **more)
    return shared_header(context, Cell("writing", baseline, 2, 0, 0))


def test_a_header_tells_the_sources_only_where_they_matter(tmp_path: Path) -> None:
    sources = ["dialogue", "writing"]
    made = told(tmp_path, train_suites=sources)
    assert made["settings"]["train_suites"] == sources
    assert made["changed"]["trained on"] == "dialogue + writing"
    assert "train_suites" not in told(tmp_path)["settings"]
    assert "trained on" not in told(tmp_path)["changed"]
    for baseline in ("copy", "fine-tuned"):
        assert "train_suites" not in told(tmp_path, baseline, train_suites=sources)["settings"]
    anew = told(tmp_path, "fine-tuned", train_suites=sources, pretrain={"tokens": 50})
    assert anew["settings"]["train_suites"] == sources
    assert anew["settings"]["pretrain"] == {"tokens": 50}
    named = {"tokens": 50, "suites": ["translation"]}
    anew = told(tmp_path, "fine-tuned", train_suites=sources, pretrain=named)
    assert "train_suites" not in anew["settings"]
    assert anew["settings"]["pretrain"] == named


def test_run_json_tells_what_was_trained_on(tmp_path: Path) -> None:
    facts = describe(context_of(tmp_path, suites=["writing"], train_suites=["dialogue"]))["facts"]
    assert list(facts["train_suites"]) == ["dialogue"]
    assert facts["train_suites"]["dialogue"]["revision"] == "1"
    assert "train_suites" not in describe(context_of(tmp_path, suites=["writing"]))["facts"]


def test_contexts_of_other_suites_share_what_is_loaded(tmp_path: Path) -> None:
    one = context_of(tmp_path, suites=["writing"])
    other = one.next(make_plan({**SMALL, "suites": ["dialogue"]}), tmp_path / "b")
    assert other.backbone(None) is one.backbone(None)
    anew = one.next(make_plan({**SMALL, "pretrain": {"tokens": 5}}), tmp_path / "c")
    assert anew._loaded is not one._loaded
    assert anew.dataset("writing") is one.dataset("writing")
    assert one.next(make_plan({**SMALL, "shots": [3]}), tmp_path).tasks is not one.tasks


# -- the study -------------------------------------------------------------------------------

THREE = ["dialogue", "summarization", "writing"]


def values(**more: Any) -> dict[str, Any]:
    return {**Transfer().size("smoke"), "suites": THREE, **more}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"suites": ["writing"]}, "two suites are needed, not writing"),
        ({"train_suites": ["writing"]}, "it decides train_suites itself"),
        ({"data": "x.jsonl"}, "it decides data itself"),
        ({"shots": [1, 2]}, "one number of shots"),
        ({"baselines": ["fine-tuned"]}, "'fine-tuned' takes nothing from training tasks"),
        ({"baselines": ["fomamll"]}, "fomaml"),
        ({"options": {"maml": {}}}, "baseline of the study"),
    ],
)
def test_a_study_that_cannot_be_made_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Transfer().plans(values(**more))


@pytest.mark.parametrize("size", ["smoke", "full"])
def test_the_plans_hold_every_pair_once(size: str) -> None:
    study = Transfer()
    made = {name: make_plan(given) for name, given in study.plans(study.size(size)).items()}
    floor = study.analysis["floor"]
    suites = made["floor"].suites
    measured = Counter(
        (m, tuple(p.train_suites) if m != floor else (), bool(p.pretrain), s, *p.pretrain_suites)
        if p.pretrain
        else (m, tuple(p.train_suites), False, s)
        for p in made.values()
        for m in p.baselines
        for s in p.suites
    )
    assert set(measured.values()) == {1}
    method = made["from-all"].baselines[0]
    for source in suites:
        for target in suites:
            assert (method, (source,), False, target) in measured
    for target in suites:
        others = tuple(suite for suite in suites if suite != target)
        assert (method, others, False, target) in measured
        assert (method, others, True, target, *others) in measured
        assert (method, others, True, target, *suites) in measured
        assert (floor, (), True, target, *others) in measured
    assert {p.pretrain.tokens for p in made.values() if p.pretrain} == {
        study.size(size)["pretrain"]["tokens"]
    }


# Shares of words that are kept: the matrix of a method `m` whose floor keeps 0.5.
KEPT = {
    ("dialogue",): {"dialogue": 0.9, "summarization": 0.1, "writing": 0.5},
    ("summarization",): {"dialogue": 0.1, "summarization": 0.9, "writing": 0.95},
    ("writing",): {"dialogue": 0.9, "summarization": 0.1, "writing": 0.8},
    tuple(THREE): dict.fromkeys(THREE, 0.97),
}
FLOOR = "fine-tuned"
TRAINED = (0, 1, 2, 3)


def settings(**more: Any) -> dict[str, Any]:
    return {"settings": {**header()["settings"], **more}}


def made_up(root: Path) -> list[Path]:
    """Runs with known answers; the text left out costs much on writing and nothing elsewhere."""
    runs = [write_run(root / "floor", {FLOOR: 0.5}, THREE)]
    for source, columns in KEPT.items():
        where = root / "-".join(source)
        for target, share in columns.items():
            write_run(
                where,
                {"m": share},
                [target],
                train_seeds=TRAINED,
                **settings(train_suites=[*source]),
            )
        runs.append(where)
    for target in THREE:
        others = [suite for suite in THREE if suite != target]
        given = settings(train_suites=others)
        runs.append(
            write_run(root / f"but-{target}", {"m": 0.5}, [target], train_seeds=TRAINED, **given)
        )
        for kind, anew in (("with", {"tokens": 9, "suites": THREE}), ("without", {"tokens": 9})):
            where, left_out = root / f"{kind}-{target}", kind == "without"
            share = 0.3 if left_out and target == "writing" else 0.7
            more = settings(pretrain=anew, train_suites=others)
            of_floor = more if left_out else settings(pretrain=anew)
            write_run(where, {"m": share}, [target], train_seeds=TRAINED, **more)
            write_run(where, {FLOOR: share}, [target], train_seeds=TRAINED, **of_floor)
            runs.append(where)
    return runs


def flags(*values: int) -> Any:
    return np.array(values, dtype=bool)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Cells, Told]:
    runs = made_up(tmp_path_factory.mktemp("made-up"))
    cells = Cells(read_rows(runs), THREE, FLOOR)
    clean = Overlap(flags(*[0] * 100), flags(*[1], *[0] * 99))
    leak = Overlap(flags(*[1, 1], *[0] * 98), flags(*[0] * 100))
    overlaps = {(a, b): leak if a == b == "dialogue" else clean for a in THREE for b in THREE}
    return runs, cells, Told(cells.made(overlaps), THREE, 0.01)


def test_gains_losses_and_leaks_of_known_answers(found: Any) -> None:
    _, _, told = found
    lines = told.lines("m")
    signs = {name: [c.over_floor.sign for c in cells] for name, cells in lines.items()}
    assert signs == {
        "dialogue": [1, -1, 0],
        "summarization": [-1, 1, 1],
        "writing": [1, -1, 1],
        "all": [1, 1, 1],
        "all others": [0, 0, 0],
    }
    leaks = {name: [told.leaks(c) for c in cells] for name, cells in lines.items()}
    assert leaks["dialogue"] == leaks["all"] == [True, False, False]
    assert not any(leaks["all others"] + leaks["writing"])
    costs = {name: [c.minus_text.sign for c in line] for name, line in told.without_text().items()}
    assert costs == {FLOOR: [0, 0, -1], "m": [0, 0, -1]}


def test_shared_targets_mark_a_cell_too(found: Any) -> None:
    _, cells, _ = found
    clean = Overlap(flags(*[0] * 100), flags(*[0] * 100))
    targets = Overlap(flags(1, *[0] * 99), flags(*[1, 1], *[0] * 98))
    at_most = Overlap(flags(1, *[0] * 99), flags(*[0] * 99, 1))
    overlaps = dict.fromkeys(((a, b) for a in THREE for b in THREE), clean)
    overlaps |= {("writing", "writing"): targets, ("writing", "dialogue"): at_most}
    told = Told(cells.made(overlaps), THREE, 0.01)
    marked = {c.target: told.leaks(c) for c in told.lines("m")["writing"]}
    assert marked == {"dialogue": False, "summarization": False, "writing": True}
    lines = _overlap_notes(told, overlaps)
    assert [line for line in lines if LEAK in line] == [
        "Held-out text of writing in common with meta-train text of writing: inputs 1.00 %, "
        f"targets 2.00 %, both of one example 1.00 %; {LEAK} by targets."
    ]
    assert lines[0].endswith("both of one example 0.00 %.")
    assert LEAK != FLAG, "the sign of rows that do not use their support"


def test_the_answer_counts_them(found: Any) -> None:
    _, _, told = found
    text = answer(told)
    given = [c.over_floor.value for c in told.cells if c.start == GIVEN and c.source]
    for part in (
        f"Their differences: {min(given):+.1f} to {max(given):+.1f} points.",
        "on one other suite: 2 of 6 cells gain, 3 lose, 1 are not shown to differ",
        "on the measured suite itself: 3 of 3 cells gain, 0 lose",
        "on all suites: 3 of 3 cells gain",
        "on all but the measured one: 0 of 3 cells gain, 0 lose, 3 are not",
        "in 1 of 3 columns, shown in 1",
        "2 of 6 cells lose, 0 gain",
    ):
        assert part in text, text


def test_what_is_said_is_adjusted_for_all() -> None:
    """Of three differences at 3 % by themselves none is shown, beside a clear one that one is."""
    near = [Difference(2.0, Interval(0.1, 3.9), 0.03)] * 3
    clear = Difference(-9.0, Interval(-12.0, -6.0), 1e-6)
    assert [one.sign for one in near] == [1, 1, 1]
    for found, told in (
        (near, [0, 0, 0]),
        ([*near, clear], [0, 0, 0, -1]),
        ([near[0], clear], [1, -1]),
        ([None, near[0]], [None, 1]),
    ):
        verdicts = [figures["x_verdict"] for figures in _figures("x", found)]
        assert verdicts == ["" if sign is None else VERDICTS[sign] for sign in told]


def test_the_table_holds_what_the_statistics_say(found: Any) -> None:
    runs, _, told = found
    table = told.table()
    assert len(table) == 3 + 4 * 3 + 3 + 3 * 4
    line = table[
        (table["method"] == "m")
        & (table["trained_on"] == "writing")
        & (table["measured_on"] == "summarization")
    ].iloc[0]
    rows = [row for row in read_rows(runs) if row.header["suite"] == "summarization"]
    (floor,) = (
        r for r in rows if r.header["baseline"] == FLOOR and not r.header["settings"]["pretrain"]
    )
    (one,) = (r for r in rows if r.header["settings"].get("train_suites") == ["writing"])
    chrf = next(m for m in metrics(one) if m.name == "chrf")
    score = estimate(entries(one, "chrf"), chrf)
    gap = difference(entries(one, "chrf"), entries(floor, "chrf"), chrf)
    assert line["score"] == score.value
    bounds = score.interval().within((0, 100))
    assert (line["score_low"], line["score_high"]) == (bounds.low, bounds.high)
    assert line["minus_floor"] == pytest.approx(
        score.value - estimate(entries(floor, "chrf"), chrf).value
    )
    assert line["minus_floor_high"] == gap.interval().high < 0
    for kind, count in {"minus_floor": 21, "minus_with_text": 6, "own_lead": 6}.items():
        lines = table[table[kind].notna()]
        assert len(lines) == count
        assert lines[f"{kind}_p_holm"].tolist() == holm(lines[f"{kind}_p"].tolist())
        known = lines[f"{kind}_p_holm"] < 0.05
        assert [*(lines[f"{kind}_verdict"] != "not shown to differ")] == [*known]
        assert {*table.loc[table[kind].isna(), f"{kind}_verdict"]} == {""}
    own = table[
        (table["trained_on"] == "summarization") & (table["measured_on"] == "summarization")
    ]
    assert line["own_lead"] == pytest.approx(own["score"].iloc[0] - line["score"])
    assert line["own_lead_verdict"] == "gain"
    assert line["overlap_targets"] == 0.01
    assert table["minus_with_text"].notna().sum() == 6
    shown = told.shown()
    cell = shown[(shown["method"] == "m") & (shown["trained on"] == "dialogue")].iloc[0]
    assert cell["dialogue"].endswith(f"]{APART}{LEAK}")
    assert cell["summarization"].endswith(f"]{APART}")
    assert cell["writing"].endswith("]")


def test_the_picture_has_a_map_for_each_method_and_one_of_the_text(found: Any) -> None:
    _, _, told = found
    figure = draw(told)
    assert [axes.get_title() for axes in figure.axes] == [
        f"m minus {FLOOR}",
        "Target's text out of pre-training",
    ]
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert len(texts) == 5 * 3
    assert texts[0].endswith(f"{APART}{LEAK}")
    lines = told.lines("m")
    assert texts[1] == f"{lines['dialogue'][1].over_floor.value:+.1f}{APART}"


def test_rows_of_other_sources_are_rows_of_one_block_and_say_so(found: Any) -> None:
    runs, _, _ = found
    rows = [row for row in read_rows(runs) if row.header["suite"] == "writing"]
    assert sorted(map(len, blocks(rows))) == [2, 2, 6]
    assert set(leaderboard(runs)["block"]) == {str(n) for n in range(1, 10)}


@pytest.mark.slow
def test_embedded_text_in_common() -> None:
    """Dialogues differ from one another in a detail or two; nothing crosses from suite to suite."""
    shares = {
        pair: o.share() for pair, o in text_overlaps(["dialogue", "writing"], "meta-test").items()
    }
    own = shares.pop(("dialogue", "dialogue"))
    assert own["inputs"] > 0.5
    assert own["both"] > 0.01
    assert set(shares) == {("dialogue", "writing"), ("writing", "dialogue"), ("writing", "writing")}
    assert all(share["inputs"] == 0 for share in shares.values())


def ask(backbone: str, out: Path) -> str:
    done = command("study", "transfer", "--backbone", backbone, "--out", str(out))
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.slow
def test_the_command_leaves_its_files_and_repeats_them_without_work(
    pretrained: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The overlap of texts, which other tests measure, is taken with part of the training text."""
    monkeypatch.setattr(
        "bench.overlap.training_examples", lambda data: islice(training_examples(data), 5000)
    )
    page = ask(pretrained, tmp_path)
    files = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    assert set(files) == {f"transfer.{kind}" for kind in ("csv", "svg", "png", "md")}
    assert files["transfer.md"].decode() == page.removesuffix("\n")
    table = pd.read_csv(tmp_path / "transfer.csv")
    assert (table["score_low"] <= table["score"]).all()
    assert (table["score"] <= table["score_high"]).all()
    assert len(list((tmp_path / "backbones").iterdir())) == 3, "one with all text for both suites"
    runs = sorted((tmp_path / "runs").iterdir())
    one = [header for _, header, _ in read_cells(tmp_path / "runs" / "from-writing")]
    assert len({header["train"]["seconds"] for header in one}) == 1, "one training for both suites"
    cells = {p: p.stat().st_mtime_ns for run in runs for p in run.rglob("*.jsonl")}
    assert ask(pretrained, tmp_path) == page
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == files
    assert {p: p.stat().st_mtime_ns for p in cells} == cells
