"""Lists on the command line and in plans: commas, repetition, singular and plural."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.cli_parts import list_option
from bench.cli_plan import plan_values
from bench.errors import UserError
from bench.plan import Plan, check_plan, make_plan

# Values that may hold a comma or an equals sign themselves, each behind a name.
NAMED = {"settings", "columns"}
NO_FLAG = {"options": "--set BASELINE.OPTION=VALUE", "tuning": "`fewgen tune` writes it"}


def commands(group: Any = main, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def several() -> list[Any]:
    """Every option of every command that can be given more than once."""
    return [
        pytest.param(option, id=f"{name} {option.opts[0]}")
        for name, command in commands()
        for option in command.params
        if isinstance(option, click.Option) and option.multiple and option.name not in NAMED
    ]


@pytest.mark.parametrize("option", several())
def test_commas_and_repetition_are_the_same(option: click.Option) -> None:
    alone = click.Command("alone", params=[option])
    texts = ["4", "8"]
    name = option.opts[0]

    def given(*words: str) -> Any:
        return alone.make_context("alone", list(words)).params[option.name or ""]

    assert len(given(name, "4,8")) == 2
    assert given(name, ",".join(texts)) == given(*[w for text in texts for w in (name, text)])
    assert given(name, "4, 8") == given(name, "4,8")
    if option.required:
        return
    assert given() == ()


def test_the_options_of_runs_are_among_them() -> None:
    found = [param.id for param in several()]
    for command in ("run", "study", "tune"):
        for option in ("--suite", "--shots", "--seed", "--baseline", "--task", "--metric"):
            assert f"{command} {option}" in found


@click.command()
@list_option("--name", "names")
@list_option("--number", "numbers", item=int)
def listing(names: Sequence[str], numbers: Sequence[int]) -> None:
    click.echo(f"{names} {numbers}")


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (
            ["--name", 'Frisian,"Low German, 17th century"'],
            "('Frisian', 'Low German, 17th century')",
        ),
        (["--number", "1", "--number", "2,3"], "() (1, 2, 3)"),
        (["--number", "1,,2"], "a value between the commas is empty"),
        (["--number", ""], "'': a value between the commas is empty"),
        (["--number", "1,x"], "'x' is not a valid integer"),
        (["--name", '"a,b'], "is no list of values with commas"),
    ],
)
def test_a_list(words: list[str], shown: str) -> None:
    assert shown in CliRunner().invoke(listing, words).output


def test_every_plan_key_has_a_flag_of_its_name() -> None:
    run = main.commands["run"]
    flags = {flag for option in run.params for flag in option.opts}
    lacking = [key for key in Plan.model_fields if f"--{key.replace('_', '-')}" not in flags]
    assert sorted(lacking) == sorted(NO_FLAG)
    assert "--set" in flags


PLAN_FLAGS = """
--suites translation --baselines nearest,fomaml --train-suites dialogue --shots 4,8
--train-shots 2 --queries 3 --episodes 5 --seeds 1 --train-seeds 2,3 --train-budget 9
--tasks a,b --backbone tiny --backbone-revision r --pretrain 77 --source-language de
--target-language fr --chat --allow-pickle --trust-remote-code --language en --metrics x
--dials translation.distance=2 --max-new-tokens 6 --decoding beam --beams 3 --device cpu
--dtype bfloat16 --allow-slow-dtype --loss-mean sequence --tasks-at-once 2 --tokens-at-once 99
--length-edges 64,128 --allow-rechunk --checkpoint-steps --threads 2 --workers 3 --out o
--split meta-train --score-steps 0,5 --probes empty --probe-episodes 1
--set fomaml.inner_steps=3
"""


def test_flags_reach_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """What each flag sets is told from a plan without flags, so that one that is lost is seen."""
    plans: list[Plan] = []

    def caught(values: dict[str, Any], where: str) -> Plan:
        plans.append(check_plan(values, where))
        raise UserError("caught")

    monkeypatch.setattr("bench.plan.make_plan", caught)
    result = CliRunner().invoke(main, ["run", *PLAN_FLAGS.split()])
    assert isinstance(result.exception, SystemExit | UserError), result.output
    plan, usual = plans[0], Plan()
    given = {word[2:].replace("-", "_") for word in PLAN_FLAGS.split() if word.startswith("--")}
    for key in (given - {"set"}) | {"options"}:
        if key not in ("backbone",):
            assert getattr(plan, key) != getattr(usual, key), key
    assert plan.shots == [4, 8]
    assert plan.pretrain
    assert plan.pretrain.tokens == 77


@pytest.mark.parametrize("key", ["suite", "suites"])
@pytest.mark.parametrize("value", ['"writing"', '["writing"]'])
def test_singular_and_plural(tmp_path: Path, key: str, value: str) -> None:
    file = tmp_path / "p.toml"
    file.write_text(f"{key} = {value}\nshot = 4\nbaseline = 'nearest'\n[dial.writing]\n")
    plan = make_plan(plan_values(str(file), {}))
    assert (plan.suites, plan.shots, plan.baselines) == (["writing"], [4], ["nearest"])
    laid = make_plan(plan_values(str(file), {"suites": ("dialogue",)}))
    assert laid.suites == ["dialogue"], "a flag takes the place of either name"


def test_both_names_are_refused(tmp_path: Path) -> None:
    for text in ("suite = 'a'\nsuites = ['b']", "suites = ['b']\nsuite = 'a'"):
        (tmp_path / "p.toml").write_text(text)
        with pytest.raises(UserError, match="suite and suites are the same key; keep one"):
            plan_values(str(tmp_path / "p.toml"), {})
