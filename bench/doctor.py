"""What `fewgen doctor` finds: what is there, what is missing and how to get it."""

import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement

from bench.registry import backbone_path, names, requirements, version


def report() -> Iterator[tuple[str, bool]]:
    """Lines to print, each with whether all is well."""
    yield f"fewgen {version()}, python {platform.python_version()} at {sys.executable}", True
    yield f"{platform.system()} {platform.machine()}, {_cores()}", True
    yield from _packages()
    yield from _devices()
    for name in names("backbone"):
        folder = backbone_path(name)
        made = folder is not None and (folder / "model.safetensors").is_file()
        yield f"backbone {name}: {'pre-trained' if made else 'MISSING; run `make backbones`'}", made
    yield from _caches()


def _cores() -> str:
    """The machine's cores and memory, and what of them a run may use."""
    try:
        from bench.machine import cores, free_memory

        usable = f"{cores()} usable, {free_memory() / 2**30:.1f} GiB of memory free"
    except ImportError as error:
        usable = f"usable unknown: {error}"
    return f"{os.cpu_count()} cores, {usable}"


def _packages() -> Iterator[tuple[str, bool]]:
    for required in map(Requirement, requirements()):
        extra = _extra_of(required)
        if required.marker and not required.marker.evaluate({"extra": extra}):
            continue  # of another Python or system
        try:
            found = metadata.version(required.name)
        except metadata.PackageNotFoundError:
            found = ""
        if found and required.specifier.contains(found, prereleases=True):
            yield f"{required.name} {found}", True
            continue
        problem = f"{found}, but {required.specifier} is needed" if found else "MISSING"
        use = f"only needed for the extra {extra!r}; " if extra else ""
        line = f"{required.name}: {problem}; {use}pip install -c constraints.txt "
        yield line + f"'{required.name}{required.specifier}'", bool(extra)


def _extra_of(required: Requirement) -> str:
    """The extra that asks for a package; empty for what fewgen always needs."""
    found = re.search(r"extra == ['\"]([^'\"]+)", str(required.marker or ""))
    return found[1] if found else ""


def _devices() -> Iterator[tuple[str, bool]]:
    try:
        import torch
    except ImportError as error:
        yield f"torch cannot be imported: {error}; install it again", False
        return
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            yield f"cuda:{index} {facts.name}, {facts.total_memory / 2**30:.0f} GiB", True
    else:
        yield "no GPU that torch can use; everything runs on the CPU", True
    from bench.timing import dtype_rates, slow_dtype

    rates = ", ".join(f"{rate:.3g} GFLOP/s in {dtype}" for dtype, rate in dtype_rates().items())
    slow = [dtype for dtype in dtype_rates() if slow_dtype(dtype)]
    yield f"cpu: {rates}{f'; too slow for --dtype {slow[0]}' if slow else ''}", True


def _caches() -> Iterator[tuple[str, bool]]:
    try:
        from huggingface_hub.constants import HF_HUB_CACHE, HF_HUB_OFFLINE
    except ImportError:
        return
    state = "offline by HF_HUB_OFFLINE" if HF_HUB_OFFLINE else "asked when a plan names a hub id"
    yield f"hub cache {HF_HUB_CACHE}; the hub is {state}", True
