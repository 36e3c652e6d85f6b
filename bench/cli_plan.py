"""Plan keys on the command line: the options that several commands share, and what they say."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from bench.cli_parts import list_option
from bench.errors import UserError


def _setting(text: str) -> tuple[str, str, Any]:
    """BASELINE.OPTION=VALUE, the value as TOML; a bare word is a string."""
    import tomllib

    key, equals, value = text.partition("=")
    baseline, dot, option = key.partition(".")
    if not (equals and dot and baseline and option and value):
        raise UserError(f"--set {text!r}: BASELINE.OPTION=VALUE is needed, as maml.inner_steps=10")
    try:
        return baseline, option, tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError:
        return baseline, option, value


def set_options(
    options: Mapping[str, Mapping[str, Any]], texts: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Options by baseline with BASELINE.OPTION=VALUE texts laid over them. One of `*` takes the
    place of the plan's own; one of a baseline that of `*`, in whatever order they are given."""
    from bench.options import ALL, without_derived

    settings = [_setting(text) for text in texts]
    everywhere = {option for baseline, option, _ in settings if baseline == ALL}
    touched = set(options) if everywhere else {baseline for baseline, _, _ in settings}
    laid = {name: dict(given) for name, given in options.items()}
    for name in touched & set(laid):
        given = without_derived(name, laid[name])
        laid[name] = {option: value for option, value in given.items() if option not in everywhere}
    for baseline, option, value in settings:
        laid.setdefault(baseline, {})[option] = value
    return laid


def level_of(text: str, form: str) -> tuple[str, float]:
    """What stands before the `=` of a --dial, and its level."""
    key, _, value = text.partition("=")
    try:
        level = float(value)
    except ValueError:
        level = math.nan
    if not (key and math.isfinite(level)):
        raise UserError(f"--dial {text!r}: {form} is needed")
    return key, level


def dial_levels(texts: Sequence[str]) -> dict[str, dict[str, float]]:
    """SUITE.DIAL=LEVEL texts, by suite and dial."""
    levels: dict[str, dict[str, float]] = {}
    form = "SUITE.DIAL=LEVEL, as translation.distance=2,"
    for text in texts:
        key, level = level_of(text, form)
        suite, _, dial = key.partition(".")
        if not (suite and dial):
            raise UserError(f"--dial {text!r}: {form} is needed")
        levels.setdefault(suite, {})[dial] = level
    return levels


def column_map(texts: Sequence[str]) -> dict[str, str]:
    """FIELD=COLUMN texts as a mapping."""
    pairs = [text.partition("=") for text in texts]
    for field, equals, column in pairs:
        if not (field and equals and column):
            raise UserError(f"--column {field!r}: FIELD=COLUMN is needed, as target=translation")
    return {field: column for field, _, column in pairs}


DATA_OPTIONS: Sequence[Any] = (
    click.option("--data", help="A file, a folder or a hub data set."),
    click.option("--revision", help="Of a hub data set."),
    click.option(
        "--column",
        "--columns",
        "columns",
        multiple=True,
        metavar="FIELD=COLUMN",
        help="Of --data; repeatable.",
    ),
    list_option("--config", "--configs", "configs", help="Of --data that has several."),
    click.option("--layout", help="The public data set whose layout --data has; see `show`."),
)
DIAL_OPTION = list_option(
    "--dial",
    "--dials",
    "dials",
    metavar="SUITE.DIAL=LEVEL,...",
    help="Of embedded data, see `show SUITE`.",
)


def _flag(name: str, text: str) -> Any:
    """A switch that, if it is not given, leaves what the plan says."""
    return click.option(name, is_flag=True, default=None, help=text)


# An option of the same name for every plan key, but `options` (--set) and `tuning`, which `tune`
# writes; a list also by its singular. Those that only `run` has are in `bench.cli`.
SHARED_OPTIONS: Sequence[Any] = (
    list_option("--suite", "--suites", "suites", help="Suites; all if not given."),
    list_option(
        "--train-suite",
        "--train-suites",
        "train_suites",
        help="Train on the tasks of these suites, not on each suite's own.",
    ),
    list_option("--task", "--tasks", "tasks", help="Only these tasks of the split."),
    list_option("--baseline", "--baselines", "baselines", help="Baselines; all if not given."),
    list_option("--shots", item=int, help="K, support examples."),
    list_option("--train-shots", item=int, help="K of meta-training, if not --shots."),
    click.option("--queries", type=int, help="Q, query examples of an episode at most."),
    click.option("--episodes", type=int, help="Episodes of a cell, spread over its tasks."),
    list_option("--seed", "--seeds", "seeds", item=int, help="Seeds of the episode draws."),
    list_option(
        "--train-seed", "--train-seeds", "train_seeds", item=int, help="Seeds of meta-training."
    ),
    click.option("--train-budget", type=int, help="Tokens of each meta-training."),
    click.option("--backbone", help="A name, a directory or a hub id."),
    click.option("--backbone-revision", help="Of a hub backbone."),
    click.option(
        "--pretrain",
        type=int,
        metavar="TOKENS",
        help="Pre-train the backbone on so many tokens for each train seed.",
    ),
    click.option("--source-language", help="Of all inputs, for a multilingual backbone."),
    click.option("--target-language", help="Of all targets, for a multilingual backbone."),
    _flag("--chat", "Use the backbone's chat template."),
    _flag("--allow-pickle", "Read pickled weights."),
    _flag("--trust-remote-code", "Run a checkpoint's code."),
    *DATA_OPTIONS,
    click.option("--language", help="Of the references, where the data do not say it."),
    list_option("--metric", "--metrics", "metrics", help="`evaluate` metrics: hub names, paths."),
    DIAL_OPTION,
    click.option("--max-new-tokens", type=int, help="In place of the suite's own."),
    click.option("--decoding", help="How answers are written: greedy, sample or beam."),
    click.option("--beams", type=int, help="Of a beam search."),
    click.option("--temperature", type=float, help="Of a sample."),
    click.option("--top-p", type=float, help="Of a sample: the probability that is kept."),
    click.option("--decoding-seed", type=int, help="Of a sample: another draw of its answers."),
    click.option("--device", help="auto, cpu or cuda."),
    click.option("--dtype", help="float32 or bfloat16."),
    _flag("--allow-slow-dtype", "Use a --dtype that this CPU computes slowly."),
    click.option("--loss-mean", help="Over each token, or each sequence: token or sequence."),
    click.option("--tasks-at-once", type=int, help="Tasks adapted in one batch, at most."),
    click.option("--tokens-at-once", type=int, help="Support tokens of one batch, at most."),
    list_option("--length-edges", item=int, help="Support tokens; no batch spans one of them."),
    _flag("--allow-rechunk", "Halve --tasks-at-once where memory is too small for it."),
    _flag("--checkpoint-steps", "Order 2 alone: recompute inner steps, to save memory."),
    click.option("--threads", type=int, help="CPU threads of a worker."),
    click.option(
        "--workers",
        type=int,
        help="Processes side by side; if not given, as many as fit.",
    ),
    click.option("--out", type=click.Path(), help="The run directory."),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="BASELINE.OPTION=VALUE",
        help="An option of a baseline, or of '*'; repeatable.",
    ),
)


def plan_values(source: str | None, flags: dict[str, Any]) -> dict[str, Any]:
    """Plan keys from a preset or file with the flags laid over them."""
    from bench.plan import check_plan, read_plan

    values = read_plan(source) if source else {}
    check_plan(values, source or "plan")
    stem = Path(source).stem if source else "run"
    return {"out": f"results/{stem}", **lay_over(values, flags)}


def lay_over(values: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    """Plan keys with the flags that were given laid over them."""
    from bench.options import ALL

    settings, columns = flags.pop("settings", ()), flags.pop("columns", ())
    dials, pretrain = flags.pop("dials", ()), flags.pop("pretrain", None)
    if flags.get("baselines"):  # a plan file may speak of baselines that are left out
        for key in ("options", "tuning"):
            kept, known = values.get(key, {}).items(), {*flags["baselines"], ALL}
            values[key] = {name: given for name, given in kept if name in known}
    if flags.get("suites") and "dials" in values:  # and of suites
        kept = values["dials"].items()
        values["dials"] = {name: given for name, given in kept if name in flags["suites"]}
    for key, value in flags.items():
        if value not in (None, ()):
            values[key] = list(value) if isinstance(value, tuple) else value
    if pretrain is not None:
        values["pretrain"] = {**(values.get("pretrain") or {}), "tokens": pretrain}
    if columns:
        values["columns"] = column_map(columns)
    if settings:
        values["options"] = set_options(values.get("options", {}), settings)
    for suite, levels in dial_levels(dials).items():
        values.setdefault("dials", {}).setdefault(suite, {}).update(levels)
    return values
