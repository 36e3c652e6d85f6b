"""The nouns of a benchmark: example, task, dataset, suite."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from bench.metrics import Metric

SPLITS = ("meta-train", "meta-validation", "meta-test")
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Example:
    """One input with its references.

    Attributes:
        group: what it was cut from.
        language: tag of the references' language (`bench.languages.normalised`), which chooses
            the metrics' tokenizers; None leaves it to the suite.
        source_language: tag of the input's language, if the data declare it.
    """

    input: str
    references: tuple[str, ...]
    id: str
    group: str
    language: str | None = None
    source_language: str | None = None

    @property
    def target(self) -> str:
        """The reference that support examples show."""
        return self.references[0]


@dataclass(frozen=True)
class Task:
    """Examples that one adaptation should solve together, in the parts of `PARTS`.

    Attributes:
        language: tag of the references' language, if all examples have the same.
        source_language: tag of the inputs' language, if the data declare one for all examples.
        further: examples beside the parts, of other groups, that no episode holds; an upper
            reference may learn from them.
    """

    name: str
    parts: Mapping[str, Sequence[Example]]
    language: str | None = None
    further: Sequence[Example] = ()
    source_language: str | None = None


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


class RawRow(NamedTuple):
    """A row of a data set in a layout of its own; `where` names it in messages."""

    where: str
    config: str
    part: str
    values: Mapping[str, Any]


def train_revision(dataset: Dataset) -> str:
    """Names what may be trained on, the meta-train and meta-validation tasks: the data set's
    revision, unless it states that other revisions share these tasks."""
    shared: str = getattr(dataset, "train_revision", dataset.revision)
    return shared


Mapped = tuple[str, dict[str, Any]]  # where it came from, and a record with our fields


@dataclass(frozen=True)
class PublicData:
    """A public data set that a suite reads in its own layout.

    Attributes:
        id: OWNER/NAME on the hub.
        summary: one line: what a task is.
        licence: as its card states it.
        revision: the branch that holds plain files; a run records the commit it found there.
        parts: the data set's name of a part to ours; its other parts stay unread.
        records: the rows of all configs in order, to records.
        configs: what is read, in this order; empty where there is one only.
        folders: whether configs are folders, as in branches that the hub converted.
    """

    id: str
    summary: str
    licence: str
    revision: str
    parts: Mapping[str, str]
    records: Callable[[Iterable[RawRow]], Iterator[Mapped]] = field(repr=False)
    configs: tuple[str, ...] = ()
    folders: bool = False


def no_metrics(embedded: bool, language: str | None) -> "Sequence[Metric]":
    """For a suite that has no scores of its own."""
    return ()


@dataclass(frozen=True)
class Dial:
    """Something that an embedded suite can be made with more or less of.

    Attributes:
        levels: those there are, rising.
        default: the level of the suite's own version.
        summary: one line: what it turns.
        max_new_tokens: where generation stops at levels that need more than the suite's own.
    """

    levels: tuple[int | float, ...]
    default: int | float
    summary: str
    max_new_tokens: Mapping[int | float, int] = field(default_factory=dict)


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
        embedded: makes the data set that needs no download, at the levels of dials that it is
            given as keywords; its `revision` tells those that are not the default's
            (`bench.dials.revision_at`).
        public: public data sets of this kind whose layout it knows.
        dials: what `embedded` can be turned by.
        metrics: makes the scores that only this suite has, for what it embeds (True) or for other
            data of its kind, and for the language of the references. What they record is read
            without the suite: see `bench.metrics.metrics_of`.
    """

    name: str
    version: str
    summary: str
    card: str
    primary: str
    max_new_tokens: int
    language: str
    embedded: Callable[..., Dataset] = field(repr=False)
    public: tuple[PublicData, ...] = ()
    dials: Mapping[str, Dial] = field(default_factory=dict)
    metrics: Callable[[bool, str | None], "Sequence[Metric]"] = field(
        default=no_metrics, repr=False
    )

    def most_tokens(self, levels: Mapping[str, int | float]) -> int:
        """Where generation stops at these levels."""
        more = (self.dials[d].max_new_tokens.get(level, 0) for d, level in levels.items())
        return max([self.max_new_tokens, *more])
