"""The workflow files fit their vendors' schemas and call what there is."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from bench.cli import main

ROOT = Path(__file__).parent.parent
FILES = {
    ".github/workflows/gate.yml": "vendor.github-workflows",
    ".gitlab-ci.yml": "vendor.gitlab-ci",
}


def check(path: Path, schema: str) -> "subprocess.CompletedProcess[str]":
    words = ["-m", "check_jsonschema", "--builtin-schema", schema, str(path)]
    return subprocess.run([sys.executable, *words], capture_output=True, text=True)


@pytest.mark.parametrize(("name", "schema"), FILES.items())
def test_workflows_fit_the_vendors_schema(name: str, schema: str, tmp_path: Path) -> None:
    done = check(ROOT / name, schema)
    assert done.returncode == 0, done.stdout + done.stderr
    spoiled = tmp_path / "spoiled.yml"
    spoiled.write_text((ROOT / name).read_text().replace("gate:\n", "gate:\n  nonsense: [1]\n", 1))
    if name.startswith(".github"):
        spoiled.write_text((ROOT / name).read_text().replace("runs-on", "run-on"))
    assert check(spoiled, schema).returncode == 1


def scripts(value: Any) -> list[str]:
    """The texts of all steps."""
    if isinstance(value, dict):
        own = [value[key] for key in ("run", "script", "before_script") if key in value]
        inner = [item for item in value.values() if isinstance(item, dict | list)]
        texts = [t for found in own for t in (found if isinstance(found, list) else [found])]
        return texts + [text for item in inner for text in scripts(item)]
    if isinstance(value, list):
        return [text for item in value for text in scripts(item)]
    return []


@pytest.mark.parametrize("name", FILES)
def test_workflows_call_options_that_exist(name: str) -> None:
    text = "\n".join(scripts(yaml.safe_load((ROOT / name).read_text())))
    assert "fewgen compare --interleave" in text
    called = set(re.findall(r"(?<!\S)--[a-z-]+", text.split("fewgen compare")[1])) - {"--quiet"}
    help_text = CliRunner().invoke(main, ["compare", "--help"]).output
    assert len(called) == 5
    assert all(option in help_text for option in called)
    assert "make .venv/.ready" in text


def test_workflows_may_read_and_no_more() -> None:
    found = yaml.safe_load((ROOT / ".github/workflows/gate.yml").read_text())
    assert found["permissions"] == {"contents": "read"}
    assert found["jobs"]["gate"]["steps"][0]["with"]["persist-credentials"] is False
