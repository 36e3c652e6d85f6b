"""What may stand in one block: ranks, tests and bold are only among its rows."""

import json
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.tables import Row

EXEMPT = ("none", "scratch")  # rows that may stand beside any backbone
ASKED = ("tasks", "queries", "episodes", "max_new_tokens")  # settings that questions depend on


def questions(row: "Row") -> dict[str, Any]:
    """What a row was asked and how it is scored."""
    keys = ("suite", "dataset", "revision", "split", "shots", "signatures")
    return {
        **{key: row.header.get(key) for key in keys},
        **{key: row.header["settings"][key] for key in ASKED},
        "seeds": sorted({seed for _, seed in row.planned}),
    }


def decoding_of(row: "Row") -> str | None:
    """How the row's answers were written; None for a floor."""
    if row.header["init"] == "none":
        return None
    return str(row.header["settings"].get("decoding", "greedy"))


def _decoded_alike(rows: "Sequence[Row]") -> "list[list[Row]]":
    """Rows by how their answers were written; floors are among each."""
    floors = [row for row in rows if decoding_of(row) is None]
    others: dict[str, list[Row]] = {}
    for row in rows:
        if decoding := decoding_of(row):
            others.setdefault(decoding, []).append(row)
    return [[*floors, *group] for group in others.values()] or [floors]


def agree(rows: "Sequence[Row]") -> bool:
    """Whether rows saw the same episode of the same task wherever they have the same seed and
    index."""
    seen: dict[tuple[int, int], tuple[str, str]] = {}
    met = (
        ((r["seed"], r["index"]), (r["task"], r["digest"])) for row in rows for r in row.records()
    )
    return all(seen.setdefault(place, episode) == episode for place, episode in met)


def start(row: "Row") -> str:
    """What the row's adaptation starts from: a backbone's weights, or how each train seed's are
    made."""
    head = row.header
    anew, trained_on = head["settings"]["pretrain"], head["settings"].get("train_suites")
    if not anew:
        return json.dumps(head["backbone_identity"])
    read = trained_on if trained_on and "suites" not in anew else []
    recipe = [head["recipe"]] if "recipe" in head else []
    return json.dumps([head["backbone"], anew, *read, *recipe])


def blocks(rows: "Sequence[Row]") -> "list[list[Row]]":
    """Rows that may be ranked together: equal episodes, scores, decoding and backbone; rows without
    pre-trained weights stand in every block of their episodes, if their answers were written
    alike."""
    asked: dict[str, list[Row]] = {}
    for row in rows:
        asked.setdefault(json.dumps(questions(row), sort_keys=True), []).append(row)
    made = []
    for members in chain.from_iterable(map(_decoded_alike, asked.values())):
        exempt = [row for row in members if row.header["init"] in EXEMPT]
        others: dict[str, list[Row]] = {}
        for row in members:
            if row.header["init"] not in EXEMPT:
                others.setdefault(start(row), []).append(row)
        groups = [[*exempt, *group] for group in others.values()] or [exempt]
        for group in groups:
            # Data that changed without a new revision: nothing in it can be compared.
            made += [group] if agree(group) else [[row] for row in group]
    return made
