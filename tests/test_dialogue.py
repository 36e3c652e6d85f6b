"""Clerks: the right act with the right slots, in the persona's words."""

import pytest

from bench.streams import Stream
from suites.dialogue.desks import (
    ACTS,
    DOMAINS,
    FIELD_OF_SLOT,
    LEXICON,
    SLOTS,
    Clerk,
    Talk,
    draw_talk,
    free_time,
    price,
    said,
    turns,
)

TALKS = [draw_talk(Stream(i, "test")) for i in range(300)]
WORD_OF_ACT = {
    "ask": "ask which",
    "confirm": "confirm booked",
    "offer": "offer instead",
    "price": "price costs",
    "cancel": "cancel cancelled",
}


def words_of(key: str) -> set[str]:
    return set(LEXICON[key.split(" ")[0]][key])


def slot_words(slot: str, value: str) -> set[str]:
    return words_of(f"{FIELD_OF_SLOT[slot]} {value}")


@pytest.mark.parametrize("index", [0, 11, 605])
def test_the_response_carries_the_act_and_its_slots(index: int) -> None:
    clerk = Clerk(index)
    for talk in TALKS:
        answer = set(clerk.answer(talk).replace(",", " ").split())
        wanted = dict(zip(SLOTS, talk.values, strict=True))
        assert answer & words_of(WORD_OF_ACT[talk.act])
        if talk.act == "ask":
            assert answer & words_of(f"slots {talk.missing}")
            assert not any(answer & slot_words(slot, value) for slot, value in wanted.items())
        if talk.act == "confirm":
            told = {slot for slot, value in wanted.items() if answer & slot_words(slot, value)}
            assert told == set(clerk.slots)
        if talk.act == "offer":
            assert answer & slot_words("time", free_time(talk))
        if talk.act == "price":
            assert answer & words_of(f"coins {price(talk)}")


def test_the_turns_make_the_act_plain() -> None:
    """Read back from the text alone, as a guest at the desk would."""
    for talk in TALKS:
        text = turns(talk, "ferry")
        last = text.splitlines()[-1]
        named = [slot for slot, value in zip(SLOTS, talk.values, strict=True) if value in text]
        act = (
            "cancel"
            if "forget it" in last
            else "price"
            if "how much ?" in text
            else "confirm"
            if last == "desk : free"
            else "offer"
            if last.startswith("desk :")
            else "ask"
        )
        assert act == talk.act
        if act == "ask":
            assert talk.missing not in named


def test_a_talk_is_what_is_said() -> None:
    """Talks that differ only in what their act does not need are one content."""
    one = Talk("confirm", ("monday", "noon", "two"), 1, "day", 0, True, 0)
    same = Talk("confirm", ("monday", "noon", "two"), 1, "size", 2, True, 0)
    assert said(one) == said(same)
    assert len({said(talk) for talk in TALKS}) > 250


def test_every_act_and_domain_occurs() -> None:
    assert {talk.act for talk in TALKS} == set(ACTS)
    assert {Clerk(i).domain for i in range(100)} == set(DOMAINS)
    # A held-out clerk's domain has been met, its persona has not.
    assert {Clerk(i).domain for i in range(560, 608)} == set(DOMAINS)


def test_words_of_two_meanings_differ() -> None:
    said_by_clerks = [w for field in LEXICON.values() for words in field.values() for w in words]
    assert len(said_by_clerks) == len(set(said_by_clerks))
