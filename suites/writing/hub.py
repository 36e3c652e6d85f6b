"""Public poems and stories."""

import re
from collections.abc import Iterable, Iterator

from bench.tasks import Mapped, PublicData, RawRow

LINES = 2  # of a poem given, and as many to go on with
STORY = 400  # characters of a story: its beginning, up to the end of a sentence
PARTS = {"train": "train", "validation": "validation", "test": "test"}
TAG = re.compile(r"\s*[\[(]\s*([A-Za-z]{2,3})\s*[\])]\s*(.*)", re.DOTALL)


def poetry(rows: Iterable[RawRow]) -> Iterator[Mapped]:
    """A task is a book, an example four lines that follow one another: two and two. Lines have no
    mark of poems, so an example may run from one into the next."""
    book, stanza, number = None, list[str](), 0
    for row in rows:
        if row.values["gutenberg_id"] != book:
            book, stanza, number = row.values["gutenberg_id"], [], 0
        stanza.append(row.values["line"].strip())
        if len(stanza) == 2 * LINES:
            number += 1
            group = f"{book}-{number}"
            record = {
                "task": f"book-{book}",
                "input": "\n".join(stanza[:LINES]),
                "target": "\n".join(stanza[LINES:]),
                "group": group,
            }
            stanza = []
            if record["input"].strip() and record["target"].strip():
                yield row.where, record


def stories(rows: Iterable[RawRow]) -> Iterator[Mapped]:
    """A task is the tag of a prompt (WP, EU, TT, ...), the target the beginning of a story.
    Prompts without a tag are one task."""
    for row in rows:
        match = TAG.match(row.values["prompt"])
        tag, prompt = match.groups() if match else ("none", row.values["prompt"])
        beginning = row.values["story"][:STORY]
        end = max(beginning.rfind(mark) for mark in ".!?")
        if prompt.strip() and beginning.strip():
            yield (
                row.where,
                {
                    "task": tag.upper(),
                    "split": PARTS[row.part],
                    "input": prompt.strip(),
                    "target": (beginning[: end + 1] or beginning).strip(),
                    "group": prompt.strip(),
                },
            )


PUBLIC = (
    PublicData(
        id="biglam/gutenberg-poetry-corpus",
        summary="lines of poetry in the public domain, four at a time, left out where the first or "
        "the last two are blank; a task is a book",
        licence="CC0 1.0",
        revision="main",
        parts={"train": "train"},
        records=poetry,
    ),
    PublicData(
        id="euclaise/writingprompts",
        summary="prompts and how the stories they led to begin, in 400 characters, whole sentences "
        "if there are any; a task is a kind of prompt",
        licence="MIT (card); texts of their writers",
        revision="main",
        parts=PARTS,
        records=stories,
    ),
)
