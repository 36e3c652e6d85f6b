"""How `fewgen compare` ends: no interrupt, closed pipe or full disk reads as a regression."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.compare_command import say
from tests.test_compare import FULL, HALF, MIXED, add, command

OTHER = [5, 11, 10, 11, 11, 4, 6, 11, 11, 11]
VERDICTS = [(FULL, FULL, 0), (FULL, HALF, 1), (MIXED, OTHER, 3)]


@pytest.mark.parametrize("where", ["bench.matched.match", "bench.compare_command.as_text"])
def test_an_interrupt_exits_with_130(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*words: Any) -> None:
        raise KeyboardInterrupt

    base = add(tmp_path / "a", FULL)
    monkeypatch.setattr(where, interrupted)
    done = command(base, base)
    assert done.exit_code == 130
    assert done.output == "interrupted; nothing was compared; run the same command again\n"


@pytest.mark.parametrize("error", [OSError(5, "worn out"), RuntimeError("odd"), MemoryError()])
def test_an_error_of_its_own_exits_with_2(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*words: Any) -> None:
        raise error

    monkeypatch.setattr("bench.matched.match", fails)
    base = add(tmp_path / "a", FULL)
    done = command(base, base)
    assert done.exit_code == 2
    assert "nothing was compared" in done.output


def test_what_cannot_be_written_leaves_the_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.errors import UserError

    def full(*words: Any) -> None:
        raise UserError("no space left")

    monkeypatch.setattr("bench.compare_command.write_json", full)
    base = add(tmp_path / "a", FULL)
    done = command(base, base, "--json", tmp_path / "found.json")
    assert done.exit_code == 2
    assert "pass: quality pass" in done.output
    assert "Error: no space left" in done.output


def test_what_cannot_be_printed_is_let_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        say("lost\n")
        assert print("lost, too", flush=True) is None  # no error, also not of the flush at its end
        assert os.path.samestat(os.fstat(full.fileno()), os.stat(os.devnull))
    screen = tmp_path / "screen"
    with open(screen, "w", encoding="latin-1") as narrow:
        monkeypatch.setattr(sys, "stdout", narrow)
        say("1 → 2\n")
    assert screen.read_text(encoding="latin-1") == "1 \\u2192 2\n"


def ended(words: list[str | Path], out: int, err: int = subprocess.DEVNULL) -> int:
    run = [sys.executable, "-m", "bench.cli", "compare", *map(str, words)]
    return subprocess.run(run, stdout=out, stderr=err).returncode


@pytest.mark.slow
@pytest.mark.parametrize(("base", "head", "code"), VERDICTS)
def test_a_screen_that_takes_nothing_changes_no_exit_code(
    base: list[int], head: list[int], code: int, tmp_path: Path
) -> None:
    runs = [add(tmp_path / "a", base), add(tmp_path / "b", head)]
    files: list[str | Path] = ["--json", tmp_path / "found.json", "--junit", tmp_path / "j.xml"]
    reader, writer = os.pipe()
    os.close(reader)
    full = os.open("/dev/full", os.O_WRONLY)
    for out in (writer, full):
        assert ended([*runs, *files], out, out) == code
        for name in ("found.json", "j.xml"):
            (tmp_path / name).unlink()
        assert ended([tmp_path / "none", runs[0]], out, out) == 2
    os.close(writer)
    os.close(full)
