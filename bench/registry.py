"""Finds suites, baselines, backbones and presets by name, without importing what is not asked for.

Built-in and third-party suites and baselines alike are entry points of the groups below.
"""

import re
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError, unknown
from bench.readers import own_name

if TYPE_CHECKING:
    from bench.tasks import Suite

GROUPS = {"suite": "fewgen.suites", "baseline": "fewgen.baselines"}
HERE = Path(__file__).parent


@lru_cache(maxsize=1)
def _project() -> dict[str, Any]:
    """`[project]` of a checkout that is not installed; empty where there is none."""
    path = HERE.parent / "pyproject.toml"
    if not path.is_file():
        return {}
    project: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    return project


@lru_cache(maxsize=1)
def version() -> str:
    """The version of fewgen, also in a checkout that is not installed."""
    try:
        return metadata.version("fewgen")
    except metadata.PackageNotFoundError:
        return str(_project().get("version", "unknown"))


def requirements() -> list[str]:
    """What fewgen needs, as written in its metadata; extras have a marker."""
    try:
        return metadata.requires("fewgen") or []
    except metadata.PackageNotFoundError:
        project = _project()
        extras = project.get("optional-dependencies", {}).items()
        return [
            *project.get("dependencies", []),
            *(_of_extra(text, extra) for extra, texts in extras for text in texts),
        ]


def _of_extra(text: str, extra: str) -> str:
    """A requirement with the marker that metadata gives it."""
    name, _, marker = text.partition(";")
    condition = f'extra == "{extra}"'
    return f"{name.strip()}; " + (f"({marker.strip()}) and {condition}" if marker else condition)


@lru_cache(maxsize=2)
def _entry_points(kind: str) -> Mapping[str, metadata.EntryPoint]:
    group = GROUPS[kind]
    found: dict[str, metadata.EntryPoint] = {}
    for point in metadata.entry_points(group=group):
        first = found.setdefault(point.name, point)
        if first.value != point.value:
            raise UserError(
                f"two packages register the {kind} {point.name!r}: {first.value} and "
                f"{point.value}; uninstall one, or give it another name"
            )
    for name, value in _project().get("entry-points", {}).get(group, {}).items():
        found.setdefault(name, metadata.EntryPoint(name=name, value=value, group=group))
    return found


def _folder_names(folder: str, pattern: str) -> list[str]:
    return sorted(path.stem for path in (HERE / folder).glob(pattern))


def names(kind: str) -> list[str]:
    """Registered names of a kind: suite, baseline, backbone or preset."""
    if kind == "preset":
        return _folder_names("presets", "*.toml")
    if kind == "backbone":
        return sorted(path.parent.name for path in (HERE / "backbones").glob("*/recipe.toml"))
    return sorted(_entry_points(kind))


def entry_point(kind: str, name: str) -> metadata.EntryPoint:
    """What registers a suite or a baseline.

    Raises:
        UserError: no such name (with the close matches).
    """
    points = _entry_points(kind)
    if name not in points:
        raise unknown(kind, name, points)
    return points[name]


def load(kind: str, name: str) -> Any:
    """The object behind a registered suite or baseline.

    Raises:
        UserError: no such name (with the close matches), or its module cannot be imported.
    """
    point = entry_point(kind, name)
    try:
        found = point.load()
        if kind == "baseline":
            from bench.baseline import Baseline

            if not (isinstance(found, type) and issubclass(found, Baseline)):
                raise TypeError("it is no subclass of bench.baseline.Baseline")
    except Exception as error:  # a third party's module may raise anything
        raise _cannot_load(kind, name, error) from error
    return found


def load_suite(name: str) -> "Suite":
    """The suite of a name, as its entry point makes it.

    Raises:
        UserError: no such name, or its module or function fails.
    """
    make = load("suite", name)
    try:
        from bench.tasks import Suite

        suite = make()
        if not isinstance(suite, Suite):
            raise TypeError("its function returns no bench.tasks.Suite")
    except Exception as error:  # as above
        raise _cannot_load("suite", name, error) from error
    return suite


def _cannot_load(kind: str, name: str, error: Exception) -> UserError:
    value = _entry_points(kind)[name].value
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return UserError(f"{kind} {name!r} ({value}) cannot be loaded: {reason}")


def preset_path(name: str) -> Path:
    """The plan file of a preset."""
    if name not in names("preset"):
        raise unknown("preset", name, names("preset"))
    return HERE / "presets" / f"{name}.toml"


def display_name(backbone: str) -> str:
    """A backbone as a table shows it: a shipped name, the last part of a path, a hub id."""
    if backbone in names("backbone") or not Path(backbone).exists():
        return backbone
    return own_name(backbone)


def check_backbone_name(name: str) -> None:
    """Whether a backbone's name can stand for something, without importing or asking anything.

    Raises:
        UserError: it is neither a shipped name, a path that exists here, nor in the form of a hub
            id.
    """
    if name in names("backbone") or Path(name).exists():
        return
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name:
        hint = "; a shell expands ~, a plan file does not" if name.startswith("~") else ""
        raise UserError(f"backbone {name!r}: no such directory (from {Path.cwd()}){hint}")
    if not re.fullmatch(r"\w[\w.-]*/[\w.-]+", name):
        raise unknown("backbone", name, names("backbone"))


def backbone_path(name: str) -> Path | None:
    """The folder of a backbone that ships with the package, or None."""
    return HERE / "backbones" / name if name in names("backbone") else None
