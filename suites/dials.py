"""The dials that embedded suites share, and how a task's rules are drawn under them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bench.dials import revision_at
from bench.streams import Stream
from bench.tasks import SPLITS, Dial
from suites.procedural import SIZES
from suites.words import VARIANTS, Lexicon, choose_words

V = TypeVar("V")
Rules = Mapping[str, Collection[Any]]  # in the order of the dial `rules`; to values held back

# Level of `distance` above 0: of the rules with values held back, the share in which a meta-test
# task takes one of these values.
SHARES = {1: 0.0, 2: 1 / 3, 3: 2 / 3, 4: 1.0}
TEST = sum(SIZES[split] for split in SPLITS[:2])  # index of the first meta-test task


def make_dials(counts: Sequence[int], length: Dial) -> dict[str, Dial]:
    """The four dials of a suite, whose `rules` has these levels; the last count is all."""
    return {
        "rules": Dial(tuple(counts), counts[-1], "rules that vary from task to task"),
        "vocabulary": Dial(
            tuple(range(1, VARIANTS + 1)), VARIANTS, "words for each meaning, of which tasks choose"
        ),
        "length": length,
        "distance": Dial(
            (0, *SHARES),
            0,
            "from 1 on meta-train never takes some values of rules; meta-test takes them in "
            "none, a third, two thirds, all of those rules",
        ),
    }


def revisions(version: str, dials: Mapping[str, Dial], levels: Mapping[str, int]) -> dict[str, str]:
    """`revision` and `train_revision` of the data at these levels: all that are above 0 of
    `distance` share the least one's meta-train tasks."""
    trained = {**levels, "distance": min(levels.get("distance", 0), min(SHARES))}
    return {
        "revision": revision_at(version, levels, dials),
        "train_revision": revision_at(version, trained, dials),
    }


@dataclass(frozen=True)
class Levels:
    """Where the dials of a suite stand; those of its version unless said otherwise.

    Attributes:
        rules: how many vary; None for all.
        vocabulary: words for each meaning.
        length: of a target.
        distance: a key of `SHARES`, or 0.
    """

    rules: int | None = None
    vocabulary: int = VARIANTS
    length: int = 2
    distance: int = 0


USUAL = Levels()


@dataclass
class Draw:
    """Draws one task's rules and words.

    What `stream` gives is what the task has where no dial is turned; a dial changes what it is
    about and nothing else, by streams of its own.

    Attributes:
        suite: part of the names of those streams.
        index: the task's.
        rules: all that are drawn.
        values: what was drawn so far, by rule.
    """

    stream: Stream
    suite: str
    index: int
    rules: Rules
    levels: Levels
    values: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Which rules vary, and in which of them a value that was held back is taken."""
        self._varying = set(list(self.rules)[: self.levels.rules])
        able = [rule for rule, held in self.rules.items() if held and rule in self._varying]
        count = round(SHARES.get(self.levels.distance, 0.0) * len(able))
        far = self.aside("far").shuffled(able)[:count]
        self._far = set(far if self.index >= TEST else [])

    def aside(self, *names: object) -> Stream:
        """A stream of the task beside the one that its version draws from."""
        return Stream(self.index, self.suite, "dials", *names)

    def pick(self, rule: str, values: Sequence[V]) -> V:
        """A rule's value, one of `values`; the first where it does not vary."""
        return self.take(rule, self.stream.pick(values), values)

    def chance(self, rule: str, probability: float) -> bool:
        """Whether a rule holds; it does not where it does not vary."""
        return self.take(rule, self.stream.chance(probability), (False, True))

    def take(self, rule: str, drawn: V, values: Sequence[V]) -> V:
        """A rule's value, given the one that was drawn, of all `values`."""
        held = self.rules[rule]
        if rule not in self._varying:
            drawn = values[0]
        elif self.levels.distance and held:
            fitting = [value for value in values if (value in held) == (rule in self._far)]
            drawn = drawn if drawn in fitting else self.aside("distance", rule).pick(fitting)
        self.values[rule] = drawn
        return drawn

    def word(self, name: str, words: Sequence[str]) -> str:
        """One of a meaning's words by itself."""
        drawn, known = self.stream.pick(words), words[: self.levels.vocabulary]
        return drawn if drawn in known else self.aside("word", name).pick(known)

    def words(self, lexicon: Lexicon, sporadic: float) -> dict[str, str]:
        """`choose_words` of as many variants as the task's vocabulary has."""
        chosen, variants = choose_words(self.stream, lexicon, sporadic), self.levels.vocabulary
        if variants == VARIANTS:
            return chosen
        return choose_words(self.aside("words", variants), lexicon, sporadic, variants)
