"""The commands that answer questions. Nothing heavy is imported before a command needs it."""

import sys
from pathlib import Path
from typing import Any

import click

from bench.cli_parts import GO_ON, Points, interruptible, with_options
from bench.cli_plan import DATA_OPTIONS, SHARED_OPTIONS, column_map, lay_over
from bench.progress import shown_progress

OUT = Path("results/studies")


@click.command()
@click.argument("name")
@click.option(
    "--size", type=click.Choice(["smoke", "full"]), default="smoke", help="smoke if not given."
)
@with_options(SHARED_OPTIONS)
def study(name: str, size: str, out: str | None, **flags: Any) -> None:
    """Answers a question by runs of its own: crossover, transfer, probes, cost, instruments.

    Leaves NAME.csv, .svg, .png and the page NAME.md in --out, results/studies/NAME-SIZE if not
    given. The numbers of `smoke` are not for conclusions. Other options stand in the place of the
    study's own. The same command again goes on where an interrupted one ended.
    """
    from bench.studies import load_study
    from bench.studies.execution import execute_study

    made = load_study(name)
    root = Path(out) if out else OUT / f"{name}-{size}"
    values = lay_over(made.size(size), flags)
    with interruptible(f"{GO_ON} ({root})"), shown_progress(f"fewgen study {name}") as update:
        failed = execute_study(
            made, values, root, size, lambda line: click.echo(line, err=True), update
        )
    for line in failed:
        click.echo(f"failed: {line}", err=True)
    if failed:
        click.echo("nothing is concluded from runs that lack cells", err=True)
        sys.exit(1)
    click.echo((root / f"{name}.md").read_text(encoding="utf-8"))
    click.echo(f"Written to {root}", err=True)


@click.command()
@click.argument("directories", metavar="[DIR...]", nargs=-1, type=click.Path(path_type=Path))
@click.option("--shots", type=click.IntRange(min=1), required=True, help="K of a new task.")
@click.option("--tasks", type=click.IntRange(min=1), required=True, help="New tasks.")
@click.option("--budget", required=True, metavar="2m", help="Device time for all: 90s, 2m, 1h.")
@click.option(
    "--margin",
    type=Points(),
    default=2.0,
    show_default=True,
    help="Points of the primary metric that a cheaper method may be worse by.",
)
@click.option("--suite-like", "data", required=True, metavar="FILE", help="Data like yours.")
@with_options(DATA_OPTIONS[1:])
@click.option("--json", "out", type=click.Path(path_type=Path), help="All figures, as JSON.")
def advise(
    directories: tuple[Path, ...],
    data: str,
    revision: str | None,
    columns: tuple[str, ...],
    configs: tuple[str, ...],
    layout: str | None,
    out: Path | None,
    **flags: Any,
) -> None:
    """Recommends a method from recorded runs, and says when the evidence is too thin.

    The rows are those of the recorded suite whose texts are most like --suite-like, by plain
    features that are shown. Of the methods whose meta-training, adaptation and answers fit the
    budget, the cheapest is recommended that is shown to be within --margin points of the best; if
    none is, evidence is lacking, and it says what would decide. Without DIR the records that come
    with a checkout are read.
    """
    from bench.advise_command import advice, as_text, write_advice
    from bench.records import check_files
    from bench.sources import Source

    check_files({"json": out})
    source = Source(data, revision, column_map(columns), configs, layout)
    made = advice(directories, source, **flags)
    click.echo(as_text(made), nl=False)
    if out:
        write_advice(made, out)


STUDIES = (study, advise)
