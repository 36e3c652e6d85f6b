"""Slim records: what tables are made of, without texts, small enough to be kept in a repository."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.costs import inner_step_ms, inner_steps
from bench.errors import UserError
from bench.exports import Export
from bench.exports.folder import make_folder
from bench.exports.runs import check_cells, read_cells
from bench.records import read_failure, write_cell, write_json
from bench.tables import read_rows
from bench.without_texts import Hidden, kind_of

LEFT_OUT = ("predictions", "support_ids", "query_ids", "losses")


def slim_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without texts, ids and curves; `statistics` hold one list, the sum over queries."""
    kept = {key: value for key, value in record.items() if key not in LEFT_OUT}
    made = {**kept, "queries": queries_of(record), "statistics": _summed(record["statistics"])}
    if probes := record.get("probes"):
        made["probes"] = {name: _summed(statistics) for name, statistics in probes.items()}
    if cost := record.get("costs"):
        steps = {"inner_steps": inner_steps(cost), "inner_step_ms": inner_step_ms(cost)}
        made["costs"] = {**{k: v for k, v in cost.items() if k != "inner_steps_ms"}, **steps}
    return made


def _summed(statistics: Mapping[str, Any]) -> dict[str, list[list[float]]]:
    """By metric, one list in place of those of all queries."""
    import numpy as np

    return {name: [np.sum(np.array(lists), axis=0).tolist()] for name, lists in statistics.items()}


def queries_of(record: Mapping[str, Any]) -> int:
    """How many queries an episode asked."""
    if "queries" in record:
        return int(record["queries"])
    return len(next(iter(record["statistics"].values())))


def is_slim(header: Mapping[str, Any]) -> bool:
    """Whether a cell's records are without predictions."""
    return bool(header.get("slim"))


def export(directories: Sequence[Path], out: Path, texts: bool = True) -> Export:
    """Writes a run directory that gives the same tables as the one it is made of.

    Its `run.json` is without paths and without the name of the run directory.

    Args:
        directories: one, written by `run`.
        out: the folder to be.
        texts: whether names of tasks, commands, messages and options that are free text are kept.

    Raises:
        UserError: not one run directory, one without finished cells, or a folder with other files.
    """
    if len(directories) != 1:
        raise UserError("records are slimmed one run directory at a time; name one")
    directory = directories[0]
    run = check_cells([directory], texts)[0]

    def fill(folder: Path) -> None:
        hidden = None if texts else Hidden(read_rows([directory]))
        content = run.places.shown({**run.content, "started": run.when})
        content["local"] = run.places.shown(dict(run.places.local))
        content["plan"] = {**content["plan"], "out": None}
        content["command"] = shlex.split(run.command) if texts else []
        write_json(folder / "run.json", hidden.run(content) if hidden else content)
        for cell, header, records in read_cells(directory):
            if hidden:
                records = [hidden.record(header, record) for record in records]
                header = hidden.header(header)
            slimmed = [slim_record(record) for record in records]
            write_cell(folder, cell, {**run.places.shown(header), "slim": True}, slimmed)
        for path in sorted((directory / "cells").rglob("*.failed.json")):
            header, reason = read_failure(path)
            if hidden:
                header, reason = hidden.header(header), kind_of(reason)
            failure = run.places.shown({"cell": header, "reason": reason})
            write_json(folder / path.relative_to(directory), failure)

    make_folder(out, directories, fill)
    return Export(out, "dataset", [])
