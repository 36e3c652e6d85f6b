"""Overlap of text: against brute force, with planted leaks, on streams and other scripts."""

import random
import re
import tracemalloc
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import overlap
from bench.overlap import Overlap, overlaps
from bench.tasks import Example


def example(text: str, *references: str) -> Example:
    return Example(text, references or ("-",), "i", "g")


def plain(text: str) -> list[str]:
    return re.findall("[a-z0-9]+", text.lower())


def in_common(text: str, training: Sequence[Example]) -> bool:
    """By search in lists of words."""
    words = plain(text)
    size = min(len(words), 13)
    wanted = [words[i : i + size] for i in range(len(words) - size + 1)] if words else []
    texts = [plain(t) for e in training for t in (e.input, *e.references)]
    return any(t[i : i + size] in wanted for t in texts for i in range(len(t) - size + 1))


@pytest.fixture(params=[1, 3, 2**13])
def batches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "TEXTS", request.param)
    monkeypatch.setattr(overlap, "REMEMBERED", request.param)


def drawn(stream: random.Random, count: int, most: int) -> list[Example]:
    """Of three words, so that runs of any length are in common here and there."""

    def text() -> str:
        return " ".join(stream.choices(["a", "B", "c,"], k=stream.randint(1, most)))

    return [example(text(), *(text() for _ in range(stream.randint(1, 2)))) for _ in range(count)]


@pytest.mark.usefixtures("batches")
@pytest.mark.parametrize("seed", range(6))
def test_overlap_is_that_of_brute_force(seed: int) -> None:
    stream = random.Random(seed)
    held_out = [drawn(stream, 30, 16), [*drawn(stream, 7, 40), *drawn(stream, 7, 3)]]
    training = drawn(stream, 40, 14)
    for found, examples in zip(overlaps(held_out, iter(training)), held_out, strict=True):
        inputs = [in_common(e.input, training) for e in examples]
        targets = [any(in_common(t, training) for t in e.references) for e in examples]
        assert found.inputs.tolist() == inputs
        assert found.targets.tolist() == targets
        assert examples is held_out[1] or 0 < sum(inputs) < len(inputs)
        both = sum(a and b for a, b in zip(inputs, targets, strict=True))
        assert found.share() == pytest.approx(
            {
                "inputs": sum(inputs) / len(inputs),
                "targets": sum(targets) / len(inputs),
                "both": both / len(inputs),
            }
        )


words = st.lists(st.sampled_from("abcdefgh"), min_size=13, max_size=30)


@given(words, words, st.integers(0, 17))
def test_a_planted_run_of_thirteen_is_found(held: list[str], around: list[str], at: int) -> None:
    run = held[min(at, len(held) - 13) :][:13]
    text = " ".join([*around, *run, *around]).upper().replace(" ", "  ,\n")
    (found,) = overlaps([[example(" ".join(held), "x y z w")]], [example("zz", text)])
    assert found.inputs.tolist() == [True]
    assert found.targets.tolist() == [False]


def test_twelve_of_many_words_are_no_overlap_and_a_short_text_counts_whole() -> None:
    held = [example(" ".join(f"w{i}" for i in range(20)), "five words are its whole")]
    twelve = " ".join(f"w{i}" for i in range(12))
    assert overlaps([held], [example(twelve, "five words are its")])[0].share()["inputs"] == 0
    found = overlaps([held], [example("x", f"so, five WORDS are its whole! {twelve}")])[0]
    assert found.share() == {"inputs": 0.0, "targets": 1.0, "both": 0.0}


def test_no_run_goes_from_one_text_into_the_next() -> None:
    found = overlaps([[example("one two three four", "y z")]], [example("one two", "three four")])
    assert found[0].share()["inputs"] == 0
    assert overlaps([[example("two three", "q")]], [example("one two", "three")])[0].inputs[0] == 0


def test_scripts_without_spaces_count_by_character() -> None:
    text = "天地玄黄宇宙洪荒日月盈昃辰宿列张"
    assert overlaps([[example(text, "x")]], [example("寒来暑往" + text[2:15])])[0].inputs[0]
    assert not overlaps([[example(text, "x")]], [example("寒来暑往" + text[2:14])])[0].inputs[0]


def test_texts_of_signs_alone_and_empty_training_have_nothing_in_common() -> None:
    held = [example("?!", "..."), example("a b", "c")]
    assert overlaps([held], [example("?!", "...")])[0].inputs.tolist() == [False, False]
    assert overlaps([held], [])[0].share() == {"inputs": 0.0, "targets": 0.0, "both": 0.0}


def test_two_training_texts_together() -> None:
    held = [example("a b", "c d"), example("e f", "g h")]
    one, other = (overlaps([held], [example(t)])[0] for t in ("x a b", "g h e f"))
    both: Overlap = one | other
    assert both.inputs.tolist() == [True, True]
    assert both.targets.tolist() == [False, True]


def test_memory_does_not_grow_with_the_training_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "TEXTS", 256)
    monkeypatch.setattr(overlap, "REMEMBERED", 1024)

    def stream(count: int) -> Iterator[Example]:
        return (
            example(f"w{i % 97} w{i % 89} w{i % 83} w{i}", f"w{i % 7} w{i}") for i in range(count)
        )

    def peak(count: int) -> int:
        overlap._hash.cache_clear()
        tracemalloc.start()
        overlaps([[example("w1 w2", "w3")]], stream(count))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few = 4_000
    assert peak(4 * few) - peak(few) < 300 * 3 * few, "the words' cache grows, and nothing else"
