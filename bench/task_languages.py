"""The language of each record: declared, else the plan's, else told by its task's script."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from bench.languages import language_of, script_of
from bench.rows import Record

SAMPLE = 200  # records of a task whose script is held against the declared language
NAMED = 3  # tasks that a note names
# Scripts of Unicode that a script of ISO 15924 is made of, where it is not one of them itself.
_MADE_OF = {
    **dict.fromkeys(("Hans", "Hant", "Hani"), ("Hani", "Bopo")),
    "Jpan": ("Hani", "Hira", "Kana"),
    "Hrkt": ("Hira", "Kana"),
    "Kore": ("Hang", "Hani"),
    "Aran": ("Arab",),
    "Latf": ("Latn",),
    "Latg": ("Latn",),
}


def languages_of_records(
    records: Sequence[Record], planned: str | None
) -> tuple[dict[str, str | None], list[str]]:
    """The tag of the references' language of each record, by its id, and what is to be noted.

    A record's own language comes first, then the one that its task's other records declare, then
    the plan's, then the one that the script of the task's references tells.

    Args:
        records: of all tasks, each with its task.
        planned: the language that the plan names for records that declare none.
    """
    tasks: dict[str, list[Record]] = {}
    for record in records:
        tasks.setdefault(record.task, []).append(record)
    found: dict[str, str | None] = {}
    mixed, odd = list[str](), list[str]()
    for task, own in tasks.items():
        declared = sorted({record.language for record in own if record.language})
        shared = declared[0] if len(declared) == 1 else planned
        if shared is None and not all(record.language for record in own):
            shared = language_of(text for record in own for text in record.references)
        languages = {record.id: record.language or shared for record in own}
        found |= languages
        if len(declared) > 1:
            mixed.append(f"{task} ({', '.join(declared)})")
        odd += _disagreements(task, own, languages)
    notes = []
    if planned and all(record.language for record in records):
        notes.append(f"language = {planned!r} is not used: every record declares its own language")
    if mixed:
        notes.append(
            f"tasks with several languages: {_some(mixed)}; each answer is scored by the tokenizer "
            "of its own reference's language"
        )
    if odd:
        notes.append(
            f"language and script disagree: {_some(odd)}; the language chooses BLEU's tokenizer, "
            "so correct it, or name the script, as in kk-Latn"
        )
    return found, notes


def one_of(values: Iterable[str | None]) -> str | None:
    """The value that all share; None if they differ."""
    found = set(values)
    return found.pop() if len(found) == 1 else None


def _some(texts: Sequence[str]) -> str:
    more = len(texts) - NAMED
    return ", ".join(texts[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _disagreements(
    task: str, records: Sequence[Record], languages: dict[str, str | None]
) -> list[str]:
    """What to say of each language of a task whose script few letters of its references have."""
    texts: dict[str, list[str]] = {}
    for record in records[:SAMPLE]:
        if language := languages[record.id]:
            texts.setdefault(language, []).extend(record.references)
    return [
        f"{task} is {language}, but most of its letters are {other}"
        for language, found in texts.items()
        if (other := _other_script(language, "".join(found)))
    ]


def _other_script(language: str, text: str) -> str:
    """The script of most letters of a text, by Unicode's name of it, if fewer than half are of the
    script that the language is written in; nothing where that script is not known."""
    pattern = _letters_of(script_of(language) or "")
    letters = [c for c in text if unicodedata.category(c)[0] == "L"]
    if pattern is None or 2 * len(pattern.findall(text)) >= len(letters):
        return ""
    names = Counter(unicodedata.name(letter, "unnamed").split(" ")[0] for letter in letters)
    return names.most_common(1)[0][0].capitalize()


@lru_cache(maxsize=64)
def _letters_of(script: str) -> Any:
    """A pattern for letters of a script; None if it has no name in Unicode."""
    import regex

    parts = "".join(rf"\p{{Script={part}}}" for part in _MADE_OF.get(script, (script,)))
    try:
        return regex.compile(rf"(?V1)[[{parts}]&&\p{{L}}]")
    except regex.error:
        return None
