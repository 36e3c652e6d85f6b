"""Answers in the Every Eval Ever schema: one line a query."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from bench.exports import schemas
from bench.exports.questions import Questions
from bench.exports.runs import Run
from bench.exports.scored import UNKNOWN, model_name, part_of_id
from bench.metrics import Exact, Metric
from bench.tables import Row, metrics
from bench.tasks import Example

COLLECTION = "fewgen"


class Made(NamedTuple):
    """A row with the runs that hold its cells, oldest first, and who made its model."""

    row: Row
    runs: list[Run]
    developer: str

    @property
    def header(self) -> dict[str, Any]:
        """What the row's cells share."""
        return self.row.header

    @property
    def name(self) -> str:
        """Of the evaluation."""
        return f"fewgen_{self.header['suite']}_k{self.header['shots']}"

    @property
    def model(self) -> str:
        """The model's id in the hub's form."""
        name = self.runs[-1].places.hub_id("backbone") if self.header["backbone"] else None
        short = {"backbone": name.partition("/")[2]} if name else {}
        owner = part_of_id(self.developer) or UNKNOWN
        return f"{owner}/{model_name({**self.header, **short})}"

    @property
    def id(self) -> str:
        """Of the evaluation, in the form that the schema asks for."""
        return f"{self.name}/{self.model}/{self.runs[-1].started}"

    def result_id(self, metric: str) -> str:
        """Of one metric's result, which answers point to."""
        return f"{self.id}#{metric}"


def lines(made: Made) -> Iterator[dict[str, Any]]:
    """The answers of a row, each with its score on the suite's primary metric.

    Raises:
        TextsMissing: records hold no predictions, or the texts are not at hand.
    """
    primary = made.header["primary"]
    metric = next(metric for metric in metrics(made.row) if metric.name == primary)
    asked = {run.directory: Questions(run) for run in made.runs}
    cells = zip(made.row.headers, made.row.cells.values(), made.row.directories, strict=True)
    for header, records, directory in cells:
        for record in records:
            episode = asked[directory].episode(header, record)
            for place, query in enumerate(episode.query):
                yield {
                    **_shared(made, primary),
                    **_answer(query, record, metric, place),
                    "metadata": _metadata(header, record),
                }


def _shared(made: Made, metric: str) -> dict[str, Any]:
    return {
        "schema_version": schemas.version(),
        "evaluation_id": made.id,
        "model_id": made.model,
        "evaluation_name": made.name,
        "evaluation_result_id": made.result_id(metric),
        "interaction_type": "single_turn",
    }


def _answer(
    query: Example, record: Mapping[str, Any], metric: Metric, place: int
) -> dict[str, Any]:
    answer = record["predictions"][place]
    content = {"raw": query.input, "reference": list(query.references)}
    statistics = np.array(record["statistics"][metric.name][place], dtype=np.float64)
    right = Exact("exact").statistics(answer, query.references)[0]
    return {
        "sample_id": query.id,
        "sample_hash": hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest(),
        "input": content,
        "output": {"raw": [answer]},
        "answer_attribution": [
            {
                "turn_idx": 0,
                "source": "output.raw",
                "extracted_value": answer,
                "extraction_method": "none",
                "is_terminal": True,
            }
        ],
        "evaluation": {"score": metric.score(statistics), "is_correct": bool(right)},
    }


def _metadata(header: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, str]:
    told = {key: record[key] for key in ("task", "seed", "index", "digest")}
    return {
        **{key: str(value) for key, value in told.items()},
        **({} if header["train_seed"] is None else {"train_seed": str(header["train_seed"])}),
        "support": ", ".join(record.get("support_ids", [])),
        "score": f"{header['primary']} of this answer alone",
    }
