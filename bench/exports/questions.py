"""The texts behind records, which hold answers alone: episodes drawn anew, checked by digest."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.episodes import Episode, draw_episode
from bench.errors import UserError
from bench.exports.runs import Run
from bench.tasks import Dataset


class TextsMissing(UserError):
    """Inputs, references or predictions of records are not to be had; the message says why."""


class Questions:
    """The episodes of a run's records."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._datasets: dict[str, Dataset] = {}

    def episode(self, header: Mapping[str, Any], record: Mapping[str, Any]) -> Episode:
        """The episode of a record.

        Raises:
            TextsMissing: it has no predictions, or its data is not at hand or not what it was.
        """
        if "predictions" not in record:
            raise TextsMissing(f"{self._run.name} holds slim records, without predictions")
        try:
            made = self._drawn(header, record)
        except UserError as error:
            raise TextsMissing(self._run.places.shown(error.message)) from None
        if made.digest != record["digest"]:
            raise TextsMissing(
                f"the data of {header['suite']} is not what it was when {self._run.name} was made"
            )
        return made

    def _drawn(self, header: Mapping[str, Any], record: Mapping[str, Any]) -> Episode:
        suite, asked = header["suite"], header["settings"]["queries"]
        if suite not in self._datasets:
            self._datasets[suite] = self._dataset(suite)
        task = self._datasets[suite].task(record["task"])
        return draw_episode(suite, task, header["shots"], asked, record["seed"], record["index"])

    def _dataset(self, suite: str) -> Dataset:
        from bench.context import dataset_of

        return dataset_of(suite, self._source, (self._run.plan.get("dials") or {}).get(suite))

    @cached_property
    def _source(self) -> Any:
        """The run's data; nothing is downloaded for an export."""
        from bench.sources import Source

        plan = self._run.plan
        if not (data := plan.get("data")):
            return None
        if not Path(data).exists():
            raise TextsMissing(f"the data {Path(data).name} is not a file or folder here")
        keys = ("revision", "columns", "configs", "layout")
        return Source(data, **{key: plan[key] for key in keys if plan.get(key)})
