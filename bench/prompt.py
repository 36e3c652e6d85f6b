"""The one prompt format of a run: how an input, a target and demonstrations become text."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.tasks import Example


@dataclass(frozen=True)
class Prompt:
    """Text pieces around an input; the same for every baseline and every task.

    Attributes:
        before: stands before each input.
        after: stands between an input and its target.
        separator: stands between demonstrations; ends an answer given in context.
    """

    before: str = ""
    after: str = " =>"
    separator: str = "\n\n"

    def target(self, text: str) -> str:
        """The text a model is to produce for a target."""
        return f" {text}"

    def demonstration(self, example: Example) -> str:
        """One solved example, as it stands in a context."""
        solved = f"{self.before}{example.input}{self.after}{self.target(example.target)}"
        return solved + self.separator

    def demonstrations(self, examples: Sequence[Example]) -> list[str]:
        """Solved examples in order, each a whole piece that can be left out."""
        return [self.demonstration(example) for example in examples]
