"""Published findings are whole: question, answer, table, picture, command, commit, size."""

import re
import runpy
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent
FINDINGS = ROOT / "results" / "findings"
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "publish_findings.py"))
PAGES = sorted(FINDINGS.glob("*/*.md"))


def test_the_index_lists_every_page_with_its_answer() -> None:
    assert (FINDINGS / "README.md").read_text(encoding="utf-8") == SCRIPT["index"]()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.parent.name)
def test_a_page_is_whole(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    heads = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert heads == ["What would change this", "To know", "Made by"]
    assert re.search(rf"^- Command: `fewgen study {path.stem} .*--size full", text, re.MULTILINE)
    assert re.search(r"^- Commit: [0-9a-f]{40}(; this page: [0-9a-f]{40})?$", text, re.MULTILINE), (
        "a clean checkout"
    )
    assert "Kendall's tau between disjoint halves of the seeds is" in text
    assert f"({path.stem}.svg)" in text
    assert path.with_suffix(".svg").read_text(encoding="utf-8").startswith("<?xml")
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert len(pd.read_csv(path.with_suffix(".csv"))) > 3
    assert not re.search(r"/(home|root|tmp|Users|work)/", text)
