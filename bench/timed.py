"""Times our work beside that of others, in one process, in turns."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from bench.errors import UserError
from bench.registry import load_suite
from bench.sources import Source, open_dataset
from bench.timing import Stopwatch, keep_freed_memory
from bench.works import WORKS, Material, Work, check_peers

Progress = Callable[[float, float], None]
AGREE = 1e-4  # the largest relative error of gradients that are called equal


class Disagreement(UserError):
    """Gradients of one work differ between who does it."""


@dataclass(frozen=True)
class Compared:
    """One piece of work by us and by a peer: medians of seconds, and of the ratios (peer over ours)
    of single turns."""

    work: str
    device: str
    ours_s: float
    peer: str
    peer_s: float
    ratio: float
    max_rel_error: float


def material(
    data: str | None, device: str, peers: Sequence[str] = (), suite: str = "translation"
) -> Material:
    """What works are done on: the tasks of a file, else those of the suite.

    Raises:
        UserError: data that cannot be read, a GPU that is not there, or a peer that is not known
            or not installed.
    """
    check_peers(peers)
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda, but torch sees no GPU here; see `fewgen doctor`")
    chosen = load_suite(suite)
    dataset = open_dataset(Source(data), chosen.public) if data else chosen.embedded()
    return Material(dataset, torch.device(device), peers)


def compare(
    names: Sequence[str], given: Material, pairs: int, threads: int, progress: Progress
) -> Iterator[dict[str, Any]]:
    """Rows of `Compared` for some works, each peer's turn beside one of ours.

    Raises:
        UserError: gradients of a work do not agree; after the others.
    """
    keep_freed_memory()
    torch.set_num_threads(threads)
    progress(0, len(names))
    wrong = list[str]()
    for number, name in enumerate(names):
        try:
            rows = _compared(WORKS[name](name, given), given, pairs)
        except Disagreement as error:
            wrong.append(str(error))
        else:
            yield from map(asdict, rows)
        progress(number + 1, len(names))
    if wrong:
        raise Disagreement("; ".join(wrong))


def _compared(work: Work, given: Material, pairs: int) -> list[Compared]:
    wrong = {peer: error for peer, error in work.errors.items() if not error <= AGREE}
    if wrong:
        told = ", ".join(f"{peer} by {error:.1e}" for peer, error in wrong.items())
        raise Disagreement(f"{work.name}: gradients differ from those of {told}; it is not timed")
    cuda = given.device.type == "cuda"
    device = torch.cuda.get_device_name(given.device) if cuda else "cpu"
    turns = [
        {side: _seconds(run, given.device) for side, run in {"": work.ours, **work.peers}.items()}
        for _ in range(pairs)
    ]
    ours = statistics.median(turn[""] for turn in turns)
    return [
        Compared(
            work.name,
            device,
            ours,
            peer,
            statistics.median(turn[peer] for turn in turns),
            statistics.median(turn[peer] / turn[""] for turn in turns),
            work.errors[peer],
        )
        for peer in work.peers
    ]


def _seconds(run: Callable[[], Any], device: torch.device) -> float:
    watch = Stopwatch(device)
    run()
    return watch.total() / 1e3
