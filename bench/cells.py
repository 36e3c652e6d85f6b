"""Works on one cell: every episode adapted, answered, scored and timed."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from bench.asking import prompt_settings
from bench.baseline import Baseline, Floor, Learner
from bench.context import Context
from bench.episodes import Episode, draw_episode, schedule
from bench.plan import Plan, changed_options
from bench.probes import probed_episodes
from bench.records import Cell
from bench.registry import display_name, names
from bench.streams import digest_of

Progress = Callable[[float], None]


def each_episode(
    context: Context, suite: str, shots: int, seed: int, first: int = 0
) -> Iterator[Episode]:
    """The frozen episodes of a suite's cells, one by one, from the index `first` on; the same for
    every baseline."""
    dataset, plan = context.dataset(suite), context.plan
    names, _ = context.tasks(suite, shots)
    order = schedule(names, plan.episodes, suite, seed)
    for index, name in enumerate(order[first:], first):
        yield draw_episode(suite, dataset.task(name), shots, plan.queries, seed, index)


def cell_episodes(context: Context, cell: Cell) -> list[Episode]:
    """The frozen episodes of a cell."""
    return list(each_episode(context, cell.suite, cell.shots, cell.seed))


def run_cell(
    context: Context,
    cell: Cell,
    progress: Progress = lambda fraction: None,
    pace: Progress = lambda seconds: None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The header and the records of a cell.

    Args:
        progress: told the share of the work that is done.
        pace: told the seconds that an episode takes, once the first are answered by a model.

    Raises:
        CellError: the cell cannot be finished.
    """
    episodes = cell_episodes(context, cell)
    method = context.baseline(cell.baseline)
    header = shared_header(context, cell)
    probed, _ = probed_episodes(context, cell.suite, episodes)
    if isinstance(method, Floor):
        records = [_record(context, cell, e, _floor_answers(method, e)) for e in episodes]
        for probe, wrong in probed.items():
            answers = [_floor_answers(method, episode) for episode in wrong.values()]
            _add_probe(context, cell, records, probe, zip(wrong.values(), answers, strict=True))
        return header, records
    assert isinstance(method, Learner)
    if not method.few_shot:
        probed = {}  # it has no support that a wrong one could stand for
    from bench.solver import Solver

    solver = Solver(context, cell, method)
    parts = [len(episodes), *map(len, probed.values())]
    solved = solver.solve(episodes, _part_of(progress, parts, 0), pace)
    records = [
        {
            **_record(context, cell, episode, predictions),
            **extra,
            **_after(context, cell, episode, extra.get("after", {})),
        }
        for episode, (predictions, extra) in zip(episodes, solved, strict=True)
    ]
    header |= solver.header()  # before probes, which may have to go through the memory in pieces
    for number, (probe, wrong) in enumerate(probed.items(), 1):
        given = list(wrong.values())
        answers = solver.answers(given, _part_of(progress, parts, number))
        _add_probe(context, cell, records, probe, zip(given, answers, strict=True))
    return header, records


def _part_of(progress: Progress, parts: Sequence[int], number: int) -> Progress:
    """Progress within one of several parts of a cell's work, given their sizes."""
    done, whole = sum(parts[:number]), sum(parts)
    return lambda fraction: progress((done + fraction * parts[number]) / whole)


def _floor_answers(method: Floor, episode: Episode) -> list[str]:
    return [method.answer(query.input, episode.support) for query in episode.query]


def _add_probe(
    context: Context,
    cell: Cell,
    records: Sequence[dict[str, Any]],
    probe: str,
    answered: Iterable[tuple[Episode, Sequence[str]]],
) -> None:
    """Writes the statistics of what was answered with a probe's support into the records."""
    for episode, texts in answered:
        found = records[episode.index].setdefault("probes", {})
        found[probe] = _statistics(context, cell, episode, texts)


def shared_header(context: Context, cell: Cell) -> dict[str, Any]:
    """What is known of a cell before it is worked on; tells which row of a table it is part of."""
    dataset, method = context.dataset(cell.suite), context.baseline(cell.baseline)
    plan, uses_model = context.plan, isinstance(method, Learner)
    identity = context.backbone(None).identity if uses_model and not plan.pretrain else None
    elsewhere = plan.train_suites if _trained_there(context, method) else []
    untrained = method.init == "meta-trained" and plan.train_budget == 0
    drawn = plan.train_shots if isinstance(method, Learner) and method.trains else []
    return {
        "order": method.order,
        "init": "pretrained" if untrained else method.init,
        "backbone": display_name(plan.backbone) if uses_model else None,
        "backbone_identity": identity,
        **(_recipe(plan) if uses_model else {}),
        "dataset": dataset.name,
        "revision": dataset.revision,
        "split": plan.split,
        "settings": {
            "tasks": plan.tasks,
            "queries": plan.queries,
            "episodes": plan.episodes,
            "max_new_tokens": context.max_new_tokens(cell.suite),
            "decoding": plan.decoded if uses_model else None,
            "chat": plan.chat and uses_model,
            "train_budget": plan.train_budget if context.trained(cell.baseline) else None,
            "pretrain": plan.pretrain and plan.pretrain.told,
            "loss_mean": plan.loss_mean if uses_model else None,
            **(prompt_settings(context) if uses_model else {}),
            **({"train_shots": drawn} if drawn else {}),
            **({"train_suites": elsewhere} if elsewhere else {}),
        },
        "primary": context.suite(cell.suite).primary,
        "language": context.language(cell.suite),
        **_several_languages(context, cell.suite),
        "signatures": {m.name: m.signature() for m in context.metrics(cell.suite)},
        **_probing(plan),
        "options": plan.options[cell.baseline],
        "changed": {
            **changed_options(cell.baseline, plan.options[cell.baseline]),
            **({"trained on": " + ".join(elsewhere)} if elsewhere else {}),
        },
        "tuning": plan.tuning[cell.baseline].model_dump() if cell.baseline in plan.tuning else None,
        "device": _device_name(context),
        "dtype": plan.dtype,
        "threads": plan.threads,
        "workers": plan.workers,
    }


def _trained_there(context: Context, method: Baseline) -> bool:
    """Whether a cell depends on the suites that the plan trains on."""
    pretrain = context.plan.pretrain
    if not isinstance(method, Learner):
        return False
    return method.trains or (pretrain is not None and not pretrain.suites)


def _recipe(plan: Plan) -> dict[str, str]:
    """The digest of a recipe of the user's, whose name others may have; nothing of a shipped one,
    or where nothing is pre-trained."""
    if not plan.pretrain or plan.backbone in names("backbone"):
        return {}
    from bench.recipe import read_recipe

    return {"recipe": digest_of(read_recipe(plan.backbone).model_dump())[:12]}


def _probing(plan: Plan) -> dict[str, Any]:
    """What a plan probes; nothing where it does not."""
    if not plan.probed:
        return {}
    return {"probes": {"names": plan.probed, "episodes": plan.probe_episodes}}


def _several_languages(context: Context, suite: str) -> dict[str, Any]:
    """The languages of tasks that have several between them; nothing where there is one."""
    found = [language for language in context.languages(suite) if language]
    return {"languages": found} if len(context.languages(suite)) > 1 else {}


def _device_name(context: Context) -> str:
    import torch

    if context.device.type == "cuda":
        return torch.cuda.get_device_name(context.device)
    return "cpu"


def _record(
    context: Context, cell: Cell, episode: Episode, predictions: Sequence[str]
) -> dict[str, Any]:
    """What one episode produced; statistics hold one list a query."""
    return {
        "index": episode.index,
        "task": episode.task,
        "seed": episode.seed,
        "digest": episode.digest,
        "support_part": episode.support_part,
        "support_ids": [example.id for example in episode.support],
        "query_ids": [example.id for example in episode.query],
        "predictions": list(predictions),
        "statistics": _statistics(context, cell, episode, predictions),
    }


def _statistics(
    context: Context, cell: Cell, episode: Episode, predictions: Sequence[str]
) -> dict[str, list[list[float]]]:
    """By metric, the sufficient statistics of each query's answer."""
    return {
        metric.name: metric.of_episode(predictions, episode.query)
        for metric in context.metrics(cell.suite)
    }


def _after(
    context: Context, cell: Cell, episode: Episode, answers: Mapping[int, Sequence[str]]
) -> dict[str, Any]:
    """The statistics of what was answered after some inner steps; nothing where that was not
    asked. JSON has names alone, so steps are texts."""
    scored = {
        str(step): _statistics(context, cell, episode, texts) for step, texts in answers.items()
    }
    return {"after": scored} if scored else {}
