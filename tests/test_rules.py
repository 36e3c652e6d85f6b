"""Rule-following: decisions read from texts are those of the tasks that wrote them."""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.registry import load_suite
from bench.streams import Stream
from bench.tasks import Example
from suites.rules import REST, Rules
from tests.decided import FAMILIES, Family, by_kind, flipped

SUITES = sorted(FAMILIES)


@pytest.fixture(params=SUITES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def family(name: str) -> Family:
    return FAMILIES[name]


def counts(family: Family, text: str, example: Example) -> list[float]:
    (found,) = family.rules.of_episode([text], [example])
    return found


def share(family: Family, texts: list[str], examples: list[Example]) -> float:
    found = np.array(family.rules.of_episode(texts, examples), dtype=np.float64)
    return family.rules.score(found.sum(axis=0))


def test_every_reference_of_the_held_out_tasks_is_read_and_right(name: str, family: Family) -> None:
    data = load_suite(name).embedded()
    tasks = [*data.names("meta-test"), *data.names("meta-validation")[:2]]
    assert len(tasks) == 50
    for task in tasks:
        examples = [data.task(task).parts["test"][i] for i in range(0, 128, 8)]
        for example in examples:
            shown = family.rules.decisions(example.input, example.target)
            assert shown[REST] == ""
        texts = [example.target for example in examples]
        for right, counted, *_ in family.rules.of_episode(texts, examples):
            assert right == counted > 0


def test_what_a_text_shows_is_what_its_task_decides(family: Family) -> None:
    """Exactly, but for what a single text leaves open: that is left out, and seldom."""
    open_, decided = Counter[str](), 0
    for index in range(100):
        task = family.task(index)
        for number in range(6):
            example = family.example(task, content := family.draw(Stream(number, "t", str(index))))
            shown = family.rules.decisions(example.input, example.target)
            truth = family.decided(task, content)
            assert shown.items() <= truth.items(), example
            open_.update(kind for kind, _ in truth.keys() - shown.keys())
            decided += len(truth)
    assert open_.total() < 0.02 * decided, open_


def lost(
    family: Family, before: Any, after: Any, content: Any
) -> tuple[Counter[str], Counter[str]]:
    """By kind, the decisions that an answer by other rules loses: as read, and by the rules."""
    example = family.example(before, content)
    shown = family.rules.decisions(example.input, example.target)
    found = by_kind(family.rules, counts(family, family.say(after, content), example))
    truth = family.decided(after, content)
    return (
        Counter({kind: int(n - right) for kind, (right, n) in found.items() if right < n}),
        Counter(key[0] for key, value in shown.items() if truth.get(key) != value),
    )


@pytest.mark.parametrize(
    "index", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in (77, 560))]
)
def test_one_rule_changed_loses_its_own_kind_by_the_rules_count(family: Family, index: int) -> None:
    before = family.task(index)
    fallen = set[str]()
    for attribute, kinds, value in family.flips(before):
        after = flipped(before, attribute, value)
        for number in range(12):
            content = family.draw(Stream(number, "flips", str(index)))
            read, told = lost(family, before, after, content)
            assert read == told, (attribute, value, content)
            assert {*read} <= kinds, (attribute, value, content)
            fallen |= {*read}
    assert fallen == {*family.rules.kinds} - {"rest", "act"}, "each kind fell by some rule"


def some_changed(family: Family, task: Any, dice: random.Random, portion: float) -> Any:
    """The task with about a portion of its rules changed, each to any of its values."""
    values: dict[str, list[Any]] = {}
    for attribute, _, value in family.flips(task):
        values.setdefault(attribute, []).append(value)
    for attribute, options in values.items():
        if dice.random() < portion:
            task = flipped(task, attribute, dice.choice(options))
    return task


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(SUITES), st.integers(0, 607), st.integers(0, 607), st.randoms())
def test_by_any_rules_changed_right_is_what_they_keep_unless_the_text_leaves_more_open(
    name: str, index: int, seed: int, dice: random.Random
) -> None:
    """What is open is read as agrees best, so that more may be right, but nothing surely lost."""
    family = FAMILIES[name]
    before = family.task(index)
    after = some_changed(family, before, dice, 0.3)
    for number in range(4):
        content = family.draw(Stream(number, "more", str(seed)))
        example = family.example(before, content)
        text, truth = family.say(after, content), family.decided(after, content)
        reference = family.rules.decisions(example.input, example.target)
        sure = family.rules.decisions(example.input, text)
        assert sure.items() <= truth.items()
        kept = sum(truth.get(key) == value for key, value in reference.items())
        lost = sum(sure.get(key, value) != value for key, value in reference.items())
        right, counted, *_ = counts(family, text, example)
        assert kept <= right <= counted - lost
        assert right == kept or sure.keys() < truth.keys()


def test_the_reading_that_agrees_best_is_counted_and_the_first_of_equals() -> None:
    a, b, c = ("x", "a"), ("x", "b"), ("y", "c")
    reference = {a: "1", b: "1", c: "1", REST: ""}
    answers = {
        "reference": [reference],
        "one": [{a: "1", REST: "-"}, {b: "1", c: "1", REST: "-"}, {a: "2", REST: ""}],
        "tie": [{a: "1", b: "1", REST: "-"}, {a: "1", c: "1", REST: "-"}],
        "none": [],
    }
    rules = Rules("made-up", ["x", "y"], lambda asked, text: answers[text])
    query = Example("", ("reference",), "0", "0")
    right = [found[::2] for found in rules.of_episode([*answers], [query] * len(answers))]
    assert right == [[4, 2, 1, 1], [2, 1, 1, 0], [2, 2, 0, 0], [0, 0, 0, 0]]


def test_what_readings_of_a_reference_do_not_agree_on_is_not_counted() -> None:
    a, b = ("x", "a"), ("x", "b")
    readings = [{a: "1", b: "1", REST: ""}, {a: "1", b: "2", REST: ""}, {a: "1", REST: ""}]
    rules = Rules("made-up", ["x"], lambda asked, text: readings)
    assert rules.decisions("", "") == {a: "1", REST: ""}


def test_readings_that_agree_as_well_are_taken_in_one_order_whatever_the_hash_seed() -> None:
    """Of these answers two readings share as many decisions, of unlike kinds."""
    pairs = [
        (
            "the otter carried some new otters from the market",
            "tepol broushos-ol krome lir datul-ol ta arn datul tlodus",
            "tepol broushos-ol krome lir datul-ol ta ano vutlu-niv-ta eki",
        ),
        (
            "the new owls clean the owls",
            "arn nafoun-niv arn nafoun maral-niv shouvon-kas-im",
            "horas nafoun-niv arn pezoul maral-niv lir",
        ),
    ]
    code = (
        "from bench.tasks import Example; from suites.translation.rules import rules; print("
        f"[rules().of_episode([c], [Example(a, (b,), '', '')]) for a, b, c in {pairs!r}])"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(4)
    }
    assert len(told) == 1


def test_the_more_rules_are_changed_the_lower_the_mean_score(family: Family) -> None:
    means = []
    for portion in (0.0, 0.1, 0.3, 0.6, 1.0):
        scores = []
        for index in range(0, 600, 30):
            before = family.task(index)
            after = some_changed(family, before, random.Random(index), portion)
            contents = [family.draw(Stream(number, "mean", str(index))) for number in range(4)]
            examples = [family.example(before, content) for content in contents]
            scores.append(share(family, [family.say(after, c) for c in contents], examples))
        means.append(sum(scores) / len(scores))
    assert means[0] == 100.0
    assert all(more < less - 5 for less, more in pairwise(means)), means


def test_what_follows_no_rules_scores_low(name: str, family: Family) -> None:
    data = load_suite(name).embedded()
    dice, scores = random.Random(0), dict[str, list[float]]()
    names = data.names("meta-test")
    for task, other in zip(names[:8], names[8:16], strict=True):
        examples = list(data.task(task).parts["test"][:16])
        texts = [example.target for example in examples]
        answers = {
            "empty": [""] * 16,
            "noise": ["blub ; blub"] * 16,
            "copied": [example.input for example in examples],
            "shuffled": [" ".join(dice.sample(t.split(), len(t.split()))) for t in texts],
            "another task's": [example.target for example in data.task(other).parts["test"][:16]],
            "first of the task": [texts[0]] * 16,
        }
        for kind, given_ in answers.items():
            scores.setdefault(kind, []).append(share(family, given_, examples))
    mean = {kind: sum(found) / len(found) for kind, found in scores.items()}
    assert mean["empty"] == mean["noise"] == 0
    assert mean["copied"] < 35
    assert mean["another task's"] < 50
    assert mean["shuffled"] < 75


def test_what_is_said_besides_costs_one_decision(family: Family) -> None:
    task = family.task(0)
    example = family.example(task, family.draw(Stream(0, "besides")))
    right, counted, *_ = counts(family, f"{example.target}", example)
    more = counts(family, f"blub {example.target}", example)
    assert (more[0], more[1]) == (right - 1, counted) or more[0] < right
    assert by_kind(family.rules, more)["rest"] == (0, 1)


def vocabulary(family: Family, suite: str) -> list[str]:
    """Words of many tasks, and some that are of none."""
    data = load_suite(suite).embedded()
    texts = [
        e.target for name in data.names("meta-test")[:20] for e in data.task(name).parts["test"][:9]
    ]
    return [
        *sorted({word for text in texts for word in text.split()}),
        "",
        "-",
        "--mi",
        "blub",
        "7",
    ]


@pytest.mark.parametrize("suite", SUITES)
def test_any_text_is_read_and_in_time(suite: str) -> None:
    """Soups of the family's words, and words repeated without end, as bad models write them."""
    family, dice = FAMILIES[suite], random.Random(0)
    words = vocabulary(family, suite)
    for number in range(150):
        task = family.task(number)
        example = family.example(task, family.draw(Stream(number, "soup")))
        own = example.target.split()
        soups = [dice.choices(words, k=dice.randrange(60)), dice.choices(own, k=60), own * 9]
        soups += [[word] * 40 for word in own[:4]]
        for soup in soups:
            text = dice.choice([" ", "\n", "  "]).join(soup)
            start = time.process_time()
            found = counts(family, text, example)
            assert time.process_time() - start < 1
            assert len(found) == 2 + 2 * len(family.rules.kinds)
            assert 0 <= found[0] <= found[1]


def test_a_reference_that_no_task_could_write_is_told(family: Family) -> None:
    example = family.example(family.task(0), family.draw(Stream(0, "told")))
    with pytest.raises(ValueError, match=r"answer by the rules of its family: 'blub'"):
        family.rules.decisions(example.input, "blub")


def test_the_kinds_sum_to_the_whole(family: Family) -> None:
    before, after = family.task(1), family.task(2)
    for number in range(20):
        content = family.draw(Stream(number, "sum"))
        example = family.example(before, content)
        found = counts(family, family.say(after, content), example)
        assert sum(found[2::2]) == found[0] <= sum(found[3::2]) == found[1]


def test_only_embedded_tasks_have_rules(name: str) -> None:
    suite = load_suite(name)
    assert "rules" in [metric.name for metric in suite.metrics(True, "en")]
    assert "rules" not in [metric.name for metric in suite.metrics(False, "en")]
