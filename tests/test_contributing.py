"""CONTRIBUTING's words, followed: a third party's suite and baseline are installed and run."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.records import read_cell, read_json
from bench.registry import _entry_points
from tests.test_cli import command

ROOT = Path(__file__).parent.parent
Fewgen = Callable[..., str]  # a folder and words to what is printed
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    found = re.search(rf"^## {title}$(.*?)^## ", GUIDE, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def files(text: str) -> dict[str, str]:
    """Fenced blocks that a line with the file's name stands before."""
    return dict(re.findall(r"^`(\S+)`\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def commands(text: str) -> list[list[str]]:
    """The lines of blocks without a language."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for kind, block in blocks if not kind for line in block.splitlines()]


def install(title: str, place: Path) -> Path:
    """Writes the files of a section of the guide and installs them under `site`."""
    for name, text in files(section(title)).items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text, encoding="utf-8")
    words = next(c for c in commands(section(title)) if c[0] == "pip")
    # The same words, but into a folder of the test and without asking the index.
    extra = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(place / "site")]
    subprocess.run([sys.executable, "-m", *words, "-q", *extra], cwd=place, check=True)
    return place


def fewgen(place: Path, *words: str) -> str:
    paths = [str(place / "site"), str(ROOT)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.cli", *words],
        cwd=place,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fewgen]:
    """`fewgen` in this process, with what is installed in the test's folder."""

    def fewgen(place: Path, *words: str) -> str:
        _entry_points.cache_clear()
        done = command(*words)
        assert done.exit_code == 0, done.output
        return done.stdout

    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path / "site")
        patch.chdir(tmp_path)
        yield fewgen
    _entry_points.cache_clear()


def follow(title: str, place: Path, fewgen: Fewgen = fewgen) -> str:
    """Runs the section's commands; what the last one printed."""
    shown = ""
    for words in commands(section(title)):
        if words[0] == "fewgen":
            shown = fewgen(place, *words[1:])
    return shown


def test_the_guides_suite_runs_from_the_command_line(tmp_path: Path, here: Fewgen) -> None:
    written = {Path(name).name for name in files(section("A new suite"))}
    assert written == {"pyproject.toml", "__init__.py", "CARD.md"}
    place = install("A new suite", tmp_path)
    assert "plurals" in here(place, "list", "suites").split()
    shown = follow("A new suite", place, here)
    assert re.search(r"^\| \**nearest\**\s+\|", shown, re.MULTILINE)
    assert "plurals (embedded, revision 1, meta-test), K = 8, 2 episodes" in shown
    run = read_json(place / "results" / "plurals" / "run.json")
    assert run["facts"]["suites"]["plurals"]["version"] == "1"


@pytest.mark.slow
def test_the_guides_baseline_runs_from_the_command_line(tmp_path: Path) -> None:
    """In processes, whose workers find what is installed too."""
    written = files(section("A new baseline"))
    assert {Path(name).name for name in written} == {"pyproject.toml", "sign_maml.py"}
    module = next(text for name, text in written.items() if name.endswith(".py"))
    assert sum(bool(line.strip()) for line in module.splitlines()) <= 25
    place = install("A new baseline", tmp_path)
    assert "sign-maml" in fewgen(place, "list", "baselines").split()
    assert "Sign-MAML (Fan et al. 2021)" in fewgen(place, "show", "sign-maml")
    shown = follow("A new baseline", place)
    row = re.search(r"^\| sign-maml\s+\| –\s+\| meta-trained \| 1 .*$", shown, re.MULTILINE)  # noqa: RUF001
    assert row, shown
    (record,) = (place / "results" / "sign" / "cells").rglob("sign-maml/*/*.jsonl")
    header = read_cell(record)[0]
    assert header["train"]["tokens"] >= 2000
    assert header["adapted_params"] > 0
