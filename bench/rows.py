"""One row of a data set, checked: a record in our fields, or a line that says what is wrong."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import UserError
from bench.languages import normalised
from bench.tasks import PARTS, SPLITS

FIELDS = (
    *("input", "target", "references", "task", "group", "id", "split", "task_split"),
    *("language", "source_language"),
)
USUAL = {"language": "target_lang", "source_language": "source_lang"}  # other names of a field


@dataclass(frozen=True, slots=True)
class Record:
    """One checked row; empty texts stand for what the data does not say.

    Attributes:
        table: stem of its file or name of its config, the task of those that name none.
    """

    where: str
    table: str
    input: str
    references: tuple[str, ...]
    task: str
    group: str
    id: str
    split: str
    task_split: str
    language: str
    source_language: str


def check(where: str, values: dict[str, Any], row: dict[str, Any], stem: str) -> Record:
    """The record of a row of the table `stem`.

    Args:
        where: the row's place, for messages.
        values: what the row has for each of `FIELDS`.
        row: all of it.

    Raises:
        UserError: a text is missing, empty or of another type, or a choice is unknown.
    """
    for name, other in USUAL.items():
        if values[name] is None:
            values[name] = row.get(other)
    text = _text(where, "input", values["input"], row)
    references = values["references"]
    if references is None:
        references = [_text(where, "target", values["target"], row)]
    elif isinstance(references, str):
        references = [references]
    elif not isinstance(references, list):
        raise UserError(
            f"{where}: references must be a list of texts, not {type(references).__name__}"
        )
    if None in references:
        raise UserError(f"{where}: references holds a null; remove it")
    cleaned = tuple(_text(where, "references", item, row) for item in references)
    if not cleaned:
        raise UserError(f"{where}: references is an empty list; a target is needed")
    split = _choice(where, "split", values["split"], PARTS)
    task_split = _choice(where, "task_split", values["task_split"], SPLITS)
    return Record(
        where,
        stem,
        text,
        cleaned,
        task=_label(where, "task", values["task"]),
        group=_label(where, "group", values["group"]) or text,
        id=_label(where, "id", values["id"]) or where,
        split=split,
        task_split=task_split,
        language=_language(where, "language", values["language"]),
        source_language=_language(where, "source_language", values["source_language"]),
    )


def _label(where: str, name: str, value: Any) -> str:
    """A name or a number that may be missing."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UserError(f"{where}: {name} must be text, not {type(value).__name__}")
    return _composed(where, name, str(value))


def _language(where: str, name: str, value: Any) -> str:
    """The tag of a language that may be missing."""
    label = _label(where, name, value)
    try:
        return normalised(label) if label else ""
    except ValueError as error:
        raise UserError(f"{where}: {name} = {label!r}: {error}") from None


def _composed(where: str, name: str, text: str) -> str:
    """The text in Unicode NFC; JSON can hold half a character, which no digest can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{where}: {name} holds half of a surrogate pair; mend the text") from None
    return unicodedata.normalize("NFC", text)


def _text(where: str, name: str, value: Any, row: Mapping[str, Any]) -> str:
    if value is None:
        found = ", ".join(sorted(map(str, row)))
        raise UserError(f"{where}: no {name}; map its column in the plan (there are: {found})")
    if not isinstance(value, str):
        raise UserError(f"{where}: {name} must be text, not {type(value).__name__}")
    if not value.strip():
        raise UserError(f"{where}: {name} is empty; remove the record or fill it in")
    return _composed(where, name, value)


def _choice(where: str, name: str, value: Any, allowed: tuple[str, ...]) -> str:
    if value is None or value in allowed:
        return str(value or "")
    raise UserError(f"{where}: {name} = {value!r}; allowed are {', '.join(allowed)}")
