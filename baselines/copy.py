"""Floor: the input as the answer."""

from collections.abc import Sequence

from bench.baseline import Floor
from bench.tasks import Example


class Copy(Floor):
    """Answers with the input.

    Cost: none.

    Use it as a floor: what it scores, a task gives away for nothing.
    """

    def answer(self, query: str, support: Sequence[Example]) -> str:
        """The input itself."""
        return query
