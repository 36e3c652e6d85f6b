"""How much the answers of an episode differ from one another.

None of these is better when it is higher or lower: a model that writes noise is diverse, and poets
with one form are not. They are told beside the scores and rank nothing; what the references of the
same episodes have (`of_references`) is what to hold them against.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.metrics import Bleu, Metric
from bench.shares import Share

if TYPE_CHECKING:
    from bench.episodes import Episode
    from bench.tasks import Example

ORDERS = 4  # of BLEU's n-grams


class Distinct(Share):
    """Distinct-n (Li et al., 2016): different n-grams of an episode's answers over all of them.

    Statistics of an answer: its n-grams that no earlier answer of the episode has, and all its
    n-grams; over an episode they sum to its distinct-n, over a corpus to the ratio of both sums.
    Words are those of the tokenizer that ROUGE has here.
    """

    def __init__(self, order: int) -> None:
        super().__init__(f"distinct-{order}")
        self._order = order

    @cached_property
    def _words(self) -> Any:
        from bench.tokenizers import ScriptTokenizer

        return ScriptTokenizer().tokenize

    def signature(self) -> str:
        """In the form of sacreBLEU's; `ranks:no`: more is not better."""
        from bench.tokenizers import VERSION

        return (
            f"agg:share|order:{self._order}|case:lc|over:episode|tok:scripts.{VERSION}|ranks:no"
            "|version:1"
        )

    def statistics(self, prediction: str, references: Sequence[str]) -> list[float]:
        """Of an answer that stands alone."""
        return self._counts([prediction])[0]

    def of_episode(
        self, predictions: Sequence[str], queries: "Sequence[Example]"
    ) -> list[list[float]]:
        """N-grams that are new in the episode, and all, of each answer."""
        return self._counts(predictions)

    def _counts(self, texts: Sequence[str]) -> list[list[float]]:
        seen, counts = set[tuple[str, ...]](), list[list[float]]()
        for text in texts:
            words = self._words(text)
            grams = list(zip(*(words[i:] for i in range(self._order)), strict=False))
            counts.append([len({*grams} - seen), len(grams)])
            seen |= {*grams}
        return counts


class SelfBleu(Bleu):
    """Self-BLEU (Zhu et al., 2018): BLEU of each answer with the episode's others as references.

    Statistics are sacreBLEU's, so that a corpus score is BLEU of all answers at once. A single
    answer has no others and scores 0.
    """

    def __init__(self, language: str | None = None) -> None:
        super().__init__(language)
        self.name = "self-bleu"

    def signature(self) -> str:
        """In the form of sacreBLEU's; `ranks:no`: more is not better."""
        from sacrebleu.version import __version__

        return (
            "nrefs:others|agg:bleu|case:mixed|eff:no|over:episode"
            f"|tok:{self.tokenizers}|smooth:exp|ranks:no|version:{__version__}"
        )

    def statistics(self, prediction: str, references: Sequence[str]) -> list[float]:
        """Of an answer beside the others of its episode, which are given as references."""
        return super().statistics(prediction, references) if references else [0] * (2 + 2 * ORDERS)

    def of_episode(
        self, predictions: Sequence[str], queries: "Sequence[Example]"
    ) -> list[list[float]]:
        """What sacreBLEU counts of each answer against all others, each text split once, by the
        tokenizer of its query's language."""
        if len(predictions) < 2:
            return [self.statistics(text, ()) for text in predictions]
        return _against_others(
            [
                self._scorer_of(query.language).tokenizer(text.rstrip()).split()
                for text, query in zip(predictions, queries, strict=True)
            ]
        )


def _against_others(answers: Sequence[Sequence[str]]) -> list[list[float]]:
    """Both lengths, matches, n-grams of each answer; its reference length is the other answer's
    that is nearest, and the shorter of two."""
    grams = [_grams(words) for words in answers]
    # The two largest counts of an n-gram in an answer tell the largest among the others.
    most: dict[tuple[str, ...], list[int]] = {}
    for own in grams:
        for gram, count in own.items():
            top = most.setdefault(gram, [0, 0])
            top[:] = sorted([*top, count])[:0:-1]
    found = []
    for place, (words, own) in enumerate(zip(answers, grams, strict=True)):
        lengths = [len(other) for i, other in enumerate(answers) if i != place]
        nearest = min(lengths, key=lambda length: (abs(length - len(words)), length))
        matched = [0] * ORDERS
        for gram, count in own.items():
            first, second = most[gram]
            matched[len(gram) - 1] += min(count, second if count == first else first)
        counted = [max(len(words) - n, 0) for n in range(ORDERS)]
        found.append([float(n) for n in (len(words), nearest, *matched, *counted)])
    return found


def _grams(words: Sequence[str]) -> Counter[tuple[str, ...]]:
    return Counter(
        gram
        for n in range(1, ORDERS + 1)
        for gram in zip(*(words[i:] for i in range(n)), strict=False)
    )


def diversity(language: str | None) -> list[Metric]:
    """The metrics of this module."""
    return [Distinct(1), Distinct(2), SelfBleu(language)]


def of_references(episodes: "Iterable[Episode]", language: str | None) -> dict[str, float]:
    """What the first references of episodes score, by metric: those of their queries, as if they
    were the answers.

    Raises:
        ValueError: there is no episode.
    """
    metrics, sums = diversity(language), dict[str, Any]()
    for episode in episodes:
        texts = [query.target for query in episode.query]
        for metric in metrics:
            counts = np.array(metric.of_episode(texts, episode.query), dtype=np.float64)
            sums[metric.name] = sums.get(metric.name, 0.0) + counts.sum(axis=0)
    if not sums:
        raise ValueError("no episode, so nothing has a diversity")
    return {metric.name: metric.score(sums[metric.name]) for metric in metrics}
