"""What one forward pass reads for some tasks at once, and what it should predict."""

from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bench.packing import Packing

Mean = Literal["token", "sequence"]
IGNORED = -100
CACHED = 2**19  # numbers that a layer of a model may make of one batch in the caches of a CPU
TOKENS = 2**16  # of one batch, where there are no such caches


@dataclass(frozen=True)
class Batch:
    """Rows of some tasks, in order.

    Attributes:
        inputs: keyword arguments of the model, tensors of (lines, tokens): equal runs of rows for
            every task, or one line for each.
        places: (tasks, labels): where in the flattened lines a logit is asked for.
        labels: (tasks, labels): what it should give; `IGNORED` behind a task's last.
        shares: (tasks, labels): of each label in the loss of its task; those of a task sum to 1.
        tokens: of each task, those of all inputs that are not padding.
        packing: of the lines, where a line holds several rows.
    """

    inputs: Mapping[str, Tensor]
    places: Tensor
    labels: Tensor
    shares: Tensor
    tokens: list[int]
    packing: Packing | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def reading(self) -> AbstractContextManager[None]:
        """The model reads these lines within it."""
        return self.packing.read() if self.packing else nullcontext()

    def task(self, number: int) -> "Batch":
        """One task alone, of a batch whose lines are rows."""
        assert self.packing is None
        first = next(iter(self.inputs.values()))
        rows, width = len(first) // len(self), self.labels_width
        kept = slice(number * rows, (number + 1) * rows)
        return Batch(
            {key: value[kept] for key, value in self.inputs.items()},
            (self.places[number : number + 1] - number * rows * width).clamp(min=0),
            self.labels[number : number + 1],
            self.shares[number : number + 1],
            self.tokens[number : number + 1],
        )

    @property
    def labels_width(self) -> int:
        """Places of a row that a logit can be asked for: those of the decoder, if there is one."""
        inputs = self.inputs
        return inputs.get("decoder_input_ids", inputs["input_ids"]).shape[1]


def targets(
    tasks: Sequence[Sequence[Sequence[int]]],
    starts: Sequence[Sequence[int]],
    mean: Mean,
    device: torch.device,
) -> tuple[Tensor, Tensor, Tensor]:
    """Places, labels and shares (tasks, labels) of tasks whose rows have these labels, `IGNORED`
    where there is none; row r of task t begins at place `starts[t][r]` of the flattened lines."""
    places, labels, shares = [], [], []
    for rows, firsts in zip(tasks, starts, strict=True):
        kept = [[(i, label) for i, label in enumerate(r) if label != IGNORED] for r in rows]
        whole, answered = sum(map(len, kept)), sum(map(bool, kept))
        places.append([first + i for first, row in zip(firsts, kept, strict=True) for i, _ in row])
        labels.append([label for row in kept for _, label in row])
        shares.append(
            [1 / whole if mean == "token" else 1 / len(r) / answered for r in kept for _ in r]
        )
    return (
        padded(places, 0, device),
        padded(labels, IGNORED, device),
        padded(shares, 0.0, device, torch.float64),
    )


def chunks(
    sizes: Sequence[int], most: int, tokens: int, edges: Sequence[int]
) -> Iterator[list[int]]:
    """Places of `sizes` (tokens) in groups of at most `most`, and of at most `tokens` where they
    are several, each from between two edges, so that no task is read beside one of quite another
    length."""
    order = sorted(range(len(sizes)), key=sizes.__getitem__)
    group: list[int] = []
    for place in order:
        full = len(group) == most or (len(group) + 1) * sizes[place] > tokens
        if group and (full or bisect(edges, sizes[place]) != bisect(edges, sizes[group[0]])):
            yield group
            group = []
        group.append(place)
    if group:
        yield group


def padded(
    rows: Sequence[Sequence[float]],
    filler: float,
    device: torch.device,
    dtype: torch.dtype = torch.long,
) -> Tensor:
    """Rows filled up on the right."""
    width = max(map(len, rows))
    full = [[*row, *[filler] * (width - len(row))] for row in rows]
    return torch.tensor(full, device=device, dtype=dtype)
