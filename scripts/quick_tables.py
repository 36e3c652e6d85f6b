"""Publishes what `make leaderboard` wrote: results/quick-suites.md, and the block of README.md.

python scripts/quick_tables.py results/quick "8 min, 80 s of it the install"
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"(<!-- quick -->\n)(.*)(<!-- /quick -->)", re.DOTALL)
CAPTION = re.compile(r"^(\w+) \(embedded", re.MULTILINE)


def cells(line: str) -> list[str]:
    """Those of a line of a table in Markdown."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def tables(page: str) -> dict[str, list[list[str]]]:
    """The lines of each table, without the rule below its head, by the suite in its caption."""
    made, lines = dict[str, list[list[str]]](), list[list[str]]()
    for line in page.splitlines():
        if line.startswith("|") and not line.startswith("|:"):
            lines.append(cells(line))
        elif found := CAPTION.match(line):
            made[found[1]], lines = lines, []
    return made


def shortened(block: str, page: str) -> Iterator[str]:
    """The lines of README's block with its columns of the page's tables, and one line of what they
    were made with."""
    suites, made = iter(CAPTION.findall(block)), tables(page)
    for line in block.splitlines():
        if line.startswith("Backbone: "):
            yield next(told for told in page.splitlines() if told.startswith("Backbone: "))
            continue
        if line.startswith("| baseline"):
            (head, *rows), columns = made[next(suites)], cells(line)
            places = [head.index(column) for column in columns]
            yield line
            yield "|" + " --- |" * len(columns)
            yield from ("| " + " | ".join(row[p] for p in places) + " |" for row in rows)
        elif not line.startswith("|"):
            yield line


def main(run: str, took: str) -> None:
    """Writes both pages."""
    page = (ROOT / run / "leaderboard.md").read_text(encoding="utf-8").strip()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    title = (
        "# The four suites, preset quick\n\n"
        f"`make leaderboard` at commit {commit} on 2 CPU cores, {took}; one meta-training of\n"
        "200,000 tokens.\n\n"
    )
    (ROOT / "results" / "quick-suites.md").write_text(title + page + "\n", encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = BLOCK.search(readme)
    assert found
    _, block = found[2].split(":\n", 1)
    first = f"What `make leaderboard` printed (2 CPU cores, {took};\nsome columns left out):"
    lines = "\n".join([first, *shortened(block, page)])
    readme = BLOCK.sub(lambda m: m[1] + lines + "\n" + m[3], readme)
    (ROOT / "README.md").write_text(readme, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
