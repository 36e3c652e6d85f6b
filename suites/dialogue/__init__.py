"""Dialogue: service domains, each with a clerk of some persona."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.metrics import Metric
from bench.tasks import Dial, Suite
from suites.dialogue.desks import HOUSE, RULES, Clerk, Talk, draw_talk, said, turns
from suites.dialogue.hub import PUBLIC
from suites.dials import Levels, make_dials, revisions
from suites.procedural import Procedural

VERSION = "1"
DIALS = make_dials(
    (3, 5, len(RULES)),
    Dial((1, 2, 3), 2, "slots echoed: one, two or three, all and with every act"),
)


def _rules(levels: Levels, index: int) -> Callable[[Talk], tuple[str, str]]:
    clerk = Clerk(index, levels=levels)
    return lambda talk: (turns(talk, clerk.domain), clerk.answer(talk))


def _embedded(**dials: int) -> Procedural[Talk]:
    return Procedural(
        "dialogue",
        streams=HOUSE,
        label="clerk",
        draw=draw_talk,
        key=said,
        rules=partial(_rules, Levels(**dials)),
        **revisions(VERSION, DIALS, dials),
    )


def _metrics(embedded: bool, language: str | None) -> list[Metric]:
    """How well answers keep a task's rules, which only the embedded tasks have."""
    from suites.dialogue.rules import rules

    return [rules()] if embedded else []


def suite() -> Suite:
    """The suite as it registers under `fewgen.suites`."""
    return Suite(
        name="dialogue",
        version=VERSION,
        summary="Service dialogues, answered by clerks with manners of their own",
        card=(Path(__file__).parent / "CARD.md").read_text(encoding="utf-8"),
        primary="bleu",
        max_new_tokens=32,
        language="en",
        embedded=_embedded,
        public=PUBLIC,
        metrics=_metrics,
        dials=DIALS,
    )
