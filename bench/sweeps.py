"""`fewgen time`: what an inner loop costs along an axis, all else at a default."""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import torch
import transformers

from bench.backbone import Backbone, Row
from bench.batches import Batch
from bench.checkpoints import load_backbone
from bench.errors import UserError
from bench.growth import growth
from bench.parts import adapter_names, draw_adapters, with_adapters
from bench.registry import display_name, version
from bench.tasks import Example
from bench.timed import Progress
from bench.timing import (
    Stopwatch,
    energy,
    flop_counter,
    keep_freed_memory,
    matrix_rate,
    peak_mib,
    reset_peak,
)
from bench.works import InnerLoop, Material, rows_of

Value = int | str
AXES: dict[str, tuple[Value, ...]] = {
    "tasks": (1, 2, 4, 8, 16),
    "shots": (1, 2, 4, 8, 16, 32),
    "steps": (1, 2, 5, 10, 20),
    "length": (16, 32, 64, 128, 256),
    "rank": (1, 2, 4, 8, 16, 32),
    "order": ("none", "1", "2"),
    "dtype": ("float32", "bfloat16", "float64"),
}
COUNTED_MS = 1000  # an energy counter moves about ten times a second


@dataclass(frozen=True)
class Setting:
    """What one point is timed at.

    Attributes:
        tasks: adapted at once.
        shots: support examples of each.
        steps: inner ones, of plain descent.
        length: tokens of each support row, cut or repeated; None leaves them as they are.
        rank: of low-rank adapters, which then move alone; None moves all weights.
        order: `none` times the adaptation; 1 or 2 a whole meta-step, to its outer gradient.
    """

    tasks: int = 4
    shots: int = 8
    steps: int = 5
    length: int | None = None
    rank: int | None = None
    order: str = "none"
    dtype: str = "float32"


@dataclass(frozen=True)
class Cost:
    """One point of an axis. Times are medians of rounds with quartiles; None where unknown.

    Attributes:
        ms: of one whole adaptation of all tasks, or of one meta-step.
        step_task_ms: `ms` over inner steps and tasks.
        tokens_per_s: support tokens that the steps read.
        peak_mib: of the process on a CPU, of the allocator on a GPU.
        added_mib: what of it was not there before.
        step_flops: operations of matrix products, over inner steps.
        utilisation: their rate over that of one large matrix product of the same dtype.
        joules: of one adaptation or meta-step.
    """

    axis: str
    value: Value
    setting: Setting
    ms: float
    ms_low: float
    ms_high: float
    step_task_ms: float
    tokens_per_s: float
    peak_mib: float | None
    added_mib: float | None
    step_flops: float
    utilisation: float
    joules: float | None


@dataclass
class Point:
    """One setting, ready to run, and what its rounds took."""

    axis: str
    value: Value
    setting: Setting
    run: Callable[[], Any]
    tokens: int
    ms: list[float] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)
    added: list[float] = field(default_factory=list)
    flops: float = 0.0
    joules: float | None = None


class Bench:
    """Backbones and episodes that the points of a sweep share."""

    def __init__(self, backbone: str, material: Material) -> None:
        self.name, self.material = display_name(backbone), material
        self._source = backbone
        self._backbones: dict[tuple[str, int | None], Backbone] = {}
        self.rates: dict[str, float] = {}

    def backbone(self, dtype: str, rank: int | None = None) -> Backbone:
        """As it is loaded, or with adapters of a rank."""
        key = (dtype, rank)
        if key not in self._backbones:
            if rank is None:
                made = load_backbone(self._source, None, self.material.device, dtype)
            else:
                made = with_adapters(self.backbone(dtype), rank, 2 * rank)
            self._backbones[key] = made
        return self._backbones[key]

    def rate(self, dtype: str) -> float:
        """Operations a second of a matrix product, measured once."""
        if dtype not in self.rates:
            self.rates[dtype] = matrix_rate(self.material.device, getattr(torch, dtype))
        return self.rates[dtype]

    def point(self, axis: str, value: Value) -> Point:
        """That of an axis.

        Raises:
            UserError: the backbone or the data cannot do it.
        """
        moved: dict[str, Any] = {axis: value}
        setting = replace(Setting(), **moved)
        backbone = self.backbone(setting.dtype, setting.rank)
        if setting.length and setting.length > backbone.context:
            raise UserError(f"beyond the context of {self.name}, {backbone.context} tokens")
        first = backbone.weights()
        moving = list(first) if setting.rank is None else adapter_names(backbone)
        if setting.rank is not None and not moving:
            raise UserError(f"{self.name} has no linear layer for adapters")
        draw_adapters(first, 0)
        episodes = self.material.episodes(setting.tasks, setting.shots, setting.shots)
        support, query = (
            _batch(backbone, part, setting.length)
            for part in ([e.support for e in episodes], [e.query for e in episodes])
        )
        loop = InnerLoop(backbone, first, moving, support, setting.steps)
        if setting.order == "none":
            run: Callable[[], Any] = loop.adapted
        else:
            run = partial(loop.outer_gradient, query, int(setting.order))
        return Point(axis, value, setting, run, sum(support.tokens) * setting.steps)


def _batch(backbone: Backbone, tasks: Sequence[Sequence[Example]], length: int | None) -> Batch:
    rows = [rows_of(backbone, examples) for examples in tasks]
    if length is None:
        return backbone.collate(rows)
    if backbone.model.config.is_encoder_decoder:  # the encoder's part and the decoder's
        length //= 2
    return backbone.collate([[_resized(row, length) for row in task] for task in rows])


def _resized(row: Row, length: int) -> Row:
    """A row repeated and cut to so many tokens: the last, for there the labels are."""
    ids, labels = ((part * math.ceil(length / len(part)))[-length:] for part in row)
    return ids, labels


def sweep(
    bench: Bench, axes: Sequence[str], rounds: int, threads: int, progress: Progress
) -> dict[str, Any]:
    """Costs along some axes: `about` them, `costs` (of `Cost`), `growth` by axis, of `time` and
    `memory`, and `notes`: points that were left out, and why.

    Every round visits every point, so that what else the machine does falls on all alike.

    Raises:
        UserError: no point can be timed.
    """
    keep_freed_memory()
    torch.set_num_threads(threads)
    device, notes = bench.material.device, list[str]()
    bench.backbone(Setting().dtype)  # one that does not load is told once
    points = list(_points(bench, axes, notes))
    if not points:
        raise UserError("; ".join(notes))
    whole = _rounds(points, rounds, device, progress)
    if whole < rounds:
        notes.append(f"interrupted: {whole} of {rounds} rounds are whole")
    else:
        for point in points:
            point.joules = _joules(point, device)
    costs = [_cost(point, bench.rate(point.setting.dtype)) for point in points]
    return {
        "about": {**_about(bench, device), "threads": threads, "rounds": whole},
        "costs": [asdict(cost) for cost in costs],
        "growth": {axis: _growths([p for p in points if p.axis == axis]) for axis in axes},
        "notes": notes,
    }


def _points(bench: Bench, axes: Sequence[str], notes: list[str]) -> Iterator[Point]:
    """Those that the backbone and the data can do, each run once to count its operations."""
    for axis in axes:
        for value in AXES[axis]:
            try:
                point = bench.point(axis, value)
                with flop_counter() as counter:
                    point.run()
            except (UserError, RuntimeError) as error:
                # RuntimeError: no memory, or no kernel of this dtype or no second derivative.
                told = error.message if isinstance(error, UserError) else str(error)
                notes.append(f"{axis} {value} left out: {' '.join(told.split())[:200]}")
                continue
            point.flops = float(counter.get_total_flops())
            bench.rate(point.setting.dtype)
            yield point


def _rounds(points: Sequence[Point], rounds: int, device: torch.device, progress: Progress) -> int:
    """Visits all points so many times; how many rounds are whole: an interrupt after the first ends
    them."""
    for number in range(rounds):
        try:
            for place, point in enumerate(points):
                _visit(point, device)
                progress(number * len(points) + place + 1, rounds * len(points))
        except KeyboardInterrupt:
            if not number:
                raise
            for point in points:
                for taken in (point.ms, point.peaks, point.added):
                    del taken[number:]
            return number
    return rounds


def _visit(point: Point, device: torch.device) -> None:
    """One run for the memory, which is also the warm-up of the one that is timed."""
    measured = reset_peak(device)
    held = peak_mib(device)
    point.run()
    if measured:
        peak = peak_mib(device)
        point.peaks.append(peak)
        point.added.append(peak - held)
    watch = Stopwatch(device)
    point.run()
    point.ms.append(watch.total())


def _joules(point: Point, device: torch.device) -> float | None:
    """Of one run, over so many that the counter has moved."""
    runs = math.ceil(COUNTED_MS / statistics.median(point.ms))
    before = energy(device)
    if before is None:
        return None
    for _ in range(runs):
        point.run()
    torch.cuda.synchronize(device)
    after = energy(device)
    return None if after is None else (after - before) / runs


def _cost(point: Point, rate: float) -> Cost:
    setting, ms = point.setting, statistics.median(point.ms)
    low, _, high = (
        statistics.quantiles(point.ms, n=4, method="inclusive") if len(point.ms) > 1 else [ms] * 3
    )
    return Cost(
        axis=point.axis,
        value=point.value,
        setting=setting,
        ms=ms,
        ms_low=low,
        ms_high=high,
        step_task_ms=ms / setting.steps / setting.tasks,
        tokens_per_s=point.tokens / ms * 1e3,
        peak_mib=statistics.median(point.peaks) if point.peaks else None,
        added_mib=statistics.median(point.added) if point.added else None,
        step_flops=point.flops / setting.steps,
        utilisation=point.flops / ms * 1e3 / rate,
        joules=point.joules,
    )


def _growths(points: Sequence[Point]) -> dict[str, Any]:
    """Of time and memory, where values are numbers."""
    values = [point.value for point in points if isinstance(point.value, int)]
    found = {
        "time": growth(values, list(zip(*(p.ms for p in points if values), strict=True))),
        "memory": growth(values, list(zip(*(p.added for p in points if values), strict=True))),
    }
    return {name: asdict(made) for name, made in found.items() if made}


def _about(bench: Bench, device: torch.device) -> dict[str, Any]:
    cuda = device.type == "cuda"
    data = bench.material.dataset
    return {
        "backbone": bench.name,
        "data": f"{data.name} (revision {data.revision})",
        "device": torch.cuda.get_device_name(device) if cuda else "cpu",
        "fewgen": version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "matrix_flops_per_s": dict(bench.rates),
    }
