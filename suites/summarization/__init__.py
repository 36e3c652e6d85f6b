"""Summarization: reports of several kinds, each outlet with its own house style."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.metrics import Metric
from bench.tasks import Dial, Suite
from suites.dials import Levels, make_dials, revisions
from suites.procedural import Procedural
from suites.summarization.hub import PUBLIC
from suites.summarization.reports import FACTS, NEWSROOM, RULES, Outlet, Report, draw_report, wire

VERSION = "1"
DIALS = make_dials((4, 8, len(RULES)), Dial(FACTS, 2, "facts told beside what happened"))


def _rules(levels: Levels, index: int) -> Callable[[Report], tuple[str, str]]:
    outlet = Outlet(index, levels=levels)
    return lambda report: (wire(report), outlet.sum_up(report))


def _embedded(**dials: int) -> Procedural[Report]:
    return Procedural(
        "summarization",
        streams=NEWSROOM,
        label="outlet",
        draw=draw_report,
        key=wire,
        rules=partial(_rules, Levels(**dials)),
        **revisions(VERSION, DIALS, dials),
    )


def _metrics(embedded: bool, language: str | None) -> list[Metric]:
    """How well answers keep a task's rules, which only the embedded tasks have."""
    from suites.summarization.rules import rules

    return [rules()] if embedded else []


def suite() -> Suite:
    """The suite as it registers under `fewgen.suites`."""
    return Suite(
        name="summarization",
        version=VERSION,
        summary="Reports of five kinds, summed up by outlets with rules of their own",
        card=(Path(__file__).parent / "CARD.md").read_text(encoding="utf-8"),
        primary="rougeL",
        max_new_tokens=32,
        language="en",
        embedded=_embedded,
        public=PUBLIC,
        metrics=_metrics,
        dials=DIALS,
    )
