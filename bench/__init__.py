"""fewgen: a benchmark of few-shot text generation.

import bench
outcome = bench.run({"baselines": ["nearest", "fine-tuned"], "out": "results/try"})
table = bench.leaderboard(["results/try"])
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas

    from bench.runner import Outcome

__all__ = ["leaderboard", "run"]


def run(plan: Mapping[str, Any] | str) -> "Outcome":
    """Runs a plan and writes its tables; see `fewgen run`.

    Args:
        plan: plan keys and values, the name of a preset, or a plan file; without `out` the run
            directory is `results/NAME`, or `results/run`.

    Raises:
        bench.errors.UserError: the plan is wrong or cannot be run here.
    """
    from bench.plan import make_plan, read_plan
    from bench.runner import execute

    values = read_plan(plan) if isinstance(plan, str) else dict(plan)
    values.setdefault("out", f"results/{Path(plan).stem if isinstance(plan, str) else 'run'}")
    return execute(make_plan(values), say=lambda line: print(line, file=sys.stderr))


def leaderboard(
    dirs: "Sequence[str | Path]",
    metric: str | None = None,
    compare: 'Literal["all", "best"]' = "all",
) -> "pandas.DataFrame":
    """The table of one or more run directories; see `bench.tables.leaderboard`."""
    from bench.tables import leaderboard

    return leaderboard(dirs, metric, compare)
