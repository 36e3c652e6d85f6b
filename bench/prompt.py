"""The one prompt format of a run: how an input, a target and demonstrations become text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import UserError
from bench.tasks import Example


@dataclass(frozen=True)
class Prompt:
    """Text pieces around an input; the same for every baseline and every task.

    Attributes:
        opening: stands once, before the first input.
        after: stands between an input and its target.
        space: stands before a target.
        separator: stands between demonstrations; ends an answer given in context.
    """

    opening: str = ""
    after: str = " =>"
    space: str = " "
    separator: str = "\n\n"

    def target(self, text: str) -> str:
        """The text a model is to produce for a target."""
        return f"{self.space}{text}"

    def demonstration(self, example: Example) -> str:
        """One solved example, as it stands in a context."""
        return f"{example.input}{self.after}{self.target(example.target)}{self.separator}"

    def demonstrations(self, examples: Sequence[Example]) -> list[str]:
        """Solved examples in order, each a whole piece that can be left out."""
        return [self.demonstration(example) for example in examples]


def chat_prompt(tokenizer: Any) -> Prompt:
    """The pieces of a tokenizer's chat template: inputs are turns of the user, targets those of
    the assistant, demonstrations earlier turns.

    Raises:
        UserError: the tokenizer has no template, or one that does not keep the text of turns.
    """
    if not tokenizer.chat_template:
        raise UserError("chat: the backbone's tokenizer has no chat template; leave --chat out")
    one, two, three = "XfirstX", "XsecondX", "XthirdX"
    turns = [
        {"role": "user", "content": one},
        {"role": "assistant", "content": two},
        {"role": "user", "content": three},
    ]

    def render(count: int) -> str:
        text: str = tokenizer.apply_chat_template(
            turns[:count], tokenize=False, add_generation_prompt=True
        )
        return text

    try:
        opening, after = render(1).split(one)
        _, between = render(3).split(two)
        separator, _ = between.split(three)
    except Exception as error:  # templates raise what they like
        raise UserError(
            f"chat: the backbone's chat template cannot render a user's and an assistant's turn "
            f"({' '.join(str(error).split())[:120]}); leave --chat out"
        ) from None
    return Prompt(opening, after, "", separator)
