"""Embedded suites: frozen by version, apart by split, solvable from the support alone."""

import itertools
import json
from pathlib import Path

import pytest

from bench.episodes import draw_episode, schedule
from bench.registry import load, names
from bench.streams import Stream
from bench.tasks import SPLITS, Suite
from suites.translation.grammar import FIELD_OF, ROOTS, Language, draw_meaning, english

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


def test_the_card_says_what_it_must(suite: Suite) -> None:
    for word in ("What varies", "What is measured", "Limits", "Licence", suite.version):
        assert word in suite.card


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
