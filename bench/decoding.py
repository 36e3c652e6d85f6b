"""Decoding: which token follows, row by row, for all rows of many adapted models at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bench.steps import Steps

#: Tokens (rows,) for logits (rows, vocabulary), of answers (rows,) whose token number is given.
Choose = Callable[[Tensor, Tensor, int], Tensor]
#: Whether each row of (rows, tokens) has come to its end.
Ended = Callable[[Tensor], Tensor]

WORTH = 0.75  # rows leave when so small a share of the batch is left


@dataclass(frozen=True)
class Decoding:
    """How answers are written: the likeliest token again and again, a sample of the tokens at
    `temperature` among the likeliest that make up `top_p` of the probability, or the best that a
    search with so many `beams` finds."""

    kind: Literal["greedy", "sample", "beam"] = "greedy"
    beams: int = 4
    temperature: float = 1.0
    top_p: float = 1.0


def greedy(logits: Tensor, rows: Tensor, place: int) -> Tensor:
    """The likeliest token."""
    return logits.argmax(-1)


def sampled(draws: Tensor, temperature: float, top_p: float) -> Choose:
    """A token that `draws` (answers, most), in [0, 1), pick from the distribution; so a row's
    tokens depend on its own draws alone. Kept are the fewest tokens, likeliest first, whose
    probabilities reach `top_p` (Holtzman et al. 2020)."""

    def choose(logits: Tensor, rows: Tensor, place: int) -> Tensor:
        shares = (logits.double() / temperature).softmax(-1)
        if top_p < 1:
            ordered, order = shares.sort(dim=-1, descending=True, stable=True)
            beyond = ordered.cumsum(-1) - ordered >= top_p
            shares = shares.scatter(-1, order, ordered.masked_fill(beyond, 0.0))
        sums = shares.cumsum(-1)  # in the order of tokens, which no rounding of logits changes
        wanted = draws[rows, place, None] * sums[:, -1:]
        found = torch.searchsorted(sums, wanted, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
        return found.where(sums[:, -1].isfinite(), logits.argmax(-1))  # the logit that is no number

    return choose


def one_by_one(
    steps: Steps,
    runs: int,
    fillers: Sequence[int],
    most: int,
    pad: int,
    ended: Ended,
    choose: Choose = greedy,
    broken: Tensor | None = None,
) -> Tensor:
    """Up to `most` tokens of each row, (rows, most), filled up with `pad` behind a row's end.

    A row that has ended leaves the batch, as soon as enough have: runs stay equal, so a run that is
    longer than another keeps an ended row with it.

    Args:
        steps: the model, which has read nothing yet; its rows are in `runs` equal runs.
        fillers: rows that make runs equal and are no answers.
        most: tokens of an answer at most.
        pad: what fills up an answer that has ended.
        ended: tells which rows have come to their end.
        choose: picks the next tokens.
        broken: (rows,), set to True in place where a logit is NaN or infinite.
    """
    logits = steps.first()
    rows = torch.arange(steps.rows, device=logits.device)
    made = torch.full((steps.rows, most), pad, device=logits.device)
    done = torch.zeros_like(rows, dtype=torch.bool)
    done[torch.tensor(fillers, dtype=torch.long, device=logits.device)] = True
    for place in range(most):
        new = choose(logits, rows, place)
        if broken is not None:  # a logit that is NaN or infinite is the largest, and so chosen
            wrong = ~logits.gather(1, new[:, None])[:, 0].isfinite()
            broken[rows] |= wrong & ~done
        new = new.masked_fill(done, pad)
        made[rows, place] = new
        done = done | ended(made[rows, : place + 1])
        if place + 1 == most or bool(done.all()):
            break
        if left := remaining(done.view(runs, -1)):
            tasks, index = left
            steps.keep(index, None if len(tasks) == runs else tasks)
            runs, rows, done, new = len(tasks), rows[index], done[index], new[index]
        logits = steps.next(new)
    return made


def remaining(done: Tensor) -> tuple[Tensor, Tensor] | None:
    """The runs of (runs, rows) that have a row left, and the rows to go on with, in equal runs;
    None where leaving would save too little."""
    runs, size = done.shape
    left = (~done).sum(1)
    tasks, width = left.nonzero().flatten(), int(left.max())
    if len(tasks) * width > WORTH * runs * size:
        return None
    order = done.long().argsort(dim=1, stable=True)[tasks, :width]
    return tasks, (tasks[:, None] * size + order).flatten()
