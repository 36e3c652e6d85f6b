"""Energy of a GPU by its driver's own counter (NVML), asked without a package between."""

import ctypes
from functools import lru_cache
from typing import Any

import torch

LIBRARY = "libnvidia-ml.so.1"


def joules(device: torch.device) -> float | None:
    """What the GPU has used since its driver was loaded; None on a CPU, and where the driver does
    not tell (no NVML, a part of a GPU, cards before 2017)."""
    if device.type != "cuda":
        return None
    index = torch.cuda.current_device() if device.index is None else device.index
    return _counter(str(torch.cuda.get_device_properties(index).uuid))


def _counter(uuid: str) -> float | None:
    library = _nvml()
    handle, millijoules = ctypes.c_void_p(), ctypes.c_ulonglong()
    if library is None:
        return None
    name = f"GPU-{uuid.removeprefix('GPU-')}".encode()
    if library.nvmlDeviceGetHandleByUUID(name, ctypes.byref(handle)):
        return None
    if library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules)):
        return None
    return millijoules.value / 1e3


@lru_cache(maxsize=1)
def _nvml() -> Any:
    """The driver's library, ready to be asked; None where there is none. Its functions return 0
    where all is well."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    return None if library.nvmlInit_v2() else library
