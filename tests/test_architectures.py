"""Every architecture of the matrix equals transformers, or is refused by name."""

from pathlib import Path
from typing import Any

import pytest

from bench.tasks import Example
from tests.architectures import ARCHITECTURES, FAMILIES, Verdict, judged, page, row

# Experts are moved while a task's weights stand in them; torch says so once per process.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")

PAGE = Path(__file__).parent.parent / "docs" / "architectures.md"
MOST_REFUSED = 5
FAST = [name for names in FAMILIES.values() for name in list(names)[:2]]
FOUND: dict[str, Verdict] = {}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in ARCHITECTURES],
)
def test_an_architecture_equals_transformers_or_is_refused(
    name: str, tokenizer: Any, examples: list[Example]
) -> None:
    FOUND[name] = judged(name, tokenizer, examples)
    assert row(FOUND[name]) in PAGE.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("text", [PAGE.read_text(encoding="utf-8")])
def test_the_page_lists_the_matrix_and_few_are_refused(text: str) -> None:
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert [line.split("`")[1] for line in rows] == list(ARCHITECTURES)
    assert len(rows) >= 40
    assert sum("| refused |" in line for line in rows) <= MOST_REFUSED
    made = []
    for line, (name, family) in zip(rows, ARCHITECTURES.items(), strict=True):
        losses, answers = (part.strip() for part in line.split("|")[2:4])
        made.append(Verdict(name, family, losses, answers))
    assert page(made) == text
