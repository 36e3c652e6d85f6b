"""Plans: every wrong key, name, type and value is told in one line that helps."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.cli_plan import plan_values
from bench.errors import UserError
from bench.plan import Plan, differences, make_plan, plan_text, read_plan, resolve_options
from bench.registry import names


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"suites": ["translatoin"]}, "did you mean translation"),
        ({"baselines": ["fine-tune"]}, "did you mean fine-tuned"),
        ({"shotz": [8]}, "did you mean shots"),
        ({"shots": "eight"}, "shots = 'eight'"),
        ({"shots": [0]}, "greater than or equal to 1"),
        ({"shots": []}, "at least one is needed"),
        ({"seeds": [-1]}, "greater than or equal to 0"),
        ({"seeds": [1, 1]}, "1 is named twice"),
        ({"episodes": 2.5}, "episodes = 2.5"),
        ({"device": "gpu"}, "'auto', 'cpu' or 'cuda'"),
        ({"options": {"maml": {"inner_step": 3}}}, "did you mean inner_steps"),
        ({"options": {"maml": {"inner_steps": -3}}}, "greater than or equal to 0"),
        ({"options": {"maml": {"inner_rate": float("nan")}}}, "finite number"),
        ({"baselines": ["copy"], "options": {"maml": {}}}, "not among the baselines"),
        ({"pretrain": {"token": 3}}, "pretrain"),
        ({"decoding": "beams"}, "'greedy', 'sample' or 'beam'"),
        ({"decoding": "beam", "beams": 1}, "greater than or equal to 2"),
        ({"decoding": "sample", "temperature": 0.0}, "greater than or equal to 0.000001"),
        ({"decoding": "sample", "top_p": 1.5}, "less than or equal to 1"),
        ({"beams": 2}, "beams has an effect with decoding = 'beam' only; add --decoding beam"),
        ({"decoding": "beam", "top_p": 0.9}, "top_p has an effect with decoding = 'sample' only"),
        ({"decoding_seed": 1}, "decoding_seed has an effect with decoding = 'sample' only"),
        ({"decoding": "sample", "decoding_seed": -1}, "greater than or equal to 0"),
    ],
)
def test_a_wrong_plan_is_told_in_one_line(values: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as error:
        make_plan(values)
    assert told in error.value.message
    assert "\n" not in error.value.message


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"\nshots = 8 8", "line 2"), (b"shots = \xff", "UTF-8"), (b"[[shots]]\na = 1", "shots")],
)
def test_a_plan_file_that_is_no_toml(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_bytes(content)
    result = CliRunner().invoke(main, ["run", str(path)])
    assert result.exit_code == 2
    assert told in result.output
    assert "plan.toml" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("fomaml", {"rank": 4}, "options.fomaml: rank has an effect with adapt = lora only"),
        ("fomaml", {"head": "block"}, "head has an effect with adapt = head or body only"),
        ("anil", {"base": "frozen"}, "base has an effect with adapt = lora only"),
        ("anil", {"adapt": "lora"}, "options.anil: adapt = 'lora'"),
        ("imaml", {"alpha": 3.0}, "alpha has an effect"),
    ],
)
def test_options_without_an_effect_are_refused(
    name: str, values: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        resolve_options(name, values)
    assert resolve_options("fomaml", {"adapt": "lora", "rank": 4, "base": "frozen"})["rank"] == 4


def test_every_preset_is_a_plan() -> None:
    for name in names("preset"):
        plan = make_plan(read_plan(name))
        assert plan.shots == [8]
        assert plan.suites == (["translation"] if name == "gate" else names("suite"))


def test_the_resolved_plan_repeats_itself() -> None:
    plan = make_plan({"baselines": ["maml"], "options": {"maml": {"inner_rate": 0.5}}})
    again = make_plan(tomllib.loads(plan_text(plan)))
    assert again == plan
    assert plan.options["maml"]["inner_rate"] == 0.5
    assert "outer_rate" in plan.options["maml"]


def test_every_flag_has_its_key() -> None:
    known = {*Plan.model_fields, "source", "settings"}
    assert {option.name for option in main.commands["run"].params} <= known  # type: ignore[attr-defined]


def test_a_plan_says_how_answers_are_written() -> None:
    flags = {"decoding": "sample", "temperature": 0.5, "top_p": None}
    plan = make_plan(plan_values("smoke", flags))
    assert plan.decoded == "sample, temperature = 0.5, top_p = 1.0"
    assert make_plan(tomllib.loads(plan_text(plan))) == plan
    assert make_plan({}).decoded == "greedy"
    again = make_plan({**flags, "top_p": 1.0, "decoding_seed": 3})
    assert again.decoded == f"{plan.decoded}, decoding_seed = 3"


def test_flags_are_laid_over_the_preset() -> None:
    flags = {"shots": (4,), "queries": None, "settings": ("maml.inner_steps=10", "joint.x=word")}
    values = plan_values("smoke", flags)
    assert values["shots"] == [4]
    assert values["queries"] == 4
    assert values["options"] == {"maml": {"inner_steps": 10}, "joint": {"x": "word"}}
    assert values["out"] == "results/smoke"


@pytest.mark.parametrize("text", ["maml", "maml.=3", "=3", "maml.inner_steps", ".a=3", "maml.a="])
def test_a_setting_of_the_wrong_form(text: str) -> None:
    with pytest.raises(UserError, match=r"BASELINE\.OPTION=VALUE"):
        plan_values(None, {"settings": (text,)})


def test_differences_name_what_changed() -> None:
    old, new = {"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 5, "d": 3}, "e": 0}
    assert differences(old, new) == ["b.c: 2 -> 5", "e: not set -> 0"]


def test_differences_are_told_in_plain_words() -> None:
    """Tables that one side lacks, long lists and long texts: no dictionary, nothing hidden by a
    cut."""
    many = [f"method-{number}" for number in range(30)]
    old = {"pretrain": None, "suites": {"a": {"tasks": [1]}}, "names": many, "data": "x" * 300}
    new = {"pretrain": {"tokens": 10, "suites": []}, "suites": {}, "names": many[:-1], "data": ""}
    found = differences(old, new)
    assert found[:-3] == ["data: " + "x" * 77 + '... -> ""', "names: without method-29"]
    assert found[-3:] == [
        "pretrain.suites: not set -> []",
        "pretrain.tokens: not set -> 10",
        "suites.a.tasks: [1] -> not set",
    ]
    assert differences({"x": many}, {"x": many[::-1]}) == ["x: in another order"]
    assert differences({"x": True}, {"x": False}) == ["x: true -> false"]
