"""Rows without a text of the data or of answers, for reports and exports of private data."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin

from bench.errors import UserError
from bench.places import strings
from bench.registry import load
from bench.tables import Row

HIDDEN = "(not shown)"
NAMES = ("task", "digest", "support_part")  # texts of a record that are kept
TOLD = ("tasks", "columns")  # plan keys that hold names of the data
_KIND = re.compile(r"(\w*(?:Error|Exception|Interrupt|Warning|Exit)): ")
Names = Mapping[tuple[str, str], Mapping[str, str]]  # (suite, dataset) to the names of its tasks


def without_texts(rows: Sequence[Row]) -> list[Row]:
    """The rows with scores and costs, and without predictions, ids, reasons of failures and options
    that are free text.

    Tasks of data of one's own are numbered in the order of their names, as these are the data's;
    those that a suite embeds keep their names.
    """
    names = _numbered(rows)
    return [_row(row, names[_data(row.header)]) for row in rows]


def plan_without_texts(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a plan but for what the data call their tasks and columns and options that are
    free text."""
    kept = {key: value for key, value in plan.items() if key not in TOLD}
    given = (plan.get("options") or {}).items()
    options = {name: options_without_texts(name, values) for name, values in given}
    return {**kept, "options": options}


def options_without_texts(baseline: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """A baseline's options; of texts only those that it declares as choices, as others may be
    prompts."""
    return {
        key: HIDDEN if any(s not in _choices(baseline, key) for s in strings(value)) else value
        for key, value in options.items()
    }


def kind_of(reason: str) -> str:
    """What is told of the reason of a failure, which may quote the data: the error's name, if it
    begins with it."""
    found = _KIND.match(reason)
    return f"{found[1] if found else 'an error'}, whose message is not shown"


def _data(header: Mapping[str, Any]) -> tuple[str, str]:
    return header["suite"], header["dataset"]


def _numbered(rows: Sequence[Row]) -> Names:
    """What each task is called."""
    found: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        asked = row.header["settings"].get("tasks") or []
        known = found.setdefault(_data(row.header), set())
        known.update([*asked, *(record["task"] for record in row.records())])
    made = {}
    for key, names in found.items():
        width = len(str(len(names)))
        made[key] = {
            name: name if key[1] == "embedded" else f"task {number:0{width}}"
            for number, name in enumerate(sorted(names), 1)
        }
    return made


def _row(row: Row, names: Mapping[str, str]) -> Row:
    cells = {
        place: [_record(record, names) for record in records]
        for place, records in row.cells.items()
    }
    return replace(
        row,
        header=_header(row.header, names),
        headers=[_header(header, names) for header in row.headers],
        cells=cells,
        failed={place: kind_of(reason) for place, reason in row.failed.items()},
    )


def _header(header: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    settings, baseline = header["settings"], header["baseline"]
    options, changed = (
        options_without_texts(baseline, header.get(key) or {}) for key in ("options", "changed")
    )
    tasks = [names[name] for name in settings.get("tasks") or []]
    told = {"options": options, "changed": changed, "settings": {**settings, "tasks": tasks}}
    return {**header, **told}


def _record(record: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    kept = {
        key: value
        for key, value in record.items()
        if key in NAMES or not any(True for _ in strings(value))
    }
    kept["task"] = names[record["task"]]
    if "predictions" in record:
        kept["predictions"] = [None] * len(record["predictions"])
    return kept


def _choices(baseline: str, option: str) -> set[str]:
    """The words that a baseline declares for an option; none of one that is not installed here."""
    try:
        fields = load("baseline", baseline).Options.model_fields
    except UserError:
        return set()
    return set(_words(fields[option].annotation)) if option in fields else set()


def _words(annotation: Any) -> Iterator[str]:
    if get_origin(annotation) is Literal:
        yield from (word for word in get_args(annotation) if isinstance(word, str))
    else:
        for part in get_args(annotation):
            yield from _words(part)
