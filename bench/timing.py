"""Clocks and memory marks of the device that a cell runs on."""

import ctypes
import re
import statistics
import time
from pathlib import Path
from typing import Any

import torch

# Of glibc's malloc.h, with its largest threshold on 64 bits.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, LARGEST = -1, -3, 32 * 2**20
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Stopwatch:
    """Marks on the device's own time line: CUDA events on a GPU, `perf_counter` on a CPU.

    Marks do not synchronise; `laps` does, once, at the end.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._marks: list[Any] = []
        if self._cuda:
            torch.cuda.synchronize(device)
        self.mark()

    def mark(self) -> None:
        """Notes the present moment."""
        if self._cuda:
            event: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
            self._marks.append(event)
        else:
            self._marks.append(time.perf_counter())

    def laps(self) -> list[float]:
        """Milliseconds between consecutive marks."""
        pairs = list(zip(self._marks, self._marks[1:], strict=False))
        if self._cuda:
            self._marks[-1].synchronize()
            return [before.elapsed_time(after) for before, after in pairs]
        return [(after - before) * 1e3 for before, after in pairs]

    def total(self) -> float:
        """Milliseconds from the start to now; adds a mark."""
        self.mark()
        return sum(self.laps())


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large square matrix product here and now."""
    size = 4096 if device.type == "cuda" else 1024
    generator = torch.Generator(device).manual_seed(0)
    one, other = (
        torch.randn(size, size, generator=generator, device=device).to(dtype) for _ in range(2)
    )
    one @ other  # the first call also chooses and loads its kernel
    watch = Stopwatch(device)
    for _ in range(7):
        one @ other
        watch.mark()
    return 2 * size**3 / (statistics.median(watch.laps()) / 1e3)


def keep_freed_memory() -> None:
    """Lets the C library keep what is freed: a step asks again for what the last one gave back, and
    new pages from the system cost as much as the arithmetic on them. `reset_peak` gives it back."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option:
        set_option(M_MMAP_THRESHOLD, LARGEST)
        set_option(M_TRIM_THRESHOLD, 2**31 - 1)


def reset_peak(device: torch.device) -> bool:
    """Starts a new measurement of peak memory; False where the system cannot."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    # Freed memory that the C library keeps would count as resident.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
    try:
        CLEAR.write_text("5")
    except OSError:
        return False
    return True


def peak_mib(device: torch.device) -> float:
    """Peak since `reset_peak` in MiB: of the allocator on a GPU, resident size on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())
    return int(found.group(1)) / 2**10 if found else float("nan")


def out_of_memory(error: Exception) -> bool:
    """Whether torch could not allocate memory; on a CPU only a message tells."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
