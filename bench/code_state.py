"""The state of the code behind a plan's names, and of the files that its baselines read.

Results depend on both, so they are part of `run.json` and of the keys of what is trained once.
"""

import hashlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from bench.readers import digest_of_files, files_below
from bench.registry import entry_point, load

if TYPE_CHECKING:
    from bench.context import Context

ROOT = Path(__file__).parent.parent
OWN = ("bench", "suites", "baselines")  # the project's own packages
METADATA = (".dist-info", ".egg-info")  # ends of folders that hold what installers note


@lru_cache(maxsize=1)
def own_digest() -> str:
    """SHA-256 of the project's own modules, shortened: cells of two states of the code do not
    belong in one run."""
    digest = hashlib.sha256()
    for package in OWN:
        folder = ROOT / package
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def plug_ins(baselines: Iterable[str], suites: Iterable[str]) -> dict[str, str]:
    """The digest of the code of each of these names that another package registers."""
    named = [("baseline", name) for name in baselines] + [("suite", name) for name in suites]
    found = {f"{kind} {name}": _plug_in(kind, name) for kind, name in dict.fromkeys(named)}
    return {name: digest for name, digest in found.items() if digest}


def files_read(context: "Context", baselines: Iterable[str]) -> dict[str, dict[str, str]]:
    """By baseline and path, the digests of the files that a baseline says it reads.

    Raises:
        UserError: one cannot be read.
    """
    found = {}
    for name in baselines:
        paths = sorted({Path(path) for path in context.baseline(name).files_read()})
        if paths:
            found[name] = {
                path.as_posix(): digest_of_files(
                    files_below(path) if path.is_dir() else [path], path
                )
                for path in paths
            }
    return found


def state(context: "Context", baselines: Sequence[str], suites: Sequence[str]) -> list[Any]:
    """All of it for what is made by some baselines from some suites."""
    return [own_digest(), plug_ins(baselines, suites), files_read(context, baselines)]


def _plug_in(kind: str, name: str) -> str | None:
    """The digest of the code that another package registers a name with; None if it is ours."""
    point = entry_point(kind, name)
    if _top(point.module) in OWN:
        return None
    files = _files(point)
    made = load(kind, name)
    for part in getattr(made, "__mro__", (made,)):  # a class may inherit from another package's
        module = sys.modules.get(getattr(part, "__module__", ""))
        source = getattr(module, "__file__", None)
        if source and _top(part.__module__) not in {*OWN, *sys.stdlib_module_names}:
            files.setdefault(f"{part.__module__}.py", Path(source))
    kept = {path.resolve(): name for name, path in sorted(files.items())}  # each file once
    digest = hashlib.sha256()
    for path, name in sorted(kept.items(), key=lambda item: item[1]):
        digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _top(module: str) -> str:
    return module.partition(".")[0]


def _files(point: EntryPoint) -> dict[str, Path]:
    """By name, the files of the distribution that registered an entry point.

    An editable install lists none of its code, and old ones an old state of it: then the packages
    and modules of its top level, as they are on disk.
    """
    tops, dist = [point.module], point.dist
    if dist:
        tops += (dist.read_text("top_level.txt") or "").split()
        listed = dist.files if dist.read_text("RECORD") else None
        found = {path.as_posix(): path.locate() for path in listed or () if _counts(path)}
        firsts = {PurePath(name).parts[0].partition(".")[0] for name in found}
        if firsts & set(map(_top, tops)):
            paths = ((name, Path(str(path))) for name, path in found.items())
            return {name: path for name, path in paths if path.is_file()}
    return {name: path for module in tops for name, path in _on_disk(module)}


def _on_disk(module: str) -> Iterator[tuple[str, Path]]:
    """The files of a module's top-level package; of namespace packages, the first one below that
    is none."""
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        spec = find_spec(".".join(parts[:length]))
        if spec is None:
            return
        if spec.origin and spec.has_location:
            path = Path(spec.origin)
            home = path.parent.parent if spec.submodule_search_locations else path.parent
            paths = path.parent.rglob("*") if spec.submodule_search_locations else [path]
            named = ((one.relative_to(home), one) for one in paths if one.is_file())
            yield from ((name.as_posix(), one) for name, one in named if _counts(name))
            return


def _counts(name: PurePath) -> bool:
    """Whether a file of a distribution is code or data: no byte code, nothing hidden, nothing of
    the installer."""
    return not (
        name.suffix in (".pyc", ".pyo")
        or any(part.startswith(".") or part.endswith(METADATA) for part in name.parts)
    )
