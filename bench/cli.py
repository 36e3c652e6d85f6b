"""The command `fewgen`. Nothing heavy is imported before a command needs it."""

import json
import os
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from bench.cli_parts import GO_ON, interruptible, list_option, with_options
from bench.cli_plan import (
    DATA_OPTIONS,
    DIAL_OPTION,
    SHARED_OPTIONS,
    column_map,
    dial_levels,
    level_of,
    plan_values,
)
from bench.cli_results import COMMANDS
from bench.cli_studies import STUDIES
from bench.errors import UserError
from bench.progress import shown_progress
from bench.registry import names, version
from bench.terminal import check_utf8, replace_lacking

CLOSE = 0.75  # least similarity of an option that is suggested
KINDS = {"suites": "suite", "baselines": "baseline", "backbones": "backbone", "presets": "preset"}


class _Commands(click.Group):
    """The group of all commands: sees every argument and every stream first."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        replace_lacking()
        return super().main(*args, **kwargs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        check_utf8(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            raise _close_options(error) from None


def _close_options(error: click.NoSuchOption) -> click.NoSuchOption:
    """The error with the options of its command that are spelled alike: click compares the dashes
    too, which makes short options look alike."""
    ctx = error.ctx
    known = [name for param in ctx.command.get_params(ctx) for name in param.opts] if ctx else []
    bare = {name.lstrip("-"): name for name in known}
    close = get_close_matches(error.option_name.lstrip("-"), bare, cutoff=CLOSE)
    made = click.NoSuchOption(error.option_name, ctx=ctx)
    made.possibilities = [bare[name] for name in close]  # type: ignore[misc]
    return made


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version(), prog_name="fewgen")
def main() -> None:
    """A benchmark of few-shot text generation: quality and cost on the same frozen episodes."""


for command in (*COMMANDS, *STUDIES):
    main.add_command(command)


@main.command("list")
@click.argument("kind", type=click.Choice(list(KINDS)), required=False)
@click.option("--json", "as_json", is_flag=True, help='A list of objects with "name" and "kind".')
def list_command(kind: str | None, as_json: bool) -> None:
    """Names of suites, baselines, backbones and presets, one a line."""
    rows = [
        {"kind": KINDS[k], "name": name}
        for k in ([kind] if kind else KINDS)
        for name in names(KINDS[k])
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        click.echo(row["name"] if kind else f"{row['kind']:<9} {row['name']}")


@main.command()
@click.argument("name")
@click.option("--task", help="Of a suite: the task to show.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the episode.")
@list_option("--dial", "--dials", "dials", metavar="DIAL=LEVEL,...", help="Of a suite.")
def show(name: str, task: str | None, seed: int, dials: tuple[str, ...]) -> None:
    """A suite's card and one episode, or a baseline's page."""
    from bench.show import page

    levels = dict(level_of(text, "DIAL=LEVEL, as distance=2,") for text in dials)
    click.echo(page(name, task, seed, levels))


RUN_OPTIONS = (
    *SHARED_OPTIONS,
    click.option("--split", help="meta-test, meta-validation or meta-train."),
    list_option("--score-steps", item=int, help="Inner steps after which to score, for curves."),
    list_option("--probe", "--probes", "probes", help="Wrong supports to answer with."),
    click.option("--probe-episodes", type=int, help="Of a cell, at most; 0 probes nothing."),
)


@main.command()
@click.argument("source", metavar="[PRESET | PLAN.toml]", required=False)
@with_options(RUN_OPTIONS)
def run(source: str | None, **flags: Any) -> None:
    """Runs baselines on the frozen episodes of suites and prints the leaderboard.

    The same command again goes on where an interrupted run ended.
    """
    from bench.plan import make_plan
    from bench.runner import execute

    plan = make_plan(plan_values(source, flags), source or "plan")
    with (
        interruptible(f"{GO_ON} ({plan.out})"),
        shown_progress(f"fewgen run {source or ''}".strip()) as update,
    ):
        outcome = execute(plan, say=lambda line: click.echo(line, err=True), progress=update)
    click.echo((outcome.root / "leaderboard.md").read_text(encoding="utf-8"))
    if outcome.repeated:
        click.echo(f"{outcome.repeated} finished cells were kept.", err=True)
    click.echo(f"Written to {outcome.root}", err=True)
    for cell, reason in outcome.failures.items():
        click.echo(f"failed: {cell}: {reason}", err=True)
    if outcome.failures:
        sys.exit(1)


@main.command()
@click.argument("source", metavar="[PRESET | PLAN.toml]", default="tune")
@with_options(SHARED_OPTIONS)
@click.option("--trials", type=click.IntRange(min=1), default=8, help="Settings of each baseline.")
def tune(source: str, trials: int, **flags: Any) -> None:
    """Chooses options on meta-validation tasks and writes them as a plan.

    One setting for all suites, the same number of trials for each baseline that declares a search
    space. The same command again goes on where an interrupted one ended.
    """
    from bench.tune import tune as choose

    values = plan_values(source, flags)
    with interruptible(f"{GO_ON} ({values['out']})"), shown_progress("fewgen tune") as update:
        plan = choose(values, trials, lambda line: click.echo(line, err=True), update)
    click.echo((plan.parent / "trials.md").read_text(encoding="utf-8"))
    click.echo(f"Written to {plan}; `fewgen run {plan}` measures it on meta-test tasks")


@main.command()
@list_option("--suite", "--suites", "suites", required=True, help="Suites to train on.")
@click.option("--backbone", required=True, help="A shipped name or a recipe.toml.")
@with_options([*DATA_OPTIONS, DIAL_OPTION])
@click.option("--tokens", type=click.IntRange(min=1), help="In place of the recipe's budget.")
@click.option("--seed", type=click.IntRange(min=0), help="In place of the recipe's seed.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; all cores if not given.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where it is written.")
def pretrain(
    data: str | None,
    revision: str | None,
    columns: tuple[str, ...],
    configs: tuple[str, ...],
    layout: str | None,
    dials: tuple[str, ...],
    backbone: str,
    out: Path,
    **flags: Any,
) -> None:
    """Trains a tokenizer and a backbone on meta-train tasks; goes on where it was stopped."""
    from bench.pretrain import pretrain_to
    from bench.sources import Source

    if not data and (revision or columns or configs or layout):
        raise UserError("--revision, --column, --config and --layout speak of data; add --data")
    source = Source(data, revision, column_map(columns), configs, layout) if data else None
    levels = dial_levels(dials)
    with (
        interruptible(f"{GO_ON} ({out})"),
        shown_progress(f"fewgen pretrain {backbone}") as update,
    ):
        facts = pretrain_to(out, backbone, source=source, dials=levels, progress=update, **flags)
    for note in facts.get("notes", []):
        click.echo(note, err=True)
    if facts["truncated"]:
        click.echo(
            f"{facts['truncated']:,} examples were cut to the context as they passed", err=True
        )
    click.echo(f"{facts['parameters']:,} parameters, {facts['tokens']:,} tokens: written to {out}")


@main.command("time")
@list_option("--over", "axes", metavar="AXIS,...", help="See above.")
@click.option("--backbone", help="A name, a directory or a hub id; tiny if not given.")
@click.option("--suite", default="translation", help="Whose episodes, or whose kind --data is of.")
@click.option("--data", help="A file whose tasks are used.")
@click.option("--rounds", type=click.IntRange(min=1), help="Visits of every point; 7 by default.")
@click.option("--plot", "picture", type=click.Path(path_type=Path), help="An SVG file.")
@click.option("--peers", "beside", is_flag=True, help="Beside other libraries instead.")
@list_option("--work", "works", help="Of --peers, see above.")
@list_option("--peer", "peers", help="Of --peers: loop, higher or torchopt.")
@click.option("--pairs", type=click.IntRange(min=1), help="Of --peers: turns; 5 by default.")
@click.option("--threads", type=click.IntRange(min=1), default=2, help="CPU threads.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu")
@click.option("--json", "out", type=click.Path(path_type=Path), help="All figures, as JSON.")
def time_command(beside: bool, out: Path | None, **flags: Any) -> None:
    """What an inner loop costs, along axes or beside other libraries.

    Axes: tasks (at once), shots, steps, length (tokens of a row), rank (of adapters), order (none,
    or 1 and 2: a whole meta-step), dtype; tasks, shots and steps if none is named.

    With --peers the same work by us, by a plain loop and by other libraries, in turns in one
    process, gradients compared before. Works: meta-step-order-2, meta-step-order-1, adapt-generate,
    lora (on a CPU only where it is named).
    """
    from bench.records import check_files
    from bench.time_command import along_axes, beside_peers

    strangers = {"works": "work", "peers": "peer", "pairs": "pairs"}
    if beside:
        strangers = {"axes": "over", "backbone": "backbone", "rounds": "rounds", "picture": "plot"}
    for key, option in strangers.items():
        if flags.pop(key):
            raise UserError(f"--{option} goes {'without' if beside else 'with'} --peers")
    check_files({"json": out, "plot": flags.get("picture")})
    (beside_peers if beside else along_axes)(out=out, **flags)


@main.command()
def doctor() -> None:
    """Python, libraries, devices and caches; what is missing and how to get it."""
    from bench.doctor import report

    healthy = True
    for line, fine in report():
        click.echo(line)
        healthy = healthy and fine
    if not healthy:
        sys.exit(1)


def _leave_working_directory() -> None:
    """Takes the working directory, which `python -m` puts first, off the path: a user's own
    `baselines/` there would hide ours. Workers do not have it either."""
    if Path.cwd() != Path(__file__).resolve().parents[1]:
        sys.path[:1] = [] if sys.path[0] in ("", os.getcwd()) else sys.path[:1]


if __name__ == "__main__":
    _leave_working_directory()
    main()
