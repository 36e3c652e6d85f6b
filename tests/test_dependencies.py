"""Every package that the code imports is declared, and pinned."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bench.registry import _of_extra

ROOT = Path(__file__).parent.parent
OWN = {"bench", "suites", "baselines", "tests", "scripts"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ABSENT = {"pynvml": "nvidia-ml-py"}  # of an extra that need not be installed
# Imported by a library for us: pandas' to_markdown, pip's builds of `compare --interleave`.
INDIRECT = {"tabulate", "setuptools"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(folders: list[str]) -> set[str]:
    found: set[str] = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - OWN - set(sys.stdlib_module_names)


def declared(*extras: str) -> set[str]:
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][e] for e in extras)]
    return {normal(Requirement(text).name) for texts in lists for text in texts}


@pytest.mark.parametrize(
    ("folders", "extras"),
    [
        (["bench", "suites", "baselines"], ["tune", "peers", "energy"]),
        (["tests", "scripts"], ["dev", "peers", "energy"]),
    ],
)
def test_what_is_imported_is_declared(folders: list[str], extras: list[str]) -> None:
    known = packages_distributions()
    for module in sorted(imported(folders)):
        names = {normal(n) for n in known.get(module, [ABSENT.get(module, module)])}
        assert names & declared(*extras), f"{module} is imported and not declared"
    assert declared() >= INDIRECT


def test_what_is_declared_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    pinned = {normal(line.partition("==")[0]) for line in lines}
    assert declared("dev", "peers", "tune") <= pinned


@pytest.mark.parametrize("text", ["a>=1", "a>=1; python_version < '3.13'"])
def test_extras_of_a_checkout_read_as_metadata_does(text: str) -> None:
    made = Requirement(_of_extra(text, "peers"))
    assert str(made.specifier) == ">=1"
    assert made.marker
    assert not made.marker.evaluate({"extra": "", "python_version": "3.11"})
    assert made.marker.evaluate({"extra": "peers", "python_version": "3.11"})
