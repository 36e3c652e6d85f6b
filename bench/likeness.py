"""Which suite's texts some data are like: a few plain features of texts, side by side.

Nothing of a text's meaning is in them: they tell a short label from a long story, a target that
copies its input from one that shares no word with it, targets that repeat each other from targets
that do not.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bench.registry import load_suite
from bench.streams import Stream
from bench.tokenizers import ScriptTokenizer

Array = NDArray[np.float64]
Pair = tuple[str, str]  # input and target

FEATURES = (  # means over a task's examples; lengths as logarithms to base 2
    "log2 words of an input",
    "log2 words of a target",
    "log2 lines of an input",
    "log2 lines of a target",
    "target words that stand in the input",
    "input words that stand in another input",
    "target words that stand in another target",
    "different words of a target",
)
TASKS, EXAMPLES = 24, 8  # of a suite, and of each of its tasks
MOST_TASKS, MOST_EXAMPLES = 64, 64  # of data of one's own
LEAST_SPREAD = 0.05  # of a feature over tasks, so that a constant one does not decide alone
FAR = 1.5  # times the distance of a suite's farthest task


@dataclass(frozen=True)
class Likeness:
    """Some data beside suites.

    Attributes:
        own: features of the data `(features,)`.
        suites: suite to its features, the mean over its tasks `(features,)`.
        distances: suite to the distance of the data from it: the root mean square over features of
            differences in standard deviations over the tasks of all suites.
        reaches: suite to the distance of its farthest own task.
    """

    own: Array
    suites: dict[str, Array]
    distances: dict[str, float]
    reaches: dict[str, float]

    @property
    def nearest(self) -> str:
        """The suite of the least distance."""
        return min(self.distances, key=lambda suite: self.distances[suite])

    @property
    def far(self) -> bool:
        """Whether the data lie outside every suite: by half more than its farthest task."""
        return all(d > FAR * self.reaches[suite] for suite, d in self.distances.items())


def features(pairs: Sequence[Pair]) -> Array:
    """`FEATURES` of a task's examples, in the order given `(features,)`; what compares an example
    with the next is 0 of a single one."""
    words = ScriptTokenizer().tokenize
    inputs, targets = ([words(pair[i]) for pair in pairs] for i in (0, 1))
    return np.array(
        [
            np.mean([_log(len(tokens)) for tokens in inputs]),
            np.mean([_log(len(tokens)) for tokens in targets]),
            *(np.mean([_log(len(p[i].strip().split("\n"))) for p in pairs]) for i in (0, 1)),
            np.mean([_within(t, i) for i, t in zip(inputs, targets, strict=True)]),
            *(
                np.mean([_within(a, b) for a, b in pairwise(texts)] or [0.0])
                for texts in (inputs, targets)
            ),
            np.mean([len(set(t)) / max(len(t), 1) for t in targets]),
        ]
    )


def _log(count: int) -> float:
    return math.log2(max(count, 1))


def _within(words: Sequence[str], others: Sequence[str]) -> float:
    """The share of words that stand among others; 0 of none."""
    known = set(others)
    return sum(word in known for word in words) / max(len(words), 1)


def suite_tasks(name: str) -> Array:
    """Features of the first meta-test tasks of a suite's embedded data `(tasks, features)`."""
    data = load_suite(name).embedded()
    made = []
    for task in data.names("meta-test")[:TASKS]:
        part = data.task(task).parts["train"][:EXAMPLES]
        made.append(features([(example.input, example.target) for example in part]))
    return np.array(made)


def own_features(tasks: dict[str, list[Pair]]) -> Array:
    """The mean over the tasks of some data `(features,)`; of many tasks and examples a sample by
    hash."""
    stream = Stream(0, "likeness")
    chosen = stream.shuffled(sorted(tasks))[:MOST_TASKS]
    made = [features(stream.shuffled(tasks[name])[:MOST_EXAMPLES]) for name in chosen]
    mean: Array = np.array(made).mean(axis=0)
    return mean


def likeness(own: Array, suites: dict[str, Array]) -> Likeness:
    """Data beside suites.

    Args:
        own: features `(features,)`.
        suites: suite to the features of its tasks `(tasks, features)`; one or more.
    """
    spread = np.concatenate(list(suites.values())).std(axis=0).clip(min=LEAST_SPREAD)
    means = {suite: tasks.mean(axis=0) for suite, tasks in suites.items()}

    def distance(one: Array, suite: str) -> float:
        return float(np.sqrt(np.mean(((one - means[suite]) / spread) ** 2)))

    return Likeness(
        own,
        means,
        {suite: distance(own, suite) for suite in suites},
        {suite: max(distance(task, suite) for task in tasks) for suite, tasks in suites.items()},
    )
