"""Dials of the embedded suites: what each level changes, and that nothing else moves."""

import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.checkpoints import load_backbone
from bench.context import dataset_of
from bench.episodes import draw_episode
from bench.registry import load_suite, names
from bench.tasks import SPLITS, Dataset, Suite, train_revision
from suites.dialogue import desks
from suites.dials import SHARES, TEST, Levels
from suites.procedural import SIZES
from suites.summarization import reports
from suites.translation import grammar
from suites.writing import stanzas

GOLDEN = Path(__file__).parent / "golden" / "dials.json"
MADE: Mapping[str, tuple[Callable[..., Any], Mapping[str, Any]]] = {
    "dialogue": (desks.Clerk, desks.RULES),
    "summarization": (reports.Outlet, reports.RULES),
    "translation": (grammar.Language, grammar.RULES),
    "writing": (stanzas.Poet, stanzas.RULES),
}
ALL = range(sum(SIZES.values()))
SUITES = [suite for suite in names("suite") if suite in MADE]
TURNED = [
    (suite, dial, level)
    for suite in SUITES
    for dial, known in load_suite(suite).dials.items()
    for level in known.levels
    if level != known.default
]


@pytest.fixture(params=SUITES)
def suite(request: pytest.FixtureRequest) -> Suite:
    return load_suite(request.param)


@pytest.fixture(params=TURNED, ids=lambda turned: "-".join(map(str, turned)))
def turned(request: pytest.FixtureRequest) -> tuple[Suite, str, Any]:
    name, dial, level = request.param
    return load_suite(name), dial, level


def digests(suite: Suite, data: Dataset, shots: int = 8) -> list[str]:
    """Of one episode of some meta-test tasks."""
    tasks = data.names("meta-test")[:4]
    return [draw_episode(suite.name, data.task(t), shots, 16, 0, 0).digest for t in tasks]


def texts(data: Dataset, split: str, tasks: int, examples: int = 4) -> list[tuple[str, str]]:
    chosen = (data.task(name) for name in data.names(split)[:tasks])
    return [(e.input, e.target) for task in chosen for e in task.parts["train"][:examples]]


def rules_of(suite: str, levels: Levels) -> list[dict[str, Any]]:
    """The rules of all tasks of a suite, by index."""
    make, _ = MADE[suite]
    return [make(index, levels=levels).rules for index in ALL]


def test_every_suite_has_the_dials(suite: Suite) -> None:
    assert set(suite.dials) == {"rules", "vocabulary", "length", "distance"}
    for name, dial in suite.dials.items():
        assert list(dial.levels) == sorted(set(dial.levels))
        assert dial.default in dial.levels
        listed = ", ".join(map(str, dial.levels))
        assert f"`{name}`: 0" in suite.card or f"`{name}` ({listed}):" in suite.card


def test_defaults_are_what_stands_without_dials(suite: Suite) -> None:
    plain, given = (
        suite.embedded(),
        suite.embedded(**{n: d.default for n, d in suite.dials.items()}),
    )
    assert given.revision == plain.revision == suite.version
    assert train_revision(given) == suite.version
    assert digests(suite, given) == digests(suite, plain)
    assert texts(given, "meta-train", 8) == texts(plain, "meta-train", 8)


@pytest.mark.slow
def test_a_level_is_valid_and_distinct(turned: tuple[Suite, str, Any]) -> None:
    suite, dial, level = turned
    one = dataset_of(suite.name, levels={dial: level})
    assert one.revision == f"{suite.version}+{dial}={level}"
    assert digests(suite, one) != digests(suite, dataset_of(suite.name))
    assert all(text.strip() and target.strip() for text, target in texts(one, "meta-test", 48))
    if dial != "vocabulary":  # few words, few rules: languages may well be alike
        every = texts(one, "meta-test", 48, 40)
        targets = [tuple(every[i : i + 40]) for i in range(0, 1920, 40)]
        assert len(set(targets)) == 48


def test_no_level_moves_without_notice(suite: Suite) -> None:
    """What another process made; the data are the same again."""
    levels = {"rules": suite.dials["rules"].levels[0], "vocabulary": 2, "length": 3, "distance": 3}
    made = {
        data.revision: digests(suite, data)
        for data in (dataset_of(suite.name, levels={dial: level}) for dial, level in levels.items())
    }
    assert made == json.loads(GOLDEN.read_text())[suite.name], "a change needs a new version"


@pytest.mark.slow
def test_so_many_shots_as_there_were_fit_every_level(turned: tuple[Suite, str, Any]) -> None:
    suite, dial, level = turned
    task = dataset_of(suite.name, levels={dial: level}).task(
        dataset_of(suite.name).names("meta-test")[0]
    )
    episode = draw_episode(suite.name, task, 256, 128, 0, 0)
    assert len({e.group for e in episode.support}) == 256
    assert len(episode.query) == 128


@pytest.mark.parametrize("level", [1, 3])
def test_another_length_keeps_contents_apart(level: int) -> None:
    """The one suite whose contents a dial draws anew."""
    data = dataset_of("translation", levels={"length": level})
    said = {
        split: {
            e.input for n in data.names(split)[:24] for p in data.task(n).parts.values() for e in p
        }
        for split in SPLITS
    }
    for one, two in itertools.combinations(SPLITS, 2):
        assert not said[one] & said[two]


def test_so_many_rules_vary(suite: Suite) -> None:
    known = MADE[suite.name][1]
    settings = []
    for count in suite.dials["rules"].levels:
        every = rules_of(suite.name, Levels(rules=count))
        assert all(list(known) == sorted(rules, key=list(known).index) for rules in every)
        vary = [rule for rule in known if len({rules[rule] for rules in every}) > 1]
        assert vary == list(known)[:count]
        settings.append(len({tuple(rules.values()) for rules in every}))
    assert settings == sorted(settings)
    assert settings[0] < settings[-1]


def test_a_rule_that_does_not_vary_is_of_no_far_value(suite: Suite) -> None:
    known = MADE[suite.name][1]
    for rules in rules_of(suite.name, Levels(rules=0, distance=4)):
        assert not [rule for rule, value in rules.items() if value in known[rule]]


@pytest.mark.parametrize("level", [1, 2, 3])
def test_so_many_words_say_a_meaning(suite: Suite, level: int) -> None:
    make, _ = MADE[suite.name]
    said: dict[str, set[str]] = {}
    for index in ALL:
        made = make(index, levels=Levels(vocabulary=level))
        words = {**made.root, **made.marker} if suite.name == "translation" else made.words
        for meaning, word in words.items():
            said.setdefault(meaning, set()).add(word)
    assert {len(words) for words in said.values()} == {level}


def test_targets_grow_with_length(suite: Suite) -> None:
    def mean(level: Any) -> float:
        made = texts(dataset_of(suite.name, levels={"length": level}), "meta-test", 48, 16)
        return sum(len(target.split()) for _, target in made) / len(made)

    lengths = [mean(level) for level in suite.dials["length"].levels]
    assert all(b > 1.02 * a for a, b in itertools.pairwise(lengths)), lengths
    assert lengths[-1] > 1.2 * lengths[0]


def test_dials_change_what_they_are_about_and_nothing_else(suite: Suite) -> None:
    plain = rules_of(suite.name, Levels())
    assert rules_of(suite.name, Levels(vocabulary=1)) == plain
    near = rules_of(suite.name, Levels(distance=1))
    known = MADE[suite.name][1]
    for before, after in zip(plain, near, strict=True):
        for rule, value in before.items():
            assert (after[rule] == value) == (value not in known[rule])


def unseen(suite: str, levels: Levels) -> float:
    """Mean share of a meta-test task's rules whose value no meta-train task has."""
    every = rules_of(suite, levels)
    seen = {rule: {rules[rule] for rules in every[: SIZES["meta-train"]]} for rule in every[0]}
    far = [[value not in seen[rule] for rule, value in rules.items()] for rules in every[TEST:]]
    return sum(map(sum, far)) / sum(map(len, far))


def test_distance_grows(suite: Suite) -> None:
    levels = suite.dials["distance"].levels
    for count in suite.dials["rules"].levels:
        known = list(MADE[suite.name][1].values())[:count]
        able = sum(map(bool, known))
        shares = [unseen(suite.name, Levels(rules=count, distance=level)) for level in levels]
        assert shares[0] == shares[1] == 0
        wanted = [round(SHARES[level] * able) / len(MADE[suite.name][1]) for level in levels[1:]]
        assert shares[1:] == pytest.approx(wanted, abs=1e-12)
        assert shares[1:] == sorted(set(shares[1:]))


@pytest.mark.slow
def test_all_levels_of_distance_share_what_is_trained_on(suite: Suite) -> None:
    every = {level: dataset_of(suite.name, levels={"distance": level}) for level in SHARES}
    assert len({train_revision(data) for data in every.values()}) == 1
    assert len({data.revision for data in every.values()}) == len(SHARES)
    for split, tasks in (("meta-train", 100), ("meta-validation", 48)):
        assert len({tuple(texts(data, split, tasks, 2)) for data in every.values()}) == 1
    assert len({tuple(texts(data, "meta-test", 12)) for data in every.values()}) == len(SHARES)


@pytest.mark.slow
def test_scores_of_the_suite_know_every_level(turned: tuple[Suite, str, Any]) -> None:
    suite, dial, level = turned
    data = dataset_of(suite.name, levels={dial: level})
    shares = [m for m in suite.metrics(True, suite.language) if m.name in ("rules", "form")]
    assert shares
    for name in data.names("meta-test")[:12]:
        asked = data.task(name).parts["test"][:12]
        for metric in shares:
            for kept, shown, *_ in metric.of_episode([e.target for e in asked], asked):
                assert kept == shown > 0


@pytest.mark.slow
def test_the_longest_targets_fit(suite: Suite) -> None:
    backbone = load_backbone("tiny", None, torch.device("cpu"), "float32")
    length = suite.dials["length"].levels[-1]
    for more in ({}, {"vocabulary": 1}, {"distance": 4}):
        levels = {"length": length, **more}
        data = dataset_of(suite.name, levels=levels)
        said = {target for split in SPLITS for _, target in texts(data, split, 48, 60)}
        written = max(len(backbone.text_ids(f" {target}")) + 1 for target in said)
        assert written <= suite.most_tokens(levels)
