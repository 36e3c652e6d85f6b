"""Scores that are a share: what is right of what is counted, both summed over a corpus."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.metrics import Metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Share(Metric):
    """100 times the ratio of two sums.

    Statistics: what is right and what is counted, of everything, then of each kind in turn.
    An instance of this class itself holds no way to score texts: it only reads what was recorded.

    Attributes:
        kinds: what the counts are divided into; nothing where they are not.
        at: the place of the two sums among the statistics.
    """

    def __init__(self, name: str, kinds: Sequence[str] = (), at: int = 0) -> None:
        super().__init__(name)
        self.kinds, self.at = tuple(kinds), at

    def parts(self, sums: "NDArray[np.float64]") -> "list[Share]":
        """A score of each kind that `sums` count any of, called NAME-KIND."""
        places = [(kind, self.at + 2 * place) for place, kind in enumerate(self.kinds, 1)]
        return [Share(f"{self.name}-{kind}", at=at) for kind, at in places if sums[at + 1]]

    def signature(self) -> str:
        """Raises: the signature stands with the recorded statistics."""
        raise NotImplementedError(f"{self.name} was recorded elsewhere")

    def statistics(self, prediction: str, references: Sequence[str]) -> list[float]:
        """Raises: there is nothing here to score a text with."""
        raise NotImplementedError(f"{self.name} was recorded elsewhere")

    def score(self, sums: "NDArray[np.float64]") -> float:
        """The share, 0 to 100; 0 where nothing is counted."""
        right, counted = sums[self.at : self.at + 2].tolist()
        return 100 * right / counted if counted else 0.0

    def scores(self, sums: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """The share of each corpus."""
        import numpy as np

        right, counted = sums[:, self.at], sums[:, self.at + 1]
        found: NDArray[np.float64] = 100 * right / np.where(counted > 0, counted, 1.0)
        return found
