"""Published tables are those that their scripts make of what was measured."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_readme_shows_the_published_tables() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "quick_tables.py"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    _, block = script["BLOCK"].search(readme)[2].split(":\n", 1)
    page = (ROOT / "results" / "quick-suites.md").read_text(encoding="utf-8")
    assert sorted(script["tables"](page)) == "dialogue summarization translation writing".split()
    assert list(script["shortened"](block, page)) == block.splitlines()


def test_timing_page_shows_what_was_measured() -> None:
    folder = ROOT / "results" / "timing"
    script = runpy.run_path(str(folder / "table.py"))
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert script["page"]() == page
    assert "| meta-step-order-2 |" in page
    assert script["LACKING"] in page
