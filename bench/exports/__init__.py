"""Exports of run directories in the formats that others read; `KINDS` names them."""

from dataclasses import dataclass
from pathlib import Path

KINDS = ("every-eval-ever", "model-card", "datasets", "records")


@dataclass(frozen=True)
class Export:
    """What an export wrote.

    Attributes:
        folder: what it is uploaded from: `--out`, or the folder of its one model card.
        repository: the hub's kind of repository that it belongs in: model or dataset.
        notes: what was left out and why, a line each.
    """

    folder: Path
    repository: str
    notes: list[str]
