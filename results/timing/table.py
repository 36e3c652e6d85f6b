"""Writes the tables of README.md from the JSON beside it: the works beside peers, then the axes.

    python results/timing/table.py

`peers-cpu.json` and `peers-gpu.json` are written by `fewgen time --peers --json`, `axes-cpu.json`
and `axes-gpu.json` by `fewgen time --json`.
"""

import json
import re
from pathlib import Path
from typing import Any

from bench.cost_tables import console, peers_table, sweep_tables

HERE = Path(__file__).parent
LACKING = "not measured: no GPU at hand"
MARKED = re.compile(r"(<!-- tables -->\n).*(<!-- /tables -->)", re.DOTALL)


def read(name: str) -> Any:
    """What was measured, if it was."""
    path = HERE / name
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def page() -> str:
    """README.md with the tables of what is here."""
    screen = console()
    with screen.capture() as capture:
        screen.print(
            peers_table({"CPU": read("peers-cpu.json"), "GPU": read("peers-gpu.json")}, LACKING)
        )
        for name in ("axes-cpu.json", "axes-gpu.json"):
            if found := read(name):
                screen.print(*sweep_tables(found), sep="")
    lines = [
        re.sub(" {2,}", " ", line).replace(" |--", "|--").strip()
        for line in capture.get().splitlines()
    ]
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    return MARKED.sub(lambda m: f"{m[1]}\n{text}\n\n{m[2]}", readme)


if __name__ == "__main__":
    (HERE / "README.md").write_text(page(), encoding="utf-8")
