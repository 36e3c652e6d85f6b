"""Exact rule-following: which decisions of a task's rules an answer takes as its reference does.

An embedded suite knows its family: every word, marker, frame and form that any of its tasks may
choose. Its reader takes a text apart by that knowledge alone, whichever task wrote it, into
decisions: (kind, what) to what was decided. `rules` is the share of the reference's decisions that
the answer shares. What is not said is not right, so an answer that drops a piece also loses the
decisions that the piece would have shown. Each answer has one decision more, of the kind `rest`:
that nothing is said which the family does not need there.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from bench.shares import Share

if TYPE_CHECKING:
    from bench.tasks import Example

Reading = Mapping[tuple[str, str], str]
# Input and answer to the readings that fit the answer best; nothing where it holds no known word.
Reader = Callable[[str, str], Sequence[Reading]]

REST = ("rest", "")
KEPT = 4096  # texts whose reading is kept


class Rules(Share):
    """The share of decisions, micro-averaged over a corpus.

    Where a text can be read in several ways, a decision on which the reference's readings disagree
    is not one that it shows, and an answer is read as agrees best.
    """

    def __init__(self, suite: str, kinds: Sequence[str], read: Reader, version: str = "1") -> None:
        """Of a suite whose reader `read` knows decisions of `kinds`; `version` is the reader's."""
        super().__init__("rules", [*kinds, REST[0]])
        self._suite, self._version = suite, version
        # Every baseline meets the same references, and often the same answers.
        self._read = lru_cache(maxsize=KEPT)(read)
        self._decisions = lru_cache(maxsize=KEPT)(self.decisions)

    def signature(self) -> str:
        """In the form of sacreBLEU's; the version is the definition's, not the project's."""
        return (
            f"nrefs:{self._nrefs}|agg:share|family:{self._suite}|kinds:{'+'.join(self.kinds)}"
            f"|version:{self._version}"
        )

    def statistics(self, prediction: str, references: Sequence[str]) -> list[float]:
        """Raises: an answer is read beside its input; see `of_episode`."""
        raise NotImplementedError("rules are read beside the input: use `of_episode`")

    def of_episode(
        self, predictions: Sequence[str], queries: "Sequence[Example]"
    ) -> list[list[float]]:
        """Decisions taken as the reference does and the reference's decisions: of all kinds, then
        of each.

        Raises:
            ValueError: a reference that the family could not have written.
        """
        pairs = zip(predictions, queries, strict=True)
        return [self._counts(query.input, query.target, text) for text, query in pairs]

    def decisions(self, asked: str, reference: str) -> Reading:
        """What a reference shows beyond doubt.

        Raises:
            ValueError: the family could not have written it.
        """
        readings = self._read(asked, reference)
        if not readings or any(reading[REST] for reading in readings):
            raise ValueError(f"no {self._suite} answer by the rules of its family: {reference!r}")
        first, *others = readings
        return {
            key: value
            for key, value in first.items()
            if all(other.get(key) == value for other in others)
        }

    def _counts(self, asked: str, reference: str, text: str) -> list[float]:
        shown = self._decisions(asked, reference)
        taken = [
            {key for key, value in shown.items() if reading.get(key) == value}
            for reading in self._read(asked, text)
        ]
        best = max(taken, key=len, default=set())
        counts: list[float] = [len(best), len(shown)]
        for kind in self.kinds:
            counts += [sum(key[0] == kind for key in keys) for keys in (best, shown)]
        return counts
