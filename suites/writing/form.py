"""Form adherence: whether an answer keeps the lines, the rhymes and the refrain of its reference.

Each answer is checked for
- lines: as many as the reference has (lines of space alone count for nothing);
- rhyme: of each line of the reference, that the same line of the answer ends in a word that rhymes
  with its last word (`suites.writing.rhyme`). A word that only repeats the end of a line given in
  the input answers no rhyme, unless the reference does the same;
- refrain: of the embedded poets, that the answer's last line, however many there are, has the words
  that the reference's refrain keeps from stanza to stanza, in order, whatever fills it; of other
  data, that each line which the reference says more than once stands where it does there; most have
  none.
The score is the share of checks that hold, over all answers.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.shares import Share
from suites.writing.rhyme import WORD, last_word, rhyme
from suites.writing.stanzas import REFRAINS

if TYPE_CHECKING:
    from bench.tasks import Example

KINDS = ("lines", "rhyme", "refrain")
FRAME = {word for form in REFRAINS for word in form.split() if "{" not in word}
ARTICLES = ("the", "a", "my")


class Form(Share):
    """Form adherence, 0 to 100; with several references, beside the one that is kept best."""

    def __init__(self, embedded: bool) -> None:
        """Of the embedded poets, or of other poems."""
        super().__init__("form", KINDS)
        self._embedded = embedded

    def signature(self) -> str:
        """In the form of sacreBLEU's; the version is the definition's, not the project's."""
        refrain = "frames" if self._embedded else "repeated"
        return (
            f"nrefs:{self._nrefs}|agg:share|kinds:{'+'.join(self.kinds)}|multi:max"
            f"|rhyme:classes+spelling|refrain:{refrain}|version:2"
        )

    def statistics(self, prediction: str, references: Sequence[str]) -> list[float]:
        """Checks that hold and checks, of all kinds and of each, where nothing is known of the
        input."""
        return self._best(prediction, references, frozenset())

    def of_episode(
        self, predictions: Sequence[str], queries: "Sequence[Example]"
    ) -> list[list[float]]:
        """The same; a repeated end of the input's lines is no rhyme."""
        return [
            self._best(text, query.references, frozenset(map(last_word, query.input.splitlines())))
            for text, query in zip(predictions, queries, strict=True)
        ]

    def _best(
        self, prediction: str, references: Sequence[str], given: frozenset[str]
    ) -> list[float]:
        counts = [self._checks(_lines(prediction), _lines(text), given) for text in references]
        return max(counts, key=lambda found: found[0] / found[1])

    def _checks(
        self, answer: Sequence[str], reference: Sequence[str], given: frozenset[str]
    ) -> list[float]:
        padded = [*answer, *[""] * len(reference)][: len(reference)]
        pairs = list(zip(padded, reference, strict=True))
        kinds = [
            [len(answer) == len(reference)],
            [_rhymes(last_word(one), last_word(two), given) for one, two in pairs],
            self._refrain(answer, reference, pairs),
        ]
        held = [held for checks in kinds for held in checks]
        counts: list[float] = [sum(held), len(held)]
        for checks in kinds:
            counts += [sum(checks), len(checks)]
        return counts

    def _refrain(
        self,
        answer: Sequence[str],
        reference: Sequence[str],
        pairs: Sequence[tuple[str, str]],
    ) -> list[bool]:
        if self._embedded:
            return [_last_frame(answer) == _last_frame(reference)]
        said = Counter(_plain(two) for _, two in pairs)
        return [_plain(one) == _plain(two) for one, two in pairs if said[_plain(two)] > 1]


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def _plain(line: str) -> list[str] | str:
    """A line's words, whatever stands between them."""
    return " ".join(WORD.findall(line.lower()))


def _rhymes(one: str, two: str, given: frozenset[str]) -> bool:
    return one == two != "" or (one not in given and rhyme(one, two))


def _last_frame(lines: Sequence[str]) -> list[str]:
    """The last line as a refrain without what fills it: its last word with an article, figures and
    the mark."""
    words = lines[-1].split() if lines else []
    while words and not WORD.fullmatch(words[-1]):
        words.pop()
    body = words[:-1]
    if body and body[-1] in ARTICLES:
        body.pop()
    return [word for word in body if word in FRAME]
