"""Dialogue: service domains, each with a clerk of some persona."""

from collections.abc import Callable
from pathlib import Path

from bench.metrics import Metric
from bench.tasks import Suite
from suites.dialogue.desks import HOUSE, Clerk, Talk, draw_talk, said, turns
from suites.dialogue.hub import PUBLIC
from suites.procedural import Procedural

VERSION = "1"


def _rules(index: int) -> Callable[[Talk], tuple[str, str]]:
    clerk = Clerk(index)
    return lambda talk: (turns(talk, clerk.domain), clerk.answer(talk))


def _embedded() -> Procedural[Talk]:
    return Procedural("dialogue", VERSION, HOUSE, "clerk", draw_talk, said, _rules)


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
    )
