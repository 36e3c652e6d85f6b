"""Prints the tables of the JSON beside it, in Markdown: the works beside peers, then the axes.

    python results/timing/table.py

`peers-cpu.json` and `peers-gpu.json` are written by `fewgen time --peers --json`, `axes-cpu.json`
and `axes-gpu.json` by `fewgen time --json`.
"""

import json
from pathlib import Path
from typing import Any

from bench.cost_tables import console, peers_table, sweep_tables

HERE = Path(__file__).parent
LACKING = "not measured: no GPU at hand"


def read(name: str) -> Any:
    """What was measured, if it was."""
    path = HERE / name
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def main() -> None:
    """Prints the tables."""
    screen = console()
    devices = {"CPU": read("peers-cpu.json"), "GPU": read("peers-gpu.json")}
    if any(devices.values()):
        screen.print(peers_table(devices, LACKING))
    for name in ("axes-cpu.json", "axes-gpu.json"):
        if found := read(name):
            screen.print(*sweep_tables(found), sep="")


if __name__ == "__main__":
    main()
