"""Outlets: what is salient is told, in the outlet's own words, and nothing else is."""

import pytest

from bench.streams import Stream
from suites.summarization.reports import (
    KINDS,
    LEXICON,
    PEOPLE,
    ROLES,
    Outlet,
    Report,
    draw_report,
    wire,
)

REPORTS = [draw_report(Stream(i, "test")) for i in range(200)]


def variants_of(report: Report, role: str) -> set[str]:
    field = role if role in ("place", "day", "amount", "mood") else f"{report.kind} {role}"
    return set(LEXICON[field][report.word(role)])


@pytest.mark.parametrize("index", [0, 7, 600])
def test_a_summary_tells_the_salient_facts_and_no_other(index: int) -> None:
    outlet = Outlet(index)
    for report in REPORTS:
        said = set(outlet.sum_up(report).split())
        told = {role for role in ROLES if variants_of(report, role) & said}
        assert told == set(outlet.salient[report.kind in PEOPLE]) - {"core"}
        assert variants_of(report, "actor") & said
        assert variants_of(report, "event") & said


def test_the_wire_tells_every_fact() -> None:
    for report in REPORTS:
        words = wire(report).split()
        assert [report.kind, ":", report.actor, report.event, "."] == words[:5]
        assert {report.word(role) for role in ROLES} <= set(words)


def test_each_word_belongs_to_one_meaning_of_its_kind() -> None:
    shared = [word for field in ("place", "day", "amount", "mood") for word in LEXICON[field]]
    for kind in KINDS:
        own = [w for role in ("actor", "event", "cause") for w in LEXICON[f"{kind} {role}"]]
        said = [v for f in LEXICON.values() for m, vs in f.items() if m in own + shared for v in vs]
        assert len(said) == len(set(said))


def test_outlets_judge_people_and_things_by_rules_of_their_own() -> None:
    outlets = [Outlet(i) for i in range(300)]
    rules = {tuple(o.salient[people]) for o in outlets for people in (True, False)}
    # What happened and two of five facts in any order: 10 x 6.
    assert len(rules) == 60
    assert sum(o.salient[True] != o.salient[False] for o in outlets) > 270
