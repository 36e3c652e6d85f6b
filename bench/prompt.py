"""The one prompt format of a run: how an input, a target and demonstrations become text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import UserError
from bench.tasks import Example

# Templates such as Llama 3's tell the date, and would ask another question every day; this is their
# own default.
DATE = "26 Jul 2024"


@dataclass(frozen=True)
class Prompt:
    """Text pieces around an input; the same for every baseline and every task.

    Attributes:
        opening: stands once, before the first input.
        after: stands between an input and its target.
        space: stands before a target.
        separator: stands between demonstrations; ends an answer given in context.
        shown: stands between the input and the target of a demonstration, where that differs from
            `after`: templates may open the turn to come otherwise than those that were.
        turns: the pieces are those of a chat template, special tokens among them.
    """

    opening: str = ""
    after: str = " =>"
    space: str = " "
    separator: str = "\n\n"
    shown: str | None = None
    turns: bool = False

    @property
    def stop(self) -> str:
        """The text that ends an answer given in context: the separator, without the space around
        its signs if it has any."""
        return self.separator if self.turns else self.separator.strip() or self.separator

    def target(self, text: str) -> str:
        """The text a model is to produce for a target."""
        return f"{self.space}{text}"

    def demonstration(self, example: Example) -> str:
        """One solved example, as it stands in a context."""
        after = self.after if self.shown is None else self.shown
        return f"{example.input}{after}{self.target(example.target)}{self.separator}"

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
    texts = one, two, three, four, five = "XfirstX", "XsecondX", "XthirdX", "XfourthX", "XfifthX"
    turns = [
        {"role": "assistant" if number % 2 else "user", "content": text}
        for number, text in enumerate(texts)
    ]

    def render(count: int) -> str:
        text: str = tokenizer.apply_chat_template(
            turns[:count],
            tokenize=False,
            add_generation_prompt=True,
            date_string=DATE,
        )
        return text

    try:
        opening, after = render(1).split(one)
        before, behind = render(3).split(two)
        shown, separator = before.removeprefix(opening + one), behind.split(three)[0]
        prompt = Prompt(opening, after, "", separator, shown, turns=True)
        pairs = (Example(i, (t,), "", "") for i, t in ((one, two), (three, four)))
        whole = opening + "".join(prompt.demonstrations(list(pairs))) + five + after
        if render(5) != whole:
            raise ValueError("earlier turns are not kept as they were said")
    except Exception as error:  # templates raise what they like
        raise UserError(
            f"chat: the backbone's chat template cannot render a user's and an assistant's turn "
            f"({' '.join(str(error).split())[:120]}); leave --chat out"
        ) from None
    return prompt
