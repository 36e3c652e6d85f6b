"""The stopping time is the one with the lowest query loss on meta-validation tasks."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import bench
from baselines.early_stopped import EarlyStopped
from bench.causal import CausalBackbone
from bench.context import dataset_of
from bench.episodes import draw_episode
from bench.inner_loop import Adam, adapt
from bench.streams import Stream
from bench.training import TaskLoss, Training


@pytest.fixture(scope="module")
def data() -> Any:
    return dataset_of("translation")


def learner(**values: Any) -> EarlyStopped:
    given = {"inner_steps": 8, "every": 2, "inner_rate": 0.02, "train_queries": 4, **values}
    return EarlyStopped(EarlyStopped.Options(**given))


def test_the_choice_is_that_of_a_plain_loop(llama: CausalBackbone, data: Any) -> None:
    training = Training(llama, data, [3], 5)
    start, cost = learner().meta_train(training, 4000, lambda fraction: None)

    names = Stream(5, "early stopping").shuffled(data.names("meta-validation"))
    curves = []
    for name in names[: int(cost.noted["validation_tasks"][0])]:
        drawn = draw_episode("early stopping", data.task(name), 3, 4, 5, 0)
        task = TaskLoss(llama, [(drawn.support, drawn.query)])
        weights, losses = llama.weights(), []
        for _ in range(4):
            losses.append(None)
            steps = 2 * len(losses)
            adapted = adapt(task.support, weights, Adam(0.02), steps).weights
            losses[-1] = task.query(adapted).item()
        curves.append(losses)
    mean = torch.tensor(curves).mean(0)
    chosen = 2 * (int(mean.argmin()) + 1)
    assert len(curves) > 1
    assert cost.noted["stopped_at"] == [chosen]
    assert float(start.learned["stop/steps"]) == chosen
    assert cost.tokens >= 4000


def test_a_test_episode_gets_the_chosen_steps(llama: CausalBackbone, data: Any) -> None:
    training = Training(llama, data, [3], 0)
    made = learner(inner_rate=2.0, inner_rule="sgd")
    start, _ = made.meta_train(training, 800, lambda fraction: None)
    steps = int(start.learned["stop/steps"])
    assert steps < 8, "at such a rate more steps are worse"
    task = training.draw(Stream(1), data.names("meta-test"), 2)
    assert len(made.adapt(task.support, start).losses) == steps
    assert list(start.meta) == ["stop/steps"], "no weight is trained"


def test_without_a_budget_all_steps_are_taken(llama: CausalBackbone, data: Any) -> None:
    training = Training(llama, data, [3], 0)
    start, cost = learner().meta_train(training, 0, lambda fraction: None)
    assert float(start.learned["stop/steps"]) == 8
    assert cost.tokens == 0


def test_where_the_inner_loop_diverges_it_stops_before(llama: CausalBackbone, data: Any) -> None:
    """A loss that is no number is no minimum."""
    made = learner(inner_rate=1e6, inner_rule="sgd", every=1)
    training = Training(llama, data, [3], 0)
    start, _ = made.meta_train(training, 800, lambda fraction: None)
    task = training.episodes("a", data.names("meta-test")[:1], 2)
    (curve,) = made._curves(made.start(llama, 0), task)
    assert math.isinf(curve[-1])
    assert not any(math.isnan(value) for value in curve)
    assert float(start.learned["stop/steps"]) < 1 + curve.index(math.inf)


@pytest.mark.parametrize(
    ("most", "every", "readings"),
    [(8, 2, [2, 4, 6, 8]), (7, 3, [3, 6, 7]), (5, 100, [5]), (1, 1, [1])],
)
def test_no_reading_lies_beyond_the_most_steps(most: int, every: int, readings: list[int]) -> None:
    assert learner(inner_steps=most, every=every)._readings() == readings


def test_validation_tasks_with_just_enough_are_used(checkpoint: str, tmp_path: Path) -> None:
    """K train examples and a test one; or no train part at all, as everywhere else."""
    for part in ("train", "validation"):
        lines = []
        for task in range(12):
            parts = [part] * 2 + ["test"]
            lines += [
                {"input": f"w{task} x{i}", "target": f"y{i}", "task": f"t{task}", "split": p}
                for i, p in enumerate(parts)
            ]
        data = tmp_path / f"{part}.jsonl"
        data.write_text("".join(json.dumps(line) + "\n" for line in lines))
        plan = {
            "suites": ["translation"],
            "baselines": ["early-stopped"],
            "options": {"early-stopped": {"inner_steps": 2, "every": 1}},
            "backbone": checkpoint,
            "data": str(data),
            "shots": [2],
            "episodes": 1,
            "train_budget": 100,
            "max_new_tokens": 4,
            "out": str(tmp_path / part),
        }
        assert bench.run(plan).failures == {}
