"""The commands that answer questions. Nothing heavy is imported before a command needs it."""

import sys
from pathlib import Path
from typing import Any

import click

from bench.cli_parts import with_options
from bench.cli_plan import SHARED_OPTIONS, lay_over
from bench.progress import progress_bar

OUT = Path("results/studies")


@click.command()
@click.argument("name")
@click.option(
    "--size", type=click.Choice(["smoke", "full"]), default="smoke", help="smoke if not given."
)
@with_options(SHARED_OPTIONS)
def study(name: str, size: str, out: str | None, **flags: Any) -> None:
    """Answers a question by runs of its own: crossover, transfer, probes or cost.

    Leaves NAME.csv, .svg, .png and the page NAME.md in --out, results/studies/NAME-SIZE if not
    given. The numbers of `smoke` are not for conclusions. Other options stand in the place of the
    study's own. The same command again goes on where an interrupted one ended.
    """
    from bench.studies import load_study
    from bench.studies.execution import execute_study

    made = load_study(name)
    root = Path(out) if out else OUT / f"{name}-{size}"
    values = lay_over(made.size(size), flags)
    try:
        with progress_bar(f"fewgen study {name}") as update:
            failed = execute_study(
                made, values, root, lambda line: click.echo(line, err=True), update
            )
    except KeyboardInterrupt:
        click.echo(f"interrupted; to go on, run the same command again ({root})", err=True)
        sys.exit(130)
    for line in failed:
        click.echo(f"failed: {line}", err=True)
    if failed:
        click.echo("nothing is concluded from runs that lack cells", err=True)
        sys.exit(1)
    click.echo((root / f"{name}.md").read_text(encoding="utf-8"))
    click.echo(f"Written to {root}", err=True)


STUDIES = (study,)
