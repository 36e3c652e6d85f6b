"""How long the hot paths take: `make benchmark`. Nothing here passes or fails by its time."""

from typing import Any

import pytest
import torch

from bench.backbone import Backbone, attention
from bench.checkpoints import load_backbone
from bench.context import dataset_of
from bench.episodes import Episode, draw_episode
from bench.inner_loop import Adam, adapt
from bench.parts import adapter_names, draw_adapters, with_adapters
from bench.registry import load
from bench.tasks import Dataset
from bench.training import TaskLoss

pytestmark = pytest.mark.slow


TASKS = 8


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    torch.set_num_threads(1)
    return dataset_of("translation")


@pytest.fixture(scope="module")
def episodes(dataset: Dataset) -> list[Episode]:
    names = dataset.names("meta-test")[:TASKS]
    return [draw_episode("translation", dataset.task(name), 8, 16, 0, 0) for name in names]


@pytest.fixture(scope="module")
def material(episodes: list[Episode]) -> Any:
    return load_backbone("tiny", None, torch.device("cpu"), "float32"), episodes[0]


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


def at_once(backbone: Backbone, episodes: list[Episode], names: list[str] | None = None) -> Any:
    """A function that adapts the weights of these names, all if none are given, to all tasks."""
    batch, _ = backbone.batch([episode.support for episode in episodes])
    first = backbone.weights()
    draw_adapters(first, 0)
    moving = {n: first[n].expand(len(episodes), *first[n].shape) for n in names or first}
    return lambda: adapt(lambda w: backbone.losses({**first, **w}, batch), moving, Adam(1e-3), 5)


@pytest.mark.parametrize("name", ["tiny", "tiny-lstm"])
def test_adaptation_of_eight_tasks(benchmark: Any, episodes: list[Episode], name: str) -> None:
    backbone = load_backbone(name, None, torch.device("cpu"), "float32")
    made = benchmark(at_once(backbone, episodes))
    assert (made.losses[-1] < made.losses[0]).all()


def test_low_rank_adaptation_of_eight_tasks(
    benchmark: Any, material: Any, episodes: list[Episode]
) -> None:
    backbone = with_adapters(material[0], 8, 16)
    made = benchmark(at_once(backbone, episodes, adapter_names(backbone)))
    assert (made.losses[-1] < made.losses[0]).all()


def test_generation_of_eight_adapted_models(
    benchmark: Any, material: Any, episodes: list[Episode]
) -> None:
    backbone, _ = material
    adapted = at_once(backbone, episodes)().weights
    inputs = [[example.input for example in episode.query] for episode in episodes]
    made = benchmark(backbone.generate, adapted, inputs, 32)
    assert [len(answers.texts) for answers in made] == [16] * TASKS


def test_a_batch_of_eight_tasks(benchmark: Any, material: Any, episodes: list[Episode]) -> None:
    """Texts to tokens, and their lines, places and labels."""
    backbone, _ = material
    batch, _ = benchmark(backbone.batch, [episode.support for episode in episodes])
    assert len(batch) == TASKS


def test_drawing_an_episode(benchmark: Any, dataset: Dataset) -> None:
    """With its digest."""
    task = dataset.task(dataset.names("meta-test")[0])
    made = benchmark(draw_episode, "translation", task, 8, 16, 0, 0)
    assert len(made.digest) == 64
