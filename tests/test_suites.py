"""Embedded suites: frozen by version, apart by split, solvable from the support alone."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.episodes import draw_episode, schedule
from bench.errors import UserError
from bench.registry import load, names
from bench.streams import Stream
from bench.tasks import SPLITS, Suite
from suites.procedural import Procedural
from suites.words import choose_words

GOLDEN = Path(__file__).parent / "golden"
SUITES = names("suite")


def first_digests(suite: Suite) -> list[str]:
    """Digests of the first 20 episodes at K = 8, Q = 16, seed 0."""
    data = suite.embedded()
    order = schedule(data.names("meta-test"), 20, suite.name, 0)
    return [
        draw_episode(suite.name, data.task(task), 8, 16, 0, index).digest
        for index, task in enumerate(order)
    ]


@pytest.fixture(params=SUITES)
def suite(request: pytest.FixtureRequest) -> Suite:
    made: Suite = load("suite", request.param)()
    return made


def test_a_version_never_moves(suite: Suite) -> None:
    path = GOLDEN / f"{suite.name}-{suite.version}.json"
    assert first_digests(suite) == json.loads(path.read_text()), "a change needs a new version"


def test_there_are_enough_tasks_and_all_differ(suite: Suite) -> None:
    data = suite.embedded()
    sizes = [len(data.names(split)) for split in SPLITS]
    assert sizes[0] >= 64
    assert min(sizes[1:]) >= 16
    stream = Stream(0, "test")
    names = [stream.pick(data.names(split)) for split in SPLITS for _ in range(40)]
    targets = {tuple(e.target for e in data.task(name).parts["train"][:40]) for name in names}
    assert len(targets) == len(set(names))


def test_no_content_is_on_two_sides(suite: Suite) -> None:
    data = suite.embedded()
    groups: dict[str, set[str]] = {split: set() for split in SPLITS}
    inputs: dict[str, set[str]] = {split: set() for split in SPLITS}
    for split in SPLITS:
        for name in data.names(split)[:64]:  # together they draw the whole pool of the split
            for example in itertools.chain(*data.task(name).parts.values()):
                groups[split].add(example.group)
                inputs[split].add(example.input)
    for one, two in itertools.combinations(SPLITS, 2):
        assert not groups[one] & groups[two]
        assert not inputs[one] & inputs[two]


def test_parts_of_a_task_share_no_group(suite: Suite) -> None:
    data = suite.embedded()
    parts = data.task(data.names("meta-test")[0]).parts
    groups = [{e.group for e in part} for part in parts.values()]
    assert sum(map(len, groups)) == len(set().union(*groups))


def test_examples_are_made_when_asked_for_and_are_the_same_ones(suite: Suite) -> None:
    data = suite.embedded()
    part = data.task(data.names("meta-train")[0]).parts["train"]
    whole = list(part)
    assert (part[0], part[-1], part[3:5]) == (whole[0], whole[-1], tuple(whole[3:5]))
    assert len(whole) == len(part) == len({example.id for example in whole})
    with pytest.raises(IndexError):
        part[len(part)]


def test_an_example_that_nobody_reads_is_not_made() -> None:
    made = []

    def rules(index: int) -> Callable[[int], tuple[str, str]]:
        return lambda content: (made.append(content), (f"in {content}", f"out {content}"))[1]

    data = Procedural("lazy", "1", "1", "task", lambda s: s.below(10**6), str, rules)
    task = data.task("task-000")
    assert made == []
    assert len(task.parts["train"]) == 512
    draw_episode("lazy", task, 8, 4, 0, 0)
    assert len(made) <= 8 + 4 + 1


def test_the_card_says_what_it_must(suite: Suite) -> None:
    for word in ("What varies", "What is measured", "Limits", "Licence", suite.version):
        assert word in suite.card


def test_equal_inputs_ask_for_one_answer(suite: Suite) -> None:
    """A task is a function of its input: what K examples show is all there is to infer."""
    data = suite.embedded()
    for name in data.names("meta-validation")[:8]:
        answers: dict[str, str] = {}
        for example in itertools.chain(*data.task(name).parts.values()):
            assert answers.setdefault(example.input, example.target) == example.target


def test_words_follow_their_field_but_for_the_sporadic_ones() -> None:
    lexicon = {f"f{i}": {f"m{i}-{j}": ("a", "b", "c") for j in range(50)} for i in range(6)}
    shares = []
    for index in range(200):
        words = choose_words(Stream(index, "test"), lexicon, sporadic=0.1)
        for field, meanings in lexicon.items():
            said = [words[meaning] for meaning in meanings]
            most = max(map(said.count, "abc"))
            assert most > 25, field
            shares.append(1 - most / len(said))
    assert sum(shares) / len(shares) == pytest.approx(0.1, abs=0.01)


def test_a_generator_of_few_contents_is_told() -> None:
    data = Procedural(
        "small", "1", "1", "task", lambda s: s.below(50), str, lambda index: lambda n: (str(n), "x")
    )
    with pytest.raises(UserError, match="'small' draws too few contents that differ"):
        data.task("task-000")
