"""Dials in plans, command lines and runs: checked, told apart, and absent where none is turned."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import bench
from bench.cli import main
from bench.cli_plan import plan_values
from bench.context import Context, dataset_of
from bench.dials import at_levels, dial_flags, revision_at
from bench.errors import UserError
from bench.plan import Plan, make_plan, plan_text
from bench.pretrain import Pretraining, pretrain_to
from bench.records import read_json
from bench.registry import load_suite
from bench.tables import leaderboard
from bench.tasks import Dial, Suite
from tests.test_pretrain import RECIPE

DISTANT = {"translation": {"distance": 2}}


def resolved(dials: dict[str, dict[str, Any]] | None, *suites: str, **more: Any) -> Plan:
    given = {} if dials is None else {"dials": dials}
    return make_plan({"suites": list(suites) or ["translation"], **given, **more})


def test_defaults_leave_the_plan_as_it_was() -> None:
    plain = resolved(None)
    for dials in ({}, {"translation": {}}, {"translation": {"distance": 0, "rules": 14.0}}):
        assert resolved(dials) == plain
    assert "dials" not in plan_text(plain)


def test_a_level_is_the_declared_number_in_the_order_of_suites() -> None:
    one = resolved({"writing": {"length": 3.0}, **DISTANT}, "translation", "writing")
    two = resolved({"translation": {"distance": 2.0}, "writing": {"length": 3}}, *one.suites)
    assert plan_text(one) == plan_text(two)
    told = "[dials.translation]\ndistance = 2\n\n[dials.writing]\nlength = 3\n"
    assert told in plan_text(one)


@pytest.mark.parametrize(
    ("dials", "more", "message"),
    [
        ({"translatio": {"distance": 2}}, {}, "unknown suite 'translatio'; did you mean transl"),
        ({"writing": {"length": 3}}, {}, "dials for 'writing', which is not among the suites"),
        (
            {"translation": {"distanc": 2}},
            {},
            "unknown dial of translation 'distanc'; did you",
        ),
        ({"translation": {"distance": 5}}, {}, r"distance = 5: the levels are 0, 1, 2, 3, 4 \(0 "),
        ({"translation": {"distance": 1.5}}, {}, "distance = 1.5: the levels are"),
        ({"translation": {"distance": True}}, {}, "dials.translation.distance.* = True: "),
        ({"translation": {"distance": float("nan")}}, {}, "= nan: "),
        (DISTANT, {"data": "x.csv"}, "dials turn embedded data, and data = 'x.csv' is read"),
    ],
)
def test_what_no_suite_has_is_told(
    dials: dict[str, dict[str, Any]], more: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        resolved(dials, **more)


@pytest.mark.parametrize(
    "text",
    [
        "translation.distance",
        "distance=2",
        ".distance=2",
        "translation.=2",
        "a.b=x",
        "a.b=",
        "a.b=inf",
    ],
)
def test_a_flag_of_another_form_is_told(text: str) -> None:
    made = CliRunner().invoke(main, ["run", "--dial", text])
    assert made.exit_code == 2
    assert made.output.startswith(f"Error: --dial {text!r}: SUITE.DIAL=LEVEL, as translation.dist")


def test_flags_lie_over_a_plan_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(
        'suites = ["translation", "writing"]\n[dials.translation]\nrules = 4\n'
        "distance = 1\n[dials.writing]\nlength = 3\n"
    )
    values = plan_values(
        str(path), {"dials": ("translation.distance=2",), "suites": ("translation",)}
    )
    assert make_plan(values).dials == {"translation": {"distance": 2, "rules": 4}}


def test_a_revision_tells_what_is_turned_and_asks_for_it_again() -> None:
    dials = load_suite("translation").dials
    levels = {"rules": 4, "distance": 2, "length": 2}
    assert revision_at("2", levels, dials) == "2+distance=2,rules=4"
    assert revision_at("2", {"length": 2}, dials) == "2"
    flags = dial_flags("translation", "2+distance=2,rules=4")
    assert flags == " --dial translation.distance=2 --dial translation.rules=4"
    assert dial_flags("translation", "2") == ""
    assert dataset_of("translation", levels=DISTANT["translation"]).revision == "2+distance=2"


def test_a_suite_that_does_not_tell_its_levels_is_refused() -> None:
    kept = load_suite("translation").embedded()
    dials = {"size": Dial((1, 2), 1, "how much")}
    suite = Suite("mine", "2", "", "", "chrf", 8, "en", lambda **levels: kept, dials=dials)
    assert at_levels(suite, {}) is kept
    with pytest.raises(UserError, match=r"'mine' makes data of revision '2' .* '2\+size=2'"):
        at_levels(suite, {"size": 2})


def test_generation_stops_later_where_a_level_says_so(tmp_path: Path) -> None:
    for more, most in (({}, 48), ({"max_new_tokens": 7}, 7)):
        plan = resolved({"writing": {"length": 3}}, "writing", **more)
        assert Context(plan, tmp_path).max_new_tokens("writing") == most
    assert Context(resolved(None, "writing"), tmp_path).max_new_tokens("writing") == 32


def test_show_lists_dials_and_shows_a_level() -> None:
    def shown(*words: str) -> str:
        made = CliRunner().invoke(main, ["show", *words])
        assert made.exit_code == 0, made.output
        return made.output

    plain, far = shown("translation"), shown("translation", "--dial", "distance=2")
    assert "distance    0, 1, 2, 3, 4 (0 unless given): from 1 on" in plain
    assert plain.splitlines()[0] == "translation 2: " + load_suite("translation").summary
    assert far.startswith("translation 2+distance=2: ")
    assert plain.split("digest ")[1] != far.split("digest ")[1]
    assert "at most 48 new tokens" in shown("writing", "--dial", "length=3")
    wrong = CliRunner().invoke(main, ["show", "maml", "--dial", "length=3"])
    assert wrong.output == "Error: --dial goes with a suite; 'maml' is none\n"


def run(out: Path, checkpoint: str, **more: Any) -> Path:
    values = {"suites": ["translation"], "baselines": ["nearest"], "shots": [2]}
    small = {"queries": 2, "episodes": 2, "max_new_tokens": 4, "workers": 1, "backbone": checkpoint}
    assert bench.run({**values, **small, "out": str(out), **more}).failures == {}
    return out


@pytest.mark.slow
def test_levels_stand_apart_in_tables_and_on_disk(checkpoint: str, tmp_path: Path) -> None:
    from bench.exports.questions import Questions
    from bench.exports.runs import read_cells, read_run

    plain = run(tmp_path / "plain", checkpoint)
    same = run(tmp_path / "same", checkpoint, dials={"translation": {"distance": 0}})
    far = run(tmp_path / "far", checkpoint, dials=DISTANT)
    assert (plain / "leaderboard.md").read_text().count("revision 2,") == 1
    assert "revision 2+distance=2," in (far / "leaderboard.md").read_text()
    quality = ["baseline", "revision", "chrf", "bleu"]
    assert leaderboard([plain])[quality].equals(leaderboard([same])[quality])
    assert "dials" not in (same / "plan.toml").read_text()
    both = leaderboard([plain, far])
    assert sorted(both["revision"]) == ["2", "2+distance=2"]
    with pytest.raises(UserError, match=r"dials.*distance.*name another --out"):
        run(plain, checkpoint, dials=DISTANT)
    asked = Questions(read_run(far))
    for _, header, records in read_cells(far):
        for record in records:  # a digest that is not the record's would be an error
            assert asked.episode(header, record).digest == record["digest"]


@pytest.mark.slow
def test_a_backbone_tells_what_it_was_trained_on(tmp_path: Path) -> None:
    import torch

    levels = {level: dataset_of("translation", levels={"distance": level}) for level in (1, 2)}
    few = RECIPE.training.model_copy(update={"tasks": 16})  # their text is all that is read
    recipe = RECIPE.model_copy(update={"training": few})
    trained = [
        Pretraining(recipe, {"translation": d}, torch.device("cpu")) for d in levels.values()
    ]
    assert trained[0].key() == trained[1].key()
    out = tmp_path / "backbone"
    trained[1].run(out)
    facts = read_json(out / "training.json")
    assert facts["sources"] == {"translation": ["embedded", "2+distance=1"]}
    assert "--suite translation --dial translation.distance=1 " in (out / "CARD.md").read_text()

    from bench.runner import backbone_notes

    def notes(dials: dict[str, dict[str, Any]] | None) -> list[str]:
        plan = resolved(dials, baselines=["fine-tuned"], backbone=str(out))
        return backbone_notes(Context(plan, tmp_path))

    assert notes(DISTANT) == notes({"translation": {"distance": 4}}) == []
    assert "it may have seen held-out tasks" in notes(None)[0]
    wanted = (
        "`fewgen pretrain --suite translation --dial translation.rules=4` makes one that has not"
    )
    assert wanted in notes({"translation": {"rules": 4}})[0]


def test_pretraining_refuses_dials_of_another_suite_or_beside_data(tmp_path: Path) -> None:
    from bench.sources import Source

    with pytest.raises(UserError, match="dials for 'writing'"):
        pretrain_to(tmp_path, "tiny", suites=["translation"], dials={"writing": {"length": 3}})
    with pytest.raises(UserError, match="--dial turns embedded data"):
        pretrain_to(tmp_path, "tiny", suites=["translation"], dials=DISTANT, source=Source("x.csv"))
