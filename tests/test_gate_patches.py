"""The gate for real: patches of this checkout, each run beside it by the command itself."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.clocks import LEAST
from bench.errors import UserError
from bench.interleave import export, install

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PLAN = """
suites = ["translation"]
baselines = ["zero-shot", "fine-tuned"]
episodes = 6
queries = 8
"""
SLOWER = '''

_exact = adapt


def adapt(loss, weights, rule, steps, path="none", after_step=None, anew=None):
    """Each step takes three tenths more of the processor."""
    from time import thread_time

    began = thread_time()

    def slower(now):
        nonlocal began
        until = thread_time() + 0.3 * (thread_time() - began)
        while thread_time() < until:
            pass
        if after_step:
            after_step(now)
        began = thread_time()

    return _exact(loss, weights, rule, steps, path, slower, anew)
'''
SPOILED = '''

_exact = gradient


def gradient(value, weights, differentiable=False):
    """Uphill."""
    return [-found for found in _exact(value, weights, differentiable)]
'''


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def checkout() -> Iterator[Path]:
    """This checkout's files as they are, as the first commit of a repository."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    with tempfile.TemporaryDirectory(prefix="fewgen-gate-") as name:
        folder = Path(name) / "checkout"
        export(ROOT, ".", folder)
        (folder / "gate-plan.toml").write_text(PLAN)
        git(folder, "init", "-q")
        git(folder, "add", "-A")
        git(folder, "commit", "-qm", "as it is")
        git(folder, "tag", "start")
        yield folder


def patched(checkout: Path, text: str) -> None:
    """A second commit, which adds to the module of the inner loop."""
    git(checkout, "checkout", "-q", "--detach", "start")
    module = checkout / "bench" / "inner_loop.py"
    module.write_text(module.read_text() + text)
    git(checkout, "commit", "-qam", "a patch")


def compare(checkout: Path, rounds: int) -> tuple[int, dict[str, Any]]:
    found = checkout.parent / "found.json"
    words = ["compare", "--interleave", "start", "HEAD", "--plan", "gate-plan.toml"]
    words += ["--rounds", str(rounds), "--json", str(found)]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "bench.cli", *words],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    print(done.stdout, done.stderr)
    assert done.returncode in (0, 1, 3), done.stderr
    return done.returncode, json.loads(found.read_text())


def verdicts(found: dict[str, Any], kind: str) -> dict[str, str]:
    return {cell["name"]: cell["verdict"] for cell in found[kind]["cells"]}


@pytest.mark.alone
def test_a_slower_inner_loop_is_caught(checkout: Path) -> None:
    patched(checkout, SLOWER)
    for rounds in (4, 8):  # where the machine is too busy to tell, the command asks for more
        code, found = compare(checkout, rounds)
        if code != 3:
            break
    assert code == 1
    assert found["quality"]["verdict"] == "pass"
    assert verdicts(found, "speed")["fine-tuned adapt"] == "regression"
    assert verdicts(found, "speed")["zero-shot generate a token"] != "regression"


def test_a_spoiled_adaptation_is_caught(checkout: Path) -> None:
    patched(checkout, SPOILED)
    code, found = compare(checkout, 1)
    assert code == 1
    assert verdicts(found, "quality") == {
        "translation / fine-tuned / K = 8": "regression",
        "translation / zero-shot / K = 8": "pass",
    }


@pytest.mark.alone
def test_whitespace_is_no_regression(checkout: Path) -> None:
    patched(checkout, "\n\n# nothing else\n\n")
    code, found = compare(checkout, LEAST)
    assert code in (0, 3)
    assert found["quality"]["verdict"] == "pass"
    assert all(cell["identical"] for cell in found["quality"]["cells"])
    assert found["speed"]["verdict"] != "regression"


def test_a_revision_that_cannot_run_exits_with_2(checkout: Path) -> None:
    patched(checkout, "\nraise OSError('worn out')\n")
    plan = ["--repository", str(checkout), "--plan", str(checkout / "gate-plan.toml")]
    for base, head, told in (
        ("HEAD", "start", "base HEAD: its run failed: "),
        ("start", "no-such", "no git revision 'no-such'"),
        ("start", "--help", "no git revision"),
    ):
        words = ["compare", "--interleave", *plan, "--", base, head]
        command = [sys.executable, "-m", "bench.cli", *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 2, done.stdout
        assert told in done.stderr
        assert "Traceback" not in done.stderr


def test_a_build_that_fails_shows_its_own_error(tmp_path: Path) -> None:
    """Not pip's advice around it, which says to look above."""
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "no_such_backend"\n'
    )
    with pytest.raises(UserError, match="No module named 'no_such_backend'") as error:
        install(tmp_path, tmp_path / "installed", "base HEAD")
    assert error.value.message.startswith("base HEAD cannot be installed: ")
    assert "See above" not in error.value.message


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupt_leaves_nothing_behind(
    asked: signal.Signals, checkout: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "bench.cli", "compare", "--interleave", "start", "start"]
    command += ["--repository", str(checkout), "--plan", str(checkout / "gate-plan.toml")]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores the interrupt, and its children with it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 600
    while not list(tmp_path.glob("fewgen-compare-*/base/round-0")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    time.sleep(2)
    process.send_signal(asked)
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 128 + asked
    assert "Traceback" not in errors
    word = "interrupted" if asked == signal.SIGINT else "terminated"
    assert f"{word}; nothing was compared; run the same command again\n" in errors
    assert not list(tmp_path.glob("fewgen-compare-*"))
    status = ["git", "-C", str(checkout), "worktree", "list"]
    assert len(subprocess.run(status, capture_output=True, text=True).stdout.splitlines()) == 1
