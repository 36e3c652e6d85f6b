"""README's tables are those of the page that `scripts/quick_tables.py` writes."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_readme_shows_the_published_tables() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "quick_tables.py"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    _, block = script["BLOCK"].search(readme)[2].split(":\n", 1)
    page = (ROOT / "results" / "quick-suites.md").read_text(encoding="utf-8")
    made = script["tables"](page)
    assert sorted(made) == ["dialogue", "summarization", "translation", "writing"]
    assert list(script["shortened"](block, made)) == block.splitlines()
