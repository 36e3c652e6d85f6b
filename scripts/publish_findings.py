"""Publishes what studies found: takes their pages in, and writes the index of results/findings.

    python scripts/publish_findings.py                  the index, of the pages that are there
    python scripts/publish_findings.py DIR LABEL        takes in what `fewgen study` left in DIR

A page keeps its table, picture and CSV beside it, in a folder LABEL.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import click

from bench.records import write_whole

FINDINGS = Path(__file__).parent.parent / "results" / "findings"
HEAD = """# Findings

One page a question, each made by one command: the answer, a picture, the table, what it rests on
and what would change it. `make findings` makes those of the embedded suites anew;
[real-data.md](real-data.md) says what the others rest on.

"""


def take_in(directory: Path, label: str) -> None:
    """Puts the four files of a study into the folder of that label."""
    pages = list(directory.glob("*.md"))
    if len(pages) != 1:
        raise click.ClickException(f"{directory} holds no page of a study; run `fewgen study`")
    fresh = FINDINGS / f".{label}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for kind in ("csv", "svg", "png", "md"):
        shutil.copy(pages[0].with_suffix(f".{kind}"), fresh)
    shutil.rmtree(FINDINGS / label, ignore_errors=True)
    fresh.replace(FINDINGS / label)


def answers() -> Iterator[tuple[Path, str, str]]:
    """Each page with its question and its answer."""
    for path in sorted(FINDINGS.glob("*/*.md")):
        text = path.read_text(encoding="utf-8")
        found = re.match(r"# (.+)\n\n\*\*(.+?)\*\*\n", text)
        if not found:
            raise click.ClickException(f"{path} begins with no question and answer")
        yield path, found[1], found[2]


def index() -> str:
    """The page that lists all."""
    lines = [
        f"- [{path.parent.name}]({path.relative_to(FINDINGS).as_posix()}): {question}\n  {answer}"
        for path, question, answer in answers()
    ]
    return HEAD + "\n".join(lines) + "\n"


@click.command()
@click.argument("directory", required=False, type=click.Path(exists=True, path_type=Path))
@click.argument("label", required=False)
def main(directory: Path | None, label: str | None) -> None:
    """Rewrites the index; with DIR and LABEL after the study's files were taken in."""
    if directory and not label:
        raise click.ClickException("name a LABEL for the page, as crossover")
    if directory and label:
        take_in(directory, label)
    write_whole(FINDINGS / "README.md", index())


if __name__ == "__main__":
    main()
