"""Creative writing: poets with a form, images and a refrain of their own."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.metrics import Metric
from bench.tasks import Dial, Suite
from suites.dials import Levels, make_dials, revisions
from suites.procedural import Procedural
from suites.writing.hub import PUBLIC
from suites.writing.stanzas import RULES, WORKSHOP, Opening, Poet, draw_opening, opening_text

VERSION = "1"
DIALS = make_dials((3, 6, len(RULES)), Dial((2, 3), 2, "lines that the poet adds", {3: 48}))


def _rules(levels: Levels, index: int) -> Callable[[Opening], tuple[str, str]]:
    poet = Poet(index, levels=levels)
    return lambda opening: (opening_text(opening), poet.go_on(opening))


def _embedded(**dials: int) -> Procedural[Opening]:
    return Procedural(
        "writing",
        streams=WORKSHOP,
        label="poet",
        draw=draw_opening,
        key=opening_text,
        rules=partial(_rules, Levels(**dials)),
        **revisions(VERSION, DIALS, dials),
    )


def _metrics(embedded: bool, language: str | None) -> list[Metric]:
    """Form and diversity of any writing, and how well answers keep the rules of embedded poets."""
    from bench.diversity import diversity
    from suites.writing.form import Form
    from suites.writing.rules import rules

    own: list[Metric] = [Form(embedded), *diversity(language)]
    return [rules(), *own] if embedded else own


def suite() -> Suite:
    """The suite as it registers under `fewgen.suites`."""
    return Suite(
        name="writing",
        version=VERSION,
        summary="Stanzas, ended by poets with form, images and rhymes of their own",
        card=(Path(__file__).parent / "CARD.md").read_text(encoding="utf-8"),
        primary="form",
        max_new_tokens=32,
        language="en",
        embedded=_embedded,
        public=PUBLIC,
        metrics=_metrics,
        dials=DIALS,
    )
