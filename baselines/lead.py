"""Floor: the first sentence or line of the input."""

import re
from collections.abc import Sequence

from bench.baseline import Floor
from bench.tasks import Example

# A sentence ends at a mark before a space, at a mark of scripts without spaces (the full-width
# ones of Chinese and Japanese, Khmer's, Burmese's), or at a line's end.
FIRST = re.compile("^.*?(?:[.!?\u2026]+(?=\\s)|[\u3002\uff01\uff1f\u17d4\u104b]|$)", re.MULTILINE)


class Lead(Floor):
    """Answers with the first sentence of the input's first line.

    Cost: none.

    Use it as the floor of summarization (Nenkova 2005): news often say first what matters.
    """

    def answer(self, query: str, support: Sequence[Example]) -> str:
        """The first sentence or line, whichever ends first."""
        match = FIRST.match(query.strip())
        return match.group(0).strip() if match else query
