"""What the file of a finished cell must hold for tables to rely on it."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError


class _Loose(BaseModel):
    """What must be there; there may be more."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class _Header(_Loose):
    suite: str
    baseline: str
    shots: int
    train_seed: int | None
    seed: int
    init: str
    primary: str
    settings: dict[str, Any]
    signatures: dict[str, str]


Segment = Annotated[list[float], Field(min_length=1)]
Statistics = dict[str, Annotated[list[Segment], Field(min_length=1)]]  # by metric


class _Record(_Loose):
    index: int
    seed: int
    task: str
    digest: str
    statistics: Statistics
    probes: dict[str, Statistics] = {}


_CELL = TypeAdapter(tuple[_Header, Annotated[list[_Record], Field(min_length=1)]])


def check_cell(header: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> None:
    """Whether header and records have what every run writes, numbers that are finite, and each
    episode once.

    Raises:
        ValueError: they have not; the message names the place.
    """
    try:
        _CELL.validate_python((header, records))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        part, *inside = fault["loc"]
        where = ".".join(map(str, [("header", "records")[int(part)], *inside]))
        raise ValueError(f"{where}: {fault['msg']}") from None
    if len({record["index"] for record in records}) < len(records):
        raise ValueError("an episode is there twice")
    for name in header["signatures"]:
        measured = [m for r in records for m in (r["statistics"], *r.get("probes", {}).values())]
        lengths = {len(s) for statistics in measured for s in statistics.get(name, [[]])}
        if 0 in lengths or len(lengths) > 1:
            raise ValueError(f"statistics of {name} are missing or of several lengths")
