"""Local paths stay in the run directory: tables, reports and exports show names."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from huggingface_hub import ModelCard

import bench.cells
from bench.blocks import start
from bench.cells import shared_header
from bench.cli import main
from bench.cli_results import FORMATS
from bench.context import Context
from bench.errors import CellError
from bench.exports import KINDS
from bench.exports.folder import files_in
from bench.exports.runs import read_run
from bench.merged import made_otherwise
from bench.places import places_of, without_places
from bench.plan import make_plan
from bench.records import Cell, read_json, write_json
from bench.registry import HERE, display_name
from bench.sources import Source, open_dataset
from bench.studies.page import _made
from bench.tables import Row, read_rows
from tests.runs import write_run

SECRET = "zq-secret-place"
PRIVATE = ("run.json", "plan.toml")  # what of a run directory keeps paths, beside log/

# What each command that reads run directories is asked, RUN and OUT to be filled in.
ASKED: dict[str, list[list[str]]] = {
    "leaderboard": [
        ["RUN"],
        *(["RUN", "--out", f"OUT/table.{kind}"] for kind in FORMATS),
        *(["RUN", "--pivot", by] for by in ("suite", "shots", "backbone")),
    ],
    "variance": [["RUN", "--json", "OUT/variance.json"]],
    "power": [["RUN", "--difference", "2", "--json", "OUT/power.json"]],
    "paired": [["RUN", "--json", "OUT/paired.json"]],
    "export": [["RUN", "--to", kind, "--out", f"OUT/{kind}"] for kind in KINDS],
    "report": [["RUN", "--out", "OUT/site"]],
    "compare": [
        [
            *("RUN", "RUN", "--json", "OUT/compared.json", "--junit", "OUT/compared.xml"),
            *("--markdown", "OUT/compared.md"),
        ],
        ["RUN", "RUN/../none", "--junit", "OUT/vain.xml", "--markdown", "OUT/vain.md"],
    ],
    "advise": [
        [
            *("RUN", "--suite-like", "RUN/../pairs.jsonl", "--shots", "2", "--tasks", "2"),
            *("--budget", "1h", "--json", "OUT/advice.json"),
        ]
    ],
}


def fewgen(*words: object) -> Result:
    return CliRunner().invoke(main, [*map(str, words)])


def examples(path: Path) -> Path:
    """Six tasks of eight examples."""
    rows = [
        {
            "input": f"word {task} {number}",
            "target": f"reply {task} {number}" + " so" * (number * task % 5),
            "task": f"task-{task}",
            "task_split": "meta-test",
            "split": "train" if number < 5 else "test",
        }
        for task in range(6)
        for number in range(8)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def secret(checkpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private folder with a backbone and data."""
    folder = tmp_path_factory.mktemp("home") / SECRET
    folder.mkdir()
    shutil.copytree(checkpoint, folder / "model")
    examples(folder / "pairs.jsonl")
    return folder


def failing(context: Any, cell: Any, *rest: Any) -> Any:
    """`run_cell`, but one baseline cannot open a private file."""
    if cell.baseline == "fine-tuned":
        raise CellError(
            f"no such file: {Path(SECRET).resolve()}/file.csv, nor '../{SECRET}/other file.csv', "
            f"nor {context.plan.data}, nor '{SECRET}/part/last.csv'"
        )
    return real_run_cell(context, cell, *rest)


real_run_cell = bench.cells.run_cell


@pytest.fixture(scope="module", params=["absolute", "above", "below"])
def run(request: pytest.FixtureRequest, secret: Path) -> Path:
    """A run in the private folder, whose paths are absolute, go through `..`, or look like the id
    of a hub."""
    folder = secret.parent / request.param
    folder.mkdir()
    where, given = {
        "absolute": (folder, str(secret)),
        "above": (folder, f"../{SECRET}"),
        "below": (secret.parent, SECRET),
    }[request.param]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        patch.setattr("bench.cells.run_cell", failing)
        words = [
            *("run", "--suite", "translation", "--backbone", f"{given}/model"),
            *("--data", f"{given}/pairs.jsonl", f"--out={given}/{request.param}"),
            *("--baseline", "nearest", "--baseline", "in-context", "--baseline", "fine-tuned"),
            *("--shots", "2", "--queries", "2", "--episodes", "6", "--max-new-tokens", "3"),
        ]
        patch.setattr("sys.argv", [f"{secret}/bin/fewgen", *words])
        done = fewgen(*words)
    assert done.exit_code == 1, done.output
    assert SECRET not in done.stdout
    assert f"{SECRET}/file.csv" in done.stderr  # who runs it sees where
    return secret / request.param


def texts(files: Sequence[Path]) -> Iterator[tuple[Path, bytes]]:
    """Each file's bytes; of Parquet, which is compressed, its columns and values."""
    import pandas as pd

    for path in files:
        if path.suffix == ".parquet":
            yield path, pd.read_parquet(path).to_csv().encode()
        yield path, path.read_bytes()


def test_every_command_that_reads_runs_is_asked() -> None:
    reading = {
        name
        for name, command in main.commands.items()
        if {"directories", "base"} & {param.name for param in command.params}
    }
    assert set(ASKED) == reading
    assert len(ASKED["export"]) == len(KINDS)


def test_the_run_directory_keeps_paths_in_its_plan_alone(run: Path, secret: Path) -> None:
    told = read_json(run / "run.json")
    assert SECRET in told["plan"]["backbone"]
    assert str(secret / "model") in told["local"].values()
    kept = {path.name for path, content in texts(files_in(run)) if SECRET.encode() in content}
    assert kept == set(PRIVATE)
    assert "pairs.jsonl" in (run / "leaderboard.md").read_text()


@pytest.mark.parametrize("command", ASKED)
def test_nothing_that_is_shown_holds_a_local_path(
    command: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for asked in ASKED[command]:
        words = [word.replace("RUN", str(run)).replace("OUT", str(tmp_path)) for word in asked]
        done = fewgen(command, *words)
        assert "Traceback" not in done.output, done.output
        if not any("/../" in word for word in words):  # else the message repeats what was typed
            assert done.exit_code in (0, 3), done.output
            assert SECRET not in done.output, (words, done.output)
    for path, content in texts(files_in(tmp_path)):
        assert SECRET.encode() not in content, path
    if command in ("leaderboard", "report", "export"):
        assert any(b"pairs.jsonl" in content for _, content in texts(files_in(tmp_path)))
    if command in ("leaderboard", "report"):
        assert any(b"file.csv" in content for _, content in texts(files_in(tmp_path)))


def test_a_slim_run_is_shown_like_its_source(run: Path, tmp_path: Path) -> None:
    assert fewgen("export", run, "--to", "records", "--out", tmp_path / "slim").exit_code == 3
    for command, to in (("model-card", "README.md"), ("every-eval-ever", "*.json")):
        for place in (run, tmp_path / "slim"):
            out = tmp_path / f"{command}-{place.name}"
            fewgen("export", place, "--to", command, "--out", out)
            (path, *_) = sorted(out.rglob(to))
            text = path.read_text()
            assert "base_model" not in text
            assert "hf_dataset" not in text


def test_a_comparison_that_failed_names_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = ("--junit", "a.xml", "--markdown", "a.md", "--json", "a.json")
    assert fewgen("compare", f"{SECRET}/base", f"{SECRET}/head", *files).exit_code == 2
    for path in files_in(tmp_path):
        assert SECRET not in path.read_text()
        assert "base: no such run directory" in path.read_text()


def test_a_directory_with_the_name_of_a_shipped_backbone_is_not_shipped(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it in slim records, which have its name alone."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(checkpoint, "tiny")
    words = ("--episodes", 1, "--queries", 1, "--shots", 2, "--max-new-tokens", 2, "--out", "run")
    for backbone, licence in (("./tiny", None), ("tiny", "apache-2.0")):
        shutil.rmtree("run", ignore_errors=True)
        asked = ("--suite", "translation", "--baseline", "zero-shot", "--backbone", backbone)
        assert fewgen("run", *asked, *words).exit_code == 0
        shutil.rmtree("slim", ignore_errors=True)
        assert fewgen("export", "run", "--to", "records", "--out", "slim").exit_code == 0
        for place in ("run", "slim"):
            shutil.rmtree("card", ignore_errors=True)
            assert fewgen("export", place, "--to", "model-card", "--out", "card").exit_code == 0
            card = ModelCard.load("card/tiny-zero-shot/README.md")
            assert card.data.license == licence
            assert card.data.base_model is None


def test_a_page_of_a_study_names_the_backbone(run: Path) -> None:
    made = _made([run])
    assert SECRET not in made
    assert "; backbone model\n" in made


def test_a_path_that_an_option_names_is_short_in_labels(tmp_path: Path) -> None:
    """Rows whose files differ stay apart, whatever is shown of them."""
    runs = []
    for place in ("one", "other"):
        path = f"/{SECRET}/{place}/words.txt"
        changed = {"file": path, "steps": 2}
        runs.append(write_run(tmp_path / place, {"a": 0.5}, options=changed, changed=changed))
    rows = read_rows(runs)
    assert [row.header["changed"] for row in rows] == [{"file": "words.txt", "steps": 2}] * 2
    for command in ("leaderboard", "report", "paired"):
        words = ("--out", tmp_path / "site") if command == "report" else ()
        done = fewgen(command, *runs, *words)
        assert SECRET not in done.output
    for kind in ("datasets", "model-card", "every-eval-ever"):
        fewgen("export", runs[0], "--to", kind, "--out", tmp_path / kind)
        fewgen("export", runs[0], "--to", "records", "--out", tmp_path / "records")
    made = [p for p in tmp_path.iterdir() if p.name not in ("one", "other")]
    files = [file for folder in made for file in files_in(folder)]
    assert {path.name for path in made} == {
        *("datasets", "model-card", "every-eval-ever", "records", "site")
    }
    assert [path for path, content in texts(files) if SECRET.encode() in content] == []
    assert any(b"words.txt" in content for _, content in texts(files))


def test_run_directories_of_one_name_are_told_apart_without_their_places(tmp_path: Path) -> None:
    rows = []
    for place, version in (("a", "1"), ("b", "2")):
        root = write_run(tmp_path / SECRET / place / "run", {f"row-{place}": 0.5})
        write_json(root / "run.json", {**read_json(root / "run.json"), "packages": {"x": version}})
        rows += read_rows([root])
    assert made_otherwise(rows) == "x 1 (run 1), 2 (run 2)"


def test_recipes_of_one_name_are_two_backbones(tmp_path: Path) -> None:
    recipe = (HERE / "backbones" / "tiny" / "recipe.toml").read_text()
    made = []
    for seed in (1, 2):
        path = tmp_path / SECRET / str(seed) / "recipe.toml"
        path.parent.mkdir(parents=True)
        path.write_text(recipe.replace("seed = 0", f"seed = {seed}"))
        values = {"suites": ["translation"], "baselines": ["zero-shot"], "pretrain": {"tokens": 9}}
        context = Context(make_plan({**values, "backbone": str(path)}), tmp_path)
        made.append(shared_header(context, Cell("translation", "zero-shot", 8, 0, 0)))
    assert [head["backbone"] for head in made] == ["recipe.toml"] * 2
    assert made[0]["recipe"] != made[1]["recipe"]
    assert start(Row(made[0])) != start(Row(made[1]))


def test_a_link_is_shown_by_its_own_name(
    secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "current").symlink_to(secret)
    (tmp_path / "link.jsonl").symlink_to(secret / "pairs.jsonl")
    assert display_name(str(tmp_path / "current")) == "current"
    assert open_dataset(Source(str(tmp_path / "link.jsonl"))).name == "link.jsonl"
    assert open_dataset(Source(str(tmp_path / "link.jsonl"))).names("meta-test")
    monkeypatch.chdir(secret / "model")
    assert display_name(".") == "model"


# -- what is a path ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("../a/b.csv is lost", "b.csv is lost"),
        ("./x/y and ../../x/z", "y and z"),
        ("'/home/me/my texts/a b.csv'", "'a b.csv'"),
        ("in 'private/texts/a.csv', line 3", "in 'a.csv', line 3"),
        ("private/texts/a.jsonl, line 3", "a.jsonl, line 3"),
        ("owner/name at 3 / 4 and/or 1/2/3", "owner/name at 3 / 4 and/or 1/2/3"),
        ("https://huggingface.co/a/b.json", "https://huggingface.co/a/b.json"),
        ("tokens </s> and '</s>' and '<a/b/c>'", "tokens </s> and '</s>' and '<a/b/c>'"),
        ("translation / maml / K = 8", "translation / maml / K = 8"),
        ("...", "..."),
    ],
)
def test_relative_paths_are_left_out(text: str, left: str) -> None:
    assert without_places(text) == left


def test_a_hub_id_is_not_shortened(run: Path, tmp_path: Path) -> None:
    told = read_json(run / "run.json")
    told["local"] = {}
    told["plan"] |= {"backbone": "owner/model", "data": "owner/texts", "layout": "owner/texts"}
    told["command"] = ["fewgen", "run", "../x/plan.toml", "--backbone=owner/model", "--data"]
    told["command"] += ["owner/texts", "--layout", "owner/texts", "--metric", "a/b/m.py"]
    write_json(tmp_path / "run.json", told)
    made = read_run(tmp_path)
    assert made.command == (
        "fewgen run plan.toml --backbone=owner/model --data owner/texts --layout owner/texts "
        "--metric m.py"
    )
    assert made.places.hub_id("backbone") == "owner/model"
    assert made.places.hub_id("data") == "owner/texts"


@pytest.mark.parametrize(
    ("backbone", "data", "facts", "ids"),
    [
        ("tiny", None, {}, (None, None)),
        ("a/b", "c/d", {"backbone_files": None, "dataset": "c/d"}, ("a/b", "c/d")),
        ("a/b", "c/d", {"backbone_files": "12", "dataset": "d"}, (None, None)),
        ("a/b", "c/d.jsonl", {"dataset": "d.jsonl"}, ("a/b", None)),
        ("../b", "/c/d", {"dataset": "d"}, (None, None)),
    ],
)
def test_runs_of_older_versions_tell_what_was_local(
    backbone: str, data: str | None, facts: Any, ids: Any
) -> None:
    """By what they recorded, not by what is here now."""
    name = facts.pop("dataset", "embedded")
    plan = {"backbone": backbone, "data": data}
    places = places_of({"plan": plan, "facts": {**facts, "suites": {"s": {"dataset": name}}}})
    assert (places.hub_id("backbone"), places.hub_id("data")) == ids
    for path, hub in ((backbone, ids[0]), (data, ids[1])):
        if path and hub is None:
            assert places.shown(f"in {path}") == f"in {os.path.basename(path)}"
            assert places.shown({"x": [path]}) == {"x": [os.path.basename(path)]}
        elif path:
            assert places.shown(f"in {path}") == f"in {path}"
