"""The tables and the plot of `fewgen time`, from the rows that its JSON holds.

Tables are Markdown on the screen too, so that they can be published as they are printed.
"""

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.box import MARKDOWN
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

Row = Mapping[str, Any]
BAR = 48  # characters of the longest
WIDTH = 400


def console() -> Console:
    """One that breaks no line of a table, however narrow the screen: it would be no table then."""
    return Console(width=WIDTH, soft_wrap=True, highlight=False)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """The first column is text, others numbers."""
    made = Table(box=MARKDOWN, show_edge=True)
    for place, head in enumerate(heads):
        made.add_column(head, justify="right" if place else "left", no_wrap=True)
    for row in rows:
        made.add_row(*row)
    return made


# -- beside others -------------------------------------------------------------------------


def peers_table(devices: Mapping[str, Sequence[Row]], lacking: str = "not measured") -> Table:
    """Rows of `Compared` by the device they are from, under its title; `lacking` stands where a
    device has none."""
    works = list(dict.fromkeys((r["work"], r["peer"]) for rows in devices.values() for r in rows))
    heads, columns = ["work", "peer"], list[list[str]]()
    for title, rows in devices.items():
        found = {(row["work"], row["peer"]): row for row in rows}
        if not rows:
            heads.append(title)
            columns.append([lacking] * len(works))
            continue
        for head, show in _COMPARED.items():
            heads.append(f"{title}: {head}")
            columns.append([show(found[w]) if w in found else lacking for w in works])
    lines = [[*names, *cells] for names, *cells in zip(works, *columns, strict=True)]
    return _table(heads, lines)


_COMPARED: dict[str, Callable[[Row], str]] = {
    "ours, s": lambda row: _short(row["ours_s"]),
    "peer, s": lambda row: _short(row["peer_s"]),
    "peer over ours": lambda row: f"{row['ratio']:.2f}",
    "gradients apart": lambda row: f"{row['max_rel_error']:.0e}",
}


# -- along axes ----------------------------------------------------------------------------


def sweep_tables(found: Row) -> Iterator[RenderableType]:
    """What `bench.sweeps.sweep` returns: for each axis a table and how its costs grow."""
    yield Text(_about(found["about"]))
    for axis, costs in _by_axis(found["costs"]).items():
        yield Text(f"\n{axis} (else {_others(axis, costs[0]['setting'])})\n")
        yield _table([axis, *_COSTS], [_cost_line(cost) for cost in costs])
        for name, growth in found["growth"][axis].items():
            yield Text(f"\n{name} grows as {axis} to the power {_interval(growth)}")
    for note in found["notes"]:
        yield Text(f"\n{note}")


def _by_axis(costs: Sequence[Row]) -> dict[str, list[Row]]:
    made = dict[str, list[Row]]()
    for cost in costs:
        made.setdefault(cost["axis"], []).append(cost)
    return made


def _about(about: Row) -> str:
    rates = ", ".join(f"{k} {v / 1e9:,.0f}" for k, v in about["matrix_flops_per_s"].items())
    where = f"{about['device']}, {about['threads']} thread(s)"
    return (
        f"{about['backbone']} on {about['data']}; {where}; {about['rounds']} rounds; fewgen "
        f"{about['fewgen']}, torch {about['torch']}, transformers {about['transformers']}; GFLOP/s "
        f"of a matrix product: {rates}"
    )


def _others(axis: str, setting: Row) -> str:
    """The settings that an axis does not move."""
    return ", ".join(f"{k} {v}" for k, v in setting.items() if k != axis and v is not None)


def _cost_line(cost: Row) -> list[str]:
    return [str(cost["value"]), *(show(cost) for show in _COSTS.values())]


_COSTS: dict[str, Callable[[Row], str]] = {
    "ms": lambda c: f"{_short(c['ms'])} [{_short(c['ms_low'])}, {_short(c['ms_high'])}]",
    "ms a step and task": lambda c: _short(c["step_task_ms"]),
    "tokens/s": lambda c: f"{c['tokens_per_s']:,.0f}",
    "peak MiB": lambda c: _short(c["peak_mib"]),
    "of it added": lambda c: _short(c["added_mib"]),
    "GFLOP a step": lambda c: _short(c["step_flops"] / 1e9),
    "utilisation": lambda c: f"{100 * c['utilisation']:.1f} %",
    "J": lambda c: _short(c["joules"]),
}


def _interval(growth: Row) -> str:
    told = f"{growth['exponent']:.2f}"
    if growth["low"] is None:
        return f"{told} (no interval: it needs six rounds)"
    return f"{told} [{growth['low']:.2f}, {growth['high']:.2f}]"


def _short(value: float | None) -> str:
    """Three digits, or all of them before the point; a dash where there is no value."""
    if value is None:
        return "-"
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    digits = max(2 - math.floor(math.log10(abs(value))), 0)
    return f"{value:,.{digits}f}"


# -- plot ----------------------------------------------------------------------------------


def plot(found: Row) -> RenderableType:
    """Bars of time and memory for every axis, on logarithmic scales."""
    parts: list[RenderableType] = [Text(_about(found["about"]))]
    for axis, costs in _by_axis(found["costs"]).items():
        for name, key, unit in (("time", "ms", "ms"), ("added memory", "added_mib", "MiB")):
            drawn = [cost for cost in costs if cost[key] and cost[key] > 0]
            if not drawn:
                continue
            growth = found["growth"][axis].get(name.split()[-1])
            told = f", exponent {_interval(growth)}" if growth else ""
            parts.append(Text(f"\n{name} by {axis}{told}", style="bold"))
            parts.append(_bars(drawn, key, unit))
    return Group(*parts)


def picture_of(found: Row) -> str:
    """The plot as SVG."""
    screen = Console(record=True, width=BAR + 40, file=io.StringIO())
    screen.print(plot(found))
    return screen.export_svg(title="fewgen time")


def _bars(costs: Sequence[Row], key: str, unit: str) -> Table:
    """A bar for each value, from one power of ten to another."""
    logs = [math.log10(cost[key]) for cost in costs]
    low, high = math.floor(min(logs)), math.ceil(max(logs))
    low -= low == min(logs)  # no bar without length
    made = Table.grid(padding=(0, 1))
    made.add_column(justify="right", no_wrap=True)
    for cost, log in zip(costs, logs, strict=True):
        filled = max(round(BAR * (log - low) / (high - low)), 1)
        bar = Text("█" * filled, style="cyan")
        made.add_row(str(cost["value"]), bar, f"{_short(cost[key])} {unit}")
    made.add_row(
        "", Text(f"{10.0**low:,g}".ljust(8) + f"{10.0**high:,g} {unit}".rjust(BAR - 8)), "log"
    )
    return made
