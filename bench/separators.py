"""The text between demonstrations, which also ends an answer given in context: it has to survive
the tokenizer, and no target may hold it."""

from collections.abc import Iterable, Sequence
from typing import Any

from bench.prompt import Prompt

SEPARATORS = ("\n\n", "\n###\n", " ### ", " ||| ", " *** ", " ;;; ")  # the first that works is used
ARROWS = (" =>", " ->", " :")  # between an input and its target


def free_separators(targets: Iterable[str]) -> list[str]:
    """The separators that no target holds."""
    free = list(SEPARATORS)
    for target in targets:
        free = [separator for separator in free if not holds(target, separator)]
    return free


def holds(target: str, separator: str) -> bool:
    """Whether an answer that gives this target would be cut at the separator."""
    return Prompt(separator=separator).stop in target.strip()


def plain_prompt(tokenizer: Any, free: Sequence[str] = SEPARATORS) -> Prompt:
    """The prompt of a run without a chat template.

    Args:
        tokenizer: which has to keep the separator; those of T5 or mBART drop newlines.
        free: separators that no target holds.
    """
    separator = next((each for each in free if _keeps(tokenizer, each)), SEPARATORS[0])
    arrow = next((each for each in ARROWS if _keeps(tokenizer, each)), ARROWS[0])
    return Prompt(after=arrow, separator=separator)


def _keeps(tokenizer: Any, piece: str) -> bool:
    """Whether a piece between two words is the same in the text of its tokens."""
    return piece in written(tokenizer, f"a{piece} b")


def written(tokenizer: Any, text: str) -> str:
    """A text as the tokenizer gives it back."""
    from bench.generation import text_of

    made = tokenizer(text, add_special_tokens=False, split_special_tokens=True)
    return text_of(tokenizer, made.input_ids)
