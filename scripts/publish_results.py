"""Publishes the tables of presets: pages of results/, and the block of README.md.

    python scripts/publish_results.py                      all pages, from results/records
    python scripts/publish_results.py RUN --took "8 min"   takes the records of a run in, then those

Records are slim: what tables are made of (`fewgen export --to records`). Beside those of each
preset a JSON file tells what they do not: how long the command took, and on what.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import click

from bench.captions import WARNING
from bench.exports.runs import Run, read_run
from bench.exports.slim import export
from bench.publish import to_markdown
from bench.records import read_json, write_json, write_whole
from bench.shown import FLAG
from bench.tables import leaderboard

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results"
RECORDS = RESULTS / "records"
PAGES = {
    "quick": ("quick-suites.md", "The four suites, preset quick"),
    "full": ("full.md", "All baselines, preset full"),
}
BLOCK = re.compile(r"(<!-- quick -->\n)(.*)(<!-- /quick -->)", re.DOTALL)
CAPTION = re.compile(r"^(\w+) \(embedded", re.MULTILINE)
ORDER = ["translation", "summarization", "dialogue", "writing"]  # of suites in README.md
TO_BEST = " to best"


def published() -> list[str]:
    """The presets whose records are here."""
    return [name for name in PAGES if (RECORDS / name / "run.json").is_file()]


def take_in(run: Path, took: str, hardware: str | None) -> None:
    """Puts a run's slim records and its facts in the place of the preset's earlier ones."""
    told = read_run(run)
    words = told.command.split()
    name = words[2] if words[:2] == ["fewgen", "run"] and len(words) == 3 else ""
    if name not in PAGES:
        raise click.ClickException(f"`{told.command}` is not `fewgen run` of {' or '.join(PAGES)}")
    fresh = RECORDS / f".{name}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    export([run], fresh)
    shutil.rmtree(RECORDS / name, ignore_errors=True)
    fresh.replace(RECORDS / name)
    facts = {"took": took, "hardware": hardware or _cores(told)}
    write_json(RECORDS / f"{name}.json", facts)


def _cores(run: Run) -> str:
    if run.content["facts"]["device"] != "cpu":
        raise click.ClickException("name what it ran on with --hardware")
    return f"{run.content['hardware']['cores']} CPU cores"


def page(name: str) -> str:
    """The page of a preset, from its records."""
    run, facts = read_run(RECORDS / name), read_json(RECORDS / f"{name}.json")
    count, budget = len(run.plan["train_seeds"]), run.plan["train_budget"]
    trainings = "one meta-training" if count == 1 else f"{count} meta-trainings"
    commit = run.commit[:7] + run.commit[40:]  # shortened, its note kept
    return (
        f"# {PAGES[name][1]}\n\n"
        f"`{run.command}` at commit {commit} on {facts['hardware']}, {facts['took']}; {trainings}\n"
        f"of {budget:,} tokens. Made of `records/{name}` by `scripts/publish_results.py`.\n\n"
        + to_markdown(leaderboard([RECORDS / name])).strip()
        + "\n"
    )


def block(quick: str) -> str:
    """README's block: some columns of the tables on the page of the preset quick."""
    facts, made = read_json(RECORDS / "quick.json"), tables(quick)
    captions = {found[1]: line for line in quick.splitlines() if (found := CAPTION.match(line))}
    marked = marks(quick)
    lines = [
        f"What `make leaderboard` printed ({facts['hardware']}, {facts['took']};",
        "some columns left out):",
    ]
    for suite in sorted(made, key=ORDER.index):
        lines += ["", *_shortened(made[suite]), "", captions[suite], *marked[suite]]
    backbone = next(line for line in quick.splitlines() if line.startswith("Backbone: "))
    return "\n".join([*lines, "", backbone, ""])


def tables(text: str) -> dict[str, list[list[str]]]:
    """The lines of each table, without the rule below its head, by the suite in its caption."""
    made, lines = dict[str, list[list[str]]](), list[list[str]]()
    for line in text.splitlines():
        if line.startswith("|") and not line.startswith("|:"):
            lines.append([cell.strip() for cell in line.strip().strip("|").split("|")])
        elif found := CAPTION.match(line):
            made[found[1]], lines = lines, []
    return made


def marks(text: str) -> dict[str, list[str]]:
    """What is said below each table of rows that are marked for using no support, and of those that
    were barely trained, by suite."""
    made: dict[str, list[str]] = {}
    for line in text.splitlines():
        if found := CAPTION.match(line):
            made[found[1]] = last = []
        elif line.startswith(f"{FLAG} "):
            last.append(f"{FLAG} not shown to lose under another task's support:{line[1:]}")
        elif line.startswith(WARNING):
            last.append(line)
    return made


def _shortened(table: list[list[str]]) -> Iterator[str]:
    head, *rows = table
    best = next(column for column in head if column.endswith(TO_BEST))
    scores = dict.fromkeys(["BLEU", best.removesuffix(TO_BEST), best])
    costs = ["adapt ms", "train s", "train tokens", "outer steps"]
    columns = ["baseline", "group", "init", "order", *scores, *costs]
    places = [head.index(column) for column in columns]
    yield "| " + " | ".join(columns) + " |"
    yield "|" + " --- |" * len(columns)
    yield from ("| " + " | ".join(row[p] for p in places) + " |" for row in rows)


def readme(text: str, quick: str) -> str:
    """README.md with its block made anew."""
    return BLOCK.sub(lambda marked: marked[1] + block(quick) + marked[3], text)


@click.command()
@click.argument("run", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--took", help="Of RUN: the time that its command took.")
@click.option("--hardware", help="Of RUN: what it ran on; the number of its cores if not given.")
def main(run: Path | None, took: str | None, hardware: str | None) -> None:
    """Rewrites the pages; with RUN after its records were put in the place of the earlier ones."""
    if bool(run) != bool(took) or (hardware and not run):
        raise click.ClickException("RUN and --took go together; --hardware goes with RUN")
    if run and took:
        take_in(run, took, hardware)
    for name in published():
        text = page(name)
        write_whole(RESULTS / PAGES[name][0], text)
        if name == "quick":
            old = (ROOT / "README.md").read_text(encoding="utf-8")
            write_whole(ROOT / "README.md", readme(old, text))


if __name__ == "__main__":
    main()
