"""Public dialogues by domain and by persona."""

from collections.abc import Iterable, Iterator

from bench.streams import digest_of
from bench.tasks import Mapped, PublicData, RawRow

PARTS = {"train": "train", "validation": "validation", "test": "test"}


def schema_guided(rows: Iterable[RawRow]) -> Iterator[Mapped]:
    """A task is a service, an example one turn of the system after all turns before it. The same
    service may be in every part; a dialogue is in one, and each part numbers its own."""
    for row in rows:
        values = row.values
        turns = [*values["context"]]
        if values["prompt"] and values["prompt"] not in turns[-1:]:
            turns.append(values["prompt"])
        yield (
            row.where,
            {
                "task": values["service"],
                "split": PARTS[row.part],
                "input": "\n".join(turns),
                "references": [*values["references"]] or [values["target"]],
                "group": f"{row.part} {values['dialog_id']}",
            },
        )


def personachat(rows: Iterable[RawRow]) -> Iterator[Mapped]:
    """A task is a persona, an example one turn after those before it; the last candidate is what
    was said. A persona is in one part of the data only, so parts are divided by conversation."""
    for row in rows:
        values = row.values
        persona = digest_of(sorted(values["personality"]))
        yield (
            row.where,
            {
                "task": f"persona-{persona[:10]}",
                "input": "\n".join(values["history"]),
                "target": values["candidates"][-1],
                "group": f"{row.part} {values['conv_id']}",
            },
        )


PUBLIC = (
    PublicData(
        id="GEM/schema_guided_dialog",
        summary="service dialogues; a task is a service",
        licence="CC BY-SA 4.0",
        revision="refs/convert/parquet",
        parts=PARTS,
        records=schema_guided,
        configs=("default",),
        folders=True,
    ),
    PublicData(
        id="bavard/personachat_truecased",
        summary="conversations of people who play a persona; a task is a persona",
        licence="not stated (PersonaChat: MIT)",
        revision="refs/convert/parquet",
        parts={"train": "train", "validation": "validation"},
        records=personachat,
        configs=("full",),
        folders=True,
    ),
)
