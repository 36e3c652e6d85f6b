"""Where the time of our side of a work of `fewgen time --peers` goes, by torch's profiler.

python scripts/product_share.py meta-step-order-1 [DATA.jsonl [cuda]]

On a CPU: seconds of matrix products and of all, one turn on one thread. On a GPU: what its kernels
take of a turn that is not profiled; the rest it waits to be told.
"""

import click
import torch
from torch.profiler import ProfilerActivity, profile

from bench.timed import material
from bench.timing import Stopwatch, keep_freed_memory, matrix_rate
from bench.works import WORKS, Run

PRODUCTS = ("aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm")


@click.command()
@click.argument("work", type=click.Choice(list(WORKS)))
@click.argument("data", required=False)
@click.argument("device", default="cpu", type=click.Choice(["cpu", "cuda"]))
def main(work: str, data: str | None, device: str) -> None:
    """Prints seconds of products, or of kernels, and of all."""
    keep_freed_memory()
    torch.set_num_threads(1)
    given = material(data, device, ["loop"])
    ours = WORKS[work](work, given).ours
    if device == "cpu":
        told = _products(ours)
    else:
        watch = Stopwatch(given.device)
        ours()
        whole = watch.total() / 1e3
        with profile(activities=[ProfilerActivity.CUDA]) as profiled:
            ours()
        kernels = [event for event in profiled.key_averages() if event.self_device_time_total]
        busy = sum(event.self_device_time_total for event in kernels) / 1e6
        count = sum(event.count for event in kernels)
        told = f"{count} kernels {busy:.3f} s of {whole:.3f} s, {100 * busy / whole:.0f} %"
    rate = matrix_rate(given.device, torch.float32) / 1e9
    print(f"{work}: {told}; one large product: {rate:.0f} GFLOP/s")


def _products(ours: Run) -> str:
    """Of one turn on a CPU."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        ours()
    spent = {event.key: event.self_cpu_time_total / 1e6 for event in profiled.key_averages()}
    products, total = sum(spent.get(name, 0.0) for name in PRODUCTS), sum(spent.values())
    return f"products {products:.2f} s of {total:.2f} s, {100 * products / total:.0f} %"


if __name__ == "__main__":
    main()
