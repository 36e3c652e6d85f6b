"""Model cards of the Hugging Face hub, with `model-index`: one for each model of some runs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.baseline import Baseline
from bench.costs import costs, training
from bench.errors import UserError, unknown
from bench.exports import Export
from bench.exports.folder import make_folder
from bench.exports.runs import Run, check_cells
from bench.exports.scored import (
    LEVEL,
    Score,
    complete_rows,
    developer_of,
    model_name,
    scores,
    title,
)
from bench.places import Places
from bench.probed import loss_columns
from bench.publish import LOST
from bench.records import write_whole
from bench.registry import load, names
from bench.shown import FLAG, SCORES, flag, loss
from bench.streams import digest_of
from bench.tables import Row

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

TASK = "text-generation"
MARKS = (
    f"{LOST.capitalize()}: the score under the own support minus that under another task's, on\n"
    f"the same episodes; {FLAG}: not shown to be above 0, so nothing shows that the method uses\n"
    "its support."
)
OF_A_SUITE = ("max_new_tokens",)  # settings in which rows of one model differ


def export(
    directories: Sequence[Path],
    out: Path,
    baselines: Sequence[str] = (),
    developer: str | None = None,
    texts: bool = True,
) -> Export:
    """Writes `OUT/MODEL/README.md` for each model of the finished rows.

    A model is a baseline on a backbone with its options: what a row tells but for suite and shots.
    Floors have no model and no card.

    Args:
        directories: written by `run`.
        out: the folder to be.
        baselines: only theirs, if any is named.
        developer: who made the models; the owners of their backbones on the hub if not given.
        texts: whether commands and options that are free text are written.

    Raises:
        UserError: nothing to export, an unknown baseline, rows that one card cannot tell apart, or
            a folder with other files.
    """
    runs = {run.directory: run for run in check_cells(list(directories), texts)}

    def fill(folder: Path) -> tuple[list[str], list[str]]:
        rows, notes = complete_rows(directories, texts)
        models, floors = _models(rows, baselines)
        notes += [f"left out: {name}: a floor, without a model" for name in floors]
        for name, members in models.items():
            found = [runs[d] for d in dict.fromkeys(d for row in members for d in row.directories)]
            _write(folder / name / "README.md", name, members, found, developer)
        return list(models), notes

    made, notes = make_folder(out, directories, fill)
    return Export(out / made[0] if len(made) == 1 else out, "model", notes)


def _models(
    rows: Iterable[Row], baselines: Sequence[str]
) -> tuple[dict[str, list[Row]], list[str]]:
    """The rows of each model by its name, and the floors."""
    rows = list(rows)
    known = {row.header["baseline"] for row in rows}
    for name in baselines:
        if name not in known:
            raise unknown("baseline of these runs", name, known)
    rows = [row for row in rows if not baselines or row.header["baseline"] in baselines]
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.header["init"] != "none":
            found.setdefault(_key(row.header), []).append(row)
    floors = sorted({row.header["baseline"] for row in rows if row.header["init"] == "none"})
    if not found:
        raise UserError(f"{', '.join(floors)}: floors have no model, so no model card")
    plain = [model_name(members[0].header) for members in found.values()]
    return {
        name if plain.count(name) == 1 else f"{name}-{digest_of(key)[:8]}": members
        for name, (key, members) in zip(plain, found.items(), strict=True)
    }, floors


def _key(header: Mapping[str, Any]) -> str:
    """Rows with the same key are of one model."""
    settings = {k: v for k, v in header["settings"].items() if k not in OF_A_SUITE}
    keys = ("baseline", "backbone", "options", "tuning", "dtype", "device", "threads")
    identity = None if settings["pretrain"] else header["backbone_identity"]
    told = [{key: header.get(key) for key in keys}, settings, identity]
    return json.dumps(told, sort_keys=True)


def _write(
    path: Path, name: str, rows: Sequence[Row], runs: Sequence[Run], developer: str | None
) -> None:
    """Writes a card and reads it back.

    Raises:
        UserError: two rows differ in what a card does not tell.
    """
    from huggingface_hub import ModelCard

    measured = [(row, scores(row)) for row in rows]
    places = {run.directory: run.places for run in runs}
    results = [
        result
        for row, found in measured
        for result in _results(row, found, places[row.directories[0]].hub_id("data"))
    ]
    told_of = [(r.unique_identifier, r.metric_type) for r in results]
    if len(set(told_of)) < len(told_of):
        raise UserError(
            f"{title(rows[0])} stands there twice, with other settings; export the runs apart"
        )
    card = ModelCard(
        f"---\n{_data(name, rows, runs, results)}\n---\n{_text(name, measured, runs, developer)}"
    )
    write_whole(path, card.content)
    told = ModelCard.load(path).data
    if (told.model_name, _sorted(told.eval_results)) != (name, _sorted(results)):
        raise UserError(f"{name}: the card reads otherwise than it was written; report this")


def _sorted(results: "Iterable[EvalResult] | None") -> list[str]:
    return sorted(json.dumps(vars(result), sort_keys=True) for result in results or [])


def _languages(rows: Sequence[Row]) -> list[str]:
    """The codes of the references' languages, without script and region."""
    tags = [
        tag for row in rows for tag in (row.header["language"], *row.header.get("languages", []))
    ]
    return sorted({tag.partition("-")[0] for tag in tags if tag})


def _data(name: str, rows: Sequence[Row], runs: Sequence[Run], results: list[Any]) -> str:
    """The card's metadata as YAML."""
    from huggingface_hub import ModelCardData

    head, run = rows[0].header, runs[-1]
    data = ModelCardData(
        model_name=name,
        eval_results=results,
        base_model=run.places.hub_id("backbone"),
        language=_languages(rows) or None,
        library_name="fewgen",
        license="apache-2.0" if run.places.shipped else None,
        metrics=sorted({metric for row in rows for metric in row.header["signatures"]}),
        tags=["fewgen", "few-shot", head["baseline"]],
    )
    return data.to_yaml()


def _results(row: Row, found: Mapping[str, Score], hub_id: str | None) -> "list[EvalResult]":
    """The row's metrics for `model-index`; `hub_id` is that of its data, if it has one."""
    from huggingface_hub import EvalResult

    head = row.header
    return [
        EvalResult(
            task_type=TASK,
            task_name=f"few-shot {head['suite']}",
            dataset_type=hub_id or f"fewgen-{head['suite']}",
            dataset_name=f"fewgen {head['suite']} ({head['dataset']})",
            dataset_config=f"{head['suite']}-k{head['shots']}",
            dataset_split=head["split"],
            dataset_revision=head["revision"],
            dataset_args={"shots": head["shots"], "episodes": len(row.digests)},
            metric_type=metric,
            metric_value=score.value,
            metric_name=SCORES.get(metric, metric),
            metric_args={
                "signature": head["signatures"][metric],
                "shots": head["shots"],
                "level": LEVEL,
                "interval": [score.low, score.high],
            },
        )
        for metric, score in found.items()
    ]


def _text(
    name: str,
    measured: Sequence[tuple[Row, Mapping[str, Score]]],
    runs: Sequence[Run],
    developer: str | None,
) -> str:
    head = measured[0][0].header
    train = sorted({t for row, _ in measured for t, _ in row.cells if t is not None})
    conditional = ", conditional on the one train seed" if len(train) == 1 else ""
    seeds = " and train seeds" if len(train) > 1 else ""
    marks = f"\n{MARKS}\n" if any(_lost(row) for row, _ in measured) else ""
    return f"""
# {name}

The method `{head["baseline"]}` on the backbone `{head["backbone"]}`
({head["backbone_identity"] or "pre-trained anew for each train seed"}), measured by fewgen, a
benchmark of few-shot text generation. {_page(head["baseline"])}

Developed by: {developer_of(runs[-1], developer)}

Adaptation starts from weights that are {head["init"]}; order of the gradient of meta-training:
{head["order"]}. {_options(head, runs[-1].places)}

## Results

{_table(measured)}

Scores are 0 to 100: the corpus score of each train seed and seed of episodes, and the mean of
those. Brackets are 95 % intervals over tasks{seeds}{conditional}. Times are medians of an episode's
share, on {head["device"]}, {head["dtype"]}. The metadata above holds the metrics' signatures.
{marks}
## How it was made

{_made(runs)}

## Limits

{_limits(measured)}
"""


def _page(baseline: str) -> str:
    """The first paragraph on a baseline; nothing of one that is not installed here."""
    if baseline not in names("baseline"):
        return ""
    kind: type[Baseline] = load("baseline", baseline)
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split())


def _limits(measured: Sequence[tuple[Row, Mapping[str, Score]]]) -> str:
    heads = [row.header for row, _ in measured]
    lines = ["Every episode adapts the method anew: scores are the method's on held-out tasks."]
    if sources := heads[0]["settings"].get("train_suites"):
        lines.append(f"All suites share what was trained on the tasks of {', '.join(sources)}.")
    elif heads[0]["init"] == "meta-trained":
        lines.append(
            "Each suite has meta-trainings of its own; no one set of weights has them all."
        )
    if any(head["dataset"] == "embedded" for head in heads):
        lines.append(
            "The embedded tasks are made by rules: they measure adaptation, not knowledge of a "
            "language."
        )
    lines.append("This card holds no weights; the run's folder `artefacts` has the meta-trained.")
    return "\n".join(f"- {line}" for line in lines)


def _options(head: Mapping[str, Any], places: Places) -> str:
    options = places.shown(head["options"])
    told = ", ".join(f"`{key} = {value}`" for key, value in options.items())
    decoding = head["settings"].get("decoding") or "greedy"
    return f"Options: {told or 'none'}. Answers are written by {decoding} decoding."


def _table(measured: Sequence[tuple[Row, Mapping[str, Score]]]) -> str:
    import pandas as pd

    lines = []
    for row, found in measured:
        cells = list(zip(row.headers, row.cells.values(), strict=True))
        spent, trained = costs(cells), training(row.headers)
        lines.append(
            {
                "suite": row.header["suite"],
                "K": row.header["shots"],
                "episodes": len(row.digests),
                **{SCORES.get(name, name): _told(score) for name, score in found.items()},
                **_lost(row),
                "adapt ms": f"{spent['adapt_ms']:,.1f}" if spent.get("adapt_ms") else "–",  # noqa: RUF001
                "train s": f"{trained['train_s']:,.1f}" if trained["train_s"] else "–",  # noqa: RUF001
            }
        )
    frame = pd.DataFrame(lines)
    if LOST in frame:
        frame[LOST] = frame[LOST].fillna("–")  # noqa: RUF001
    return str(frame.to_markdown(index=False, disable_numparse=True))


def _lost(row: Row) -> dict[str, str]:
    """A cell that tells what the row loses under another task's support; none of a table whose rows
    were not probed."""
    columns = loss_columns(row, row.header["primary"])
    if not columns:
        return {}
    metric = SCORES.get(row.header["primary"], row.header["primary"])
    return {LOST: f"{metric} {loss(columns)}{flag(columns)}"}


def _told(score: Score) -> str:
    if score.low is None or score.high is None:
        return f"{score.value:.1f} (no interval)"
    return f"{score.value:.1f} [{score.low:.1f}, {score.high:.1f}]"


def _made(runs: Sequence[Run]) -> str:
    parts = []
    for run in runs:
        versions = ", ".join(f"{name} {told}" for name, told in run.versions.items())
        parts.append(
            f"```\n{run.command}\n```\n\n"
            f"Commit {run.commit}, begun {run.when}, on {run.hardware}. {versions}."
        )
    return "\n\n".join(parts)
