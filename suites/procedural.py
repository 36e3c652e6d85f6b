"""What every embedded suite shares: tasks by index, parts without overlap, splits kept apart."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from typing import Generic, TypeVar, overload

from bench.errors import UserError, unknown
from bench.streams import Stream, fraction_of
from bench.tasks import SPLITS, Example, Task

C = TypeVar("C")

# Many meta-train tasks: with few of them meta-training learns those and not how to adapt.
SIZES = {"meta-train": 512, "meta-validation": 48, "meta-test": 48}
POOL = {"meta-train": 2048, "meta-validation": 1024, "meta-test": 1024}
BOUNDS = {"meta-train": (0.0, 0.6), "meta-validation": (0.6, 0.8), "meta-test": (0.8, 1.0)}
PARTS = {"train": 512, "validation": 32, "test": 128}
DRAWS = 100  # for each content of a pool, before it is given up


class Part(Sequence[Example]):
    """The examples of one part, each made when it is asked for: most of a task is never read."""

    def __init__(self, size: int, make: Callable[[int], Example]) -> None:
        self._size, self._make = size, make

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, place: int) -> Example: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Example, ...]: ...

    def __getitem__(self, place: int | slice) -> Example | tuple[Example, ...]:
        """The example of a number, or those of a slice."""
        chosen = range(self._size)[place]
        return self._make(chosen) if isinstance(chosen, int) else tuple(map(self._make, chosen))

    def __iter__(self) -> Iterator[Example]:
        return map(self._make, range(self._size))


@dataclass
class Procedural(Generic[C]):
    """A `Dataset` of generated tasks over contents that they share.

    A content is what an example says before any task's rules. Tasks of one split draw from one
    pool of contents, as languages of a parallel corpus do, so that no content gives its task
    away; a hash decides on which side of the splits a content may stand, so nothing said in a
    held-out task was ever said in meta-training.

    Attributes:
        suite: name of the suite, part of every stream.
        revision: the suite's version, with the dials that are turned; it also counts how many
            tasks there are.
        streams: names the random streams; a new version that keeps it keeps the tasks' rules.
        label: tasks are named LABEL-INDEX.
        draw: a random content.
        key: a content as text; equal keys are the same content.
        rules: the rules of the task of an index: content to (input, target). What is drawn is
            drawn when they are made; then they are a pure function, asked again for each reading.
        train_revision: names the meta-train and meta-validation tasks, which revisions may share;
            the revision if not given.
    """

    suite: str
    revision: str
    streams: str
    label: str
    draw: Callable[[Stream], C]
    key: Callable[[C], str]
    rules: Callable[[int], Callable[[C], tuple[str, str]]]
    train_revision: str = ""
    name: str = field(default="embedded", init=False)

    def __post_init__(self) -> None:
        """Pools are made once, tasks when they are asked for."""
        self.train_revision = self.train_revision or self.revision
        self.task = cache(self._task)  # some 20 KiB each: a shuffled list of its contents
        self._pool = cache(self._make_pool)

    @cached_property
    def _split_of(self) -> dict[str, str]:
        return {name: split for split in SPLITS for name in self.names(split)}

    def names(self, split: str) -> list[str]:
        """Names of the tasks of a split: consecutive indices, meta-train first."""
        start = sum(SIZES[earlier] for earlier in SPLITS[: SPLITS.index(split)])
        return [f"{self.label}-{start + i:03d}" for i in range(SIZES[split])]

    def _make_pool(self, split: str) -> list[tuple[str, C]]:
        low, high = BOUNDS[split]
        stream = Stream(0, self.suite, self.streams, "contents", split)
        pool: dict[str, C] = {}
        for _ in range(DRAWS * POOL[split]):
            content = self.draw(stream)
            key = self.key(content)
            if low <= fraction_of(self.suite, self.streams, key) < high:
                pool.setdefault(key, content)
            if len(pool) == POOL[split]:
                return list(pool.items())
        raise UserError(
            f"suite {self.suite!r} draws too few contents that differ: {len(pool):,} of the "
            f"{POOL[split]:,} that {split} needs; widen its draw function"
        )

    def _task(self, name: str) -> Task:
        if name not in self._split_of:
            raise unknown(f"{self.suite} task", name, self._split_of)
        rules = self.rules(int(name.rsplit("-", 1)[1]))
        stream = Stream(0, self.suite, self.streams, "examples", name)
        contents = stream.shuffled(self._pool(self._split_of[name]))

        def make(part: str, start: int, number: int) -> Example:
            key, content = contents[start + number]
            text, target = rules(content)
            return Example(text, (target,), f"{name}-{part}-{number:03d}", key)

        starts = itertools.accumulate(PARTS.values(), initial=0)
        parts = {
            part: Part(size, partial(make, part, start))
            for (part, size), start in zip(PARTS.items(), starts, strict=False)
        }
        return Task(name, parts, further=self._further(name, rules))

    def _further(self, name: str, rules: Callable[[C], tuple[str, str]]) -> Sequence[Example]:
        """What a held-out task says of the contents of meta-training, none of which it is ever
        asked; a meta-train task has its parts alone."""
        if self._split_of[name] == "meta-train":
            return ()

        @cache
        def contents() -> list[tuple[str, C]]:
            stream = Stream(0, self.suite, self.streams, "further examples", name)
            return stream.shuffled(self._pool("meta-train"))

        def make(number: int) -> Example:
            key, content = contents()[number]
            text, target = rules(content)
            return Example(text, (target,), f"{name}-further-{number:04d}", key)

        return Part(POOL["meta-train"], make)
