"""How much of our side of a work of `fewgen time --peers` is matrix products, by torch's profiler.

python scripts/product_share.py meta-step-order-1 [DATA.jsonl]
"""

import sys

import torch
from torch.profiler import ProfilerActivity, profile

from bench.timed import material
from bench.timing import keep_freed_memory, matrix_rate
from bench.works import WORKS

PRODUCTS = ("aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm")


def main(work: str, data: str | None = None) -> None:
    """Prints seconds of products and of all, of one turn on one thread."""
    keep_freed_memory()
    torch.set_num_threads(1)
    device = torch.device("cpu")
    ours = WORKS[work](work, material(data, "cpu", ["loop"])).ours
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        ours()
    spent = {event.key: event.self_cpu_time_total / 1e6 for event in profiled.key_averages()}
    products, total = sum(spent.get(name, 0.0) for name in PRODUCTS), sum(spent.values())
    rate = matrix_rate(device, torch.float32) / 1e9
    share = f"products {products:.2f} s of {total:.2f} s, {100 * products / total:.0f} %"
    print(f"{work}: {share}; one large product: {rate:.0f} GFLOP/s")


if __name__ == "__main__":
    main(*sys.argv[1:])
