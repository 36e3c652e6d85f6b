"""Data of one's own: a file, a folder or a hub id, read as a stream and checked row by row."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.division import TableDataset, build
from bench.errors import UserError, unknown
from bench.readers import (
    Row,
    digest_of_files,
    files_below,
    files_of,
    is_hub_id,
    own_name,
    read_file,
    unread,
)
from bench.repository import (
    is_repository,
    is_saved,
    read_named_parts,
    read_plain,
    read_rows,
    read_saved,
    resolve,
)
from bench.rows import FIELDS, Record, check, columns_of, value_of
from bench.sampling import Kept
from bench.tasks import PublicData, RawRow


@dataclass(frozen=True)
class Source:
    """Where data of one's own comes from.

    Attributes:
        data: a JSONL, CSV or Parquet file; a folder of such files, of `save_to_disk`, or in a
            hub's layout; a hub id OWNER/NAME.
        revision: of a hub id.
        columns: our field to the data's column, for those of another name.
        configs: those of a data set that has several.
        layout: the public data set (one that the suite declares) whose layout the data has.
        language: tag of the references' language in records that declare none.
    """

    data: str
    revision: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    configs: Sequence[str] = ()
    layout: str | None = None
    language: str | None = None


def open_dataset(source: Source, public: Sequence[PublicData] = ()) -> TableDataset:
    """Reads a data set and divides its tasks.

    Args:
        source: where it is.
        public: data sets whose layout is known; one of that id is read by it.

    Raises:
        UserError: with file, line and reason, for whatever cannot be read as it stands.
    """
    name, revision, kept, notes = read_records(source, public)
    data = build(name, revision, kept.records, source.language)
    data.notes += notes
    if kept.share < 1:
        data.notes.append(
            f"{len(kept.records):,} of {kept.seen:,} examples kept: those whose group's hash lies "
            f"in the first {100 * kept.share:.3g} %, which fit {kept.limit / 2**20:.0f} MiB"
        )
    return data


def read_records(
    source: Source, public: Sequence[PublicData] = ()
) -> tuple[str, str, Kept, list[str]]:
    """The checked records of a data set, not divided: name, revision, records, notes.

    Raises:
        UserError: as `open_dataset`.
    """
    for name in source.columns:
        if name not in FIELDS:
            raise unknown("field to map a column to", name, FIELDS)
    notes: list[str] = []
    name, revision, tables = _open(source, _layout_of(source, public), notes)
    kept = Kept()
    for record in _records(name, tables, source.columns):
        kept.add(record)
    if added := sum(record.added for record in kept.records):
        notes.append(
            f"{added:,} example(s) have a target that is not among their references; it was added "
            "as the first of them"
        )
    return name, revision, kept, notes


def _layout_of(source: Source, public: Sequence[PublicData]) -> PublicData | None:
    """The declared data set that the plan names, or whose id the data is.

    Raises:
        UserError: a layout of no declared data set, or columns beside one.
    """
    declared = {data.id: data for data in public}
    if source.layout and source.layout not in declared:
        raise unknown("layout of this suite", source.layout, declared)
    layout = declared.get(source.layout or source.data)
    if source.layout is None and Path(source.data).exists():
        return None
    if layout and source.columns:
        raise UserError(f"the layout {layout.id} maps its columns itself; leave --column out")
    return layout


Table = tuple[str, Iterable[Row]]  # stem of a file or name of a config, and its rows


def _open(
    source: Source, layout: PublicData | None, notes: list[str]
) -> tuple[str, str, Iterable[Table]]:
    path = Path(source.data)
    commit = None
    if path.exists():
        if source.revision:
            raise UserError(
                f"data {source.data!r} is a file or folder here, which has no revision "
                f"{source.revision!r}; leave --revision out"
            )
        if path.is_dir() and is_saved(path):
            if layout or source.configs:
                raise UserError(
                    f"{path}: a folder of save_to_disk has no layout and no configs; map its "
                    "columns with --column"
                )
            revision, rows = read_saved(path)
            return own_name(path), revision, [(own_name(path), rows)]
        files = files_of(path)
        name = own_name(path)
        if not (layout or source.configs) and not (path.is_dir() and is_repository(path, files)):
            if path.is_dir() and (others := unread(path, files)):
                names = ", ".join(other.relative_to(path).as_posix() for other in others[:5])
                notes.append(f"{name}: {len(others)} file(s) not read: {names}")
            revision = digest_of_files(files, path)
            if path.is_dir() and (parted := read_named_parts(files, notes)):
                return name, revision, [(name, parted)]
            return name, revision, ((file.stem, read_file(file)) for file in files)
        if not path.is_dir():
            raise UserError(f"{path}: a file has no layout and no configs; name its folder")
        # The card and the folders' names say what the files are.
        revision = digest_of_files(files_below(path), path)
    elif is_hub_id(source.data):
        name, commit = source.data, resolve(source.data, source.revision)
        revision = commit[:12]
    else:
        raise UserError(f"data {source.data!r}: no such file or folder")
    if layout:
        configs = source.configs or layout.configs
        raw = read_rows(source.data, commit, configs, layout.folders, layout.parts, notes)
        return name, revision, [(name, _mapped(source.data, layout, raw))]
    configs = source.configs or [""]
    plain = ((c or name, read_plain(source.data, commit, c, notes)) for c in configs)
    return name, revision, plain


def _mapped(data: str, layout: PublicData, rows: Iterable[RawRow]) -> Iterator[Row]:
    """The records of a declared layout; rows of another shape are told."""
    try:
        yield from layout.records(rows)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise UserError(
            f"{data}: a row has not the layout of {layout.id} ({type(error).__name__}: {error}); "
            "leave --layout out and map its columns, or ask for the revision that `show` names"
        ) from error


def _records(name: str, tables: Iterable[Table], columns: Mapping[str, str]) -> Iterator[Record]:
    """Checked records.

    Raises:
        UserError: a bad record, or a mapped column that no record has.
    """
    missing, found = dict(columns), set[str]()
    for stem, rows in tables:
        for where, row in rows:
            if missing:
                found.update(columns_of(row))
                missing = {
                    field: column
                    for field, column in missing.items()
                    if column not in row and value_of(row, column) is None
                }
            for wanted in {"input", "target"} & missing.keys():
                if (
                    wanted == "input"
                    or value_of(row, columns.get("references", "references")) is None
                ):
                    raise _no_column(where, wanted, missing[wanted], columns_of(row))
            values = {field: value_of(row, columns.get(field, field)) for field in FIELDS}
            if columns.get("references") == columns.get("target", "target"):
                values["target"] = None  # one column is not both
            yield check(where, values, row, stem)
    for wanted, column in missing.items():
        raise _no_column(name, wanted, column, found)


def _no_column(where: str, wanted: str, column: str, found: Iterable[str]) -> UserError:
    names = ", ".join(sorted(map(str, found)))
    return UserError(f"{where}: no column {column!r} for {wanted}; there are: {names}")
