"""The cost columns of a table's row, from the headers and records of its cells.

Records of older versions tell less: what they leave out is None.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Header = Mapping[str, Any]
Record = Mapping[str, Any]
Cost = Mapping[str, Any]  # of one episode: `bench.solver.Costs`


def costs(cells: Sequence[tuple[Header, Sequence[Record]]]) -> dict[str, Any]:
    """Columns of adaptation and generation: medians and quartiles over episodes, the largest peaks,
    means of energy; {} without a model."""
    by_cell = [(header, [r["costs"] for r in records if "costs" in r]) for header, records in cells]
    every = [cost for _, found in by_cell for cost in found]
    if not every:
        return {}
    wrote = [cost for cost in every if cost["generate_ms"]]
    return {
        **quartiles("adapt_ms", [cost["adapt_ms"] for cost in every]),
        **quartiles("inner_step_ms", [inner_step_ms(cost) for cost in every]),
        **_work(by_cell),
        "adapt_peak_mib": max(_told(every, "adapt_peak_mib"), default=None),
        "adapt_joules": _mean(_told(every, "adapt_joules")),
        **quartiles("generate_ms", [cost["generate_ms"] for cost in wrote]),
        "generate_ms_per_token": _ratio(
            sum(cost["generate_ms"] for cost in wrote), sum(c["generated_tokens"] for c in wrote)
        ),
        "generate_tokens_per_s": _ratio(
            sum(c["generated_tokens"] for c in wrote),
            sum(cost["generate_ms"] for cost in wrote) / 1e3,
        ),
        "generate_peak_mib": max(_told(every, "generate_peak_mib"), default=None),
        "generate_joules": _mean(_told(every, "generate_joules")),
    }


def _work(by_cell: Sequence[tuple[Header, Sequence[Cost]]]) -> dict[str, Any]:
    """What inner loops read and computed, against their time and what the device can do in it."""
    told = [
        (cost, inner_steps(cost), cost["adapt_ms"] / 1e3, header["matrix_rate"])
        for header, found in by_cell
        for cost in found
        if inner_steps(cost) and "support_tokens" in cost
    ]
    counted = [work for work in told if work[0]["inner_step_flops"] is not None]
    done = sum(cost["inner_step_flops"] * steps for cost, steps, _, _ in counted)
    read = sum(cost["support_tokens"] * steps for cost, steps, _, _ in told)
    per_step = _ratio(done, sum(steps for _, steps, _, _ in counted))
    headers = [header for header, _ in by_cell]  # those of older versions hold the operations
    return {
        "inner_step_flops": per_step or _mean(_told(headers, "inner_step_flops")),
        "adapt_tokens_per_s": _ratio(read, sum(seconds for _, _, seconds, _ in told)),
        "adapt_utilisation": _ratio(done, sum(s * rate for _, _, s, rate in counted)),
        "matrix_rate": _mean(_told(headers, "matrix_rate")),
    }


def own_ms(cost: Cost, what: str) -> float:
    """Milliseconds of `adapt` or `generate` without what the thread waited for cores that others
    had, where that was recorded."""
    return float(cost[f"{what}_ms"] - (cost.get(f"{what}_waited_ms") or 0.0))


def training(headers: Iterable[Header]) -> dict[str, Any]:
    """Columns of meta-training: means over the train seeds, the largest peak; 0 where there was
    none."""
    by_seed = {header["train_seed"]: header.get("train") or {} for header in headers}
    found, count = list(by_seed.values()), max(len(by_seed), 1)
    names = {
        "train_s": "seconds",
        "train_tokens": "tokens",
        "train_flops": "flops",
        "train_steps": "steps",
        "train_truncated": "truncated",
    }
    means = {
        column: sum(cost.get(name, 0) for cost in found) / count for column, name in names.items()
    }
    possible = sum(cost["seconds"] * cost["matrix_rate"] for cost in found if "matrix_rate" in cost)
    done = sum(cost["flops"] for cost in found if "matrix_rate" in cost)
    noted = [cost.get("notes", {}) for cost in found]
    keys = {key for notes in noted for key in notes}
    return {
        **means,
        "train_tokens_per_s": _ratio(means["train_tokens"], means["train_s"]),
        "train_utilisation": _ratio(done, possible) or None,  # 0: operations were not counted
        "train_peak_mib": max(_told(found, "peak_mib"), default=None),
        "train_joules": _mean(_told(found, "joules")),
        **{key: sum(n.get(key, 0.0) for n in noted) / count for key in sorted(keys)},
    }


def quartiles(name: str, values: Iterable[float | None]) -> dict[str, float | None]:
    """Columns `name` (the median), `name_q1` and `name_q3` of what is known; None of nothing."""
    import numpy as np

    known = [value for value in values if value is not None]
    found = np.percentile(known, [25, 50, 75]).tolist() if known else [None] * 3
    return dict(zip((f"{name}_q1", name, f"{name}_q3"), found, strict=True))


def _told(costs: Iterable[Cost], name: str) -> list[float]:
    return [cost[name] for cost in costs if cost.get(name) is not None]


def inner_steps(cost: Cost) -> int:
    """How many inner steps an episode took; slim records hold their number alone."""
    return int(cost["inner_steps"]) if "inner_steps" in cost else len(cost["inner_steps_ms"])


def inner_step_ms(cost: Cost) -> float | None:
    """The median step of an episode in ms, None without steps; slim records hold it alone."""
    if "inner_steps" in cost:
        value: float | None = cost["inner_step_ms"]
        return value
    steps = cost["inner_steps_ms"]
    return statistics.median(steps) if steps else None


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _ratio(above: float, below: float) -> float | None:
    return above / below if below else None
