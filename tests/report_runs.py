"""Run directories that tests of the report share: made in this process, without a model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.cells import each_episode, run_cell
from bench.context import Context
from bench.facts import describe
from bench.plan import make_plan
from bench.records import Cell, read_cell, write_cell, write_json
from tests.runs import METRICS, header


def floor_run(root: Path, **values: Any) -> Path:
    """A finished run of floors on embedded suites."""
    plan = make_plan(
        {
            "suites": ["translation"],
            "baselines": ["copy", "nearest"],
            "episodes": 3,
            "queries": 2,
            "out": str(root),
            **values,
        }
    )
    context = Context(plan, root)
    for suite in plan.suites:
        for baseline in plan.baselines:
            for shots in plan.shots:
                for seed in plan.seeds:
                    cell = Cell(suite, baseline, shots, None, seed)
                    write_cell(root, cell, *run_cell(context, cell))
    write_json(root / "run.json", describe(context))
    return root


def learner(
    root: Path,
    baseline: str,
    of: str,
    curve: list[float],
    after: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    train_seed: int | None = None,
    **more: Any,
) -> None:
    """Adds a baseline that answers as the floor `of` and has an inner loop's records, perhaps with
    statistics after some steps."""
    for path in sorted((root / "cells").rglob(f"{of}/*/*.jsonl")):
        told, records = read_cell(path)
        cell = Cell(told["suite"], baseline, told["shots"], train_seed, told["seed"])
        costs = {
            "adapt_ms": 20.0 * len(curve),
            "inner_steps_ms": [20.0] * (len(curve) - 1),
            "adapt_peak_mib": None,
            "adapt_joules": None,
            "generate_ms": 30.0,
            "generate_peak_mib": None,
            "generate_joules": None,
            "generated_tokens": 10,
        }
        made = {"init": "pretrained", "backbone": "tiny", "backbone_identity": "llama-1"}
        head = {**told, **made, "matrix_rate": 1e9}
        head = {k: v for k, v in head.items() if k not in ("baseline", "train_seed")}
        settings = {**told["settings"], "decoding": "greedy"}
        changed = [
            {
                **record,
                "losses": curve,
                "costs": costs,
                **({"after": after(record)} if after else {}),
            }
            for record in records
        ]
        write_cell(
            root, cell, {**head, "baseline": baseline, "settings": settings, **more}, changed
        )


def changed_records(
    root: Path, change: Callable[[dict[str, Any]], dict[str, Any]], suffix: str = "", **more: Any
) -> None:
    """Writes every cell anew with its records changed, and a suffix at its baseline's name, which
    is that of a folder."""
    for path in sorted((root / "cells").rglob("*.jsonl")):
        told, records = read_cell(path)
        told["baseline"] += suffix.replace("/", "|").replace("\0", "")
        cell = Cell(*(told[key] for key in ("suite", "baseline", "shots", "train_seed", "seed")))
        path.unlink()
        write_cell(root, cell, {**told, **more}, [change(record) for record in records])


def large_run(root: Path, episodes: int, baselines: int) -> Path:
    """Records of so many episodes with the true digests, whose scores are made up."""
    plan = make_plan(
        {
            "suites": ["translation"],
            "baselines": ["copy"],
            "episodes": episodes,
            "queries": 2,
            "out": str(root),
        }
    )
    drawn = list(each_episode(Context(plan, root), "translation", 8, 0))
    words = ["the goat sees a lamp today", "the goat sees lamps", "a lamp", "no"]
    pool = [{m.name: m.statistics(text, [words[0]]) for m in METRICS} for text in words]
    for number in range(baselines):
        records = []
        for episode in drawn:
            chosen = [pool[(episode.index * 7 + number + q) % 4] for q in range(2)]
            records.append(
                {
                    "index": episode.index,
                    "task": episode.task,
                    "seed": 0,
                    "digest": episode.digest,
                    "support_part": episode.support_part,
                    "support_ids": [example.id for example in episode.support],
                    "query_ids": [example.id for example in episode.query],
                    "predictions": [query.target for query in episode.query],
                    "statistics": {m.name: [part[m.name] for part in chosen] for m in METRICS},
                }
            )
        settings = {**header()["settings"], "decoding": None}
        told = header(init="none", backbone=None, backbone_identity=None, settings=settings)
        write_cell(root, Cell("translation", f"floor-{number}", 8, None, 0), told, records)
    write_json(root / "run.json", {"plan": plan.model_dump()})
    return root
