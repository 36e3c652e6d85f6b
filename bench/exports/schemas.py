"""Checks documents against the Every Eval Ever schemas, vendored in `bench/schemas`."""

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.errors import UserError

FOLDER = Path(__file__).parent.parent / "schemas" / "every_eval_ever"
AGGREGATE, INSTANCE = "eval", "instance_level_eval"


@lru_cache(maxsize=2)
def schema(name: str) -> dict[str, Any]:
    """One of `AGGREGATE` and `INSTANCE`."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))
    return found


def version() -> str:
    """The schemas' version."""
    return str(schema(AGGREGATE)["version"])


@lru_cache(maxsize=2)
def _validator(name: str) -> Any:
    from jsonschema.validators import validator_for

    kind = validator_for(schema(name))
    kind.check_schema(schema(name))
    return kind(schema(name))


def check(name: str, document: Any, where: str) -> None:
    """Raises `UserError` with the worst fault of a document that is not of a schema."""
    from jsonschema.exceptions import best_match

    if fault := best_match(_validator(name).iter_errors(document)):
        raise UserError(f"{where}: {fault.json_path}: {fault.message:.200}")


def check_file(path: Path) -> None:
    """Checks a file that was written: a document (.json), or one a line (.jsonl).

    Raises:
        UserError: it is not of its schema; with the line, where there are several.
    """
    name = INSTANCE if path.suffix == ".jsonl" else AGGREGATE
    for place, document in _documents(path):
        check(name, document, f"{path.name}{place}")


def _documents(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open(encoding="utf-8") as file:
        if path.suffix == ".jsonl":
            for number, line in enumerate(file, 1):
                yield f", line {number}", json.loads(line, parse_constant=_refused)
        else:
            yield "", json.load(file, parse_constant=_refused)


def _refused(text: str) -> None:
    raise UserError(f"{text} is no number in JSON")
