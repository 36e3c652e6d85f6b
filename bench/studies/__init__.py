"""Questions that one command answers: a plan and an analysis each, `fewgen study NAME`."""

from importlib import import_module
from typing import TYPE_CHECKING

from bench.errors import unknown

if TYPE_CHECKING:
    from bench.studies.study import Study

MODULES = {  # name, which is its module's: its class
    "crossover": "Crossover",
    "cost": "Cost",
    "transfer": "Transfer",
    "probes": "Probes",
    "instruments": "Instruments",
}


def load_study(name: str) -> "Study":
    """The study of that name.

    Raises:
        UserError: there is none.
    """
    if name not in MODULES:
        raise unknown("study", name, MODULES)
    made: Study = getattr(import_module(f"bench.studies.{name}"), MODULES[name])()
    return made
