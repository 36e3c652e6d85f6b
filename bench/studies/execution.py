"""Runs the plans of a study in one pool of processes, and analyses them."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from bench import records
from bench.context import Context
from bench.errors import UserError
from bench.options import spread
from bench.plan import Plan, make_plan
from bench.progress import Progress, unseen
from bench.publish import write_tables
from bench.runner import Begun, begin, finish, pinned, warnings_of
from bench.studies.page import write_findings
from bench.studies.study import Study, Values

RUNS = "runs"  # the folder of the run directories
BACKBONES = "backbones"  # the folder of those that several runs pre-train alike


def execute_study(
    study: Study,
    values: Values,
    out: Path,
    size: str = "full",
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = unseen,
) -> list[str]:
    """Runs what is left of a study's plans in `out` and writes what they tell.

    Args:
        values: plan keys, of a size and of the command line.
        size: the page of `smoke` warns of its numbers.
        say: told each notable fact in a line.
        progress: told the work done and the whole, in one unit.

    Returns:
        The failed cells with their reasons; nothing is concluded where there is one.

    Raises:
        UserError: a plan cannot be run here, or `out` holds another study.
    """
    options, notes = spread(values.get("options", {}), values["baselines"])
    for line in notes:
        say(line)
    plans = _plans(study, {**values, "options": options} if options else values, out)
    for line in dict.fromkeys(line for plan in plans.values() for line in warnings_of(plan)):
        say(line)
    with ExitStack() as held:
        for plan in plans.values():
            held.enter_context(records.locked(Path(str(plan.out))))
        begun = _begin(plans, out / BACKBONES, say)
        failed = finish(begun, progress, say=say)
        for run in begun:
            write_tables(run.context.root)
        if failed:
            return [
                f"{root.name}: {cell}: {reason}"
                for root, cells in failed.items()
                for cell, reason in cells.items()
            ]
        runs = {name: Path(str(plan.out)) for name, plan in plans.items()}
        write_findings(out, study, size, study.analyse(runs), runs)
    return []


def _plans(study: Study, values: Values, out: Path) -> dict[str, Plan]:
    """The resolved plans, each with its run directory.

    Raises:
        UserError: the directory of `out` holds runs that are none of these.
    """
    made = {
        name: make_plan({**given, "out": str(out / RUNS / name)}, f"study {study.name}")
        for name, given in study.plans(values).items()
    }
    there = {path.name for path in (out / RUNS).iterdir()} if (out / RUNS).is_dir() else set()
    if strangers := sorted(there - set(made)):
        raise UserError(
            f"{out / RUNS} holds {', '.join(strangers)}, which this study has not: name another "
            "--out or delete it"
        )
    return made


def _begin(plans: Mapping[str, Plan], backbones: Path, say: Callable[[str], None]) -> list[Begun]:
    """All runs set up; a line that several have is said once."""
    said: dict[str, None] = {}
    begun: list[Begun] = []
    context: Context | None = None
    for plan in plans.values():
        known = pinned(plan), Path(str(plan.out)), backbones
        context = context.next(*known) if context else Context(*known)
        begun.append(begin(context, lambda line: said.setdefault(line), to_tell=True))
    for line in said:
        say(line)
    return begun
