"""Peak memory and seconds of one outer gradient of order 2, for a process of its own: a peak does
not fall again.

    python tests/performance/meta_step_memory.py --steps 50 --checkpoint-steps --data FILE
"""

import argparse
import json
from typing import Any

import torch

from bench.timed import material
from bench.timing import Stopwatch, keep_freed_memory, peak_mib, reset_peak
from bench.works import SHOTS, TASKS, InnerLoop


def measure(
    steps: int, checkpoint_steps: bool, tasks: int, data: str | None, device: str
) -> dict[str, Any]:
    """MiB before and at the peak of the step, and what it took."""
    keep_freed_memory()
    torch.set_num_threads(1)
    given = material(data, device, ["loop"])
    backbone, _ = given.small()
    episodes = given.episodes(tasks, SHOTS, SHOTS)
    support, query = (
        backbone.batch(part)[0]
        for part in zip(*((e.support, e.query) for e in episodes), strict=True)
    )
    first = backbone.weights()
    loop = InnerLoop(backbone, first, list(first), support, steps, checkpoint_steps)
    assert reset_peak(given.device)
    before, watch = peak_mib(given.device), Stopwatch(given.device)
    found = loop.outer_gradient(query, 2)
    seconds = watch.total() / 1e3
    norm = torch.stack([part.double().norm() for part in found]).norm()
    return {
        "before_mib": before,
        "peak_mib": peak_mib(given.device),
        "seconds": seconds,
        "gradient": float(norm),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--checkpoint-steps", action="store_true")
    parser.add_argument("--tasks", type=int, default=TASKS)
    parser.add_argument("--data")
    parser.add_argument("--device", default="cpu")
    print(json.dumps(measure(**vars(parser.parse_args()))))
