"""The JSON of pytest-benchmark: times of another suite compared, ours given to its tools.

What a table shows and what decides are one statistic, which a stalled round does not move: the
20 % trimmed mean of the rounds' log times (Yuen, 1974), compared by Welch's t. Files without rounds
(made without `--benchmark-save-data`) hold medians and interquartile ranges, which take its place.
"""

import json
import math
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.clocks import Clock
from bench.errors import UserError
from bench.gate import UNKNOWN, Loss
from bench.plan import explain
from bench.statistics import Estimate

VERSION = "5.1.0"  # of pytest-benchmark whose format is written
NEEDED = "JSON of pytest-benchmark is needed, or two run directories"

LEAST = 4  # fewest rounds that an error is estimated from
TRIM = 0.2  # of the rounds at each end
NORMAL_IQR = 1.349  # standard deviations of a normal distribution
IQR_EFFICIENCY = 0.37  # of the interquartile range, beside the standard deviation, as its estimate

Seconds = Annotated[float, Field(ge=1e-12, le=1e9)]


class _Loose(BaseModel):
    """Takes what it needs of what others write."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class _Stats(_Loose):
    mean: Seconds
    median: Seconds | None = None
    iqr: Annotated[float, Field(ge=0, le=1e9)] | None = None
    q1: Seconds | None = None
    q3: Seconds | None = None
    rounds: Annotated[int, Field(ge=1)] = 1
    data: list[Seconds] = []


class _Benchmark(_Loose):
    fullname: str
    stats: _Stats


class _File(_Loose):
    benchmarks: list[_Benchmark]


def read(path: Path) -> dict[str, _Stats]:
    """The benchmarks of a file by their full names.

    Raises:
        UserError: it is no such file, is empty, or names a benchmark twice.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        made = _File.model_validate(json.loads(path.read_text(encoding="utf-8-sig")))
    except ValidationError as error:
        fault = explain(error, str(path), {}).message
        first = error.errors(include_url=False)[0]
        if first["type"] == "missing":  # its input is all that is around it
            fault = f"{path}: it holds no {'.'.join(map(str, first['loc']))}"
        raise UserError(f"{fault[:300]}; {NEEDED}") from None
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path}: no JSON ({str(error)[:100]}); {NEEDED}") from None
    found: dict[str, _Stats] = {}
    for benchmark in made.benchmarks:
        if found.setdefault(benchmark.fullname, benchmark.stats) is not benchmark.stats:
            raise UserError(f"{path}: the benchmark {benchmark.fullname!r} stands there twice")
    if not found:
        raise UserError(f"{path}: no benchmark in it")
    return found


@dataclass(frozen=True)
class _Typical:
    """A benchmark's typical log seconds.

    Attributes:
        error: squared standard error; infinite of fewer than `LEAST` rounds.
        freedom: degrees of freedom of the error.
    """

    log: float
    error: float
    freedom: float

    @property
    def ms(self) -> float:
        """In milliseconds."""
        return math.exp(self.log) * 1e3


def _of_rounds(seconds: Sequence[float]) -> _Typical:
    """The 20 % trimmed mean of log seconds with Yuen's (1974) standard error, of at least four
    rounds: the slowest and the fastest fifth, one at least, say nothing of what is typical."""
    logs = sorted(map(math.log, seconds))
    count = len(logs)
    if count < LEAST:
        return _Typical(statistics.median(logs), math.inf, 1.0)
    cut = max(int(TRIM * count), 1)
    kept = logs[cut : count - cut]
    winsorised = [kept[0]] * cut + kept + [kept[-1]] * cut
    squares = (count - 1) * statistics.variance(winsorised)
    freedom = len(kept) - 1
    return _Typical(statistics.fmean(kept), squares / (len(kept) * freedom), freedom)


def _of_summary(stats: _Stats) -> _Typical:
    """The median of a file without rounds. Its standard error is that of normal log seconds with
    the file's interquartile range, which has fewer degrees of freedom by its efficiency."""
    if stats.median is None or stats.iqr is None:
        raise UserError("a benchmark has neither `data` nor `median` and `iqr`")
    spread = stats.iqr / stats.median
    if stats.q1 and stats.q3:
        spread = math.log(stats.q3 / stats.q1)
    log = math.log(stats.median)
    if stats.rounds < LEAST:
        return _Typical(log, math.inf, 1.0)
    error = math.pi / 2 * (spread / NORMAL_IQR) ** 2 / stats.rounds
    return _Typical(log, error, max(IQR_EFFICIENCY * (stats.rounds - 1), 1.0))


def _typical(base: _Stats, head: _Stats) -> tuple[_Typical, _Typical]:
    """Both sides by one statistic: their rounds if both files have them, else their medians."""
    if base.data and head.data:
        return _of_rounds(base.data), _of_rounds(head.data)
    return _of_summary(base), _of_summary(head)


def _difference(base: _Typical, head: _Typical) -> Estimate:
    """log(head / base) by Welch's t (1947): the two were not measured in turn."""
    value, error = head.log - base.log, base.error + head.error
    if not math.isfinite(error):
        return Estimate(value, math.inf, 1.0)
    below = base.error**2 / base.freedom + head.error**2 / head.freedom
    freedom = error**2 / below if below else min(base.freedom, head.freedom)
    return Estimate(value, math.sqrt(error), freedom)


def _compared(name: str, base: _Stats, head: _Stats, margin: float) -> Clock:
    old, new = _typical(base, head)
    loss = Loss(_difference(old, new), margin, identical=base == head)
    return Clock(name, (old.ms,), (new.ms,), loss, min(base.rounds, head.rounds))


def _lost(name: str, base: _Stats, margin: float) -> Clock:
    """A benchmark that head lacks."""
    old, _ = _typical(base, base)
    loss = Loss(UNKNOWN, margin, complete=False)
    return Clock(name, (old.ms,), (), loss, base.rounds)


def compare_files(
    base: Path, head: Path, margin: float
) -> tuple[list[Clock], list[str], list[str]]:
    """The benchmarks of base with their losses of speed, the names of those that head lacks, and
    of those that only head has.

    Raises:
        UserError: as `read`, or none is in both.
    """
    old, new = read(base), read(head)
    if not old.keys() & new.keys():
        raise UserError(f"{base} and {head} share no benchmark")
    try:
        clocks = [
            _compared(name, stats, new[name], margin) if name in new else _lost(name, stats, margin)
            for name, stats in old.items()
        ]
    except UserError as error:
        raise UserError(f"{base}, {head}: {error.message}; {NEEDED}") from None
    lacking = [name for name in old if name not in new]
    return clocks, lacking, [name for name in new if name not in old]


def _stats(data: Sequence[float]) -> dict[str, Any]:
    """The columns that pytest-benchmark keeps of some seconds."""
    mean, total = statistics.fmean(data), math.fsum(data)
    stddev = statistics.stdev(data) if len(data) > 1 else 0.0
    quarters = statistics.quantiles(data, n=4, method="inclusive") if len(data) > 1 else [mean] * 3
    q1, median, q3 = quarters
    low, high = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)
    far = sum(abs(value - mean) > stddev for value in data)
    out = sum(not low <= value <= high for value in data)
    return {
        "min": min(data),
        "max": max(data),
        "mean": mean,
        "stddev": stddev,
        "rounds": len(data),
        "median": median,
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": out,
        "stddev_outliers": far,
        "outliers": f"{far};{out}",
        "ld15iqr": min(value for value in data if value >= low),
        "hd15iqr": max(value for value in data if value <= high),
        "ops": len(data) / total,
        "total": total,
        "data": list(data),
        "iterations": 1,
    }


def content(times: Mapping[str, Sequence[float]], commit: str) -> dict[str, Any]:
    """A file of pytest-benchmark.

    Args:
        times: milliseconds of each round, by name; what has none is left out.
        commit: what was measured.
    """
    now = datetime.now(UTC).isoformat()
    return {
        "machine_info": {
            "node": platform.node(),
            "processor": platform.processor(),
            "machine": platform.machine(),
            "python_implementation": platform.python_implementation(),
            "python_version": platform.python_version(),
            "python_build": list(platform.python_build()),
            "release": platform.release(),
            "system": platform.system(),
            "cpu": {},
        },
        "commit_info": {"id": commit, "time": now, "dirty": "+" in commit, "branch": "(unknown)"},
        "benchmarks": [
            {
                "group": None,
                "name": name,
                "fullname": name,
                "params": None,
                "param": None,
                "extra_info": {},
                "options": {},
                "stats": _stats([value / 1e3 for value in values]),
            }
            for name, values in times.items()
            if values
        ],
        "datetime": now,
        "version": VERSION,
    }
