"""What `fewgen doctor` finds: what is there, what is missing and how to get it."""

import os
import platform
import sys
from collections.abc import Iterator
from importlib import metadata

from bench.registry import backbone_path, names, version

NEEDED = (
    "torch transformers tokenizers sacrebleu rouge-score pandas click rich pydantic safetensors "
    "scipy regex tomli-w"
).split()
SOMETIMES = {
    "datasets": "hub data sets and folders written by save_to_disk",
    "evaluate": "metrics that a plan adds",
    "nvidia-ml-py": "the energy that a GPU takes",
}


def report() -> Iterator[tuple[str, bool]]:
    """Lines to print, each with whether all is well."""
    yield f"fewgen {version()}, python {platform.python_version()} at {sys.executable}", True
    yield f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores", True
    yield from _packages()
    yield from _devices()
    for name in names("backbone"):
        folder = backbone_path(name)
        made = folder is not None and (folder / "model.safetensors").is_file()
        yield f"backbone {name}: {'pre-trained' if made else 'MISSING; run `make backbones`'}", made
    yield from _caches()


def _packages() -> Iterator[tuple[str, bool]]:
    for name in [*NEEDED, *SOMETIMES]:
        try:
            yield f"{name} {metadata.version(name)}", True
        except metadata.PackageNotFoundError:
            use = SOMETIMES.get(name)
            why = f"only needed for {use}; " if use else ""
            yield f"{name}: MISSING; {why}pip install -c constraints.txt {name}", use is not None


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


def _caches() -> Iterator[tuple[str, bool]]:
    try:
        from huggingface_hub.constants import HF_HUB_CACHE, HF_HUB_OFFLINE
    except ImportError:
        return
    state = "offline by HF_HUB_OFFLINE" if HF_HUB_OFFLINE else "asked when a plan names a hub id"
    yield f"hub cache {HF_HUB_CACHE}; the hub is {state}", True
