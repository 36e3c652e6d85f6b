"""Summarization: reports of several kinds, each outlet with its own house style."""

from collections.abc import Callable
from pathlib import Path

from bench.metrics import Metric
from bench.tasks import Suite
from suites.procedural import Procedural
from suites.summarization.hub import PUBLIC
from suites.summarization.reports import NEWSROOM, Outlet, Report, draw_report, wire

VERSION = "1"


def _rules(index: int) -> Callable[[Report], tuple[str, str]]:
    outlet = Outlet(index)
    return lambda report: (wire(report), outlet.sum_up(report))


def _embedded() -> Procedural[Report]:
    return Procedural("summarization", VERSION, NEWSROOM, "outlet", draw_report, wire, _rules)


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
    )
