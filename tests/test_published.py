"""Published tables are those that their scripts make of what was measured."""

import re
import runpy
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bench.records import read_json

ROOT = Path(__file__).parent.parent
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "publish_results.py"))
PUBLISHED = SCRIPT["published"]()


@cache
def page(name: str) -> str:
    made: str = SCRIPT["page"](name)
    return made


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_page_is_what_the_committed_records_give(name: str) -> None:
    file, _ = SCRIPT["PAGES"][name]
    assert (ROOT / "results" / file).read_text(encoding="utf-8") == page(name)


def test_readme_shows_what_the_committed_records_give() -> None:
    assert "quick" in PUBLISHED
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert SCRIPT["readme"](text, page("quick")) == text
    block = SCRIPT["BLOCK"].search(text)[2]
    assert block.count("\n| baseline |") == 4
    assert block.count("\n| fomaml |") + block.count("\n| **fomaml** |") == 4


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_page_tells_command_commit_and_hardware(name: str) -> None:
    run = read_json(ROOT / "results" / "records" / name / "run.json")
    facts: dict[str, Any] = read_json(ROOT / "results" / "records" / f"{name}.json")
    told = page(name).split("\n\n")[1]
    assert f"`fewgen run {name}` at commit {run['git']['commit'][:7]}" in told
    assert not run["git"]["dirty"]
    assert facts["hardware"] in told
    assert facts["took"] in told


@pytest.mark.parametrize("name", PUBLISHED)
def test_committed_records_are_small_and_name_no_place(name: str) -> None:
    files = [path for path in (ROOT / "results" / "records" / name).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < (2 if name == "quick" else 16) * 2**20
    for path in files:
        assert not re.search(r"/(home|root|tmp|Users|work)/", path.read_text(encoding="utf-8"))


def test_every_page_is_listed() -> None:
    index = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
    for path in sorted((ROOT / "results").glob("*.md")):
        assert path.name == "README.md" or f"({path.name})" in index, path.name


def test_timing_page_shows_what_was_measured() -> None:
    folder = ROOT / "results" / "timing"
    script = runpy.run_path(str(folder / "table.py"))
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert script["page"]() == page
    assert "| meta-step-order-2 |" in page
    assert script["LACKING"] not in page, "CPU and GPU were both measured"


def test_the_readme_says_which_rows_are_marked_for_using_no_support() -> None:
    caption = "writing (embedded, revision 1, meta-test), K = 8, 6 episodes over seeds 0"
    text = f"{caption}\nRanked by chrF.\n† copy +0.0 [+0.0, +0.0] on 2 episode(s).\n"
    told = (
        "† not shown to lose under another task's support: copy +0.0 [+0.0, +0.0] on 2 episode(s)."
    )
    assert SCRIPT["marks"](text) == {"writing": [told]}
    assert SCRIPT["marks"](caption) == {"writing": []}
