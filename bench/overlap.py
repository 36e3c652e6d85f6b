"""Text that held-out examples have in common with what was trained on, by runs of words.

Of every held-out text all runs of 13 words (Brown et al. 2020, appendix C), or the whole of it if
it is shorter, are looked for in the training text. Words are those of ROUGE here: neither case,
nor signs, nor the space between words count, and a character of a script without spaces is a word.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from bench.tasks import Dataset, Example
from bench.tokenizers import ScriptTokenizer

LONGEST = 13  # words of a run
TEXTS = 2**13  # of the training text that are in memory together
REMEMBERED = 2**18  # training texts that are not looked at again
FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd: a change of one word changes a run's hash
PREFIX = np.uint64(44)  # of a hash shifted by it there are 2^20

Hashes = NDArray[np.uint64]
Flags = NDArray[np.bool_]
Places = NDArray[np.intp]


@dataclass(frozen=True)
class Overlap:
    """Which held-out examples have text in common with a training text.

    Attributes:
        inputs: whether an example's input has `(examples,)`.
        targets: whether one of its references has `(examples,)`.
    """

    inputs: Flags
    targets: Flags

    def __or__(self, other: "Overlap") -> "Overlap":
        """With either of two training texts."""
        return Overlap(self.inputs | other.inputs, self.targets | other.targets)

    def share(self) -> dict[str, float]:
        """Shares of the examples, 0 to 1: by `inputs`, by `targets`, by `both`."""
        kinds = {"inputs": self.inputs, "targets": self.targets}
        kinds["both"] = self.inputs & self.targets
        return {kind: float(flags.mean()) for kind, flags in kinds.items()}


def overlaps(held_out: Sequence[Sequence[Example]], training: Iterable[Example]) -> list[Overlap]:
    """What each of some sets of held-out examples has in common with a training text, that is the
    inputs and references of examples. It is read once, as a stream: memory is that of the held-out
    text, and of a fixed amount beside it.
    """
    inputs = _Sought([[example.input] for examples in held_out for example in examples])
    targets = _Sought([example.references for examples in held_out for example in examples])
    for texts in _batches(training):
        for length, hashes, _ in _runs(texts):
            inputs.meet(length, hashes)
            targets.meet(length, hashes)
    ends = np.cumsum([len(examples) for examples in held_out])[:-1]
    parts = zip(np.split(inputs.met, ends), np.split(targets.met, ends), strict=True)
    return [Overlap(*both) for both in parts]


def training_examples(dataset: Dataset) -> Iterator[Example]:
    """All that pre-training and meta-training may read of a data set."""
    for name in dataset.names("meta-train"):
        yield from dataset.task(name).parts.get("train", ())


def _batches(training: Iterable[Example]) -> Iterator[list[str]]:
    """The texts of some examples, in pieces; most repetitions are left out."""
    texts = (text for example in training for text in (example.input, *example.references))
    seen = set[str]()
    while batch := list(islice(texts, TEXTS)):
        yield [text for text in dict.fromkeys(batch) if text not in seen]
        seen.update(batch)
        if len(seen) > REMEMBERED:
            seen.clear()


class _Sought:
    """The runs of words of some items, each of several texts.

    Attributes:
        met: whether a run of an item was met `(items,)`.
    """

    def __init__(self, items: Sequence[Sequence[str]]) -> None:
        self.met: Flags = np.zeros(len(items), dtype=np.bool_)
        texts = [text for some in items for text in some]
        owners = np.repeat(np.arange(len(items)), [len(some) for some in items])
        most = np.array([min(len(_words(text)), LONGEST) for text in texts])
        # Of each length the hashes in order, their items, and which prefixes there are.
        self._known: dict[int, tuple[Hashes, Places, Flags]] = {}
        for length, hashes, text in _runs(texts):
            kept = most[text] == length
            if kept.any():
                order = np.argsort(hashes[kept])
                known = hashes[kept][order]
                prefixes = np.zeros(2 ** (64 - int(PREFIX)), dtype=np.bool_)
                prefixes[known >> PREFIX] = True
                self._known[length] = known, owners[text[kept]][order], prefixes

    def meet(self, length: int, hashes: Hashes) -> None:
        """Notes whose runs of so many words are among some hashes."""
        if length not in self._known:
            return
        known, owners, prefixes = self._known[length]
        likely = np.unique(hashes[prefixes[hashes >> PREFIX]])
        if len(likely):
            place = np.minimum(np.searchsorted(likely, known), len(likely) - 1)
            self.met[owners[likely[place] == known]] = True


def _runs(texts: Sequence[str]) -> Iterator[tuple[int, Hashes, Places]]:
    """For each length up to the longest, the hashes of all runs of so many words of one text, and
    the text of each."""
    words = [_words(text) for text in texts]
    text = np.repeat(np.arange(len(words)), [len(some) for some in words])
    of_words = np.array([word for some in words for word in some], dtype=np.uint64)
    hashes = np.zeros_like(of_words)
    for length in range(1, LONGEST + 1):
        if len(of_words) < length:
            return
        rest = len(of_words) - length + 1
        hashes = hashes[:rest] * FACTOR + of_words[length - 1 :]
        inside = text[:rest] == text[length - 1 :]
        yield length, hashes[inside], text[:rest][inside]


def _words(text: str) -> list[int]:
    """The words of a text as hashes."""
    return [_hash(word) for word in ScriptTokenizer().tokenize(text)]


@lru_cache(maxsize=2**17)
def _hash(word: str) -> int:
    """64 bits of a word, the same on every machine."""
    return int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "big")
