"""CONTRIBUTING's words, followed: a suite of a third party is installed and run."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bench.records import read_json

ROOT = Path(__file__).parent.parent
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


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the guide, installed under `site`."""
    place = tmp_path_factory.mktemp("third-party")
    written = files(section("A new suite"))
    assert {Path(name).name for name in written} == {"pyproject.toml", "__init__.py", "CARD.md"}
    for name, text in written.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text, encoding="utf-8")
    install = next(c for c in commands(section("A new suite")) if c[0] == "pip")
    # The same words, but into a folder of the test and without asking the index.
    extra = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(place / "site")]
    subprocess.run([sys.executable, "-m", *install, "-q", *extra], cwd=place, check=True)
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


def test_the_guides_suite_runs_from_the_command_line(place: Path) -> None:
    assert "plurals" in fewgen(place, "list", "suites").split()
    for words in commands(section("A new suite")):
        if words[0] == "fewgen":
            shown = fewgen(place, *words[1:])
    assert re.search(r"^\| \**nearest\**\s+\|", shown, re.MULTILINE)
    assert "plurals (embedded, revision 1, meta-test), K = 8, 2 episodes" in shown
    run = read_json(place / "results" / "plurals" / "run.json")
    assert run["facts"]["suites"]["plurals"]["version"] == "1"
