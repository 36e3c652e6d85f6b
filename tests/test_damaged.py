"""Run directories in which a file is not what was written: every command that reads them says so in
one line."""

import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from bench.cli import main
from bench.exports import KINDS
from tests.in_process import InProcessWorker, workers_are

RUN = "--suite translation --baseline nearest,copy --shots 2 --episodes 6 --queries 2".split()
READING = {
    "leaderboard": [[]],
    "variance": [[]],
    "power": [["--difference", "1"]],
    "paired": [[]],
    "report": [["--out", "site"]],
    "export": [["--to", kind, "--out", f"to-{kind}"] for kind in KINDS],
    "compare": [["good"]],
}
DAMAGES = {
    "a directory": None,
    "not UTF-8": b"\xe9\xff\n",
    "empty": b"",
    "NUL": b"\0" * 64,
    "a list": b"[1, 2]\n",
    "cut": "cut",
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("damaged") / "good"
    with workers_are(InProcessWorker):
        result = CliRunner().invoke(main, ["run", *RUN, "--out", str(root)])
    assert result.exit_code == 0, result.output
    return root


def spoil(path: Path, damage: bytes | str | None) -> None:
    whole = path.read_bytes()
    path.unlink()
    if damage is None:
        path.mkdir()
    else:
        path.write_bytes(damage if isinstance(damage, bytes) else whole[: len(whole) * 2 // 3])


def is_one_line(result: Result) -> bool:
    """Whether a command was refused for its input, with nothing but a line that says why."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    return result.exit_code == 2 and len(lines) == 1 and "Traceback" not in result.output


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", ["run.json", "cell"])
def test_a_damaged_file_is_named(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, damage: str
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(good, "good")
    shutil.copytree(good, "bad")
    cell = next(path for path in sorted(Path("bad").rglob("*.jsonl")) if "nearest" in path.parts)
    path = Path("bad/run.json") if file == "run.json" else cell
    spoil(path, DAMAGES[damage])
    wrong = []
    for command, ways in READING.items():
        for words in ways:
            result = CliRunner().invoke(main, [command, "bad", *words])
            if not (is_one_line(result) and path.name in result.stderr):
                wrong.append((command, words, result.exit_code, result.output[-300:]))
    again = CliRunner().invoke(main, ["run", *RUN, "--out", "bad"])
    if not is_one_line(again):
        wrong.append(("run", RUN, again.exit_code, again.output[-300:]))
    assert not wrong


def test_every_reading_command_is_among_them() -> None:
    readers = {
        name
        for name, command in main.commands.items()
        if any(isinstance(p, click.Argument) and p.name == "directories" for p in command.params)
    }
    assert readers - {"advise"} <= set(READING), "advise reads records by the same function"
