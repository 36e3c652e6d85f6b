"""Streams: independent of one another, the same for ever."""

from hypothesis import given
from hypothesis import strategies as st

from bench.streams import Stream, digest_of, fraction_of


def test_the_first_draws_never_move() -> None:
    stream = Stream(0, "episode", "translation", 3)
    assert [stream.below(1000) for _ in range(6)] == FIRST
    assert Stream(0, "a").shuffled(list(range(8))) == SHUFFLED


FIRST = [260, 2, 911, 498, 856, 550]
SHUFFLED = [0, 6, 7, 5, 3, 4, 2, 1]


@given(st.integers(0, 10**6), st.lists(st.integers(), max_size=40))
def test_shuffled_keeps_every_item(seed: int, items: list[int]) -> None:
    assert sorted(Stream(seed, "x").shuffled(items)) == sorted(items)


@given(st.integers(0, 10**6), st.integers(1, 1000))
def test_below_stays_below(seed: int, n: int) -> None:
    stream = Stream(seed, "y")
    assert all(0 <= stream.below(n) < n for _ in range(20))


def test_a_visit_is_a_shuffle_taken_one_by_one() -> None:
    items = [f"item {i}" for i in range(30)]
    one, two = Stream(3, "a"), Stream(3, "a")
    assert list(one.visit(items)) == two.shuffled(items)
    assert one.below(10**9) == two.below(10**9)


def test_names_and_seeds_give_other_streams() -> None:
    draws = {
        tuple(Stream(*key).below(10**6) for _ in range(1))
        for key in [(0, "a"), (1, "a"), (0, "b"), (0, "a", "b"), (0, "ab"), (0, "a", 0)]
    }
    assert len(draws) == 6


def test_digests_tell_structure_apart() -> None:
    assert digest_of("a", "b") != digest_of("ab")
    assert digest_of(["a", "b"]) != digest_of("a", "b")
    assert 0 <= fraction_of("group", "x") < 1
