"""A run is of one state of code and files: those of plug-ins and what baselines read included."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.artefacts import initialisation_folder, pretrained_folder
from bench.code_state import plug_ins
from bench.context import Context
from bench.errors import UserError
from bench.plan import make_plan
from bench.runner import begin

LOUD = '''
from pathlib import Path
from typing import ClassVar
from bench.baseline import Baseline, Floor
from {package}.words import WORD

class Loud(Floor):
    """Answers one word."""
    class Options(Baseline.Options):
        words: str = ""

    def files_read(self):
        return [self.options.words] if self.options.words else []

    def answer(self, query, support):
        path = self.options.words
        return Path(path).read_text() if path else WORD
'''
TRAINED = """
from bench.baseline import Baseline
from baselines.fomaml import Fomaml
from {package}.words import WORD

class Trained(Fomaml):
    class Options(Fomaml.Options):
        words: str = ""

    def files_read(self):
        return [self.options.words] if self.options.words else []
"""
SUITE = """
from {package}.words import WORD
from dataclasses import replace
import suites.translation

def suite():
    return replace(suites.translation.suite(), name="{suite}")
"""


def install(place: Path, package: str, *, editable: bool) -> Path:
    """A distribution with two baselines and a suite, as pip leaves it below `place`; returns the
    folder of its code."""
    code = place / ("src" if editable else "site") / package
    code.mkdir(parents=True)
    (code / "__init__.py").write_text("")
    (code / "words.py").write_text("WORD = 'one'\n")
    (code / "loud.py").write_text(LOUD.format(package=package))
    (code / "trained.py").write_text(TRAINED.format(package=package))
    (code / "own.py").write_text(SUITE.format(package=package, suite=f"{package}-suite"))
    (code / "list.txt").write_text("a list\n")
    site = place / "site"
    info = site / f"{package}-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        f"[fewgen.baselines]\n{package}-loud = {package}.loud:Loud\n"
        f"{package}-trained = {package}.trained:Trained\n"
        f"[fewgen.suites]\n{package}-suite = {package}.own:suite\n"
    )
    names = [path.relative_to(site) for path in info.iterdir()]
    if not editable:
        names += [path.relative_to(site) for path in code.iterdir()]
    pth = site / f"__editable__.{package}.pth"
    if editable:
        pth.write_text(f"{place / 'src'}\n")
        names.append(pth.relative_to(site))
    (info / "RECORD").write_text(
        "".join(f"{name},,\n" for name in [*names, "x-1.dist-info/RECORD"])
    )
    return code


@pytest.fixture(params=[False, True], ids=["installed", "editable"])
def plug(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The code of the plug-in `plug`; another one, `other`, is installed beside it."""
    code = install(tmp_path / "a", "plug", editable=request.param)
    install(tmp_path / "b", "other", editable=request.param)
    for name in ("a", "b"):
        for folder in ("site", "src"):
            monkeypatch.syspath_prepend(tmp_path / name / folder)
    registry._entry_points.cache_clear()
    yield code
    registry._entry_points.cache_clear()
    for name in [n for n in sys.modules if n.partition(".")[0] in ("plug", "other")]:
        del sys.modules[name]


def plan_of(out: Path, **more: Any) -> Any:
    values = {"suites": ["translation"], "shots": [2], "queries": 2, "episodes": 2, "workers": 1}
    return make_plan({**values, "out": str(out), **more})


def refused(out: Path, **more: Any) -> str:
    """Why the plan cannot go on in its directory; empty if it can."""
    try:
        begin(Context(plan_of(out, **more), out))
    except UserError as error:
        return error.message
    return ""


@pytest.mark.parametrize("file", ["loud.py", "words.py", "list.txt", "new.py"])
def test_a_changed_plug_in_is_refused_by_name(plug: Path, tmp_path: Path, file: str) -> None:
    out = tmp_path / "out"
    names = {"baselines": ["plug-loud", "copy"]}
    assert refused(out, **names) == refused(out, **names) == ""
    with (plug / file).open("a") as end:
        end.write("# changed\n")
    if file == "new.py" and plug.parent.name == "site":
        return  # no installer has put it there
    message = refused(out, **names)
    assert "plug-loud" in message
    assert "other code" in message
    assert "copy" not in message


def test_a_changed_suite_of_a_plug_in_is_refused(plug: Path, tmp_path: Path) -> None:
    names = {"suites": ["plug-suite"], "baselines": ["copy"]}
    assert refused(tmp_path / "out", **names) == ""
    (plug / "words.py").write_text("WORD = 'two'\n")
    assert "plug-suite" in refused(tmp_path / "out", **names)


def test_only_plug_ins_that_a_plan_uses_count(plug: Path, tmp_path: Path) -> None:
    names = {"baselines": ["other-loud"]}
    assert refused(tmp_path / "out", **names) == ""
    (plug / "words.py").write_text("WORD = 'two'\n")
    (plug / "__pycache__").mkdir(exist_ok=True)
    (plug / "__pycache__" / "x.pyc").write_text("")
    assert refused(tmp_path / "out", **names) == ""
    assert plug_ins(["copy", "maml"], ["translation"]) == {}


def test_a_file_that_a_baseline_reads_is_part_of_the_run(plug: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("one")
    names = {"baselines": ["plug-loud"], "options": {"plug-loud": {"words": str(words)}}}
    assert refused(tmp_path / "out", **names) == ""
    words.write_text("two")
    assert str(words) in refused(tmp_path / "out", **names)
    words.unlink()
    assert "cannot be read" in refused(tmp_path / "out", **names)


def test_what_was_trained_with_other_code_or_files_is_not_taken(
    plug: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = tmp_path / "words.txt"
    words.write_text("one")
    names = {"baselines": ["plug-trained"], "options": {"plug-trained": {"words": str(words)}}}

    def key(*sources: str) -> str:
        context = Context(plan_of(tmp_path / "out", **names), tmp_path)
        return initialisation_folder(context, sources, "plug-trained", 0).name

    made = {key("translation")}
    assert made == {key("translation")}
    words.write_text("two")
    made.add(key("translation"))
    (plug / "words.py").write_text("WORD = 'two'\n")
    made.add(key("translation"))
    monkeypatch.setattr("bench.code_state.own_digest", lambda: "another")
    made.add(key("translation"))
    assert len(made) == 4
    elsewhere = key("other-suite")
    (plug.parents[2] / "b" / plug.parent.name / "other" / "words.py").write_text("WORD = 'two'\n")
    assert key("translation") in made
    assert key("other-suite") != elsewhere


def test_a_backbone_that_other_code_pretrained_is_not_taken(
    plug: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key() -> str:
        more = {"suites": ["plug-suite"], "baselines": ["zero-shot"], "pretrain": {"tokens": 10}}
        return pretrained_folder(Context(plan_of(tmp_path, **more), tmp_path), 0).name

    made = {key()}
    (plug / "words.py").write_text("WORD = 'two'\n")
    made.add(key())
    monkeypatch.setattr("bench.code_state.own_digest", lambda: "another")
    assert len({*made, key()}) == 3


def test_a_subclass_of_another_package_changes_with_it(plug: Path, tmp_path: Path) -> None:
    (plug / "loud.py").write_text("from other.loud import Loud as Base\nclass Loud(Base): pass\n")
    before = plug_ins(["plug-loud"], [])
    base = plug.parents[2] / "b" / plug.parent.name / "other" / "loud.py"
    base.write_text(base.read_text() + "# changed\n")
    assert plug_ins(["plug-loud"], []) != before


def test_an_edited_plug_in_does_not_keep_its_old_score(tmp_path: Path) -> None:
    """As a user does it: run, edit, run again."""
    code = install(tmp_path, "plug", editable=False)
    paths = [str(tmp_path / "site"), str(Path(__file__).parent.parent)]
    words = "run --suite translation --baseline plug-loud --episodes 1 --queries 1 --workers 1"

    def run() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "bench.cli", *words.split(), "--out", "out"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
        )

    first = run()
    assert first.returncode == 0, first.stderr
    (code / "words.py").write_text("WORD = 'two'\n")
    again = run()
    assert again.returncode == 2
    assert "plug-loud" in again.stderr
    assert len(again.stderr.strip().splitlines()) == 1
    assert json.loads((tmp_path / "out" / "run.json").read_text())["facts"]["plug_ins"]
