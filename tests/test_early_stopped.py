"""The stopping time is the one with the lowest query loss on meta-validation tasks."""

from typing import Any

import pytest
import torch

from baselines.early_stopped import EarlyStopped
from bench.causal import CausalBackbone
from bench.context import dataset_of
from bench.inner_loop import Adam, adapt
from bench.streams import Stream
from bench.training import Training


@pytest.fixture(scope="module")
def data() -> Any:
    return dataset_of("translation")


def learner(**values: Any) -> EarlyStopped:
    given = {"inner_steps": 8, "every": 2, "inner_rate": 0.02, "train_queries": 4, **values}
    return EarlyStopped(EarlyStopped.Options(**given))


def test_the_choice_is_that_of_a_plain_loop(llama: CausalBackbone, data: Any) -> None:
    training = Training(llama, data, [3], 5)
    start, cost = learner().meta_train(training, 4000, lambda fraction: None)

    stream = Stream(5, "early stopping", data.name)
    names = stream.shuffled(data.names("meta-validation"))
    curves = []
    for name in names[: int(cost.noted["validation_tasks"][0])]:
        task = training.draw(stream, [name], 4)
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
    made = learner(inner_rate=20.0)
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
    made = learner(inner_rate=1e6, inner_rule="sgd", every=1)
    training = Training(llama, data, [3], 0)
    start, _ = made.meta_train(training, 800, lambda fraction: None)
    assert float(start.learned["stop/steps"]) < 8
