"""One row of a data set, checked: a record in our fields, or a line that says what is wrong."""

import ast
import io
import json
import tokenize
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import SHOWN, UserError
from bench.languages import normalised
from bench.tasks import PARTS, SPLITS

FIELDS = (
    *("input", "target", "references", "task", "group", "id", "split", "task_split"),
    *("language", "source_language"),
)
_UNSEEN = ("Cc", "Cf", "Zs", "Zl", "Zp")  # categories of Unicode: controls, formats, spaces
# Characters of other categories that are drawn as nothing: fillers, joiners, variation selectors.
_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
USUAL = {"language": "target_lang", "source_language": "source_lang"}  # other names of a field


@dataclass(frozen=True, slots=True)
class Record:
    """One checked row; empty texts stand for what the data does not say.

    Attributes:
        table: stem of its file or name of its config, the task of those that name none.
        references: the target first, where the row has one beside its references.
        added: whether the target is not among the row's references.
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
    source_language: str = ""
    added: bool = False


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
    references, added = _references(where, values, row)
    split = _choice(where, "split", values["split"], PARTS)
    task_split = _choice(where, "task_split", values["task_split"], SPLITS)
    return Record(
        where,
        stem,
        text,
        references,
        task=_label(where, "task", values["task"]),
        group=_label(where, "group", values["group"]) or text,
        id=_label(where, "id", values["id"]) or where,
        split=split,
        task_split=task_split,
        language=_language(where, "language", values["language"]),
        source_language=_language(where, "source_language", values["source_language"]),
        added=added,
    )


def _references(
    where: str, values: Mapping[str, Any], row: Mapping[str, Any]
) -> tuple[tuple[str, ...], bool]:
    """All references, and whether the target was put before those that the row has."""
    target, references = values["target"], values["references"]
    if isinstance(target, str) and list_in(target):
        raise UserError(
            f"{where}: target is a list of texts; map its column as references, where each is one "
            "(--column references=COLUMN), or make the whole text the one item of such a list"
        )
    if references is None:
        return (_text(where, "target", target, row),), False
    if isinstance(references, str):
        found = list_in(references)
        references = [references] if found is None else found
    elif not isinstance(references, list):
        raise UserError(
            f"{where}: references must be a list of texts, not {type(references).__name__}"
        )
    if None in references:
        raise UserError(f"{where}: references holds a null; remove it")
    cleaned = tuple(_text(where, "references", item, row) for item in references)
    if not cleaned:
        raise UserError(f"{where}: references is an empty list; a target is needed")
    if target is None or target == "":
        return cleaned, False
    first = _text(where, "target", target, row)
    return (cleaned, False) if first in cleaned else ((first, *cleaned), True)


def list_in(text: str) -> list[str] | None:
    """The list of texts that a text is in JSON, or as Python writes it (as pandas does into CSV);
    None if it is none.

    A NumPy array's text has no commas between its items, as `['a' 'b']`; it is read item by item.
    """
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    try:
        found: Any = json.loads(text)
    except ValueError:
        found = _python_list(text)
    texts = isinstance(found, list) and all(isinstance(item, str) for item in found)
    return found if texts else None


def _python_list(text: str) -> list[str] | None:
    """The texts between brackets, as Python writes them."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
        strings = [token.string for token in tokens if token.type == tokenize.STRING]
        others = {token.string.strip() for token in tokens} - {*strings, "[", "]", ",", ""}
        return None if others else [ast.literal_eval(string) for string in strings]
    except (tokenize.TokenError, SyntaxError, ValueError):
        return None


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
        found = ", ".join(columns_of(row))
        raise UserError(
            f"{where}: no {name}; map its column: --column {name}=COLUMN (there are: {found})"
        )
    if not isinstance(value, str):
        inside = [column for column in columns_of(row) if "." in column]
        hint = f"; map what is inside: {', '.join(inside[:SHOWN])}" if inside else ""
        raise UserError(f"{where}: {name} must be text, not {type(value).__name__}{hint}")
    if not is_visible(value):
        empty = "has no visible character" if value.strip() else "is empty"
        raise UserError(f"{where}: {name} {empty}; remove the record or fill it in")
    return _composed(where, name, value)


def is_visible(text: str) -> bool:
    """Whether a text has a character that shows: neither space, nor control, nor format character,
    nor one of the few others that Unicode draws as nothing."""
    return any(
        unicodedata.category(character) not in _UNSEEN and character not in _BLANK
        for character in text
    )


def value_of(row: Mapping[str, Any], column: str) -> Any:
    """What a row has in a column; `translation.en` is a key inside of the column `translation`,
    and `messages.0` an item of a list. None where there is none."""
    if column in row or "." not in column:
        return row.get(column)
    value: Any = row
    for key in column.split("."):
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list) and key.isdecimal():
            value = value[int(key)] if int(key) < len(value) else None
        else:
            return None
    return value


def columns_of(row: Mapping[str, Any]) -> list[str]:
    """The names that can be mapped: the row's columns in order of name, and for one that has keys
    inside, those."""
    names = list[str]()
    for name, value in sorted(row.items(), key=lambda item: str(item[0])):
        if isinstance(value, Mapping) and value:
            names += (f"{name}.{inside}" for inside in columns_of(value))
        else:
            names.append(str(name))
    return names


def _choice(where: str, name: str, value: Any, allowed: tuple[str, ...]) -> str:
    if value is None or value in allowed:
        return str(value or "")
    raise UserError(f"{where}: {name} = {value!r}; allowed are {', '.join(allowed)}")
