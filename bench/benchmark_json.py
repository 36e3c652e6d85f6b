"""The JSON of pytest-benchmark: times of another suite compared, ours given to its tools."""

import json
import math
import platform
import statistics
from collections.abc import Mapping, Sequence
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

Seconds = Annotated[float, Field(ge=1e-12, le=1e9)]


class _Loose(BaseModel):
    """Takes what it needs of what others write."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class _Stats(_Loose):
    mean: Seconds
    stddev: Annotated[float, Field(ge=0, le=1e9)] = 0.0
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


def _log_mean(stats: _Stats) -> tuple[float, float, int]:
    """The mean log time, its squared error (infinite of one round), and the rounds; from the
    rounds where the file has them (`--benchmark-save-data`), else by the delta method."""
    if len(stats.data) > 1:
        logs = [math.log(seconds) for seconds in stats.data]
        return statistics.fmean(logs), statistics.variance(logs) / len(logs), len(logs)
    if stats.rounds < 2:
        return math.log(stats.mean), math.inf, 1
    relative = stats.stddev / stats.mean
    return math.log(stats.mean), relative**2 / stats.rounds, stats.rounds


def _ms(stats: _Stats) -> tuple[float, ...]:
    return tuple(seconds * 1e3 for seconds in stats.data or [stats.mean])


def _estimate(base: _Stats, head: _Stats) -> Estimate:
    """log(head / base) by Welch's t (1947): the two were not measured in turn."""
    if not (base.data and head.data):  # one measure for both
        base, head = (side.model_copy(update={"data": []}) for side in (base, head))
    (old, old_error, n), (new, new_error, m) = _log_mean(base), _log_mean(head)
    error = old_error + new_error
    if not math.isfinite(error):
        return Estimate(new - old, math.inf, 1.0)
    below = old_error**2 / max(n - 1, 1) + new_error**2 / max(m - 1, 1)
    return Estimate(new - old, math.sqrt(error), error**2 / below if below else 1.0)


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
    clocks = []
    for name, stats in old.items():
        if name in new:
            same = stats == new[name]
            loss = Loss(_estimate(stats, new[name]), margin, identical=same)
        else:
            loss = Loss(UNKNOWN, margin, complete=False)
        clocks.append(Clock(name, _ms(stats), _ms(new[name]) if name in new else (), loss))
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
