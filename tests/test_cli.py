"""The command line: light, helpful, never a traceback."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench.cli import main
from bench.registry import names

HEAVY = ("torch", "transformers", "datasets", "evaluate", "pandas")


def command(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


@pytest.mark.parametrize(
    "words", [["--help"], ["list"], ["show", "maml"], ["show", "translation"], ["show", "quick"]]
)
def test_light_commands_import_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys\nfrom bench.cli import main\n"
        f"try: main({words!r})\nexcept SystemExit as end: assert not end.code\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_a_users_own_folders_do_not_hide_ours(tmp_path: Path) -> None:
    """`python -m` puts the working directory before everything else."""
    for name in ("baselines", "suites"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit(7)")
    words = [sys.executable, "-m", "bench.cli", "show", "maml"]
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(words, cwd=tmp_path, env=where, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "inner_steps" in done.stdout


def test_a_checkout_works_where_nothing_is_installed(tmp_path: Path) -> None:
    """As on a machine with the libraries but without `pip install`: no entry points, no
    datasets, no evaluate."""
    root = Path(__file__).parent.parent
    code = (
        "import sys, importlib.metadata as m\n"
        "real = m.entry_points\n"
        "ours = ('fewgen.suites', 'fewgen.baselines')\n"
        "m.entry_points = lambda **k: [] if k.get('group') in ours else real(**k)\n"
        "sys.modules['datasets'] = sys.modules['evaluate'] = None\n"
        "sys.argv = ['fewgen', 'run', '--suite', 'writing', '--baseline', 'nearest', '--episodes', "
        f"'2', '--queries', '2', '--workers', '1', '--out', {str(tmp_path / 'out')!r}]\n"
        "from bench.cli import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "nearest" in done.stdout


def test_list_names_one_a_line() -> None:
    assert command("list", "baselines").output.split() == names("baseline")
    rows = json.loads(command("list", "suites", "--json").output)
    assert [row["name"] for row in rows] == names("suite")
    kinds = {row["kind"] for row in json.loads(command("list", "--json").output)}
    assert kinds == {"suite", "baseline", "backbone", "preset"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["show", "mamll"], "did you mean maml"),
        (["show", "maml", "--task", "x"], "--task goes with a suite"),
        (["show", "translation", "--task", "velari-999"], "did you mean velari-"),
        (["run", "--suite", "translatoin"], "did you mean translation"),
        (["run", "quik"], "did you mean quick"),
        (["run", "none.toml"], "no such plan file"),
        (["run", "--backbone", "tinny"], "did you mean tiny"),
        (["run", "--seeds", "0;1"], "'0;1' is not a valid integer"),
        (["run", "--shots", "-1"], "greater than or equal to 1"),
        (["run", "--set", "maml.steps=1"], "unknown key 'steps'"),
        (["run", "--suite", "translation", "--data", "none.jsonl"], "no such file"),
        (["pretrain", "--suite", "translation", "--backbone", "tinny", "--out", "x"], "tiny"),
        (["leaderboard", "."], "not a run directory"),
        (["frobnicate"], "No such command"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = command(*words)
    assert result.exit_code == 2
    assert told in result.output
    assert "Traceback" not in result.output
    assert not isinstance(result.exception, UnboundLocalError | TypeError | KeyError)


def test_show_prints_an_episode_and_options() -> None:
    page = command("show", "translation", "--task", "velari-570", "--seed", "3").output
    assert "support (8)" in page
    assert "velari-570, seed 3" in page
    assert "maml.inner_steps" in command("show", "maml").output


@pytest.mark.parametrize(
    ("words", "suggested"),
    [
        (["run", "--lr", "1"], []),
        (["run", "--seedz", "1"], ["--seed", "--seeds"]),
        (["run", "--outt", "x"], ["--out"]),
        (["export", "--basline", "x"], ["--baseline", "--baselines"]),
        (["leaderboard", "--zz", "x"], []),
    ],
)
def test_only_options_spelled_alike_are_suggested(words: list[str], suggested: list[str]) -> None:
    result = command(*words)
    assert result.exit_code == 2
    assert "No such option" in result.output
    found = re.findall(r"'(--[a-z-]+)'", result.output.partition("Did you mean")[2])
    assert found == suggested, result.output


@pytest.mark.parametrize("name", ["./no-such", "/no/such", "~/model", "a/b/c"])
def test_a_missing_directory_is_named_before_anything_heavy(name: str, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom bench.cli import main\n"
        f"try: main(['run', 'smoke', '--backbone', {name!r}, '--out', 'out'])\n"
        "except SystemExit as end: assert end.code == 2\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    words = [sys.executable, "-P", "-c", code]
    done = subprocess.run(words, cwd=tmp_path, env=where, capture_output=True, text=True)
    assert f"backbone {name!r}: no such directory" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout.splitlines()[-1] == "HEAVY []"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("required", "line", "fine"),
    [
        ("fewgen-nothing>=1", "fewgen-nothing: MISSING; pip install", False),
        ("click>=999", "but >=999 is needed", False),
        ('fewgen-nothing>=1; extra == "tune"', "only needed for the extra 'tune'", True),
        ("fewgen-nothing; python_version < '3'", "", True),
    ],
)
def test_doctor_reads_what_fewgen_requires(
    monkeypatch: pytest.MonkeyPatch, required: str, line: str, fine: bool
) -> None:
    monkeypatch.setattr("bench.doctor.requirements", lambda: ["click>=8", required])
    result = command("doctor")
    assert (result.exit_code == 0) == fine
    assert line in result.output
    other_python = "python_version" in required
    assert ("fewgen-nothing" in result.output) != ("click>" in required or other_python)


def test_doctor_is_content_here() -> None:
    result = command("doctor")
    assert result.exit_code == 0, result.output
    assert "torch" in result.output
    assert "backbone tiny: pre-trained" in result.output


@pytest.mark.parametrize(
    ("plan", "words", "told"),
    [
        ("options = 3", ["--set", "nearest.x=1"], "options = 3"),
        ("[options]\nfine-tuned = 3", ["--set", "fine-tuned.inner_steps=1"], "fine-tuned = 3"),
        ("revision = 'x'", [], "add --data"),
        ("[columns]\ninput = 'a'", [], "add --data"),
        ("", ["--set", "nearest.x=1"], "unknown key 'x'; known: none"),
        ("suites = ['translation']\ndata = 3", [], "data = 3"),
    ],
)
def test_a_mistake_in_a_plan_file(plan: str, words: list[str], told: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(plan)
    result = command("run", str(path), *words, "--out", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert told in result.output
    assert len(result.output.splitlines()) == 1


def test_long_lists_of_names_are_capped() -> None:
    result = command("show", "translation", "--task", "../x")
    assert result.exit_code == 2
    assert "more" in result.output
    assert len(result.output) < 400
