"""Episodes: frozen, without a group in both halves, evenly spread over tasks."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.episodes import draw_episode, schedule, usable_tasks
from bench.errors import UserError
from bench.tasks import Example, Task


def make(name: str, **sizes: int) -> Task:
    parts = {
        part: tuple(
            Example(f"{part} {i}", (f"t {i}",), f"{part}{i}", f"{part}-{i // 2}") for i in range(n)
        )
        for part, n in sizes.items()
    }
    return Task(name, parts)


class Fixed:
    """A data set of given tasks, all in every split."""

    name, revision = "fixed", "1"

    def __init__(self, *tasks: Task) -> None:
        self._tasks = {task.name: task for task in tasks}

    def names(self, split: str) -> list[str]:
        return list(self._tasks)

    def task(self, name: str) -> Task:
        return self._tasks[name]


def test_an_episode_is_frozen() -> None:
    task = make("a", train=20, test=10)
    one, two = (draw_episode("s", task, 4, 3, seed=1, index=2) for _ in range(2))
    assert one == two
    assert one.digest != draw_episode("s", task, 4, 3, seed=2, index=2).digest
    assert one.digest != draw_episode("s", task, 4, 3, seed=1, index=3).digest


@given(st.integers(0, 99), st.integers(1, 8))
def test_more_shots_only_add_support(seed: int, shots: int) -> None:
    task = make("a", train=20, test=10)
    few = draw_episode("s", task, shots, 4, seed, 0)
    more = draw_episode("s", task, shots + 4, 4, seed, 0)
    assert more.support[:shots] == few.support
    assert more.query == few.query


def test_no_group_is_in_support_and_query() -> None:
    shared = tuple(Example(f"x{i}", ("y",), f"x{i}", f"g{i % 4}") for i in range(12))
    task = Task("a", {"train": shared, "test": shared})
    for seed in range(30):
        episode = draw_episode("s", task, 2, 12, seed, 0)
        assert not {e.group for e in episode.support} & {e.group for e in episode.query}
        assert episode.query


def test_queries_are_capped_by_what_the_task_has() -> None:
    assert len(draw_episode("s", make("a", train=9, test=3), 4, 16, 0, 0).query) == 3


def test_support_comes_from_validation_where_there_is_no_train() -> None:
    episode = draw_episode("s", make("a", validation=9, test=3), 4, 2, 0, 0)
    assert episode.support_part == "validation"
    assert all(example.id.startswith("validation") for example in episode.support)


def test_a_task_too_small_is_named() -> None:
    with pytest.raises(UserError, match="'a' gives 3 support"):
        draw_episode("s", make("a", train=3, test=3), 4, 2, 0, 0)


def test_small_tasks_are_listed_with_the_reason() -> None:
    data = Fixed(make("small", train=3, test=3), make("big", train=9, test=3), make("no", train=9))
    usable, reasons = usable_tasks(data, "meta-test", 4)
    assert usable == ["big"]
    assert reasons == ["small: 3 examples in train, 4 needed", "no: no examples in test"]
    assert usable_tasks(data, "meta-train", 4)[0] == ["big", "no"]


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 50))
def test_episodes_are_spread_evenly(episodes: int, tasks: int, seed: int) -> None:
    order = schedule([f"t{i}" for i in range(tasks)], episodes, "s", seed)
    counts = Counter(order)
    assert len(order) == episodes
    assert max(counts.values()) - min([*counts.values(), *([0] * (tasks - len(counts)))]) <= 1


@given(st.integers(1, 20), st.integers(1, 9), st.integers(1, 4))
def test_seeds_share_the_tasks_between_them(episodes: int, tasks: int, seeds: int) -> None:
    names = [f"t{i}" for i in range(tasks)]
    counts = Counter(name for s in range(seeds) for name in schedule(names, episodes, "s", s))
    assert len(counts) == min(tasks, seeds * episodes)
    assert max(counts.values()) - min(counts[name] for name in names) <= 1


def test_a_task_whose_support_can_hold_every_group_is_left_out() -> None:
    def task(name: str, train: str, test: str) -> Task:
        parts = {
            part: tuple(
                Example(f"{part}{i}", ("y",), f"{part}{i}", g) for i, g in enumerate(groups)
            )
            for part, groups in (("train", train), ("test", test))
        }
        return Task(name, parts)

    tasks = [task("same", "aaaa", "aa"), task("own", "aaaa", "ab"), task("many", "abcd", "abc")]
    usable, reasons = usable_tasks(Fixed(*tasks), "meta-test", 2)
    assert usable == ["own", "many"]
    assert reasons == ["same: 2 examples of train can hold every group of its queries"]
    assert usable_tasks(Fixed(*tasks), "meta-train", 2)[0] == ["many"]
