"""Low-resource translation: English into invented languages of one family."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.metrics import Metric
from bench.tasks import Dial, Suite
from suites.dials import Levels, make_dials, revisions
from suites.procedural import Procedural
from suites.translation.grammar import (
    GRAMMAR,
    LENGTHS,
    RULES,
    Language,
    Meaning,
    draw_meaning,
    english,
)
from suites.translation.hub import PUBLIC

VERSION = "2"
DIALS = make_dials(
    (4, 8, len(RULES)), Dial(tuple(LENGTHS), 2, "adjectives and phrases of place: none, some, many")
)


def _rules(levels: Levels, index: int) -> Callable[[Meaning], tuple[str, str]]:
    language = Language(index, levels=levels)
    return lambda meaning: (english(meaning), language.say(meaning))


def _embedded(**dials: int) -> Procedural[Meaning]:
    levels = Levels(**dials)
    return Procedural(
        "translation",
        streams=GRAMMAR,
        label="velari",
        draw=partial(draw_meaning, length=levels.length),
        key=english,
        rules=partial(_rules, levels),
        **revisions(VERSION, DIALS, dials),
    )


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
        dials=DIALS,
    )
