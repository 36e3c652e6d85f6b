"""Terminals that lack characters, and paths that are not UTF-8."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.errors import UserError
from bench.readers import files_below
from tests.runs import write_run


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "a", {"copy": 0.2, "maml": 0.9})


def printed(encoding: str, *words: str, **more: str) -> bytes:
    """What the command prints where standard output has an encoding."""
    done = CliRunner(charset=encoding).invoke(main, list(words), **more)
    assert done.exit_code == 0, done.exception
    return done.stdout_bytes


def test_a_terminal_with_few_characters_gets_the_same_table_in_those(run_directory: Path) -> None:
    whole = printed("utf-8", "leaderboard", str(run_directory)).decode()
    latin = printed("latin-1", "leaderboard", str(run_directory)).decode("latin-1")
    assert "•" in whole
    assert len(latin) == len(whole)
    assert {(a, b) for a, b in zip(whole, latin, strict=True) if a != b} == {
        ("\N{BULLET}", "o"),
        ("\N{EN DASH}", "-"),
    }


def test_an_ascii_terminal_gets_ascii(run_directory: Path) -> None:
    """In a process of its own: Click looks at the real streams."""
    words = "leaderboard", str(run_directory)
    done = subprocess.run(
        [sys.executable, "-m", "bench.cli", *words],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    whole = printed("utf-8", *words).decode()
    assert done.stdout.decode("ascii") == whole.replace("•", "o").replace("\N{EN DASH}", "-")


@pytest.mark.parametrize(
    "words",
    [
        ["run", "smoke", "--out", "x\udcff"],
        ["run", "p\udcff.toml"],
        ["leaderboard", "x\udcff"],
        ["pretrain", "--data", "x\udcff.csv"],
    ],
)
def test_a_path_that_is_not_utf_8_is_one_line(words: list[str]) -> None:
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "\\xff" in done.stderr
    assert "is not UTF-8; use a path that is" in done.stderr


def test_a_file_of_data_whose_name_is_not_utf_8_is_one_line(tmp_path: Path) -> None:
    try:
        (tmp_path / "d\udcff.jsonl").write_text("{}")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    with pytest.raises(UserError, match=r"name of the file .*d\\xff.jsonl' is not UTF-8"):
        files_below(tmp_path)
