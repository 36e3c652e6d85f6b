"""Clocks: laps, the matrix rate, counted operations, memory, and energy from an NVML of our own."""

import sys
import time
from types import ModuleType, SimpleNamespace

import pytest
import torch

from bench import timing
from bench.backbone import double_backward
from bench.timing import Meter, Stopwatch, flop_counter, matrix_rate

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_laps_lie_between_marks_and_sum_to_the_whole() -> None:
    watch = Stopwatch(CPU)
    time.sleep(0.01)
    watch.mark()
    time.sleep(0.03)
    total = watch.total()
    first, second = watch.laps()
    assert first >= 10
    assert second >= 30
    assert first + second == total


def test_the_matrix_rate_is_operations_over_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each product takes two milliseconds here."""
    sides: list[int] = []
    now = SimpleNamespace(seconds=0.0)

    def product(one: torch.Tensor, other: torch.Tensor, out: torch.Tensor) -> None:
        sides.append(len(one))
        assert one.shape == other.shape == out.shape
        assert one.dtype == torch.bfloat16
        now.seconds += 0.002

    monkeypatch.setattr(torch, "mm", product)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now.seconds)
    state = torch.get_rng_state()
    rate = matrix_rate(CPU, torch.bfloat16)
    assert rate == pytest.approx(2 * sides[0] ** 3 / 0.002)
    assert torch.equal(torch.get_rng_state(), state), "the run's random numbers were used"


def test_the_matrix_rate_is_that_of_this_machine() -> None:
    """That of smaller products is of its order."""
    one, watch = torch.randn(256, 256), Stopwatch(CPU)
    for _ in range(21):
        one @ one
        watch.mark()
    small = 2 * 256**3 / (sorted(watch.laps())[10] / 1e3)
    assert small / 10 < matrix_rate(CPU, torch.float32) < 10 * small


@pytest.mark.parametrize("causal", [False, True])
def test_fused_attention_counts_as_its_products_do(causal: bool) -> None:
    """Two products forward; four backward, and the first once more where nothing was kept."""
    product = 2 * 2 * 3 * 10 * 10 * 8  # of batch 2, 3 heads, 10 tokens, width 8
    q, k, v = (torch.randn(2, 3, 10, 8, requires_grad=True) for _ in range(3))
    counts = {}
    for name in ("fused", "plain"):
        with flop_counter() as counter:
            if name == "fused":
                out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
            else:
                with double_backward():
                    out = torch.nn.functional.scaled_dot_product_attention(
                        q, k, v, is_causal=causal
                    )
            forward = counter.get_total_flops()
            out.sum().backward()
        counts[name] = forward, counter.get_total_flops() - forward
    assert counts == {"fused": (2 * product, 5 * product), "plain": (2 * product, 4 * product)}


def test_a_peak_is_that_of_its_own_part() -> None:
    meter = Meter(CPU)
    held = torch.ones(2**24)  # 64 MiB
    first = meter.spent().peak_mib
    del held
    second = Meter(CPU).spent().peak_mib
    if first is None or second is None:
        pytest.skip("this system cannot start a new peak")
    assert 60 < first - second < 100


class NotSupported(Exception):
    """NVML's error."""


def nvml(millijoules: list[int]) -> ModuleType:
    """An NVML of one GPU with these readings, then errors."""
    made = ModuleType("pynvml")

    def handle(uuid: str) -> str:
        if uuid != "GPU-1-2":
            raise NotSupported
        return "the GPU"

    def energy(gpu: str) -> int:
        assert gpu == "the GPU"
        if not millijoules:
            raise NotSupported
        return millijoules.pop(0)

    made.__dict__.update(
        NVMLError=NotSupported,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=handle,
        nvmlDeviceGetTotalEnergyConsumption=energy,
    )
    return made


class Event:
    """A CUDA event on a clock that stands still."""

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, other: "Event") -> float:
        return 4.0


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that does nothing."""
    for name, value in {
        "Event": Event,
        "synchronize": lambda device: None,
        "reset_peak_memory_stats": lambda device: None,
        "max_memory_allocated": lambda device: 3 * 2**20,
        "get_device_properties": lambda device: SimpleNamespace(uuid="1-2"),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("readings", "joules"),
    [([1_000, 3_500], 2.5), ([1_000, 1_000], 0.0), ([1_000], None), ([], None)],
)
def test_energy_is_the_difference_of_two_readings(
    monkeypatch: pytest.MonkeyPatch, readings: list[int], joules: float | None
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml(readings))
    spent = Meter(GPU).spent()
    assert (spent.ms, spent.peak_mib, spent.joules) == (4.0, 3.0, joules)


@pytest.mark.usefixtures("gpu")
def test_without_nvml_energy_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Meter(GPU).spent().joules is None


def test_a_cpu_asks_no_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml([1_000, 2_000]))
    assert Meter(CPU).spent().joules is None
