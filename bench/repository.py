"""Data sets in a layout of their own, read by `datasets`: hub ids, copies of them, saved ones."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.readers import Row, digest_of_files, first_line
from bench.tasks import RawRow

SAVED = ("dataset_info.json", "dataset_dict.json", "state.json")
PART_NAMES = {"val": "validation", "valid": "validation", "dev": "validation", "devtest": "test"}


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
    return digest_of_files(sorted(folder.rglob("*.arrow"))), _parted(str(folder), found)


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
) -> Iterator[RawRow]:
    """The rows of a hub data set or of a copy of it, as a stream: nothing is written, little is
    held.

    Args:
        source: a hub id or a folder.
        commit: of a hub id.
        configs: read in this order; the only one if empty.
        folders: whether configs are folders.
        parts: those to read, by the data's names.

    Raises:
        UserError: `datasets` cannot read it.
    """
    for config in configs or [""]:
        found = _load(source, commit, config, folders)
        for part in [name for name in found if name in parts]:
            place = f"{config} {part}".strip()
            for number, values in enumerate(_told(source, found[part]), 1):
                yield RawRow(f"{place}, row {number}", config, part, values)


def read_plain(source: str, commit: str | None, config: str) -> Iterator[Row]:
    """Rows of one config of a data set that has our columns, or those that a plan maps.

    Raises:
        UserError: `datasets` cannot read it.
    """
    return _parted(source, _load(source, commit, config, folders=False), config)


def _load(source: str, commit: str | None, config: str, folders: bool) -> Mapping[str, Any]:
    """The parts of a config, each an iterable of rows."""
    datasets = _datasets()
    named = {"data_dir" if folders else "name": config or None}
    try:
        found: Mapping[str, Any] = datasets.load_dataset(
            source, revision=commit, streaming=True, **named
        )
    except Exception as error:  # a script in it, no such config, no files, the network
        place = f"{source}, {config}" if config else source
        raise UserError(f"{place}: cannot be read by datasets: {first_line(error)}") from None
    return found


def _parted(source: str, found: Any, config: str = "") -> Iterator[Row]:
    """Rows of a data set or of its parts. The name of a part stands in for a split column, unless
    there is one part only."""
    parts = dict(found.items()) if hasattr(found, "items") else {"data": found}
    for part, rows in parts.items():
        for number, record in enumerate(_told(source, rows), 1):
            values = dict(record)
            if len(parts) > 1 and values.get("split") is None:
                values["split"] = PART_NAMES.get(part, part)
            yield f"{config} {part}, row {number}".strip(), values


def _told(source: str, rows: Iterable[Any]) -> Iterator[Any]:
    """The rows; what breaks while they are read is told in one line."""
    try:
        yield from rows
    except Exception as error:  # a damaged file, the network
        raise UserError(f"{source}: cannot be read by datasets: {first_line(error)}") from None


def _datasets() -> Any:
    try:
        import datasets
    except ImportError:
        raise UserError(
            "this data is read by the package datasets, which is not installed: "
            "pip install -c constraints.txt datasets"
        ) from None
    return datasets
