"""Low-resource translation: English into invented languages of one family."""

from collections.abc import Callable
from pathlib import Path

from bench.metrics import Metric
from bench.tasks import Suite
from suites.procedural import Procedural
from suites.translation.grammar import GRAMMAR, Language, Meaning, draw_meaning, english
from suites.translation.hub import PUBLIC

VERSION = "2"


def _rules(index: int) -> Callable[[Meaning], tuple[str, str]]:
    language = Language(index)
    return lambda meaning: (english(meaning), language.say(meaning))


def _embedded() -> Procedural[Meaning]:
    return Procedural("translation", VERSION, GRAMMAR, "velari", draw_meaning, english, _rules)


def _metrics(embedded: bool, language: str | None) -> list[Metric]:
    """How well answers keep a task's rules, which only the embedded tasks have."""
    from suites.translation.rules import rules

    return [rules()] if embedded else []


def suite() -> Suite:
    """The suite as it registers under `fewgen.suites`."""
    return Suite(
        name="translation",
        version=VERSION,
        summary="English into invented low-resource languages of one family",
        card=(Path(__file__).parent / "CARD.md").read_text(encoding="utf-8"),
        primary="chrf",
        max_new_tokens=32,
        language="en",
        embedded=_embedded,
        public=PUBLIC,
        metrics=_metrics,
    )
