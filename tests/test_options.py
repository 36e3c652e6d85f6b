"""Options whose default follows from others, and options that are set for every baseline."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.cli_plan import set_options
from bench.errors import UserError
from bench.options import changed, spread
from bench.plan import make_plan, plan_text, read_toml, resolve_options
from bench.registry import load, names
from bench.studies.study import narrowed
from bench.tune import given_options

# Gradient steps on a test episode by default, as `fewgen tune` chose them.
STEPS = {
    "anil": 24, "boil": 36, "fomaml": 36, "imaml": 24, "joint": 24, "maml": 24, "mamlpp": 24,
    "meta-curvature": 24, "meta-sgd": 36, "reptile": 36,
}  # fmt: skip
KIND = {name: load("baseline", name).Options for name in names("baseline")}
DERIVED = [name for name, kind in KIND.items() if "test_steps" in kind.model_fields]


def test_every_meta_learner_is_listed() -> None:
    assert sorted(STEPS) == DERIVED


@pytest.mark.parametrize("name", DERIVED)
def test_test_steps_follow_inner_steps(name: str) -> None:
    usual = resolve_options(name, {})
    assert usual["test_steps"] == STEPS[name]
    factor = STEPS[name] // usual["inner_steps"]
    assert resolve_options(name, {"inner_steps": 3})["test_steps"] == 3 * factor
    assert resolve_options(name, {"inner_steps": 3, "test_steps": 5})["test_steps"] == 5
    assert resolve_options(name, {"test_steps": 5})["inner_steps"] == usual["inner_steps"]


@pytest.mark.parametrize("name", DERIVED)
def test_no_default_of_a_baseline_is_copied_from_another(name: str) -> None:
    """Whatever an option is set to, no other option of the resolved plan contradicts a rule."""
    kind = load("baseline", name).Options
    made = kind(inner_steps=2)
    for option, default in made.derived().items():
        assert getattr(made, option) == default.value
        assert kind.model_fields[option].default is None


def test_a_resolved_plan_still_follows(tmp_path: Path) -> None:
    values = {"baselines": ["fomaml", "maml"], "options": {"maml": {"test_steps": 5}}}
    told = tomllib.loads(plan_text(make_plan(values)))
    assert told["options"]["fomaml"]["test_steps"] == 36
    laid = set_options(told["options"], ["fomaml.inner_steps=3", "maml.inner_steps=3"])
    plan = make_plan({**told, "options": laid})
    assert plan.options["fomaml"]["test_steps"] == 27
    assert plan.options["maml"]["test_steps"] == 5


def test_trials_follow_too() -> None:
    base = resolve_options("joint", {})
    assert base["test_steps"] == base["inner_steps"] == 24
    assert changed("joint", base, {"inner_steps": 36})["test_steps"] == 36
    assert given_options("joint", {"inner_steps": 16})["test_steps"] == 16


def test_lora_means_a_frozen_base() -> None:
    assert resolve_options("maml", {})["base"] == "meta-learned"
    assert resolve_options("maml", {"adapt": "lora"})["base"] == "frozen"
    chosen = {"adapt": "lora", "base": "meta-learned"}
    assert resolve_options("maml", chosen)["base"] == "meta-learned"
    told = {"maml": resolve_options("maml", {})}
    assert resolve_options("maml", set_options(told, ["maml.adapt=lora"])["maml"])["base"] == (
        "frozen"
    )


def test_the_page_of_a_baseline_gives_value_and_rule() -> None:
    page = CliRunner().invoke(main, ["show", "fomaml"]).output
    line = next(line for line in page.splitlines() if "fomaml.test_steps" in line)
    assert line.strip() == (
        "fomaml.test_steps = 36  steps on a test episode; 9 x inner_steps if not given"
    )


def test_a_star_sets_every_baseline_that_takes_it() -> None:
    chosen = ["anil", "copy", "fine-tuned", "maml", "zero-shot"]
    plan = make_plan({"baselines": chosen, "options": {"*": {"rank": 4, "adapt": "lora"}}})
    assert plan.options["anil"]["adapt"] == "head"
    assert {name: plan.options[name]["rank"] for name in ("fine-tuned", "maml")} == {
        "fine-tuned": 4,
        "maml": 4,
    }
    assert plan.options["maml"]["base"] == "frozen"
    assert plan.options["copy"] == {}
    assert plan.notes == [
        "*.rank = 4 is not set for anil",
        "*.adapt = 'lora' is not set for anil",
    ]
    assert "*" not in plan.options
    assert make_plan(tomllib.loads(plan_text(plan))) == make_plan(plan.model_dump())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"adapt": "lara"}, "*.adapt = 'lara': no baseline of the plan takes it"),
        ({"no_such": 1}, "*.no_such = 1: no baseline of the plan takes it"),
    ],
)
def test_a_star_that_nobody_takes_is_refused(options: Mapping[str, Any], told: str) -> None:
    with pytest.raises(UserError) as error:
        make_plan({"baselines": ["maml", "copy"], "options": {"*": dict(options)}})
    assert error.value.message == told


@pytest.mark.parametrize("turned", [False, True])
def test_a_baselines_own_setting_beats_the_star(turned: bool) -> None:
    texts = ["*.adapt=lora", "maml.adapt=all"]
    laid = set_options({"joint": {"adapt": "all"}}, texts[::-1] if turned else texts)
    found, _ = spread(laid, ["joint", "maml", "fomaml"])
    assert {name: given["adapt"] for name, given in found.items()} == {
        "joint": "lora",
        "maml": "all",
        "fomaml": "lora",
    }


def test_parts_of_a_study_keep_what_is_set_for_all() -> None:
    options, _ = spread({"*": {"adapt": "lora"}}, ["nearest", "fomaml"])
    assert narrowed({"options": options}, ["nearest"])["options"] == {}


def test_a_plan_file_may_hold_a_star(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('baselines = ["maml"]\n[options."*"]\nadapt = "lora"\n')
    assert make_plan(read_toml(path)).options["maml"]["base"] == "frozen"
