"""Local paths: `run.json` keeps them, and what is shown or exported has the last part of each.

What was a path is decided where the run was made and recorded there, so that it depends neither on
the directory of whoever reads the run nor on what is in it.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from bench.readers import DATA, is_hub_id, own_name
from bench.records import read_json
from bench.registry import names

FILES = (*DATA, ".txt", ".json", ".toml", ".py", ".bin", ".safetensors", ".yaml", ".md")
# What comes before the last part of a path that begins at the root, at home or with a dot.
PLACE = re.compile(
    r"""(?:file://|(?<![\w./:~<-])(?:~[\w-]*|\.{1,2})?)/(?:[^\s/"':,;()=]+/)*(?=[^\s/])"""
)
# The same of a relative path to a file of a known kind.
_BELOW = re.compile(
    rf"(?<![\w./:~<-])(?:[\w.-]+/)+(?=[\w.-]+(?:{'|'.join(map(re.escape, FILES))})\b)"
)
# A whole path in quotes, which may hold spaces; a relative one has several slashes, or is a file.
_QUOTED = re.compile(
    r"""(?<=['"`])(?:(?:~[\w-]*|\.{1,2})?/[^'"`\n]+|[\w.-][\w. -]*(?:/[\w. -]+)+)(?=['"`])"""
)
_STARTS = ("/", "./", "../", "~/")
_SEVERAL = re.compile(r": |\s[~.]*/")  # of a sentence, not of one path


def without_places(value: Any) -> Any:
    """A JSON value whose texts have of each path the last part alone, as far as its form tells
    that it is one; `owner/name` may be an id of the hub and is kept."""
    if isinstance(value, str):
        if value.startswith(_STARTS) and not _SEVERAL.search(value):
            name = PurePosixPath(value).name
            return value if name in ("", "..") else name
        text = _QUOTED.sub(lambda found: _bare(found[0]), value)
        return _BELOW.sub("", PLACE.sub("", text))
    if isinstance(value, Mapping):
        return {without_places(key): without_places(item) for key, item in value.items()}
    return [without_places(item) for item in value] if isinstance(value, list) else value


def _bare(text: str) -> str:
    """What is shown of a text in quotes."""
    path = PurePosixPath(text)
    plain = not text.startswith(_STARTS) and text.count("/") < 2 and path.suffix not in FILES
    return text if plain else path.name


@dataclass(frozen=True)
class Places:
    """The paths that a run's plan names.

    Attributes:
        local: each as it was given, to the absolute path.
    """

    local: Mapping[str, str]
    plan: Mapping[str, Any]

    def hub_id(self, key: str) -> str | None:
        """The plan's `backbone` or `data`, if it is an id of the hub."""
        text = self.plan.get(key)
        if not isinstance(text, str) or text in self.local or not is_hub_id(text):
            return None
        return text

    @property
    def shipped(self) -> bool:
        """Whether the plan's backbone is one that comes with fewgen, not a directory so named."""
        backbone = self.plan.get("backbone")
        return backbone in names("backbone") and backbone not in self.local

    def shown(self, value: Any) -> Any:
        """A JSON value without the paths of the run's machine, each shown by its last part."""
        if isinstance(value, str):
            if value in self._names:
                return self._names[value]
            return value if value in self._ids else without_places(self._known(value))
        if isinstance(value, Mapping):
            return {self.shown(key): self.shown(item) for key, item in value.items()}
        return [self.shown(item) for item in value] if isinstance(value, list) else value

    def word(self, word: str) -> str:
        """A word of the command that made the run: of anything with a slash in it that is not what
        the plan says, the last part."""
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if value in self._names:
            return option + equals + self._names[value]
        return option + equals + "".join(map(self._piece, re.split("([=,])", value)))

    def _piece(self, text: str) -> str:
        if text in self._names or text in self._said:
            return str(self.shown(text))
        return PurePosixPath(text).name if "/" in text.strip("/") else text

    def _known(self, text: str) -> str:
        """The text with the plan's own paths, and what lies below them, shortened."""
        for path in sorted(self._names, key=len, reverse=True):
            if "/" in path.strip("./"):
                text = re.sub(rf"(?<![\w./~-]){re.escape(path)}", self._names[path], text)
        return text

    @cached_property
    def _names(self) -> dict[str, str]:
        """Each form in which a path may be written, to what is shown of it."""
        return {
            form: own_name(whole)
            for given, whole in self.local.items()
            for form in (given, str(Path(given)), os.path.normpath(given), whole)
        }

    @cached_property
    def _said(self) -> set[str]:
        """The texts of the plan."""
        return set(strings(self.plan))

    @cached_property
    def _ids(self) -> set[str]:
        return {found for key in ("backbone", "data") if (found := self.hub_id(key))}


def local_paths(plan: Mapping[str, Any]) -> dict[str, str]:
    """The paths of this machine that a plan names, each to its absolute form."""
    named = [] if plan["backbone"] in names("backbone") else [plan["backbone"]]
    named += [plan["data"]] if plan["data"] else []
    named += [text for text in strings([plan["metrics"], plan["options"]]) if "/" in text]
    return {text: os.path.abspath(text) for text in named if _exists(text)}


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long, or no name of a file
        return False


def strings(value: Any) -> Iterator[str]:
    """All texts in a JSON value but the keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from strings(item)


def places_of(run: Mapping[str, Any]) -> Places:
    """The paths that a `run.json` names; of one of an older version, as far as its facts and the
    form of its texts tell."""
    plan, local = run["plan"], run.get("local")
    if not isinstance(local, Mapping):
        local = {text: text for text in _inferred(plan, run.get("facts") or {})}
    return Places(local, plan)


def places_in(directory: Path) -> Places:
    """The paths that the plan of a run directory names."""
    return places_of(read_json(directory / "run.json"))


def _inferred(plan: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[str]:
    backbone, data = plan.get("backbone"), plan.get("data")
    if isinstance(backbone, str) and backbone not in names("backbone"):
        here = facts.get("backbone_files") or plan.get("pretrain")
        if here or not is_hub_id(backbone):
            yield backbone
    if isinstance(data, str):
        told = [suite.get("dataset") for suite in (facts.get("suites") or {}).values()]
        if not is_hub_id(data) or (told and data not in told):
            yield data
