"""Inputs that are the same but for white space, case and Unicode form."""

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from bench.rows import Record
from bench.tasks import Task


def essence(text: str) -> bytes:
    """A digest that two texts share if they differ in white space, case, Unicode form (NFKC) and
    characters that do not show only."""
    if not text.isascii():
        shown = unicodedata.normalize("NFKC", _unseen().sub("", text))
        # Composed twice: folding can take a composed letter apart.
        text = unicodedata.normalize("NFKC", shown.casefold())
    return blake2b(" ".join(text.casefold().split()).encode(), digest_size=16).digest()


@lru_cache(maxsize=1)
def _unseen() -> Any:
    import regex

    return regex.compile(r"\p{Cf}+")


def united(records: Sequence[Record]) -> tuple[list[Record], int]:
    """Records of one group each for inputs that are the same in essence, and how many of them had
    another.

    Only an input that is its own group is looked at: a group that the data declare stays. A group
    takes the first of the inputs in order, so that no other group changes its name.
    """
    inputs: dict[bytes, set[str]] = {}
    for record in records:
        if record.group == record.input:
            inputs.setdefault(essence(record.input), set()).add(record.input)
    names = {text: min(texts) for texts in inputs.values() if len(texts) > 1 for text in texts}
    if not names:
        return list(records), 0
    made, alike = list[Record](), 0
    for record in records:
        name = names.get(record.input) if record.group == record.input else None
        alike += name is not None
        made.append(record if name is None else replace(record, group=name))
    return made, alike


def repeated_inputs(task: Task) -> int:
    """Test examples whose input is in essence that of an example that may be support, and whose
    group is not."""
    support = task.parts.get("train") or task.parts.get("validation", ())
    groups: dict[bytes, set[str]] = {}
    for example in support:
        groups.setdefault(essence(example.input), set()).add(example.group)
    return sum(
        bool(groups.get(essence(example.input), set()) - {example.group})
        for example in task.parts.get("test", ())
    )
