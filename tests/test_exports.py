"""Exports: documents of their schemas, cards and data sets that read as they were written."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bench.artefacts import make_initialisation
from bench.cells import run_cell
from bench.cli import main
from bench.context import Context
from bench.errors import UserError
from bench.exports import schemas
from bench.exports.folder import files_in
from bench.exports.runs import read_run
from bench.places import PLACE, without_places
from bench.plan import make_plan
from bench.publish import to_csv, to_markdown
from bench.records import read_cell, read_json, write_cell, write_json
from bench.runner import begin
from bench.tables import leaderboard, read_rows

BASELINES = ["nearest", "fine-tuned", "joint"]
TOKEN = "hf_" + "Secret" * 5


def export(*words: object) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, words)])


@pytest.fixture(scope="module")
def run(checkpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A floor, a baseline with an inner loop, and one that is trained, with two seeds of each."""
    out = tmp_path_factory.mktemp("runs") / "run"
    values: dict[str, Any] = {
        "backbone": checkpoint,
        "suites": ["translation", "dialogue"],
        "baselines": BASELINES,
        "shots": [2],
        "queries": 2,
        "episodes": 3,
        "seeds": [0, 1],
        "train_seeds": [0, 1],
        "train_budget": 300,
        "max_new_tokens": 6,
        "options": {"fine-tuned": {"inner_steps": 3}, "joint": {"inner_steps": 2}},
        "workers": 1,
        "out": str(out),
    }
    context = Context(make_plan(values), out)
    for cell in begin(context).cells:  # in this process, which has loaded torch
        if cell.train_seed is not None:
            make_initialisation(
                context, [cell.suite], cell.baseline, cell.train_seed, lambda _: None
            )
        write_cell(out, cell, *run_cell(context, cell))
    return out


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*where: object) -> None:
        raise AssertionError(f"the network was reached for: {where}")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """The run, to be spoiled."""
    return Path(shutil.copytree(run, tmp_path / "copy"))


@pytest.fixture
def slim(run: Path, tmp_path: Path) -> Path:
    made = export(run, "--to", "records", "--out", tmp_path / "slim")
    assert made.exit_code == 0, made.output
    return tmp_path / "slim"


# -- slim records --------------------------------------------------------------------------


def test_slim_records_give_the_same_tables(run: Path, slim: Path) -> None:
    whole, small = leaderboard([run]), leaderboard([slim])
    assert to_csv(small) == to_csv(whole)
    assert to_markdown(small) == to_markdown(whole)
    assert whole["inner_step_ms"].notna().any()
    assert to_csv(leaderboard([slim], "bleu")) == to_csv(leaderboard([run], "bleu"))


def test_slim_records_hold_no_texts_and_no_places(run: Path, slim: Path) -> None:
    size = sum(path.stat().st_size for path in slim.rglob("*.jsonl"))
    assert size < sum(path.stat().st_size for path in run.rglob("*.jsonl"))
    for path in slim.rglob("*.jsonl"):
        header, records = read_cell(path)
        assert header["slim"] is True
        for record in records:
            assert not {"predictions", "query_ids", "support_ids", "losses"} & set(record)
            assert record["queries"] == 2
            assert {len(lists) for lists in record["statistics"].values()} == {1}
    told = (slim / "run.json").read_text()
    assert not PLACE.search(told)
    assert str(run.parent) not in told
    assert read_run(slim).started == read_run(run).started


def test_slim_records_are_slimmed_again_to_the_same(slim: Path, tmp_path: Path) -> None:
    assert export(slim, "--to", "records", "--out", tmp_path / "again").exit_code == 0
    for path in files_in(slim):
        assert (tmp_path / "again" / path.relative_to(slim)).read_bytes() == path.read_bytes()


def test_failed_cells_stay_failed(copy: Path, tmp_path: Path) -> None:
    path = next(copy.rglob("fine-tuned/k2/s1.jsonl"))
    header, _ = read_cell(path)
    path.unlink()
    failure = {"cell": header, "reason": "no memory in /home/me/x.py"}
    write_json(path.with_suffix(".failed.json"), failure)
    assert export(copy, "--to", "records", "--out", tmp_path / "slim").exit_code == 3
    failed = leaderboard([tmp_path / "slim"])
    assert failed["failed"].sum() == 1
    assert failed["reason"].max() == "no memory in x.py"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/home/me/runs/a b", "a b"),
        ("--out=/home/me/runs/a", "--out=a"),
        ("no file /tmp/x/y.jsonl, nor ~/z/w.csv", "no file y.jsonl, nor w.csv"),
        ("file:///home/me/x.py", "x.py"),
        ("https://huggingface.co/a/b", "https://huggingface.co/a/b"),
        ("owner/name at 3 / 4 and/or x", "owner/name at 3 / 4 and/or x"),
        (r"\s+|a", r"\s+|a"),
    ],
)
def test_places_are_left_out(text: str, left: str) -> None:
    assert without_places({"a": [text]}) == {"a": [left]}


def test_a_command_is_told_without_its_folder(copy: Path) -> None:
    told = read_json(copy / "run.json")
    told["command"] = ["/x/.venv/bin/fewgen", "run", "quick", "--out", "/x/y", "--data=/x/a b.csv"]
    write_json(copy / "run.json", told)
    assert read_run(copy).command == "fewgen run quick '--data=a b.csv'"


# -- Every Eval Ever -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def every(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exports") / "every"
    made = export(run, "--to", "every-eval-ever", "--out", out, "--organization", "A lab")
    assert made.exit_code == 0, made.output
    return out


def test_documents_tell_the_leaderboard(run: Path, every: Path) -> None:
    table = leaderboard([run]).set_index(["suite", "baseline"])
    documents = [read_json(path) for path in every.rglob("*.json")]
    assert len(documents) == len(table)
    for document in documents:
        details = document["model_info"]["additional_details"]
        suite = document["evaluation_results"][0]["evaluation_name"].split("_")[1]
        line = table.loc[(suite, details["baseline"])]
        found = {r["metric_config"]["metric_id"]: r for r in document["evaluation_results"]}
        for name, column in (("bleu", "bleu"), ("chrf", "chrf"), ("exact_match", "exact")):
            told = found[name]["score_details"]
            bounds = told["uncertainty"]["confidence_interval"]
            assert told["score"] == pytest.approx(line[column], abs=1e-9)
            assert bounds["lower"] == pytest.approx(line[f"{column}_low"], abs=1e-9)
            assert bounds["upper"] == pytest.approx(line[f"{column}_high"], abs=1e-9)
            assert told["uncertainty"]["standard_error"]["value"] >= 0
            assert told["uncertainty"]["num_samples"] == line["episodes"] == 6
            assert found[name]["metric_config"]["metric_parameters"]["signature"]
        assert document["retrieved_timestamp"] == str(read_run(run).started)
        assert document["source_metadata"]["source_organization_name"] == "A lab"
        assert "max_tokens" not in json.dumps(document) or details["init"] != "none"


def test_answers_are_those_of_the_records(run: Path, every: Path) -> None:
    answers = {
        (r["task"], str(r["seed"]), query): text
        for path in (run / "cells").rglob("dialogue/nearest/k2/*.jsonl")
        for r in read_cell(path)[1]
        for query, text in zip(r["query_ids"], r["predictions"], strict=True)
    }
    files = [path for path in every.rglob("*_samples.jsonl") if path.parent.name == "nearest"]
    lines = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    mine = [line for line in lines if line["evaluation_name"] == "fewgen_dialogue_k2"]
    found = {
        (x["metadata"]["task"], x["metadata"]["seed"], x["sample_id"]): x["output"]["raw"][0]
        for x in mine
    }
    assert found == answers
    assert len(mine) == 12
    for line in mine:
        assert line["evaluation"]["is_correct"] == (
            line["output"]["raw"][0].strip() in line["input"]["reference"]
        )


def test_files_are_where_the_datastore_wants_them(every: Path) -> None:
    for path in every.rglob("*.json"):
        document = read_json(path)
        place = path.relative_to(every).with_suffix("").as_posix()
        assert document["detailed_evaluation_results"]["file_path"] == f"{place}_samples.jsonl"
        rows = (every / f"{place}_samples.jsonl").read_text().splitlines()
        assert document["detailed_evaluation_results"]["total_rows"] == len(rows) > 0
        assert path.parent == every / "data" / "fewgen" / document["model_info"]["id"]
        results = {r["evaluation_result_id"] for r in document["evaluation_results"]}
        assert {json.loads(row)["evaluation_result_id"] for row in rows} < results


def test_every_file_is_of_the_vendored_schema_and_a_spoiled_one_is_not(every: Path) -> None:
    files = files_in(every)
    assert len(files) == 2 * len(BASELINES) * 2
    for path in files:
        schemas.check_file(path)
    document = read_json(next(every.rglob("*.json")))
    for spoil, told in (
        (lambda d: d.pop("model_info"), "model_info"),
        (lambda d: d.update(more=1), "more"),
        (lambda d: d["evaluation_results"][0]["score_details"].update(score="9"), "score"),
        (lambda d: d["detailed_evaluation_results"].update(file_path="x.jsonl"), "x.jsonl"),
    ):
        spoiled = json.loads(json.dumps(document))
        spoil(spoiled)
        with pytest.raises(UserError, match=told):
            schemas.check(schemas.AGGREGATE, spoiled, "document")
    line = json.loads(next(every.rglob("*.jsonl")).read_text().splitlines()[0])
    with pytest.raises(UserError, match="output"):
        schemas.check(schemas.INSTANCE, {**line, "output": None}, "line 1")


def test_the_vendored_files_are_unchanged() -> None:
    from hashlib import sha256

    source = (schemas.FOLDER / "SOURCE.md").read_text()
    for name in ("eval.schema.json", "instance_level_eval.schema.json", "LICENSE"):
        digest = sha256((schemas.FOLDER / name).read_bytes()).hexdigest()
        assert f"{digest}  {name}\n" in source
    assert schemas.version() == "0.3.0"


def test_what_does_not_fit_the_schema_is_not_left_behind(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.exports.every_eval_ever._relationship", lambda *given: 3)
    made = export(run, "--to", "every-eval-ever", "--out", tmp_path / "out")
    assert made.exit_code == 2
    assert "$.source_metadata.evaluator_relationship: 3 is not" in made.output
    assert list(tmp_path.iterdir()) == []


def test_slim_records_and_changed_data_have_no_answers(slim: Path, copy: Path) -> None:
    made = export(slim, "--to", "every-eval-ever", "--out", slim.parent / "a")
    assert "slim records, without predictions" in made.output
    path = next(copy.rglob("dialogue/nearest/k2/s0.jsonl"))
    header, records = read_cell(path)
    records[1]["digest"] = "0" * 64
    cell = next(cell for cell in _cells(copy) if cell.path(copy) == path)
    write_cell(copy, cell, header, records)
    made = export(copy, "--to", "every-eval-ever", "--out", slim.parent / "b")
    assert "the data of dialogue is not what it was" in made.output
    assert len(list((slim.parent / "a").rglob("*.json*"))) == 6
    assert len(list((slim.parent / "b").rglob("*.json*"))) == 11


def _cells(directory: Path) -> Any:
    from bench.exports.runs import read_cells

    return [cell for cell, _, _ in read_cells(directory)]


def test_an_unfinished_row_is_left_out_and_told(copy: Path, tmp_path: Path) -> None:
    next(copy.rglob("dialogue/fine-tuned/k2/s1.jsonl")).unlink()
    made = export(copy, "--to", "every-eval-ever", "--out", tmp_path / "out")
    assert "left out: dialogue / fine-tuned / K = 2: 1 cell(s) not finished" in made.output
    assert len(list((tmp_path / "out").rglob("*.json"))) == 5


def _rewrite(directory: Path, change: Any) -> None:
    for path in directory.rglob("cells/**/*.jsonl"):
        cell = next(cell for cell in _cells(directory) if cell.path(directory) == path)
        header, records = read_cell(path)
        change(header, records)
        write_cell(directory, cell, header, records)


def test_a_row_of_two_runs_has_the_answers_of_both(run: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        part = shutil.copytree(run, tmp_path / str(seed))
        told = read_json(part / "run.json")
        told["plan"]["seeds"], told["started"] = [seed], f"2026-01-0{2 - seed}T00:00:00+00:00"
        write_json(part / "run.json", told)
        for path in part.rglob(f"*s{1 - seed}.jsonl"):
            path.unlink()
    made = export(
        tmp_path / "0", tmp_path / "1", "--to", "every-eval-ever", "--out", tmp_path / "o"
    )
    assert made.output.splitlines() == [f"Written to {tmp_path / 'o'}"]
    documents = [read_json(path) for path in (tmp_path / "o").rglob("*.json")]
    assert {d["detailed_evaluation_results"]["total_rows"] for d in documents} == {12, 24}
    assert {d["evaluation_timestamp"] for d in documents} == {"2026-01-02T00:00:00+00:00"}


def test_a_metric_by_name_tells_no_limits(copy: Path, tmp_path: Path) -> None:
    def change(header: dict[str, Any], records: list[dict[str, Any]]) -> None:
        header["signatures"]["mine"] = "v:1"
        for record in records:
            record["statistics"]["mine"] = [[250.0, 1]] * 2

    _rewrite(copy, change)
    assert export(copy, "--to", "every-eval-ever", "--out", tmp_path / "o").exit_code == 0
    for path in (tmp_path / "o").rglob("*.json"):
        result = read_json(path)["evaluation_results"][-1]
        assert result["score_details"]["score"] == 250
        assert {"min_score", "max_score", "score_type"}.isdisjoint(result["metric_config"])
    assert export(copy, "--to", "model-card", "--out", tmp_path / "c").exit_code == 0


def test_records_of_older_versions_and_unknown_baselines_are_exported(
    copy: Path, tmp_path: Path
) -> None:
    """They have no ids of examples, and `run.json` tells less."""

    def change(header: dict[str, Any], records: list[dict[str, Any]]) -> None:
        for record in records:
            del record["query_ids"], record["support_ids"]

    _rewrite(copy, change)
    told = read_json(copy / "run.json")
    write_json(copy / "run.json", {"plan": told["plan"]})
    for kind in ("every-eval-ever", "datasets", "records", "model-card"):
        made = export(copy, "--to", kind, "--out", tmp_path / kind)
        assert made.exit_code == 0, made.output
    document = read_json(next((tmp_path / "every-eval-ever").rglob("*.json")))
    assert document["retrieved_timestamp"] == str(int((copy / "run.json").stat().st_mtime))
    told = json.dumps(document)
    assert '"execution_command": "unknown"' in told
    assert read_run(tmp_path / "records").started == read_run(copy).started


# -- who made the model ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "backbone", "developer", "identifier", "relationship"),
    [
        ((), None, "unknown", "unknown/small-gpt2-joint", "other"),
        (("--developer", "A lab"), None, "A lab", "A-lab/small-gpt2-joint", "first_party"),
        ((), "owner/model", "owner", "owner/model-joint", "third_party"),
        (("--developer", "B"), "owner/model", "B", "B/model-joint", "third_party"),
    ],
)
def test_who_made_the_model_is_told(
    words: tuple[str, ...],
    backbone: str | None,
    developer: str,
    identifier: str,
    relationship: str,
    copy: Path,
    tmp_path: Path,
) -> None:
    """The flag, else the owner of the backbone on the hub; never fewgen, which only measured it."""
    from huggingface_hub import ModelCard

    if backbone:
        _rewrite(copy, lambda head, _: head.update(backbone=head["backbone"] and backbone))
        told = read_json(copy / "run.json")
        told["plan"]["backbone"], told["local"] = backbone, {}
        write_json(copy / "run.json", told)
    made = export(
        *(copy, "--to", "every-eval-ever", "--out", tmp_path / "e"),
        *("--organization", "A lab", *words),
    )
    assert made.exit_code == 0, made.output
    (path, _) = (tmp_path / "e" / "data" / "fewgen" / identifier).glob("*.json")
    document = read_json(path)
    assert document["model_info"]["developer"] == developer
    assert document["model_info"]["id"] == identifier
    assert document["source_metadata"]["evaluator_relationship"] == relationship
    assert document["eval_library"]["name"] == "fewgen"
    folder = tmp_path / "cards"
    assert export(copy, "--to", "model-card", "--out", folder, *words).exit_code == 0
    card = ModelCard.load(next(folder.glob("*-joint")) / "README.md")
    assert f"\nDeveloped by: {developer}\n" in card.text
    assert card.data.base_model == backbone


# -- model cards ---------------------------------------------------------------------------


def test_a_card_reads_as_it_was_written(run: Path, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard
    from huggingface_hub.repocard_data import model_index_to_eval_results

    made = export(run, "--to", "model-card", "--out", tmp_path / "cards")
    assert "left out: nearest: a floor" in made.output
    folders = sorted(path.name for path in (tmp_path / "cards").iterdir())
    assert folders == ["small-gpt2-fine-tuned", "small-gpt2-joint"]
    card = ModelCard.load(tmp_path / "cards" / "small-gpt2-joint" / "README.md")
    name, results = model_index_to_eval_results(card.data.to_dict()["model-index"])
    assert name == "small-gpt2-joint"
    table = leaderboard([run])
    table = table[table["baseline"] == "joint"].set_index("suite")
    assert {(r.dataset_type, r.metric_type) for r in results} == {
        (f"fewgen-{suite}", metric)
        for suite in ("translation", "dialogue")
        for metric in "bleu chrf rouge1 rouge2 rougeL rougeLsum exact rules".split()
    }
    for result in results:
        line = table.loc[result.dataset_type.removeprefix("fewgen-")]
        assert result.metric_value == line[result.metric_type]
        low, high = (line[f"{result.metric_type}_{end}"] for end in ("low", "high"))
        assert result.metric_args["interval"] == [low, high]
        assert f"{result.metric_type}={result.metric_args['signature']}" in line["signature"]
        assert result.dataset_revision == line["revision"]
    score = table.loc["dialogue"]
    shown = f"{score['bleu']:.1f} [{score['bleu_low']:.1f}, {score['bleu_high']:.1f}]"
    assert shown in card.text
    assert "## Limits" in card.text


def test_one_card_can_be_asked_for(run: Path, tmp_path: Path) -> None:
    words = (run, "--to", "model-card", "--out", tmp_path / "x", "--baseline")
    assert "did you mean joint" in export(*words, "joimt").output
    assert "floors have no model" in export(*words, "nearest").output
    assert not (tmp_path / "x").exists()
    assert export(*words, "joint").exit_code == 0
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["small-gpt2-joint"]


# -- datasets ------------------------------------------------------------------------------


def test_datasets_loads_what_the_records_hold(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    folder, cache = tmp_path / "set", str(tmp_path / "cache")
    assert export(run, "--to", "datasets", "--out", folder).exit_code == 0
    rows = datasets.load_dataset(str(folder), "records", split="test", cache_dir=cache).to_list()
    place = 0
    for row in read_rows([run]):
        head = row.header
        mine = [r for r in rows if (r["suite"], r["baseline"]) == (head["suite"], head["baseline"])]
        places = iter(mine)
        for (train_seed, seed), records in sorted(row.cells.items(), key=str):
            for record in records:
                for query, text in enumerate(record["predictions"]):
                    found = next(places)
                    assert (found["train_seed"], found["seed"]) == (train_seed, seed)
                    assert (found["query"], found["prediction"]) == (query, text)
                    assert found["query_id"] == record["query_ids"][query]
                    assert found["digest"] == record["digest"]
                    for name, statistics in record["statistics"].items():
                        assert found[f"statistics_{name}"] == statistics[query]
                    place += 1
    assert place == len(rows) == 2 * 12 * (1 + 1 + 2)
    table = datasets.load_dataset(str(folder), "leaderboard", split="test", cache_dir=cache)
    assert table["chrf"][:] == leaderboard([run])["chrf"].tolist()


def test_slim_records_make_a_row_an_episode(slim: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    made = export(slim, "--to", "datasets", "--out", tmp_path / "set")
    assert "slim records, one row an episode" in made.output
    rows = pq.read_table(tmp_path / "set" / "records.parquet").to_pylist()
    assert len(rows) == 2 * 6 * (1 + 1 + 2)
    assert {(row["query"], row["prediction"]) for row in rows} == {(None, None)}


# -- the folder ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["every-eval-ever", "model-card", "datasets", "records"])
def test_the_same_again_is_fine_and_other_files_are_kept(
    kind: str, run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = (run, "--to", kind, "--out", out)
    assert export(*words).exit_code == 0
    before = {path: path.read_bytes() for path in files_in(out)}
    assert export(*words).exit_code == 0
    assert {path: path.read_bytes() for path in files_in(out)} == before
    (out / "mine.txt").write_text("mine")
    made = export(*words)
    assert made.exit_code == 2
    assert "holds other files" in made.output
    assert (out / "mine.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_mistakes_are_told_in_one_line(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "none").mkdir()
    shutil.copy(run / "run.json", tmp_path / "none")
    out = ("--out", tmp_path / "out")
    for words, told in (
        ((run, "--to", "csv", *out), "'csv' is not one of"),
        ((tmp_path / "nowhere", "--to", "records", *out), "not a run directory"),
        ((tmp_path, "--to", "records", *out), "not a run directory"),
        ((tmp_path / "none", "--to", "datasets", *out), "no finished cell"),
        ((run, run, "--to", "datasets", *out), "named twice"),
        ((run, tmp_path / "none", "--to", "records", *out), "one run directory at a time"),
        ((run, "--to", "records", "--out", tmp_path / "file"), "is no folder"),
        ((run, "--to", "records", "--out", run / "cells" / "x"), "lies in the run directory"),
        ((run, "--to", "records", "--out", "/proc/x/y"), "cannot write"),
        ((run, "--to", "datasets", *out, "--baseline", "joint"), "--to model-card"),
        ((run, "--to", "datasets", *out, "--organization", "x"), "--to every-eval-ever"),
        (
            (run, "--to", "datasets", *out, "--developer", "x"),
            "--developer goes with --to every-eval-ever or model-card",
        ),
        ((run, "--to", "datasets", *out, "--yes"), "--yes goes with --push"),
        ((run, "--to", "datasets", *out, "--push", "me"), "OWNER/NAME is needed"),
        ((run, "--to", "datasets", *out, "--push", "a/b/c"), "OWNER/NAME is needed"),
    ):
        made = export(*words)
        assert made.exit_code == 2, words
        assert told in " ".join(made.output.split()), made.output
        assert "Traceback" not in made.output
        assert isinstance(made.exception, SystemExit)
    assert not (tmp_path / "out").exists()
    assert not (run / "cells" / "x").exists()


# -- pushing -------------------------------------------------------------------------------


class FakeApi:
    """Stands for `huggingface_hub.HfApi`, and reaches no network."""

    calls: list[tuple[str, dict[str, Any]]]
    fails: Exception | None

    def __init__(self, token: str) -> None:
        self.calls.append(("token", {"token": token}))

    def create_repo(self, **given: Any) -> None:
        self.calls.append(("create_repo", given))

    def upload_folder(self, folder_path: Path, **given: Any) -> str:
        if self.fails:
            raise self.fails
        files = [path.relative_to(folder_path).as_posix() for path in files_in(folder_path)]
        self.calls.append(("upload_folder", {**given, "files": files}))
        return "https://hub/commit/1"


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> type[FakeApi]:
    FakeApi.calls, FakeApi.fails = [], None
    monkeypatch.setattr("huggingface_hub.HfApi", FakeApi)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return FakeApi


def test_nothing_is_uploaded_unless_asked_twice(
    run: Path, tmp_path: Path, api: type[FakeApi], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (run, "--to", "datasets", "--out", tmp_path / "set", "--push", "me/set")
    made = export(*words)
    assert made.exit_code == 0, made.output
    for path in files_in(tmp_path / "set"):
        assert f"{path.stat().st_size:,}  {path.name}" in made.output
    assert "3 files" in made.output
    assert "the dataset repository me/set" in made.output
    assert "Nothing was uploaded" in made.output
    made = export(*words, "--yes")
    assert made.exit_code == 2
    assert "HF_TOKEN is not set" in made.output
    assert api.calls == []
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    made = export(*words, "--yes")
    assert "Uploaded: https://hub/commit/1" in made.output
    assert TOKEN not in made.output
    where = {"repo_id": "me/set", "repo_type": "dataset"}
    files = ["README.md", "leaderboard.parquet", "records.parquet"]
    assert api.calls == [
        ("token", {"token": TOKEN}),
        ("create_repo", {**where, "private": True, "exist_ok": True}),
        ("upload_folder", {**where, "commit_message": "fewgen export", "files": files}),
    ]
    assert all(TOKEN.encode() not in path.read_bytes() for path in files_in(tmp_path))


def test_a_model_repository_takes_one_card(
    run: Path, tmp_path: Path, api: type[FakeApi], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    words = (run, "--to", "model-card", "--push", "me/joint", "--yes")
    made = export(*words, "--out", tmp_path / "all")
    assert made.exit_code == 2
    assert "name one with --baseline" in made.output
    assert api.calls == []
    made = export(*words, "--out", tmp_path / "one", "--baseline", "joint")
    assert made.exit_code == 0, made.output
    assert api.calls[-1][1]["files"] == ["README.md"]
    assert api.calls[-1][1]["repo_type"] == "model"


def test_a_refusal_is_told_without_the_token(
    run: Path, tmp_path: Path, api: type[FakeApi], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    api.fails = OSError(f"403 for\nBearer {TOKEN}")
    made = export(run, "--to", "records", "--out", tmp_path / "o", "--push", "me/r", "--yes")
    assert made.exit_code == 2
    assert "me/r: OSError: 403 for Bearer ***" in made.output
    assert TOKEN not in made.output
