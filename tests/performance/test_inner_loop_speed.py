"""How long the hot paths take: `make benchmark`. Nothing here passes or fails by its time."""

from typing import Any

import pytest
import torch

from bench.backbone import attention
from bench.checkpoints import load_backbone
from bench.context import dataset_of
from bench.episodes import draw_episode
from bench.inner_loop import Adam, adapt
from bench.registry import load
from bench.training import TaskLoss

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def material() -> Any:
    torch.set_num_threads(1)
    backbone = load_backbone("tiny", None, torch.device("cpu"), "float32")
    data = dataset_of("translation")
    episode = draw_episode("translation", data.task(data.names("meta-test")[0]), 8, 16, 0, 0)
    return backbone, episode


def test_adaptation_of_one_episode(benchmark: Any, material: Any) -> None:
    backbone, episode = material
    batch, _ = backbone.batch([episode.support])
    weights = backbone.weights()
    made = benchmark(lambda: adapt(lambda w: backbone.losses(w, batch), weights, Adam(1e-3), 5))
    assert made.losses[-1] < made.losses[0]


@pytest.mark.parametrize("name", ["fomaml", "maml", "reptile"])
def test_direction_of_one_task(benchmark: Any, material: Any, name: str) -> None:
    backbone, episode = material
    kind = load("baseline", name)
    learner = kind(kind.Options())
    start = learner.start(backbone, 0)
    for value in start.meta.values():
        value.requires_grad_()
    task = TaskLoss(backbone, [(episode.support, episode.query)])
    with attention(learner.order == "2"):
        gradient = benchmark(learner.direction, start, task)
    assert sum(float(part.detach().norm()) for part in gradient) > 0


def test_generation_of_one_episode(benchmark: Any, material: Any) -> None:
    backbone, episode = material
    inputs = [[example.input for example in episode.query]]
    (made,) = benchmark(backbone.generate, backbone.weights(), inputs, 32)
    assert made.tokens > 0
