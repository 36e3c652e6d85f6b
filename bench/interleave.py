"""Two git revisions run in turn on this machine, so that what else it does meets both alike."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.plan import read_plan
from bench.progress import Progress, unseen

WORKING_TREE = "."
SIDES = ("base", "head")
PATIENCE = 10.0  # seconds that an interrupted run may take to end its workers


@dataclass(frozen=True)
class Rounds:
    """What an interleaved comparison left.

    Attributes:
        commits: base and head, full; with `+changes` for a working tree that has some.
        base: a run directory a round.
        head: as many.
    """

    commits: tuple[str, str]
    base: list[Path]
    head: list[Path]


def last_lines(text: str, count: int = 3) -> str:
    """The end of what a program printed, on one line."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-count:]) or "it failed and said nothing"


def _output(
    command: list[str], what: str, reason: Callable[[str], str] = last_lines, **more: Any
) -> str:
    """What a command printed.

    Args:
        command: program and arguments.
        what: begins the message of a failure.
        reason: why it failed, from what it printed.
        more: for `subprocess.run`.

    Raises:
        UserError: it failed or is not there; with the last lines it printed.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", **more)
    except OSError as error:
        raise UserError(f"{what}: cannot run {command[0]}: {error.strerror}") from None
    if done.returncode:
        raise UserError(f"{what}: {reason(done.stderr or done.stdout)}")
    return str(done.stdout)


def _git(repository: Path, *words: str, **more: Any) -> str:
    return _output(["git", "-C", str(repository), *words], f"git in {repository}", **more)


def commit_of(repository: Path, revision: str) -> str:
    """The full commit of a revision; of the working tree HEAD, marked where it has changes.

    Raises:
        UserError: no repository there, or no such revision.
    """
    name = "HEAD" if revision == WORKING_TREE else revision
    if name.startswith("-"):
        raise UserError(f"{revision!r} is no git revision")
    try:
        found = _git(repository, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").strip()
    except UserError:
        _git(repository, "rev-parse", "--git-dir")  # says so where there is no repository
        raise UserError(
            f"{repository}: no git revision {revision!r}; a shallow checkout lacks the past "
            "(git fetch --unshallow)"
        ) from None
    changed = revision == WORKING_TREE and _git(repository, "status", "--porcelain")
    return f"{found}+changes" if changed else found


def export(repository: Path, revision: str, target: Path) -> None:
    """Writes the files of a revision, or of the working tree as it is, to a folder.

    The repository, its index and its list of worktrees stay as they are.
    """
    top = Path(_git(repository, "rev-parse", "--show-toplevel").rstrip("\n"))
    target.mkdir(parents=True)
    if revision == WORKING_TREE:
        listed = _git(top, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        for name in filter(None, listed.split("\0")):
            if (top / name).is_file():  # not deleted, no submodule
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(top / name, target / name)
        return
    index = {**os.environ, "GIT_INDEX_FILE": str(target.with_suffix(".index"))}
    _git(top, "read-tree", commit_of(top, revision), env=index)
    _git(top, "checkout-index", "--all", f"--prefix={target}/", env=index)


def install(source: Path, target: Path, revision: str) -> None:
    """Installs a revision's files into a folder of its own: its entry points and its data are
    then in force, whatever else is installed.

    Raises:
        UserError: it cannot be installed.
    """
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install"]
    apart = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(target)]
    _output([*pip, *apart, str(source)], f"{revision} cannot be installed", reason=_of_a_build)


def _of_a_build(text: str) -> str:
    """The last lines of what a build printed, without what pip says around them."""
    lines = [line.strip().removeprefix("|").strip() for line in text.splitlines()]
    around = ("note:", "hint:", "error: subprocess-exited", "[end of output]", "[notice]")
    told = [line for line in lines if line.isascii() and not line.startswith(around)]
    return last_lines("\n".join(told))


def run(installed: Path, plan: Path, out: Path, revision: str) -> None:
    """A run of an installed revision. Some cells may fail; the others' are then there.

    Raises:
        UserError: the run did not come to its end, or finished no cell.
    """
    path = os.pathsep.join(filter(None, [str(installed), os.environ.get("PYTHONPATH")]))
    # -P and its variable: the folder that the user is in holds a package `bench`, too.
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-P", "-m", "bench.cli", "run", str(plan), "--out", str(out)]
    command += ["--workers", "1"]  # beside another cell a cell's times are not its own
    errors = _errors_of(command, environment)
    finished = any((out / "cells").rglob("*.jsonl"))
    if not (finished and (out / "leaderboard.csv").is_file()):
        raise UserError(f"{revision}: its run failed: {last_lines(errors)}")


def _errors_of(command: list[str], environment: dict[str, str]) -> str:
    """What a run says on standard error. Where we are asked to end, so is it, and it ends its
    workers, which else might still write to what is removed."""
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        try:
            return process.communicate()[1]
        except BaseException:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            raise
        finally:
            process.kill()


def write_plan(source: str, path: Path) -> None:
    """A preset of this fewgen, or a plan file, as a file that both revisions are given."""
    import tomli_w

    path.write_text(tomli_w.dumps(read_plan(source)), encoding="utf-8")


@contextmanager
def interleaved(
    repository: Path,
    revisions: tuple[str, str],
    plan: str,
    rounds: int,
    progress: Progress = unseen,
) -> Iterator[Rounds]:
    """Runs base and head alternately, each round in the other order than the one before; what was
    written is there inside the block.

    Args:
        repository: a checkout.
        revisions: base and head; `.` is the working tree.
        plan: a preset or a file, the same for both.
        rounds: how often each is run, in a fresh run directory.
        progress: told the runs done and all.

    Raises:
        UserError: a revision does not exist, does not install, or its run fails.
    """
    named = dict(zip(SIDES, revisions, strict=True))
    commits = {side: commit_of(repository, revision) for side, revision in named.items()}
    with tempfile.TemporaryDirectory(prefix="fewgen-compare-") as name:
        root = Path(name)
        write_plan(plan, root / "plan.toml")
        for side, revision in named.items():
            export(repository, revision, root / side / "source")
            install(root / side / "source", root / side / "installed", f"{side} {revision}")
        runs = _alternate(root, named, rounds, progress)
        yield Rounds((commits["base"], commits["head"]), runs["base"], runs["head"])


def _alternate(
    root: Path,
    named: Mapping[str, str],
    rounds: int,
    progress: Progress,
) -> dict[str, list[Path]]:
    runs: dict[str, list[Path]] = {side: [] for side in SIDES}
    for number in range(rounds):
        for side in SIDES if number % 2 == 0 else SIDES[::-1]:
            done = sum(map(len, runs.values()))
            progress(done, 2 * rounds, f"{done} of {2 * rounds} runs done")
            out = root / side / f"round-{number}"
            run(root / side / "installed", root / "plan.toml", out, f"{side} {named[side]}")
            runs[side].append(out)
    progress(1, 1)
    return runs
