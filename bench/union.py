"""Several suites' tasks as one data set, for training on all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import groupby

from bench.errors import unknown
from bench.streams import Stream
from bench.tasks import Dataset, Task


class Union:
    """A `Dataset` of the tasks of several; a task is named SUITE/TASK.

    Attributes:
        data: suite to its data set.
    """

    def __init__(self, data: Mapping[str, Dataset]) -> None:
        self.data = data
        self.name = " + ".join(data)
        told = (f"{suite} ({found.name} {found.revision})" for suite, found in data.items())
        self.revision = " + ".join(told)
        self._families = lru_cache(maxsize=1)(self._by_suite)

    def names(self, split: str) -> list[str]:
        """The tasks of a split, suite by suite."""
        return [
            f"{suite}/{name}" for suite, data in self.data.items() for name in data.names(split)
        ]

    def task(self, name: str) -> Task:
        """The task of that name.

        Raises:
            UserError: there is none.
        """
        suite = self._suite(name)
        found = self.data[suite].task(name.removeprefix(f"{suite}/"))
        return replace(found, name=name)

    def pick(self, stream: Stream, names: Sequence[str]) -> str:
        """One of some tasks: each suite that has any is as likely, then each of its tasks."""
        return stream.pick(stream.pick(self._families(tuple(names))))

    def _suite(self, name: str) -> str:
        for suite in self.data:
            if name.startswith(f"{suite}/"):
                return suite
        raise unknown("suite of a task", name.partition("/")[0], self.data)

    def _by_suite(self, names: tuple[str, ...]) -> list[list[str]]:
        order = sorted(names, key=self._suite)
        return [list(family) for _, family in groupby(order, self._suite)]
