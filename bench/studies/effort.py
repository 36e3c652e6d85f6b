"""What the runs of a study took."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.exports.runs import read_cells


@dataclass(frozen=True)
class Effort:
    """Seconds of meta-training, adaptation and generation on the device, tokens of
    meta-training."""

    seconds: float
    tokens: int


def effort(roots: Iterable[Path]) -> Effort:
    """The sum over all finished cells of some run directories; a meta-training that several cells
    share counts once."""
    trainings: dict[str, tuple[float, int]] = {}
    seconds = 0.0
    for root in roots:
        for cell, header, records in read_cells(root):
            if train := header.get("train"):
                key = json.dumps([str(root), cell.baseline, cell.train_seed, train])
                trainings[key] = train["seconds"], train["tokens"]
            costs = [record["costs"] for record in records if "costs" in record]
            seconds += sum(cost["adapt_ms"] + cost["generate_ms"] for cost in costs) / 1e3
    taken = seconds + sum(spent for spent, _ in trainings.values())
    return Effort(taken, sum(tokens for _, tokens in trainings.values()))
