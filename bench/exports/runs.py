"""What `run.json` tells of a run, fit to be published: no path of the machine it was made on."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from bench.errors import UserError
from bench.places import Places, places_of
from bench.readers import own_name
from bench.records import Cell, read_cell, read_json
from bench.without_texts import HIDDEN


def commit_of(git: Mapping[str, Any]) -> str:
    """A commit, and whether the code was changed; `unknown` outside a checkout."""
    if not git.get("commit"):
        return "unknown"
    return f"{git['commit']}{' with changes' if git.get('dirty') else ''}"


@dataclass(frozen=True)
class Run:
    """A run directory's `run.json`.

    Attributes:
        texts: whether what is told of it may hold names and prompts of the data.
        started: when the run began, in seconds since 1970; of runs of older versions the time of
            the file, which they wrote first.
    """

    directory: Path
    content: dict[str, Any]
    started: int
    texts: bool = True

    @property
    def plan(self) -> dict[str, Any]:
        """The resolved plan."""
        plan: dict[str, Any] = self.content["plan"]
        return plan

    @property
    def name(self) -> str:
        """The directory's own name."""
        return own_name(self.directory)

    @cached_property
    def places(self) -> Places:
        """The local paths of the plan."""
        return places_of(self.content)

    @property
    def when(self) -> str:
        """`started`, in ISO 8601 and UTC."""
        return datetime.fromtimestamp(self.started, UTC).isoformat()

    @property
    def command(self) -> str:
        """The command that made the run, but for `--out`; `unknown` of a run that does not tell."""
        if not self.texts:  # it may name tasks and prompts
            return HIDDEN
        words = [str(word) for word in self.content.get("command") or []]
        if not words:
            return "unknown"
        program = PurePosixPath(words[0])
        first = "fewgen" if program.stem in ("fewgen", "cli", "__main__") else program.name
        return shlex.join([first, *map(self.places.word, _without_out(words[1:]))])

    @property
    def commit(self) -> str:
        """The commit of the code, and whether it was changed; `unknown` outside a checkout."""
        return commit_of(self.content.get("git") or {})

    @property
    def hardware(self) -> str:
        """Processor, cores and system."""
        told = self.content.get("hardware") or {}
        parts = [told.get("processor"), told.get("cores") and f"{told['cores']} cores"]
        return ", ".join(str(part) for part in [*parts, told.get("system")] if part) or "unknown"

    @property
    def versions(self) -> dict[str, str]:
        """Libraries, fewgen and Python among them, to their versions."""
        found = dict(self.content.get("packages") or {})
        found["python"] = (self.content.get("hardware") or {}).get("python")
        return {name: str(told) for name, told in found.items() if told}


def _without_out(words: Sequence[str]) -> Iterator[str]:
    for before, word in zip(["", *words], words, strict=False):
        if before != "--out" and not (word == "--out" or word.startswith("--out=")):
            yield word


def read_run(directory: Path, texts: bool = True) -> Run:
    """What a run directory was made with; `texts` as in `Run`.

    Raises:
        UserError: it is no run directory, or its `run.json` is damaged.
    """
    path = directory / "run.json"
    if not path.is_file():
        raise UserError(f"{directory} is not a run directory: it has no run.json")
    content = read_json(path)
    plan = content.get("plan") if isinstance(content, dict) else None
    if not isinstance(plan, dict) or not {"seeds", "train_seeds"} <= set(plan):
        raise UserError(f"{path}: damaged, it holds no plan")
    try:
        began = datetime.fromisoformat(content["started"]).timestamp()
    except (KeyError, TypeError, ValueError):
        began = path.stat().st_mtime
    return Run(directory, content, int(began), texts)


def cell_paths(directory: Path) -> list[Path]:
    """The files of a run directory's finished cells, in the order that tables read them."""
    return sorted((directory / "cells").rglob("*.jsonl"))


def read_cells(directory: Path) -> Iterator[tuple[Cell, dict[str, Any], list[dict[str, Any]]]]:
    """The finished cells, one at a time: the cell, its header, its records.

    Raises:
        UserError: one is damaged.
    """
    for path in cell_paths(directory):
        header, records = read_cell(path)
        keys = ("suite", "baseline", "shots", "train_seed", "seed")
        yield Cell(**{key: header[key] for key in keys}), header, records


def check_cells(directories: "list[Path]", texts: bool = True) -> list[Run]:
    """The runs of some directories; `texts` as in `Run`.

    Raises:
        UserError: one is no run directory or is named twice, or none holds a finished cell.
    """
    runs = [read_run(directory, texts) for directory in directories]
    if len({directory.resolve() for directory in directories}) < len(directories):
        raise UserError("a run directory is named twice")
    if not any(cell_paths(directory) for directory in directories):
        raise UserError(f"no finished cell in {', '.join(map(str, directories))}")
    return runs
