"""Letters and the front against their definitions, by brute force."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.ranks import Point, front, letters

Pairs = frozenset[tuple[int, int]]


@st.composite
def relations(draw: st.DrawFn) -> tuple[int, Pairs]:
    """Up to 9 rows, and which pairs of them differ."""
    count = draw(st.integers(1, 9))
    pairs = list(combinations(range(count), 2))
    chosen = draw(st.lists(st.booleans(), min_size=len(pairs), max_size=len(pairs)))
    return count, frozenset(pair for pair, differs in zip(pairs, chosen, strict=True) if differs)


def shown(count: int, different: Pairs) -> list[str]:
    return letters(range(count), lambda i, j: (min(i, j), max(i, j)) in different)


def sets_of(texts: list[str]) -> dict[str, set[int]]:
    """The rows of each letter."""
    split = [text.split(",") if "," in "".join(texts) else list(text) for text in texts]
    names = sorted({name for part in split for name in part}, key=lambda name: (len(name), name))
    return {name: {i for i, part in enumerate(split) if name in part} for name in names}


@given(relations())
def test_rows_share_a_letter_if_and_only_if_they_do_not_differ(relation: tuple[int, Pairs]) -> None:
    count, different = relation
    texts = shown(count, different)
    for i, j in combinations(range(count), 2):
        assert (not set(texts[i]) & set(texts[j])) == ((i, j) in different)


@given(relations())
def test_letters_are_all_the_largest_sets_in_order(relation: tuple[int, Pairs]) -> None:
    """Every subset of the rows is tried."""
    count, different = relation
    alike = [
        set(rows)
        for size in range(1, count + 1)
        for rows in combinations(range(count), size)
        if not different & set(combinations(rows, 2))
    ]
    largest = [rows for rows in alike if not any(rows < other for other in alike)]
    found = sets_of(shown(count, different))
    assert list(found.values()) == sorted(largest, key=sorted)
    assert list(found) == list("abcdefghijklmnopqrstuvwxyz"[: len(found)])
    assert "a" in shown(count, different)[0]
    assert all(text == "".join(sorted(text)) for text in shown(count, different))


def test_a_known_display() -> None:
    """A chain: neighbours do not differ, all others do."""
    assert letters("wxyz", lambda a, b: abs(ord(a) - ord(b)) > 1) == ["a", "ab", "bc", "c"]
    assert letters("wxyz", lambda a, b: False) == ["a"] * 4
    assert letters("wxyz", lambda a, b: True) == list("abcd")
    assert letters("", lambda a, b: True) == []


@pytest.mark.parametrize("count", [26, 27, 60, 703])
def test_more_than_the_alphabet(count: int) -> None:
    """Neighbours share a letter: count letters, which stay apart."""
    texts = letters(range(count + 1), lambda i, j: abs(i - j) > 1)
    names = [set(text.split(",")) if count > 26 else set(text) for text in texts]
    assert len(set().union(*names)) == count
    assert all(
        bool(names[i] & names[j]) == (abs(i - j) <= 1)
        for i, j in combinations(range(min(count, 60) + 1), 2)
    )
    assert texts[1] == ("a,b" if count > 26 else "ab")
    assert texts[-1] == {26: "z", 27: "aa", 60: "bh", 703: "aaa"}[count]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12))
def test_the_front_is_what_nothing_beats(values: list[tuple[int, int]]) -> None:
    points = [Point(score, cost) for score, cost in values]
    expected = [
        not any((s > score and c <= cost) or (s >= score and c < cost) for s, c in values)
        for score, cost in values
    ]
    assert front(points) == expected


def test_costs_of_different_devices_are_not_compared() -> None:
    points = [Point(80, 5, "gpu"), Point(70, 50, "cpu"), Point(60, 60, "cpu"), Point(90, 0)]
    assert front(points[:3]) == [True, True, False]
    assert front(points) == [False, False, False, True], "nothing is less than 0 anywhere"
