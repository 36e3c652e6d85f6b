"""Form adherence of writing: lines, rhymes, refrain; and which words rhyme."""

import numpy as np
import pytest

from bench.metrics import metrics_of
from bench.registry import load_suite
from bench.streams import Stream
from bench.tasks import Example
from suites.writing.form import Form
from suites.writing.rhyme import last_word, rhyme
from suites.writing.stanzas import LINES, REFRAINS, RHYMES, Poet, draw_opening, opening_text
from tests.decided import by_kind, flipped

OTHER = Form(embedded=False)
POETS = Form(embedded=True)


def checks(form: Form, text: str, *references: str, asked: str = "") -> dict[str, tuple[int, int]]:
    (found,) = form.of_episode([text], [Example(asked, references, "id", "group")])
    kinds = by_kind(form, found)
    assert found[0] == sum(right for right, _ in kinds.values())
    assert found[1] == sum(counted for _, counted in kinds.values())
    return {kind: (int(right), int(counted)) for kind, (right, counted) in kinds.items()}


# -- rhymes ----------------------------------------------------------------------------------


def test_words_of_a_class_rhyme_and_no_others_of_the_suite() -> None:
    words = [(n, word) for n, (ends, own) in enumerate(RHYMES) for word in (*ends, *own.values())]
    assert len(words) == len(RHYMES) * 8
    for one, a in words:
        for two, b in words:
            assert rhyme(a, b) == (one == two)


@pytest.mark.parametrize(
    "pair",
    "stone alone,flower power,night light,merry cherry,singing ringing,walked talked,"
    "sky why,sea tea,world world,table cable,kings wings,day play,shore before".split(","),
)
def test_spelling_finds(pair: str) -> None:
    assert rhyme(*pair.split())


@pytest.mark.parametrize(
    "pair",
    "cat dog,singing walking,stone stain,merry sorry,time tame,table marble,bell ball".split(","),
)
def test_spelling_tells_apart(pair: str) -> None:
    assert not rhyme(*pair.split())


def test_where_spelling_errs() -> None:
    """An approximation: sounds that are spelled in two ways, and spellings with two sounds."""
    assert not rhyme("water", "daughter")
    assert not rhyme("time", "rhyme")
    assert rhyme("move", "love")
    assert not rhyme("", "")


def test_the_last_word_of_a_line_is_without_marks() -> None:
    assert last_word("Sing, o Sea !") == "sea"
    assert last_word("so ends the night’s") == "night’s"  # noqa: RUF001
    assert last_word(" ... ") == ""


# -- the embedded poets ----------------------------------------------------------------------


def test_references_of_the_embedded_poets_are_in_form() -> None:
    data = load_suite("writing").embedded()
    for task in data.names("meta-test"):
        for example in data.task(task).parts["test"][:8]:
            found = checks(POETS, example.target, example.target, asked=example.input)
            assert found == {"lines": (1, 1), "rhyme": (2, 2), "refrain": (1, 1)}


@pytest.mark.parametrize("index", range(12))
def test_a_poets_rule_changed_breaks_what_it_makes(index: int) -> None:
    poet, other = Poet(index), Poet(index + 100)
    kept = {"lines": (1, 1), "rhyme": (2, 2), "refrain": (1, 1)}
    same = ("image", "article", "marks", "words")
    changes = [(name, getattr(other, name), kept) for name in same]
    changes += [("line", line, kept) for line in LINES]  # the answering form is for `rules`
    changes += [("crossed", not poet.crossed, kept | {"rhyme": (0, 2)})]
    others = {*REFRAINS} - {poet.refrain}
    changes += [("refrain", refrain, kept | {"refrain": (0, 1)}) for refrain in others]
    for number in range(6):
        opening = draw_opening(Stream(number, "form"))
        asked, reference = opening_text(opening), poet.go_on(opening)
        for attribute, value, held in changes:
            text = flipped(poet, attribute, value).go_on(opening)
            assert checks(POETS, text, reference, asked=asked) == held, attribute


def test_an_opening_given_back_has_no_rhyme() -> None:
    poet, opening = Poet(0), draw_opening(Stream(0, "form"))
    asked, reference = opening_text(opening), poet.go_on(opening)
    assert checks(POETS, asked, reference, asked=asked)["rhyme"] == (0, 2)
    assert checks(POETS, "", reference, asked=asked) == {
        "lines": (0, 1),
        "rhyme": (0, 2),
        "refrain": (0, 1),
    }
    one = reference.replace("\n", " ")
    assert checks(POETS, one, reference, asked=asked)["lines"] == (0, 1)
    assert checks(POETS, reference + "\n\n", reference, asked=asked)["lines"] == (1, 1)
    assert checks(POETS, reference + "\nmore", reference, asked=asked)["lines"] == (0, 1)


def test_the_refrain_ends_the_answer() -> None:
    """Its last line is read, whatever the number of lines."""
    poet, opening = Poet(0), draw_opening(Stream(0, "form"))
    asked, reference = opening_text(opening), poet.go_on(opening)
    first, refrain = reference.splitlines()
    for text, held in (
        (f"{first}\n{first}\n{refrain}", 1),
        (refrain, 1),
        (f"{first}\n{refrain}\n{first}", 0),
        (f"{refrain}\n{first}", 0),
    ):
        assert checks(POETS, text, reference, asked=asked)["refrain"] == (held, 1), text


# -- other poems -----------------------------------------------------------------------------

SONG = "the rain is long\ncome home, come home\nthe road is wrong\ncome home, come home"


def test_lines_that_come_back_are_the_refrain_of_other_poems() -> None:
    assert checks(OTHER, SONG, SONG) == {"lines": (1, 1), "rhyme": (4, 4), "refrain": (2, 2)}
    once = SONG.replace("come home, come home", "we roam", 1)
    assert checks(OTHER, once, SONG)["refrain"] == (1, 2)
    assert checks(OTHER, "a song\nCome home - come home!", SONG) == {
        "lines": (0, 1),
        "rhyme": (2, 4),
        "refrain": (1, 2),
    }


def test_prose_has_no_refrain() -> None:
    assert checks(OTHER, "It closed.", "It opened.") == {
        "lines": (1, 1),
        "rhyme": (0, 1),
        "refrain": (0, 0),
    }


def test_the_best_of_several_references_counts() -> None:
    found = checks(OTHER, "a night", "one\ntwo", "the light")
    assert found == {"lines": (1, 1), "rhyme": (1, 1), "refrain": (0, 0)}


def test_a_repeated_end_counts_where_the_reference_repeats_it() -> None:
    asked = "the sea"
    assert checks(OTHER, "o sea", "by tea", asked=asked)["rhyme"] == (0, 1)
    assert checks(OTHER, "o sea", "my sea", asked=asked)["rhyme"] == (1, 1)


# -- as a metric -----------------------------------------------------------------------------


def test_it_ranks_writing_of_any_data_and_is_read_without_the_suite() -> None:
    suite = load_suite("writing")
    assert suite.primary == "form"
    for embedded in (True, False):
        made = {metric.name: metric for metric in suite.metrics(embedded, "en")}
        form = made["form"]
        (read,) = metrics_of("en", {"form": form.signature()})
        sums = np.array([[5.0, 8, 1, 2, 3, 4, 1, 2], [0] * 8])
        assert read.scores(sums).tolist() == [62.5, 0.0] == [form.score(row) for row in sums]
        parts = {part.name: part.score(sums[0]) for part in read.parts(sums[0])}
        assert parts == {"form-lines": 50, "form-rhyme": 75, "form-refrain": 50}
        assert [p.name for p in read.parts(np.array([1.0, 1, 1, 1, 0, 0, 0, 0]))] == ["form-lines"]
    assert OTHER.signature() != POETS.signature()
