"""Floor: the target of the support example whose input is most alike."""

from collections.abc import Sequence

from bench.baseline import Floor
from bench.tasks import Example


class Nearest(Floor):
    """Answers with the target of the nearest support input by sentence chrF.

    Cost: K comparisons of strings for every answer.

    Use it as the floor of copying: what it scores, the support gives away without any learning.
    """

    def answer(self, query: str, support: Sequence[Example]) -> str:
        """The target of the support example with the highest chrF; the earlier one of equals, and
        nothing without support."""
        from sacrebleu.metrics.chrf import CHRF

        chrf = CHRF()
        if not support:
            return ""
        scores = [chrf.sentence_score(example.input, [query]).score for example in support]
        return support[scores.index(max(scores))].target
