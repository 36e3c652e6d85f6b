"""What tables of several run directories have to say: how their code and libraries differ, and why
rows of one suite are in different tables."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.blocks import decoding_of, questions, start
from bench.exports.runs import commit_of
from bench.readers import own_name
from bench.records import read_json

if TYPE_CHECKING:
    from bench.tables import Block, Row


def made_otherwise(rows: "Iterable[Row]") -> str:
    """How the run directories of some rows differ in versions and commits, and which are of code
    with uncommitted changes; empty for one directory, and where all are alike."""
    directories = dict.fromkeys(directory for row in rows for directory in row.directories)
    if len(directories) < 2:
        return ""
    runs = {directory: _made_with(directory) for directory in directories}
    names = list(map(own_name, directories))
    called = dict(zip(directories, names, strict=True))
    if len(set(names)) < len(names):
        called = {directory: f"run {number}" for number, directory in enumerate(directories, 1)}
    found = []
    for key in dict.fromkeys(key for made in runs.values() for key in made):
        values: dict[str, list[str]] = {}
        for directory, made in runs.items():
            values.setdefault(made.get(key, "unknown"), []).append(called[directory])
        if len(values) > 1 or "with changes" in next(iter(values)):
            told = (f"{value} ({', '.join(those)})" for value, those in values.items())
            found.append(f"{key} {', '.join(told)}")
    return "; ".join([*found, *_other_files(called)])


def _other_files(called: Mapping[Path, str]) -> list[str]:
    """Backbones whose identity is one, though their files differ: in how the tokenizer cuts texts,
    say, or in code that the checkpoint brings."""
    files: dict[str, dict[str, list[str]]] = {}
    for directory, name in called.items():
        facts = read_json(directory / "run.json").get("facts") or {}
        if digest := facts.get("backbone_files"):
            files.setdefault(str(facts.get("backbone")), {}).setdefault(digest, []).append(name)
    return [
        f"files of backbone {backbone} differ ({' and '.join(map(', '.join, those.values()))})"
        for backbone, those in files.items()
        if len(those) > 1
    ]


def _made_with(directory: Path) -> dict[str, str]:
    """Versions and commit of a run, as far as it tells them."""
    run = read_json(directory / "run.json")
    packages = run.get("packages") or {}
    made = {name: str(version or "not installed") for name, version in packages.items()}
    git: Mapping[str, Any] = run.get("git") or {}
    if git.get("commit"):
        short = {**git, "commit": str(git["commit"])[:12]}
        made["commit"] = commit_of(short)
    return made


def apart(block: "Block", before: "Sequence[Block]") -> str:
    """Why a table is not one with an earlier one of its suite and K; empty where there is none, or
    where its caption tells: other data, backbone or decoding."""
    for other in before:
        ours, theirs = (questions(made.rows[0]) for made in (block, other))
        alike = ("suite", "dataset", "revision", "split", "shots")
        if any(ours[key] != theirs[key] for key in alike):
            continue
        number = other.lines[0]["block"]
        differ = [key for key in ours if ours[key] != theirs[key]]
        if differ:
            told = "; ".join(_differ(key, ours[key], theirs[key]) for key in differ)
            return f"unlike in table {number}, {told}"
        if _from(block) == _from(other):
            return (
                f"its episodes differ from those of table {number}, though the questions are the "
                "same: the data changed without a new revision"
            )
    return ""


def _from(block: "Block") -> list[tuple[str | None, str]]:
    """What tells blocks of equal questions apart: decoding and weights."""
    models = [row for row in block.rows if decoding_of(row) is not None]
    return sorted({(str(decoding_of(row)), start(row)) for row in models})


def _differ(key: str, ours: Any, theirs: Any) -> str:
    """A difference in words; signatures are in both captions."""
    if key == "signatures":
        return "the metrics' signatures are others"
    return f"{key} = {_told(ours)} (there {_told(theirs)})"


def _told(value: Any) -> str:
    return ",".join(map(str, value)) or "all" if isinstance(value, list) else str(value)
