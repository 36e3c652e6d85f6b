"""The nouns of a benchmark: example, task, dataset, suite."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

SPLITS = ("meta-train", "meta-validation", "meta-test")
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Example:
    """One input with its references; `group` names what it was cut from."""

    input: str
    references: tuple[str, ...]
    id: str
    group: str

    @property
    def target(self) -> str:
        """The reference that support examples show."""
        return self.references[0]


@dataclass(frozen=True)
class Task:
    """Examples that one adaptation should solve together, in the parts of `PARTS`."""

    name: str
    parts: Mapping[str, tuple[Example, ...]]
    language: str | None = None


class Dataset(Protocol):
    """Where the tasks of a run come from: a suite's generator, a file, a hub data set."""

    name: str
    revision: str

    def names(self, split: str) -> list[str]:
        """The tasks of one of `SPLITS`, in a fixed order."""
        ...

    def task(self, name: str) -> Task:
        """The task of that name; raises `UserError` if there is none."""
        ...


@dataclass(frozen=True)
class Suite:
    """What a family of tasks declares about itself; mostly data.

    Attributes:
        name: the name on the command line.
        version: of the generator; part of every digest.
        summary: one line.
        card: the text of the suite's CARD.md.
        primary: the metric that ranks, tests and selects.
        max_new_tokens: where generation stops.
        language: code of the references, for the metrics' tokenizers.
        embedded: makes the data set that needs no download.
    """

    name: str
    version: str
    summary: str
    card: str
    primary: str
    max_new_tokens: int
    language: str
    embedded: Callable[[], Dataset] = field(repr=False)
