"""The defaults are those of the tuning whose plan is kept."""

from pathlib import Path

import pytest

from bench.plan import make_plan, read_plan, read_toml
from bench.registry import load
from bench.tune import given_options, tunable

RESULTS = Path(__file__).parent.parent / "results"
KEPT = read_toml(RESULTS / "tuned.toml")


def test_every_tunable_baseline_was_tuned_with_eight_trials() -> None:
    assert sorted(KEPT["baselines"]) == tunable()
    assert {name: cost["trials"] for name, cost in KEPT["tuning"].items()} == dict.fromkeys(
        tunable(), 8
    )


@pytest.mark.parametrize("preset", ["quick", "full"])
def test_presets_charge_what_the_tuning_cost(preset: str) -> None:
    plan = make_plan(read_plan(preset))
    wanted = {name: KEPT["tuning"][name] for name in plan.baselines if name in tunable()}
    assert {name: cost.model_dump() for name, cost in plan.tuning.items()} == wanted


@pytest.mark.parametrize("name", tunable())
def test_the_defaults_come_out_of_the_kept_plan(name: str) -> None:
    chosen = KEPT["options"][name]
    assert given_options(name, {}) == given_options(name, chosen)
    assert set(load("baseline", name).search) <= set(chosen)


@pytest.mark.parametrize("name", tunable())
def test_the_page_of_trials_names_the_choice(name: str) -> None:
    chosen = {option: KEPT["options"][name][option] for option in load("baseline", name).search}
    setting = ", ".join(f"{option} = {value}" for option, value in chosen.items())
    assert f"| **{setting}** |" in (RESULTS / "tuning.md").read_text(encoding="utf-8")
