"""Clocks and memory marks of the device that a cell runs on."""

import ctypes
import re
import statistics
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

# Of glibc's malloc.h, with its largest threshold on 64 bits.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, LARGEST = -1, -3, 32 * 2**20
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
WAITED = Path("/proc/thread-self/schedstat")  # ns: run, ready but not run; times it ran
PRODUCTS = 10  # of `matrix_rate`
DTYPES = ("float32", "bfloat16")
SMALL = 256  # rows of a small matrix


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
    side = 4096 if device.type == "cuda" else 768
    return 2 * side**3 / (statistics.median(_product_ms(device, dtype, side)) / 1e3)


def _product_ms(device: torch.device, dtype: torch.dtype, side: int) -> list[float]:
    """Milliseconds of each of some products of square matrices with so many rows."""
    generator = torch.Generator(device).manual_seed(0)  # not the run's own randomness
    factor = torch.randn(side, side, generator=generator, device=device, dtype=dtype)
    product = torch.empty_like(factor)
    watch = Stopwatch(device)
    for _ in range(PRODUCTS):
        torch.mm(factor, factor, out=product)
        watch.mark()
    return watch.laps()[1:]  # the first call also loads


#: `matrix_rate`, measured when a process first asks.
process_rate = cache(matrix_rate)


@cache
def dtype_rates() -> dict[str, float]:
    """GFLOP/s that one thread of the CPU reaches in each dtype of a plan, in its fastest product:
    others may have the cores meanwhile. The product is small, as a CPU that has no instructions
    for bfloat16 computes it a hundred times more slowly."""
    threads, cpu = torch.get_num_threads(), torch.device("cpu")
    torch.set_num_threads(1)
    try:
        fastest = {name: min(_product_ms(cpu, getattr(torch, name), SMALL)) for name in DTYPES}
    finally:
        torch.set_num_threads(threads)
    return {name: 2 * SMALL**3 / (ms * 1e6) for name, ms in fastest.items()}


def slow_dtype(dtype: str) -> str | None:
    """How slow this CPU is in a dtype; None where it reaches a quarter of its rate in float32."""
    if dtype == "float32":
        return None
    rates = dtype_rates()
    if 4 * rates[dtype] >= rates["float32"]:
        return None
    return f"{rates[dtype]:.3g} GFLOP/s in {dtype}, {rates['float32']:.3g} in float32"


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _attention_backward(outer: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_backward_flop_count(outer, query, key, value))  # type: ignore[no-untyped-call]


def flop_counter() -> FlopCounterMode:
    """torch's counter of floating-point operations, which leaves out the CPU's fused attention."""
    fused: Any = torch.ops.aten
    formulas = {
        fused._scaled_dot_product_flash_attention_for_cpu: _attention,
        fused._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    }
    return FlopCounterMode(display=False, custom_mapping=formulas)


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


@dataclass(frozen=True)
class Spent:
    """What a piece of work took; None where the system does not tell.

    Attributes:
        waited_ms: of `ms`, as `waited_ms` tells.
        peak_mib: of memory.
        joules: that the device took, whoever used it.
    """

    ms: float
    waited_ms: float | None
    peak_mib: float | None
    joules: float | None


class Meter(Stopwatch):
    """A stopwatch that also measures memory and energy from its start."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._resets = device, reset_peak(device)
        super().__init__(device)
        self._joules, self._waited = energy(device), waited_ms(device)

    def spent(self) -> Spent:
        """What was spent until now; adds a mark."""
        ms = self.total()
        waited = _between(self._waited, waited_ms(self._device))
        joules = _between(self._joules, energy(self._device))
        return Spent(ms, waited, peak_mib(self._device) if self._resets else None, joules)


def _between(before: float | None, now: float | None) -> float | None:
    return None if before is None or now is None else now - before


def waited_ms(device: torch.device) -> float | None:
    """Milliseconds since it began that this thread was ready to run and others had the cores. What
    a clock shows less this is the work's own time, sleep and input included, however busy the
    machine is; work on several threads waits for its others, which is not told.

    None on a GPU, and where the kernel does not tell.
    """
    if device.type == "cuda":
        return None
    try:
        return int(WAITED.read_text().split()[1]) / 1e6
    except (OSError, ValueError, IndexError):
        return None


def energy(device: torch.device) -> float | None:
    """Joules that a GPU has taken since its driver was loaded, by NVML's counter; None without a
    GPU, the package nvidia-ml-py, or a driver that counts."""
    if device.type != "cuda":
        return None
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(_uuid(device))
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3
    except pynvml.NVMLError:
        return None


def _uuid(device: torch.device) -> str:
    """NVML's name of a GPU: it numbers them otherwise than CUDA."""
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def out_of_memory(error: Exception) -> bool:
    """Whether torch could not allocate memory; on a CPU only a message tells."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
