"""Rows without a text of the data or of answers, for reports and exports of private data."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin

from bench.errors import UserError
from bench.places import strings
from bench.registry import load
from bench.tables import Row

HIDDEN = "(not shown)"
NAMES = ("task", "digest", "support_part")  # texts of a record that are kept
# Facts of a suite in `run.json`.
TOLD_OF_TASKS = ("tasks", "left_out", "left_out_of_training", "not_probed", "notes")
TOLD = ("tasks", "columns")  # plan keys that hold names of the data
_KIND = re.compile(r"(\w*(?:Error|Exception|Interrupt|Warning|Exit)): ")


def without_texts(rows: Sequence[Row]) -> list[Row]:
    """The rows with scores and costs, and without predictions, ids, reasons of failures and options
    that are free text.

    Tasks of data of one's own are numbered in the order of their names, as these are the data's;
    those that a suite embeds keep their names.
    """
    return list(map(Hidden(rows).row, rows))


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


class Hidden:
    """What stands in place of the texts of some rows."""

    def __init__(self, rows: Sequence[Row]) -> None:
        found: dict[tuple[str, str], set[str]] = {}
        for row in rows:
            asked = row.header["settings"].get("tasks") or []
            known = found.setdefault(_data(row.header), set())
            known.update([*asked, *(record["task"] for record in row.records())])
        self._tasks = {key: _numbered(key[1], names) for key, names in found.items()}

    def row(self, row: Row) -> Row:
        """A row without texts."""
        return replace(
            row,
            header=self.header(row.header),
            headers=[self.header(header) for header in row.headers],
            cells={
                place: [self.record(row.header, record) for record in records]
                for place, records in row.cells.items()
            },
            failed={place: kind_of(reason) for place, reason in row.failed.items()},
        )

    def header(self, header: Mapping[str, Any]) -> dict[str, Any]:
        """A cell's header without names of tasks and options that are free text."""
        settings, names = header["settings"], self._tasks[_data(header)]
        options = {
            key: options_without_texts(header["baseline"], header[key])
            for key in ("options", "changed")
            if header.get(key)
        }
        tasks = (
            {"tasks": [names[name] for name in settings["tasks"]]} if "tasks" in settings else {}
        )
        return {**header, **options, "settings": {**settings, **tasks}}

    def record(self, header: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
        """A record of a cell: numbers, and in place of each prediction None."""
        kept = {
            key: value
            for key, value in record.items()
            if key in NAMES or not any(True for _ in strings(value))
        }
        kept["task"] = self._tasks[_data(header)][record["task"]]
        if "predictions" in record:
            kept["predictions"] = [None] * len(record["predictions"])
        return kept

    def run(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """The content of a `run.json` without what it tells of single tasks."""
        facts = dict(content.get("facts") or {})
        if "suites" in facts:
            facts["suites"] = {name: _facts(told) for name, told in facts["suites"].items()}
        told = {"plan": plan_without_texts(content["plan"]), "facts": facts}
        return {**content, **told}


def _facts(told: Mapping[str, Any]) -> dict[str, Any]:
    """What a `run.json` tells of a suite, with how many tasks there are in place of their names;
    all of what a suite embeds."""
    if told.get("dataset") == "embedded":
        return dict(told)
    counted = {k: [HIDDEN] * len(names) for k, names in (told.get("tasks") or {}).items()}
    return {**{k: v for k, v in told.items() if k not in TOLD_OF_TASKS}, "tasks": counted}


def _numbered(dataset: str, names: Collection[str]) -> dict[str, str]:
    """What each task is called."""
    width = len(str(len(names)))
    return {
        name: name if dataset == "embedded" else f"task {number:0{width}}"
        for number, name in enumerate(sorted(names), 1)
    }


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
