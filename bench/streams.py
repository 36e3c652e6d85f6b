"""Random streams that do not depend on one another, nor on the version of a library."""

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
_text = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


def digest_of(*parts: object) -> str:
    """SHA-256 (hex) of `parts`, which must be JSON values; the same on every machine."""
    return hashlib.sha256(_text(parts).encode("utf-8")).hexdigest()


def fraction_of(*parts: object) -> float:
    """A number in [0, 1) that depends on `parts` alone; divides groups and tasks by hash."""
    return int(digest_of(*parts)[:12], 16) / 16**12


class Stream:
    """One consumer's randomness: its name, hashed into the seed.

    Only `random.Random(int).random()` is used below, the one method whose sequence Python
    promises to keep, so that episodes and embedded suites never move with a version.
    """

    def __init__(self, seed: int, *names: object) -> None:
        self.key = int(digest_of(seed, *names), 16)
        self._random = random.Random(self.key)

    def uniform(self) -> float:
        """A float in [0, 1)."""
        return self._random.random()

    def below(self, n: int) -> int:
        """An integer in [0, n)."""
        return int(self._random.random() * n)

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self._random.random() < probability

    def pick(self, items: Sequence[T]) -> T:
        """One item of a sequence that is not empty."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """A new list in random order (Fisher and Yates)."""
        result = list(items)
        for i in range(len(result) - 1, 0, -1):
            j = self.below(i + 1)
            result[i], result[j] = result[j], result[i]
        return result

    def visit(self, items: Sequence[T]) -> Iterator[T]:
        """`shuffled`, item by item: a sequence that makes its items makes only those taken."""
        return map(items.__getitem__, self.shuffled(range(len(items))))

    def torch_seed(self) -> int:
        """A seed for `torch.Generator.manual_seed`, which takes 63 bits."""
        return self.key % 2**63
