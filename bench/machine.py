"""What this machine offers a run, and how many workers that carries."""

import os
from collections.abc import Sequence
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")  # where a container's limits are
MEMORY_FILES = (  # limit, use, and its statistics: of control groups 2 and 1
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)
VISIBLE = "CUDA_VISIBLE_DEVICES"


def cores() -> int:
    """CPU cores that this process may use: by its affinity and by the limits of its container."""
    import joblib

    return int(joblib.cpu_count())


def free_memory(cgroups: Path = CGROUPS) -> int:
    """Bytes that can be allocated without swapping, within the limit of a container."""
    import psutil

    free = int(psutil.virtual_memory().available)
    return min(free, *(left for left in map(_left, [cgroups] * 2, MEMORY_FILES) if left >= 0), free)


def _left(cgroups: Path, names: Sequence[str]) -> int:
    """Bytes left below the limit of a control group; -1 where there is no limit. The kernel drops
    cached files before it refuses memory, so they do not count as used."""
    try:
        limit, used = (int((cgroups / name).read_text()) for name in names[:2])
        stat = dict(line.split() for line in (cgroups / names[2]).read_text().splitlines())
    except (OSError, ValueError):  # no such group, or a limit of `max`
        return -1
    return max(0, limit - used + int(stat.get("inactive_file", 0)))


def gpus(visible: str | None, count: int) -> list[str]:
    """What `CUDA_VISIBLE_DEVICES` must be for each of `count` GPUs alone, given what it is now."""
    named = [name.strip() for name in visible.split(",")] if visible else []
    return named[:count] if len(named) >= count else [str(index) for index in range(count)]


def gpus_here() -> list[str]:
    """`gpus` of this process; empty where torch sees none."""
    import torch

    return gpus(os.environ.get(VISIBLE), torch.cuda.device_count())


def workers_that_fit(cores: int, threads: int, free: int, each: int) -> int:
    """How many workers of some threads a CPU carries, at least one.

    Args:
        free: bytes of memory.
        each: bytes that a worker takes.
    """
    return max(1, min(cores // threads, free // each))
