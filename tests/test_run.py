"""Whole runs on a very small checkpoint: what is written, resumed, refused and reported."""

import errno
import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

import bench
from bench.checkpoints import load_backbone
from bench.cli import main
from bench.errors import UserError
from bench.records import Cell, read_cell, write_cell
from bench.registry import load, names
from bench.tables import leaderboard

COLUMNS = """suite dataset revision baseline init backbone shots seeds train_seeds episodes order
adapted_params bleu bleu_low bleu_high chrf chrf_low chrf_high rouge1 rouge1_low rouge1_high rouge2
rouge2_low rouge2_high rougeL rougeL_low rougeL_high rougeLsum rougeLsum_low rougeLsum_high exact
adapt_ms adapt_ms_q1 adapt_ms_q3 inner_step_ms inner_step_ms_q1 inner_step_ms_q3 inner_step_flops
adapt_tokens_per_s adapt_utilisation matrix_rate adapt_peak_mib adapt_joules tasks_at_once rechunked
generate_ms generate_ms_q1 generate_ms_q3 generate_ms_per_token generate_tokens_per_s
generate_peak_mib generate_joules train_s train_tokens train_flops train_tokens_per_s
train_utilisation train_peak_mib train_joules truncated device dtype threads workers
failed signature""".split()
JOULES = ["adapt_joules", "generate_joules", "train_joules"]  # where a GPU tells
QUALITY = [
    c
    for c in COLUMNS
    if c.split("_")[0] in "bleu chrf rouge1 rouge2 rougeL rougeLsum exact".split()
]


FEW_STEPS = {"*": {"inner_steps": 3}}  # of every baseline that takes some


def values(checkpoint: str, out: Path, **more: Any) -> dict[str, Any]:
    return {
        "backbone": checkpoint,
        "suites": ["translation"],
        "shots": [2],
        "queries": 2,
        "episodes": 2,
        "train_budget": 1500,
        "max_new_tokens": 6,
        "workers": 2,
        "out": str(out),
        **({} if "baselines" in more else {"options": FEW_STEPS}),
        **more,
    }


def command(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


@pytest.fixture(scope="module")
def finished(checkpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of every baseline."""
    out = tmp_path_factory.mktemp("runs") / "all"
    outcome = bench.run(values(checkpoint, out))
    assert outcome.failures == {}
    return out


def test_every_baseline_has_a_row_with_every_column(finished: Path) -> None:
    table = pd.read_csv(finished / "leaderboard.csv")
    assert sorted(table["baseline"]) == names("baseline")
    assert set(COLUMNS) <= set(table.columns)
    assert table[QUALITY].notna().all().all()
    assert (table["failed"] == 0).all()
    by_name = table.set_index("baseline")
    assert by_name.loc["maml", "order"] == 2 or by_name.loc["maml", "order"] == "2"
    assert by_name.loc["maml", "train_tokens"] >= 1500
    assert by_name.loc["maml", "train_flops"] > by_name.loc["joint", "train_flops"]
    assert by_name.loc["fine-tuned", "train_tokens"] == 0
    assert by_name.loc["fine-tuned", "adapted_params"] > 0
    assert by_name.loc["zero-shot", "adapted_params"] == 0
    assert by_name.loc["imaml", ["cg_residual", "cg_converged", "inner_gradient"]].notna().all()
    assert by_name.loc["early-stopped", "stopped_at"] >= 1
    counted = by_name["adapted_params"]
    assert counted["anil"] + counted["boil"] > counted["maml"], "both count the untied head's"
    assert counted["metaicl"] == 0
    trained = by_name.loc["maml"]
    assert 0 < trained["adapt_utilisation"] < 1
    assert 0 < trained["train_utilisation"] < 1
    assert (by_name["rechunked"] == 0).all()
    told = trained[
        [c for c in COLUMNS if c.startswith(("adapt_", "inner_", "generate_", "train_"))]
    ]
    assert sorted(told.index[told.isna()]) == JOULES
    assert by_name.loc["copy", ["adapt_ms", "generate_ms", "matrix_rate"]].isna().all()
    for kind in ("md", "tex"):
        assert (finished / f"leaderboard.{kind}").stat().st_size > 0


def test_all_baselines_saw_the_same_episodes(finished: Path) -> None:
    seen = {
        path.parent.parent.name: [(r["seed"], r["index"], r["digest"]) for r in read_cell(path)[1]]
        for path in (finished / "cells").rglob("*.jsonl")
    }
    assert sorted(seen) == names("baseline")
    assert len({str(digests) for digests in seen.values()}) == 1


def test_records_hold_what_they_promise(finished: Path) -> None:
    header, records = read_cell(next((finished / "cells/translation/maml").rglob("*.jsonl")))
    assert header["signatures"]["bleu"].startswith("nrefs:1|")
    record = records[0]
    assert len(record["predictions"]) == len(record["query_ids"]) == 2
    assert len(record["support_ids"]) == 2
    assert len(record["statistics"]["bleu"]) == 2
    costs = record["costs"]
    kind = load("baseline", "maml")
    steps = kind(kind.Options(**header["options"])).steps_at_test
    assert len(costs["inner_steps_ms"]) == len(record["losses"]) - 1 == steps
    assert 0 < sum(costs["inner_steps_ms"]) <= costs["adapt_ms"]
    assert costs["generated_tokens"] > 0
    per_token = {r["costs"]["inner_step_flops"] / r["costs"]["support_tokens"] for r in records}
    assert max(per_token) == pytest.approx(min(per_token))
    assert min(per_token) > 0
    assert header["matrix_rate"] > 0
    assert header["train"]["matrix_rate"] > 0
    run = json.loads((finished / "run.json").read_text())
    assert run["packages"]["torch"]
    assert run["facts"]["backbone"] == header["backbone_identity"]


@pytest.mark.usefixtures("worker_processes")
def test_the_plan_of_a_run_repeats_it_in_two_processes(finished: Path, tmp_path: Path) -> None:
    out, chosen = tmp_path / "again", ["nearest", "fine-tuned", "maml"]
    narrowed = [word for name in chosen for word in ("--baseline", name)]
    words = ["run", str(finished / "plan.toml"), "--out", str(out), "--workers", "2", *narrowed]
    result = command(*words)
    assert result.exit_code == 0, result.output
    first, second = (
        pd.read_csv(d / "leaderboard.csv", dtype=str).set_index("baseline").sort_index()
        for d in (finished, out)
    )
    assert sorted(second.index) == sorted(chosen)
    pd.testing.assert_frame_equal(first.loc[second.index, QUALITY], second[QUALITY])

    with pytest.raises(UserError, match="repeats translation"):
        leaderboard([finished, out])


def test_what_is_finished_is_not_repeated(finished: Path) -> None:
    cells = sorted((finished / "cells").rglob("*.jsonl"))
    lost = next(path for path in cells if "fomaml" in str(path))
    before = {path: (path.stat().st_mtime_ns, path.read_text()) for path in cells}
    quality = pd.read_csv(finished / "leaderboard.csv", dtype=str)[["baseline", *QUALITY]]
    lost.unlink()
    result = command("run", str(finished / "plan.toml"))
    assert result.exit_code == 0, result.output
    assert f"{len(cells) - 1} finished cells were kept" in result.output
    for path in cells:
        assert path == lost or path.stat().st_mtime_ns == before[path][0]
    again = pd.read_csv(finished / "leaderboard.csv", dtype=str)[["baseline", *QUALITY]]
    pd.testing.assert_frame_equal(quality, again)


def test_another_plan_is_refused(finished: Path, checkpoint: str) -> None:
    with pytest.raises(UserError, match=r"plan\.episodes: 2 -> 3\)"):
        bench.run(values(checkpoint, finished, episodes=3))
    with pytest.raises(UserError, match=r"\(plan\.shots: \[2\] -> \[3\]\)"):
        bench.run(values(checkpoint, finished, shots=[3]))


def test_cells_of_another_plan_are_refused_without_run_json(
    finished: Path, checkpoint: str, tmp_path: Path
) -> None:
    out = shutil.copytree(finished, tmp_path / "copy")
    (out / "run.json").unlink()
    with pytest.raises(UserError, match=r"jsonl is of another plan \(settings\.queries: 2 -> 3\)"):
        bench.run(values(checkpoint, out, queries=3))
    assert bench.run(values(checkpoint, out)).repeated == len(names("baseline"))


def test_a_refusal_names_what_changed_in_plain_words(finished: Path, checkpoint: str) -> None:
    """No dictionaries, no quotes, no list that is cut before the difference."""
    some = [name for name in names("baseline") if name != "maml"]
    more = {"baselines": some, "episodes": 3, "options": FEW_STEPS}
    with pytest.raises(UserError) as refused:
        bench.run(values(checkpoint, finished, **more))
    told = refused.value.message
    assert "plan.baselines: without maml" in told
    assert "plan.episodes: 2 -> 3" in told
    assert not set("{}'") & set(told)


def test_a_refused_run_leaves_nothing_behind(checkpoint: str, tmp_path: Path) -> None:
    """It is refused after its directory was taken: a K that no task has."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    for out in (tmp_path / "far" / "away", mine):
        with pytest.raises(UserError, match="support examples"):
            bench.run(values(checkpoint, out, shots=[100_000]))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert [path.name for path in mine.iterdir()] == ["notes.txt"]


def test_a_refused_run_takes_nothing_from_an_older_one(
    finished: Path, checkpoint: str, tmp_path: Path
) -> None:
    out = shutil.copytree(finished, tmp_path / "copy")
    before = sorted(path.name for path in out.iterdir())
    assert ".lock" in before
    with pytest.raises(UserError, match="another plan"):
        bench.run(values(checkpoint, out, episodes=3))
    assert sorted(path.name for path in out.iterdir()) == before


def test_a_held_directory_is_refused(finished: Path, checkpoint: str) -> None:
    with (finished / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another run is working"):
            bench.run(values(checkpoint, finished))


def test_a_cell_that_fails_does_not_stop_the_others(checkpoint: str, tmp_path: Path) -> None:
    words = [
        "run",
        "--suite",
        "translation",
        "--baseline",
        "copy",
        "--baseline",
        "fine-tuned",
        "--baseline",
        "reptile",
        "--backbone",
        checkpoint,
        "--shots",
        "2",
        "--episodes",
        "1",
        "--queries",
        "1",
        "--train-budget",
        "300",
        "--out",
        str(tmp_path / "out"),
        "--workers",
        "1",
        "--set",
        "reptile.inner_rule=sgd",
        "--set",
        "reptile.inner_rate=1e30",
    ]
    result = command(*words)
    assert result.exit_code == 1
    assert "failed: translation / reptile" in result.output
    assert "the gradient is nan at outer step 1; lower inner_rate" in result.output
    table = pd.read_csv(tmp_path / "out/leaderboard.csv").set_index("baseline")
    assert table.loc["reptile", "failed"] == 1
    assert "lower inner_rate" in table.loc["reptile", "reason"]
    assert table.loc["fine-tuned", "failed"] == 0


def test_pretraining_per_train_seed(
    pretrained: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def load_and_count(source: str, *words: Any, **more: Any) -> Any:
        loaded.append(source)
        return load_backbone(source, *words, **more)

    monkeypatch.setattr("bench.checkpoints.load_backbone", load_and_count)
    more = {"train_seeds": [0, 1], "pretrain": {"tokens": 2000}, "baselines": ["copy", "fomaml"]}
    outcome = bench.run(values(pretrained, tmp_path / "out", episodes=1, workers=1, **more))
    assert outcome.failures == {}
    assert len(loaded) == len(set(loaded)) == 2, "each train seed's backbone is loaded once"
    headers = {
        (h["baseline"], h["train_seed"]): h.get("backbone_identity")
        for h, _ in map(read_cell, (tmp_path / "out" / "cells").rglob("*.jsonl"))
    }
    assert sorted(headers, key=str) == [("copy", None), ("fomaml", 0), ("fomaml", 1)]
    assert headers["fomaml", 0] != headers["fomaml", 1]
    table = bench.leaderboard([tmp_path / "out"]).set_index("baseline")
    assert table.loc["fomaml", "train_seeds"] == "0,1"
    assert table.loc["fomaml", "interval"] == ""


def test_a_metric_of_evaluate_is_added_or_refused_before_the_start(
    checkpoint: str, tmp_path: Path
) -> None:
    script = tmp_path / "length.py"
    script.write_text(
        "import datasets\nimport evaluate\n"
        "class Length(evaluate.Metric):\n"
        "    def _info(self):\n"
        "        features = {'predictions': datasets.Value('string'),"
        " 'references': datasets.Value('string')}\n"
        "        return evaluate.MetricInfo(description='', citation='',"
        " features=datasets.Features(features))\n"
        "    def _compute(self, predictions, references):\n"
        "        return {'length': sum(map(len, predictions)) / len(predictions)}\n"
    )
    small = {"baselines": ["copy"], "metrics": [str(script)]}
    bench.run(values(checkpoint, tmp_path / "out", **small))
    _, records = read_cell(next((tmp_path / "out" / "cells").rglob("*.jsonl")))
    lengths = [len(text) for record in records for text in record["predictions"]]
    table = bench.leaderboard([tmp_path / "out"])
    assert table.loc[0, "length"] == pytest.approx(sum(lengths) / len(lengths))
    with pytest.raises(UserError, match="cannot load metric"):
        bench.run(values(checkpoint, tmp_path / "no", metrics=[str(tmp_path / "none.py")]))
    assert not (tmp_path / "no" / "run.json").exists()


def test_no_shots_too_many(checkpoint: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="shots = 600"):
        bench.run(values(checkpoint, tmp_path / "out", shots=[600]))


def test_cuda_without_a_gpu(checkpoint: str, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(UserError, match="no GPU"):
        bench.run(values(checkpoint, tmp_path / "out", device="cuda"))


def test_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    cell = Cell("translation", "copy", 8, None, 0)
    with pytest.raises(UserError, match="No space left on device") as error:
        write_cell(tmp_path, cell, {}, [])
    assert "run the same command again" in error.value.message
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_output_that_cannot_be_written(checkpoint: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--out"):
        bench.run(values(checkpoint, tmp_path / "file" / "out"))


def test_the_public_names() -> None:
    assert bench.__all__ == ["leaderboard", "run"]
    assert all(callable(getattr(bench, name)) for name in bench.__all__)


def test_a_run_deletes_nothing_that_is_not_its_own(checkpoint: str, tmp_path: Path) -> None:
    kept = [tmp_path / ".x.part", tmp_path / "sub" / ".proj.part" / "f", tmp_path / "cells" / "a"]
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    left = tmp_path / "cells" / "translation" / ".s0.jsonl.123.part"
    left.parent.mkdir()
    left.write_text("half")
    bench.run(values(checkpoint, tmp_path, baselines=["copy"]))
    assert all(path.read_text() == "mine" for path in kept)
    assert not left.exists()


@pytest.mark.parametrize("steps", [1, 2])
def test_an_adaptation_that_diverges_is_told_by_episode(
    checkpoint: str, tmp_path: Path, steps: int
) -> None:
    options = {
        "fine-tuned": {"inner_rate": 1e30, "inner_steps": steps},
        "l2-sp": {"inner_rate": 1.0, "inner_steps": steps, "strength": 0.0},
    }
    plan = values(checkpoint, tmp_path / "out", baselines=list(options), options=options)
    outcome = bench.run(plan)
    assert outcome.failures == {}
    for cell in outcome.cells:
        _, records = read_cell(cell.path(outcome.root))
        assert [record["diverged"] for record in records] == [True, True]
        for record in records:
            lost = cell.baseline == "fine-tuned"
            assert (len(record["losses"]) <= steps) == lost, "a loss was no number"
            assert all(text == "" for text in record["predictions"]) or not lost
    table = leaderboard([outcome.root]).set_index("baseline")
    assert table["diverged"].to_dict() == {"fine-tuned": 2, "l2-sp": 2}
    told = "Episodes whose inner loop ended worse than it began: "
    assert told in (outcome.root / "leaderboard.md").read_text()


def test_answers_as_long_as_the_context_are_refused(checkpoint: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="context of 128 tokens"):
        bench.run(values(checkpoint, tmp_path / "out", max_new_tokens=100))


def test_a_run_directory_has_a_name_by_default(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = values(checkpoint, tmp_path, baselines=["copy"])
    del plan["out"]
    assert bench.run(plan).root == Path("results/run")


def test_changed_code_does_not_go_on_in_an_old_directory(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = values(checkpoint, tmp_path / "out", baselines=["copy"])
    bench.run(plan)
    monkeypatch.setattr("bench.facts._code_digest", lambda: "other")
    with pytest.raises(UserError, match=r"facts\.code"):
        bench.run(plan)
    (tmp_path / "out" / "run.json").write_text("{}")
    with pytest.raises(UserError, match="damaged, it holds no plan"):
        bench.run(plan)


def test_a_plan_file_can_be_narrowed(finished: Path, tmp_path: Path) -> None:
    words = ["run", str(finished / "plan.toml"), "--baseline", "copy", "--out", str(tmp_path / "o")]
    result = command(*words)
    assert result.exit_code == 0, result.output
    assert list(pd.read_csv(tmp_path / "o" / "leaderboard.csv")["baseline"]) == ["copy"]
