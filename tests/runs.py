"""Run directories with made-up answers, for what reads records."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.metrics import build_metrics
from bench.records import Cell, write_cell, write_json
from bench.streams import digest_of

METRICS = build_metrics("en", num_refs=1)
WORDS = "ant bee cat dog elk fox gnu hen".split()


def header(**more: Any) -> dict[str, Any]:
    """What the cells of a row share."""
    return {
        "dataset": "embedded",
        "revision": "1",
        "split": "meta-test",
        "primary": "chrf",
        "language": "en",
        "signatures": {m.name: m.signature() for m in METRICS},
        "options": {},
        "device": "cpu",
        "dtype": "float32",
        "threads": 1,
        "workers": 1,
        "order": "none",
        "init": "pretrained",
        "backbone": "tiny",
        "backbone_identity": "llama-1",
        "settings": {
            "tasks": [],
            "queries": 3,
            "episodes": 12,
            "max_new_tokens": 32,
            "train_budget": None,
            "pretrain": None,
        },
        **more,
    }


def write_run(
    root: Path,
    kept: Mapping[str, float],
    suites: Sequence[str] = ("translation",),
    seeds: Sequence[int] = (0,),
    train_seeds: Sequence[int | None] = (None,),
    episodes: int = 12,
    queries: int = 3,
    shots: int = 8,
    **more: Any,
) -> Path:
    """A finished run whose baselines write each word of a reference with the probability `kept`.

    Every episode is of another task; references depend on suite, seed and index alone.
    """
    for suite in suites:
        for seed in seeds:
            for train in train_seeds:
                for baseline, share in kept.items():
                    cell = Cell(suite, baseline, shots, train, seed)
                    records = [_record(cell, i, queries, share) for i in range(episodes)]
                    write_cell(root, cell, header(**more), records)
    plan = {"seeds": list(seeds), "train_seeds": [seed or 0 for seed in train_seeds]}
    write_json(root / "run.json", {"plan": plan})
    return root


def _record(cell: Cell, index: int, queries: int, share: float) -> dict[str, Any]:
    asked = random.Random(f"{cell.suite} {cell.seed} {index}")
    answered = random.Random(f"{cell} {index}")
    references = [" ".join(asked.choices(WORDS, k=6)) for _ in range(queries)]
    texts = [" ".join(w for w in r.split() if answered.random() < share) for r in references]
    pairs = list(zip(texts, references, strict=True))
    return {
        "index": index,
        "task": f"t{cell.seed}-{index}",
        "seed": cell.seed,
        "digest": digest_of(references),
        "support_part": "train",
        "support_ids": [],
        "query_ids": [f"q{i}" for i in range(queries)],
        "predictions": texts,
        "statistics": {m.name: [m.statistics(t, [r]) for t, r in pairs] for m in METRICS},
        "costs": {
            "adapt_ms": 10.0 + index,
            "inner_steps_ms": [4.0, 6.0],
            "adapt_peak_mib": None,
            "generate_ms": 30.0,
            "generated_tokens": 10,
        },
    }
