"""The commands that read finished runs. Nothing heavy is imported before a command needs it."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli_parts import Percent, Points, interruptible, list_option, with_options
from bench.errors import UserError
from bench.exports import KINDS as EXPORTS

if TYPE_CHECKING:
    from bench.tables import Compare

DIRECTORIES = click.argument(
    "directories", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
FORMATS = ("md", "csv", "tex", "html", "json", "parquet")
INCOMPLETE = 3  # exit status: what the plans ask for is not all there
COMPARED_FILES = ("json", "junit", "markdown", "benchmark-json")


@click.command()
@DIRECTORIES
@click.option("--format", "kind", type=click.Choice(FORMATS), help="By --out's name, else md.")
@click.option("--metric", help="Ranks in place of each suite's primary metric.")
@click.option("--pivot", "by", type=click.Choice(["suite", "shots", "backbone"]), help="Columns.")
@click.option(
    "--compare",
    "against",
    type=click.Choice(["all", "best"]),
    default="all",
    show_default=True,
    help="Tests all pairs of rows, or each row against the best of its table, as `fewgen paired`.",
)
@click.option("--out", type=click.Path(path_type=Path), help="A file in place of the screen.")
def leaderboard(
    directories: tuple[Path, ...],
    kind: str | None,
    metric: str | None,
    by: str | None,
    against: "Compare",
    out: Path | None,
) -> None:
    """The table of one or more run directories.

    Exit status 3: cells of the directories' plans are missing or failed; they are named below the
    table and on standard error.

    With --pivot baselines are rows and suites, shots or backbones columns; what may not stand side
    by side becomes several tables.
    """
    from bench.publish import render
    from bench.records import write_whole

    if out and out.exists() and not out.is_file():
        raise UserError(f"--out {out}: not a file; name one that is or that is to be")
    kind = kind or _format_of(out)
    if kind == "parquet" and not out:
        raise UserError("--format parquet is not text; name its file with --out")
    if by:
        from bench.pivots import pivot
        from bench.tables import ranked

        content = render(kind, *pivot(ranked(directories, metric, against), by))
    else:
        from bench.tables import leaderboard as read

        content = render(kind, read(directories, metric, against))
    if out:
        write_whole(out, content)
    else:
        click.echo(content, nl=False)
    _end(directories)


def _end(directories: Sequence[Path]) -> None:
    """Names on standard error what the directories' plans ask for and they lack, and ends with 3,
    as `compare` does, if there is anything: what was shown rests on finished rows alone."""
    from bench.unfinished import unfinished

    lines = unfinished(directories)
    for line in lines:
        click.echo(f"unfinished: {line}", err=True)
    if lines:
        sys.exit(INCOMPLETE)


def _format_of(out: Path | None) -> str:
    """The format that a file's name tells; Markdown on the screen."""
    if out is None:
        return "md"
    kind = out.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise UserError(f"--out {out}: the name tells no format; add --format {'|'.join(FORMATS)}")
    return kind


SPLIT_OPTIONS: Sequence[Any] = (
    DIRECTORIES,
    click.option("--metric", help="In place of each suite's primary metric."),
    click.option("--baseline", help="Only of this one."),
    click.option("--minus", help="Of the paired difference of --baseline and this one."),
    click.option("--json", "out", type=click.Path(path_type=Path), help="All figures, as JSON."),
)


@click.command()
@with_options(SPLIT_OPTIONS)
def variance(out: Path | None, **flags: Any) -> None:
    """What makes scores vary: tasks, support draws, train seeds, sampled answers.

    Of every finished row, or of the paired difference of two baselines. What the runs cannot tell
    apart stands together.
    """
    from bench.records import check_files
    from bench.variance_command import variance as show_split

    check_files({"json": out})
    show_split(out=out, **flags)
    _end(flags["directories"])


PROBABILITY = click.FloatRange(0, 1, min_open=True, max_open=True)


@click.command()
@with_options(SPLIT_OPTIONS)
@click.option("--difference", type=float, metavar="D", help="Points that should be seen.")
@click.option("--power", type=PROBABILITY, default=0.8, help="The probability of seeing them.")
@click.option("--level", type=PROBABILITY, default=0.05, help="Of the two-sided test.")
@click.option("--margin", type=float, help="Of the gate, in place of --difference.")
def power(
    difference: float | None,
    margin: float | None,
    power: float,
    level: float,
    out: Path | None,
    **flags: Any,
) -> None:
    """How many tasks, episodes and train seeds are needed to see a difference of D.

    From the variances of the paired difference of two baselines in finished runs: of the two best
    of each table if none is named. With --margin: the size at which `fewgen compare` passes an
    unchanged head with probability --power and calls a loss of twice the margin with 0.9.
    """
    from bench.records import check_files

    name, value = ("difference", difference) if margin is None else ("margin", margin)
    if (difference is None) == (margin is None):
        raise UserError("one of --difference D and --margin M is needed")
    if value is None or not 0 < value < float("inf"):
        raise UserError(f"--{name} {value}: points above 0 are needed, as 0.5")
    check_files({"json": out})
    if margin is None:
        from bench.power_command import comparisons

        comparisons(difference=value, power=power, level=level, out=out, **flags)
        _end(flags["directories"])
        return
    from bench.gate_power import Goal
    from bench.power_command import gate

    if flags.pop("baseline") or flags.pop("minus") or level != 0.05:
        raise UserError("--baseline, --minus and --level go with --difference, not with --margin")
    gate(goal=Goal(value, power), out=out, **flags)
    _end(flags["directories"])


@click.command()
@DIRECTORIES
@list_option("--baseline", "--baselines", "baselines", help="Compared; all if not given.")
@click.option("--minus", help="Compared to; the best row of each block if not given.")
@click.option("--metric", help="In place of each suite's primary metric.")
@click.option("--segments", is_flag=True, help="Adds sacreBLEU's tests of single segments.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="All figures, as JSON.")
def paired(directories: tuple[Path, ...], out: Path | None, **flags: Any) -> None:
    """Differences between rows of the same episodes, with p-values and effect sizes.

    Exit status 3: rows of the directories' plans are unfinished and left out.
    """
    from bench.paired_command import as_markdown, paired_table
    from bench.publish import to_json
    from bench.records import check_files, write_whole

    check_files({"json": out})
    frame = paired_table(directories, **flags)
    click.echo(as_markdown(frame), nl=False)
    if out:
        write_whole(out, to_json(frame))
    _end(directories)


@click.command()
@DIRECTORIES
@click.option("--to", "kind", type=click.Choice(EXPORTS), required=True, help="What is written.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
@list_option("--baseline", "--baselines", "baselines", help="Of model-card: only these.")
@click.option("--organization", help="Of every-eval-ever: who made the run.")
@click.option("--developer", help="Of every-eval-ever and model-card: who made the model.")
@click.option("--no-texts", is_flag=True, help="Of private data: no answers, ids, task names.")
@click.option("--push", metavar="OWNER/NAME", help="Shows what would be uploaded to the hub.")
@click.option("--yes", is_flag=True, help="With --push: uploads it, with the token in HF_TOKEN.")
def export(directories: tuple[Path, ...], kind: str, out: Path, **flags: Any) -> None:
    """Writes run directories in a format that others read.

    every-eval-ever: documents of that schema, 0.3.0, one a row. model-card: a README.md with
    model-index for each model. datasets: Parquet that `datasets` loads. records: what the tables
    of one run are made of, without texts.

    every-eval-ever holds inputs, references and answers, datasets holds answers and ids, all hold
    commands and most names of tasks. With --no-texts none does, and tasks of your own data are
    numbered. --developer is the backbone's owner on the hub if not given, else unknown.

    Nothing is uploaded without --push and --yes. Exit status 3: rows of the directories' plans are
    unfinished.
    """
    from bench.exports.command import export_to

    for line in export_to(kind, directories, out, **flags):
        click.echo(line)
    _end(directories)


@click.command()
@DIRECTORIES
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The site's folder.")
@click.option("--metric", help="Ranks in place of each suite's primary metric.")
@click.option("--no-texts", is_flag=True, help="Of private data: scores and figures alone.")
def report(directories: tuple[Path, ...], out: Path, metric: str | None, no_texts: bool) -> None:
    """A static web site of one or more run directories: tables, figures, every episode's texts.

    With --no-texts it holds no text of the data and no answer: no inputs, targets, support, ids,
    prompts, commands or error messages. Tasks of your own data are numbered in the order of their
    names; names of suites, data, backbones and baselines stay.

    Opens from its folder, asks for nothing outside it, and replaces an older report there. Exit
    status 3: cells of the directories' plans are missing or failed.
    """
    from bench.report import build

    pages = build(directories, out, metric, lambda line: click.echo(line, err=True), not no_texts)
    click.echo(f"{pages:,} pages; open {out / 'index.html'}")
    _end(directories)


@click.command()
@click.argument("base")
@click.argument("head")
@click.option("--quality-margin", type=Points(), default=0.5, show_default=True)
@click.option("--speed-margin", type=Percent(), default="10%", show_default=True)
@click.option("--interleave", is_flag=True, help="BASE and HEAD are git revisions, run in turn.")
@click.option("--repository", type=click.Path(path_type=Path), help="Of revisions; this one.")
@click.option("--plan", help="What revisions run: a preset or a file; gate if not given.")
@click.option("--rounds", type=click.IntRange(1, 1000), help="Runs of each; 5 if not given.")
@click.option("--json", type=click.Path(path_type=Path), help="All that was found.")
@click.option("--junit", type=click.Path(path_type=Path), help="JUnit XML for CI.")
@click.option("--markdown", type=click.Path(path_type=Path), help="A pull request's summary.")
@click.option(
    "--benchmark-json",
    type=click.Path(path_type=Path),
    help="A directory: the rounds' times as base.json and head.json of pytest-benchmark.",
)
def compare(base: str, head: str, **flags: Any) -> None:
    """Whether HEAD lost quality or speed against BASE.

    BASE and HEAD are run directories (quality), JSON files of pytest-benchmark (speed), or with
    --interleave git revisions (both; `.` is the working tree as it is), run alternately here.

    Exit status: 0 every loss is shown to be under its margin, and HEAD holds all that its own plan
    and BASE's clocks ask for; 1 a loss is shown, over all cells of quality and speed together, or
    a cell failed in HEAD alone; 3 neither, and it says what would decide; 2 they cannot be
    compared; 130 it was interrupted, 143 terminated. A screen that takes no text changes none of
    these.
    """
    with interruptible("nothing was compared; run the same command again"):
        from bench.compare_command import compare as run_comparison

        files = {name: flags.pop(name.replace("-", "_")) for name in COMPARED_FILES}
        status = run_comparison(base, head, files=files, **flags)
    sys.exit(status)


COMMANDS = (leaderboard, variance, power, paired, export, report, compare)
