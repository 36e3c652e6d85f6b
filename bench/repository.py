"""Data sets in a layout of their own, read by `datasets`: hub ids, copies of them, saved ones."""

import dataclasses
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.readers import SUFFIXES, Row, digest_of_files, first_line, own_name, read_file, unread
from bench.tasks import RawRow

SAVED = ("dataset_info.json", "dataset_dict.json", "state.json")
PART_NAMES = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "devtest": "test",
    "eval": "test",
}
SHARD = re.compile(r"-\d+-of-\d+$")  # how a hub numbers the files of a part


def is_saved(folder: Path) -> bool:
    """Whether a folder was written by `save_to_disk`."""
    return any((folder / mark).is_file() for mark in SAVED)


def is_repository(folder: Path, files: Sequence[Path]) -> bool:
    """Whether a folder of files is laid out as on the hub: with a card that lists configs, or with
    files in folders below."""
    card = folder / "README.md"
    if card.is_file():
        text = card.read_text(encoding="utf-8", errors="replace")
        if text.startswith("---") and "\nconfigs:" in text:
            return True
    return any(file.parent != folder for file in files)


def read_named_parts(files: Sequence[Path], notes: list[str]) -> Iterator[Row] | None:
    """The rows of files that are called as parts are, in one folder; None where they are not, with
    a note where only some of them are."""
    names = [PART_NAMES.get(SHARD.sub("", file.stem)) for file in files]
    if None in names or len(set(names)) < 2:
        if len({name for name in names if name}) > 1:
            known = ", ".join(PART_NAMES)
            notes.append(
                f"{own_name(files[0].parent)}: some files are called as parts are and some "
                f"are not, so all are taken as one; parts are called {known}"
            )
        return None
    parts: dict[str, list[Path]] = {}
    for name, file in zip(names, files, strict=True):
        parts.setdefault(str(name), []).append(file)
    return _parted({part: _read_files(part, file.parent, found) for part, found in parts.items()})


def read_saved(folder: Path) -> tuple[str, Iterator[Row]]:
    """The digest and the rows of a folder written by `save_to_disk`.

    Raises:
        UserError: `datasets` is not installed or cannot read the folder.
    """
    datasets = _datasets()
    try:
        found = datasets.load_from_disk(str(folder))
    except Exception as error:  # datasets raises many kinds
        raise UserError(f"{folder}: cannot be read by datasets: {first_line(error)}") from None
    # The other files hold fingerprints, which change with every writing of the same data.
    parts = dict(found.items()) if hasattr(found, "items") else {"data": found}
    rows = {part: _numbered(str(folder), part, values) for part, values in parts.items()}
    return digest_of_files(sorted(folder.rglob("*.arrow")), folder), _parted(rows)


def resolve(name: str, revision: str | None) -> str:
    """The commit that a revision of a hub data set stands for.

    Raises:
        UserError: no revision, no network, no such data set.
    """
    if not revision:
        raise UserError(f"data {name!r} is a hub id: name its revision with --revision")
    from huggingface_hub import HfApi

    try:
        return str(HfApi().dataset_info(name, revision=revision, timeout=10).sha)
    except Exception as error:  # no network, no such data set, a token is needed
        raise UserError(
            f"data {name!r} is no file or folder here, and the hub does not give it "
            f"({first_line(error)}); check the name and the network, or download it elsewhere and "
            "name its file"
        ) from None


def read_rows(
    source: str,
    commit: str | None,
    configs: Sequence[str],
    folders: bool,
    parts: Collection[str],
    notes: list[str],
) -> Iterator[RawRow]:
    """The rows of a hub data set or of a copy of it, as a stream: nothing is written, little is
    held.

    Args:
        source: a hub id or a folder.
        commit: of a hub id.
        configs: read in this order; the only one if empty.
        folders: whether configs are folders.
        parts: those to read, by the data's names.
        notes: gets a line for what stays unread.

    Raises:
        UserError: `datasets` cannot read it.
    """
    for config in configs or [""]:
        found = _load(source, commit, config, folders, notes)
        if others := [part for part in found if part not in parts]:
            notes.append(f"{config or own_name(source)}: part(s) not read: {', '.join(others)}")
        for part in [name for name in found if name in parts]:
            for where, values in found[part]:
                yield RawRow(where, config, part, values)


def read_plain(source: str, commit: str | None, config: str, notes: list[str]) -> Iterator[Row]:
    """Rows of one config of a data set that has our columns, or those that a plan maps.

    Raises:
        UserError: `datasets` cannot read it.
    """
    return _parted(_load(source, commit, config, False, notes))


def _load(
    source: str, commit: str | None, config: str, folders: bool, notes: list[str]
) -> Mapping[str, Iterable[Row]]:
    """The rows of each part of a config."""
    datasets = _datasets()
    named = {"data_dir" if folders else "name": config or None}
    place = f"{source}, {config}" if config else source
    try:
        if commit is None:
            source = str(Path(source).resolve())
            # datasets knows which files are which part; the files themselves are read as any are,
            # unless their card says more of them.
            builder = datasets.load_dataset_builder(source, **named)
            files = {
                part: [Path(name) for name in names]
                for part, names in (builder.config.data_files or {}).items()
            }
            chosen = {file for part in files.values() for file in part}
            if folders or not config:  # else what is left may be of other configs
                notes += _unread(Path(source, config), chosen)
            if _is_plain(builder.config, chosen):
                return {
                    part: _read_files(f"{config} {part}".strip(), Path(source), names)
                    for part, names in files.items()
                }
        found = datasets.load_dataset(source, revision=commit, streaming=True, **named)
    except UserError:
        raise
    except Exception as error:  # a script in it, no such config, no files, the network
        raise UserError(f"{place}: cannot be read by datasets: {first_line(error)}") from None
    return {p: _numbered(source, f"{config} {p}".strip(), rows) for p, rows in found.items()}


def _unread(folder: Path, chosen: Collection[Path]) -> list[str]:
    """A note of the files that belong to no part."""
    left = unread(folder, chosen)
    names = ", ".join(path.relative_to(folder).as_posix() for path in left[:5])
    return [f"{folder.name}: {len(left)} file(s) not read, in no part: {names}"] if left else []


def _is_plain(config: Any, files: Collection[Path]) -> bool:
    """Whether files are of kinds that we read and their builder has no settings but which they
    are, such as a separator of its own."""
    own = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    usual = type(config)()
    free = {"name", "version", "data_dir", "data_files", "description"}
    changed = [key for key in own if key not in free and own[key] != getattr(usual, key)]
    return bool(files) and not changed and all(f.suffix.lower() in SUFFIXES for f in files)


def _read_files(part: str, root: Path, files: Sequence[Path]) -> Iterator[Row]:
    """Rows of a part's files below `root`, their places named from there: many may have one
    name."""
    for file in files:
        below = file.is_relative_to(root)
        folder = file.parent.relative_to(root) if below else Path(file.parent.name)
        for where, values in read_file(file):
            yield f"{part} {(folder / where).as_posix()}", values


def _numbered(source: str, place: str, rows: Iterable[Any]) -> Iterator[Row]:
    """The rows that `datasets` gives, each with its place; what breaks while they are read is told
    in one line."""
    try:
        for number, values in enumerate(rows, 1):
            yield f"{place}, row {number}", values
    except Exception as error:  # a damaged file, the network
        raise UserError(f"{source}: cannot be read by datasets: {first_line(error)}") from None


def _parted(parts: Mapping[str, Iterable[Row]]) -> Iterator[Row]:
    """Rows of a data set's parts. The name of a part stands in for a split column, unless there is
    one part only."""
    for part, rows in parts.items():
        for where, record in rows:
            values = dict(record)
            if len(parts) > 1 and values.get("split") is None:
                values["split"] = PART_NAMES.get(part, part)
            yield where, values


def _datasets() -> Any:
    try:
        import datasets
    except ImportError:
        raise UserError(
            "this data is read by the package datasets, which is not installed: "
            "pip install -c constraints.txt datasets"
        ) from None
    return datasets
