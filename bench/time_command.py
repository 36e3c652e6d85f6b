"""`fewgen time`: measures, prints tables, and writes what it was asked to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from bench.cost_tables import console, peers_table, picture_of, plot, sweep_tables
from bench.errors import unknown
from bench.peers import PEERS
from bench.progress import shown_progress
from bench.records import write_json, write_whole
from bench.sweeps import AXES, Bench, sweep
from bench.timed import compare, material
from bench.works import missing_peers, works_of


def beside_peers(
    works: Sequence[str],
    peers: Sequence[str],
    pairs: int | None,
    threads: int,
    out: Path | None,
    **source: Any,
) -> None:
    """The works beside the peers, all that are installed if none is named."""
    chosen = works_of(works, source["device"], peers)
    given = material(peers=peers or _installed(), **source)
    rows: list[dict[str, Any]] = []
    try:
        with shown_progress("fewgen time --peers") as update:
            for row in compare(chosen, given, pairs or 5, threads, update):
                rows.append(row)
    finally:  # a work that fails leaves the others'
        if rows:
            console().print(peers_table({rows[0]["device"]: rows}))
            if out:
                write_json(out, rows)


def _installed() -> list[str]:
    """The peers that are; those that are not are told."""
    lacking = missing_peers(list(PEERS))
    for name in lacking:
        click.echo(f"{name} is not installed (pip install 'fewgen[peers]'): left out", err=True)
    return [name for name in PEERS if name not in lacking]


def along_axes(
    axes: Sequence[str],
    backbone: str | None,
    rounds: int | None,
    picture: Path | None,
    threads: int,
    out: Path | None,
    **source: Any,
) -> None:
    """What an inner loop costs along axes."""
    for axis in axes:
        if axis not in AXES:
            raise unknown("axis", axis, AXES)
    bench = Bench(backbone or "tiny", material(**source))
    chosen = list(dict.fromkeys(axes)) or ["tasks", "shots", "steps"]
    with shown_progress("fewgen time") as update:
        found = sweep(bench, chosen, rounds or 7, threads, update)
    screen = console()
    screen.print(*sweep_tables(found), sep="")
    screen.print(plot(found))
    if out:
        write_json(out, found)
    if picture:
        write_whole(picture, picture_of(found))
