"""Poets: two lines that rhyme with the opening, in the poet's form and images."""

import pytest

from bench.streams import Stream
from suites.writing.stanzas import IMAGES, RHYMES, Poet, draw_opening, opening_text

OPENINGS = [draw_opening(Stream(i, "test")) for i in range(200)]
ENDINGS = {word: n for n, (ends, _) in enumerate(RHYMES) for word in ends}
ANSWERS = {word: (n, field) for n, (_, own) in enumerate(RHYMES) for field, word in own.items()}


def sounds(lines: list[str]) -> list[str]:
    """The last word of each line, marks left out."""
    return [[word for word in line.split() if word.isalpha()][-1] for line in lines]


@pytest.mark.parametrize("index", [0, 3, 604])
def test_the_stanza_rhymes_by_the_poets_scheme_and_images(index: int) -> None:
    poet = Poet(index)
    for opening in OPENINGS:
        given = [ENDINGS[word] for word in sounds(opening_text(opening).splitlines())]
        found = [ANSWERS[word] for word in sounds(poet.go_on(opening).splitlines())]
        assert [n for n, _ in found] == (given if poet.crossed else given[::-1])
        assert {field for _, field in found} == {poet.image}


def test_the_refrain_comes_back() -> None:
    """The words of the last line that are no image of this stanza are the same each time."""
    for index in range(20):
        poet = Poet(index, sporadic=0.0)
        figures = set(poet.words.values())
        frames = set()
        for opening in OPENINGS:
            last = poet.go_on(opening).splitlines()[-1].split()
            frames.add(tuple("_" if w in figures or w in ANSWERS else w for w in last))
        assert len(frames) == 1


def test_a_word_has_one_sound() -> None:
    ends = [word for words, _ in RHYMES for word in words]
    answers = [word for _, own in RHYMES for word in own.values()]
    assert len(ends) == len(set(ends))
    assert len(answers) == len(set(answers)) == len(RHYMES) * len(IMAGES)


def test_the_lines_of_an_opening_do_not_rhyme() -> None:
    assert all(one.rhyme != two.rhyme for one, two in OPENINGS)
