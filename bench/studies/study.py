"""What a study is: plans to run, and what is made of their records."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.plan import read_toml

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Values = dict[str, Any]  # plan keys
SIZES = ("smoke", "full")


@dataclass(frozen=True)
class Findings:
    """What a study found.

    Attributes:
        answer: the question's answer in a sentence, with the figures it rests on.
        table: every figure with its interval, a line each; NAME.csv.
        shown: what of it the page shows, as texts.
        figure: NAME.svg and NAME.png.
        caption: how to read table and figure.
        changes: what would change the conclusion, a sentence each.
        notes: what else a reader must know, a sentence each.
        further: more tables by what they show, behind the first.
    """

    answer: str
    table: "pd.DataFrame"
    shown: "pd.DataFrame"
    figure: "Figure"
    caption: str
    changes: Sequence[str]
    notes: Sequence[str] = ()
    further: "Mapping[str, pd.DataFrame]" = field(default_factory=dict)


def narrowed(values: Values, baselines: Collection[str]) -> Values:
    """The plan keys with these baselines alone, and of what is set for baselines theirs."""
    kept: Values = {
        key: {name: given for name, given in values[key].items() if name in baselines}
        for key in ("options", "tuning")
        if key in values
    }
    return {**values, **kept, "baselines": list(baselines)}


class Study(ABC):
    """A question, the plans that gather what answers it, and the analysis.

    Beside the module of a study lies NAME.toml: the plan keys of each size, and under `analysis`
    what the analysis needs to know, such as the names of the baselines that are compared.

    Attributes:
        name: on the command line.
        question: a sentence.
    """

    name: ClassVar[str]
    question: ClassVar[str]

    @cached_property
    def _file(self) -> Values:
        return read_toml(Path(__file__).with_name(f"{self.name}.toml"))

    def size(self, name: str) -> Values:
        """The plan keys of a size, one of `SIZES`."""
        values: Values = self._file[name]
        return dict(values)

    @property
    def analysis(self) -> Values:
        """What the analysis needs to know."""
        values: Values = self._file.get("analysis", {})
        return values

    def plans(self, values: Values) -> dict[str, Values]:
        """The plans of a study by name, each run in a directory of that name; one, `run`, where a
        study does not say otherwise.

        Args:
            values: plan keys of the size with those of the command line laid over them.

        Raises:
            UserError: the study cannot be made with them.
        """
        return {"run": values}

    @abstractmethod
    def analyse(self, runs: Mapping[str, Path]) -> Findings:
        """What the finished runs tell, by the names that `plans` gave them.

        Raises:
            UserError: they tell nothing.
        """
