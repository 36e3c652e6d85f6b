"""Every Eval Ever (Batzner et al. 2026, arXiv:2606.14516): one document a row, in the layout of its
datastore: `data/fewgen/DEVELOPER/MODEL/UUID.json`, answers beside it in `UUID_samples.jsonl`."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from bench.costs import costs, training
from bench.exports import Export, schemas
from bench.exports.folder import files_in, make_folder
from bench.exports.instances import COLLECTION, Made, lines
from bench.exports.questions import TextsMissing
from bench.exports.runs import check_cells
from bench.exports.scored import (
    LEVEL,
    UNIT,
    UNKNOWN,
    Score,
    complete_rows,
    developer_of,
    queries,
    scores,
    setting_texts,
)
from bench.metrics import Metric, ranks
from bench.probed import loss_columns
from bench.records import write_json
from bench.registry import version
from bench.shown import SCORES
from bench.streams import digest_of
from bench.tables import metrics

COSTS = ("adapt_ms", "inner_step_ms", "generate_ms", "adapt_peak_mib", "generate_peak_mib")


def export(
    directories: Sequence[Path],
    out: Path,
    organization: str = UNKNOWN,
    developer: str | None = None,
    texts: bool = True,
) -> Export:
    """Writes the finished rows of run directories; every file is checked by the vendored schemas.

    A row's answers are one line a query, with the suite's primary metric; where records hold no
    predictions, or the texts are not at hand, they are left out and a note says so.

    Args:
        directories: written by `run`.
        out: the folder to be.
        organization: who made the run.
        developer: who made the models; the owners of their backbones on the hub if not given.
        texts: whether answers and names of tasks are written.

    Raises:
        UserError: nothing to export, a damaged file, or a folder with other files.
    """
    runs = {run.directory: run for run in check_cells(list(directories), texts)}

    def fill(folder: Path) -> list[str]:
        rows, notes = complete_rows(directories, texts)
        for row in rows:
            found = [runs[directory] for directory in dict.fromkeys(row.directories)]
            found.sort(key=lambda run: run.started)
            made = Made(row, found, developer_of(found[-1], developer))
            note = _write(folder, made, organization)
            notes += [note] if note else []
        for path in files_in(folder):
            schemas.check_file(path)
        return list(dict.fromkeys(notes))

    return Export(out, "dataset", make_folder(out, directories, fill))


def _write(folder: Path, made: Made, organization: str) -> str | None:
    """Writes a row's document and, where they can be had, its answers; else returns why not."""
    document = _document(made, organization)
    name = UUID(bytes=bytes.fromhex(digest_of(document))[:16], version=4)
    place = f"data/{COLLECTION}/{made.model}/{name}"
    note, answers = None, f"{place}_samples.jsonl"
    if not made.runs[-1].texts:
        write_json(folder / f"{place}.json", document)
        return "answers left out: --no-texts"
    try:
        rows, checksum = _write_lines(folder / answers, lines(made))
    except TextsMissing as error:
        (folder / answers).unlink()
        note = f"answers left out: {error.message}"
    else:
        document["detailed_evaluation_results"] = {
            "format": "jsonl",
            "file_path": answers,
            "hash_algorithm": "sha256",
            "checksum": checksum,
            "total_rows": rows,
        }
    write_json(folder / f"{place}.json", document)
    return note


def _write_lines(path: Path, documents: Iterable[Mapping[str, Any]]) -> tuple[int, str]:
    """Writes one document a line as they come; how many, and the SHA-256 of the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, digest = 0, hashlib.sha256()
    with path.open("wb") as file:
        for document in documents:
            line = json.dumps(document, allow_nan=False).encode() + b"\n"
            file.write(line)
            digest.update(line)
            count += 1
    return count, digest.hexdigest()


def _document(made: Made, organization: str) -> dict[str, Any]:
    """A row without its answers."""
    run = made.runs[-1]
    return {
        "schema_version": schemas.version(),
        "evaluation_id": made.id,
        "evaluation_timestamp": run.when,
        "retrieved_timestamp": str(run.started),
        "source_metadata": {
            "source_name": "fewgen",
            "source_type": "evaluation_run",
            "source_organization_name": organization,
            "evaluator_relationship": _relationship(made.developer, organization),
        },
        "eval_library": {
            "name": "fewgen",
            "version": run.versions.get("fewgen", version()),
            "additional_details": _texts(
                {
                    "commit": run.commit,
                    "hardware": run.hardware,
                    **{f"version.{name}": told for name, told in run.versions.items()},
                }
            ),
        },
        "model_info": _model(made),
        "evaluation_results": [
            _result(made, name, score) for name, score in scores(made.row).items()
        ],
    }


def _relationship(developer: str, organization: str) -> str:
    """Of who made the run to who made the model, as far as both are known."""
    if UNKNOWN in (developer, organization):
        return "other"
    return "first_party" if developer == organization else "third_party"


def _model(made: Made) -> dict[str, Any]:
    head, run = made.header, made.runs[-1]
    weights = head["backbone"] is not None
    # What a run trains itself is not published by it.
    shipped = head["init"] == "pretrained" and run.places.shipped
    known = (
        "baseline init order backbone backbone_identity adapted_params meta_params dtype".split()
    )
    trained = training(made.row.headers)
    return {
        "name": " + ".join(part for part in (head["backbone"], head["baseline"]) if part),
        "id": made.model,
        "developer": made.developer,
        "inference_engine": {
            "name": "transformers" if weights else "fewgen",
            "version": run.versions.get("transformers" if weights else "fewgen", "unknown"),
        },
        "additional_details": {
            "deployment_type": "self_deployed",
            "model_availability": "open_weights" if shipped else "unknown",
            **_texts({key: head.get(key) for key in known}),
            **_texts({key: value for key, value in trained.items() if value}),
            **setting_texts(head, run.places),
            **_texts({f"tuning.{key}": told for key, told in (head.get("tuning") or {}).items()}),
        },
    }


def _result(made: Made, metric: str, score: Score) -> dict[str, Any]:
    head, run = made.header, made.runs[-1]
    found: dict[str, Any] = {
        "evaluation_result_id": made.result_id(metric),
        "evaluation_name": made.name,
        "source_data": _data(made),
        "evaluation_timestamp": run.when,
        "metric_config": _metric(made, metric),
        "score_details": _score(made, metric, score),
        "generation_config": {
            "generation_args": {"execution_command": "; ".join(_commands(made))},
            "additional_details": _costs(made),
        },
    }
    if head["init"] != "none":  # a floor generates nothing
        found["generation_config"]["generation_args"] |= _generation(made)
    return found


def _commands(made: Made) -> list[str]:
    return list(dict.fromkeys(run.command for run in made.runs))


def _generation(made: Made) -> dict[str, Any]:
    settings, plan = made.header["settings"], made.runs[-1].plan
    args = {"max_tokens": settings["max_new_tokens"], "reasoning": False}
    decoding = settings.get("decoding") or "greedy"
    if decoding.startswith("sample"):
        args |= {key: plan[key] for key in ("temperature", "top_p")}
    return args if decoding != "greedy" else {**args, "temperature": 0.0}


def _data(made: Made) -> dict[str, Any]:
    """Where the tasks are from."""
    head = made.header
    details = {key: head.get(key) for key in ("revision", "split", "language", "shots")}
    details["language"] = details["language"] or ", ".join(head.get("languages", [])) or None
    details |= {"tasks": len({record["task"] for record in made.row.records()})}
    if hub_id := made.runs[-1].places.hub_id("data"):
        return {
            "dataset_name": f"{head['suite']} of {hub_id}",
            "source_type": "hf_dataset",
            "hf_repo": hub_id,
            "hf_split": "test",
            "additional_details": _texts(details),
        }
    return {
        "dataset_name": f"fewgen {head['suite']} ({head['dataset']})",
        "source_type": "other",
        "additional_details": _texts(details),
    }


def _metric(made: Made, name: str) -> dict[str, Any]:
    head = made.header
    found = {
        "evaluation_description": (
            f"{SCORES.get(name, name)} of answers after adaptation to {head['shots']} examples of "
            "a task: the corpus score of each train seed and seed, and the mean of those"
        ),
        "metric_id": {"exact": "exact_match"}.get(name, name.lower()),
        "metric_name": SCORES.get(name, name),
        "metric_parameters": {"signature": head["signatures"][name]},
        "lower_is_better": False,
    }
    if _bounded(made, name):
        limits = {"score_type": "continuous", "min_score": 0, "max_score": 100}
        found |= {"metric_kind": found["metric_id"], "metric_unit": "points", **limits}
        if ranks(head["signatures"][name]):
            return found
        return {**found, "additional_details": {"direction": "none; more is not better"}}
    # A metric by name declares neither its limits nor its direction.
    return {**found, "additional_details": {"direction": "not declared; ranked by the largest"}}


def _score(made: Made, name: str, score: Score) -> dict[str, Any]:
    row = made.row
    uncertainty: dict[str, Any] = {"num_samples": len(row.digests)}
    low, high = Metric.limits if _bounded(made, name) else (-math.inf, math.inf)

    def within(value: float) -> float:
        """Inside the limits that `_metric` tells: sacreBLEU's 100 is above it by rounding."""
        return min(max(value, low), high)

    if score.error is not None:
        uncertainty["standard_error"] = {"value": score.error, "method": UNIT}
    if score.low is not None and score.high is not None:
        ends = {"lower": within(score.low), "upper": within(score.high)}
        uncertainty["confidence_interval"] = {**ends, "confidence_level": LEVEL, "method": UNIT}
    trained = sorted({t for t, _ in row.cells if t is not None})
    details = {
        "num_samples": "episodes",
        "answers": queries(row),
        "seeds": ",".join(map(str, sorted({seed for _, seed in row.cells}))),
        "train_seeds": ",".join(map(str, trained)),
        **{key: sum(r.get(key, 0) for r in row.records()) for key in ("diverged", "cut_outputs")},
        **loss_columns(row, name),
    }
    return {
        "score": within(score.value),
        "details": _texts(details),
        "uncertainty": uncertainty,
    }


def _bounded(made: Made, name: str) -> bool:
    """Whether the metric's limits are those of a share in percent."""
    return any(m.name == name and m.limits == Metric.limits for m in metrics(made.row))


def _costs(made: Made) -> dict[str, str]:
    cells = zip(made.row.headers, made.row.cells.values(), strict=True)
    found = costs(list(cells))
    head = made.header
    where = {key: head.get(key) for key in ("device", "threads", "workers", "tasks_at_once")}
    return _texts({**where, **{key: found.get(key) for key in COSTS}})


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """What is known, as the texts that the schema asks for."""
    return {key: str(value) for key, value in values.items() if value not in (None, "")}
