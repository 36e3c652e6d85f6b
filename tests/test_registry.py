"""Third parties' packages: what they register is found, what fails in them is told in one line."""

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.context import Context
from bench.errors import UserError
from bench.plan import make_plan

Register = Any


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Iterator[Register]:
    """Adds entry points beside the installed ones."""
    own = metadata.entry_points

    def add(*points: tuple[str, str]) -> None:
        def found(group: str) -> list[metadata.EntryPoint]:
            more = [metadata.EntryPoint(name, value, group) for name, value in points]
            return [*own(group=group), *(more if group == "fewgen.suites" else [])]

        monkeypatch.setattr(metadata, "entry_points", found)
        registry._entry_points.cache_clear()

    cached = registry._entry_points
    yield add
    cached.cache_clear()


def no_card() -> Any:
    return (Path(__file__).parent / "no-such-card").read_text()


def nothing_at_all() -> None:
    """No suite."""


def odd_primary() -> Any:
    from dataclasses import replace

    return replace(registry.load_suite("translation"), name="odd", primary="bleurt")


def test_a_suite_that_fails_is_one_line(register: Register) -> None:
    register(("bad", f"{__name__}:no_card"), ("worse", f"{__name__}:nothing"))
    with pytest.raises(UserError, match=r"suite 'bad' .* cannot be loaded: FileNotFoundError"):
        registry.load_suite("bad")
    with pytest.raises(UserError, match=r"suite 'worse' .* cannot be loaded: AttributeError"):
        registry.load_suite("worse")


def test_what_is_no_suite_or_no_baseline_is_one_line(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(("none", f"{__name__}:nothing_at_all"))
    with pytest.raises(UserError, match=r"suite 'none' .* returns no bench\.tasks\.Suite"):
        registry.load_suite("none")
    point = metadata.EntryPoint("odd", f"{__name__}:nothing_at_all", "fewgen.baselines")
    monkeypatch.setattr(registry, "_entry_points", lambda kind: {"odd": point})
    with pytest.raises(UserError, match=r"baseline 'odd' .* is no subclass of"):
        registry.load("baseline", "odd")


def test_a_name_is_registered_once(register: Register) -> None:
    register(("translation", "suites.translation:suite"))
    assert "translation" in registry.names("suite")
    register(("translation", f"{__name__}:no_card"))
    with pytest.raises(UserError, match="two packages register the suite 'translation'"):
        registry.names("suite")


def test_a_primary_metric_that_no_run_has_is_told_first(register: Register, tmp_path: Path) -> None:
    register(("odd", f"{__name__}:odd_primary"))
    context = Context(make_plan({"suites": ["odd"], "baselines": ["copy"]}), tmp_path)
    with pytest.raises(UserError, match="suite 'odd' ranks by 'bleurt', which is not among"):
        context.metrics("odd")
