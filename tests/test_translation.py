"""The invented family: regular languages, right English."""

import itertools

import pytest

from bench.streams import Stream
from suites.translation.grammar import FIELD_OF, ROOTS, Language, draw_meaning, english
from suites.translation.meanings import meaning_of


def test_roots_and_markers_are_all_different() -> None:
    roots = [root for cognates in ROOTS.values() for root in cognates]
    assert len(roots) == len(set(roots)) == 3 * len(FIELD_OF)


def test_a_language_is_its_index() -> None:
    stream = Stream(1, "test")
    meanings = [draw_meaning(stream) for _ in range(50)]
    say = [[Language(i).say(m) for m in meanings] for i in (3, 3, 4)]
    assert say[0] == say[1] != say[2]


def test_a_language_is_regular() -> None:
    """The same words in another order or with other markers, and nothing besides."""
    language = Language(7, sporadic=0.0)
    stream = Stream(2, "test")
    markers = set(language.marker.values())
    for _ in range(200):
        meaning = draw_meaning(stream)
        words = [w.split("-") for w in language.say(meaning).split()]
        roots = [w[0] for w in words if w[0] not in markers]
        nouns = [n for n in (meaning.subject, meaning.object, meaning.place) if n]
        said = [meaning.action, *(n.noun for n in nouns), *(n.quality for n in nouns if n.quality)]
        said += [meaning.relation] if meaning.relation else []
        assert sorted(roots) == sorted(language.root[word] for word in said)
        assert {suffix for w in words for suffix in w[1:]} <= markers


def test_english_has_the_right_articles() -> None:
    stream = Stream(0, "english")
    for _ in range(300):
        sentence = english(draw_meaning(stream))
        words = sentence.split()
        assert 5 <= len(words) <= 14
        for one, two in itertools.pairwise(words):
            if one in ("a", "an"):
                assert (one == "an") == (two[0] in "aeiou")


def test_english_sentences_are_read_back() -> None:
    for number in range(2000):
        meaning = draw_meaning(Stream(number, "read back"))
        assert meaning_of(english(meaning)) == meaning
    for text in (
        "",
        "the goat",
        "the goat saw",
        "a goats saw the cow",
        "the goat saw the cow near",
    ):
        with pytest.raises(ValueError, match="no English sentence of the suite"):
            meaning_of(text)
