"""The outer loop: its budget, its schedule, its batches, its costs."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.fomaml import Fomaml
from baselines.imaml import Imaml
from baselines.mamlpp import MamlPlusPlus
from baselines.reptile import Reptile
from bench.baseline import MetaTrained
from bench.causal import CausalBackbone
from bench.context import dataset_of
from bench.errors import UserError
from bench.registry import load, names
from bench.streams import Stream
from bench.training import OuterLoop, Training, draw_training_task


@pytest.fixture(scope="module")
def data() -> Any:
    return dataset_of("translation")


def small(kind: Any, **values: Any) -> Any:
    return kind(kind.Options(inner_steps=1, tasks_per_step=2, train_queries=2, **values))


def loop(learner: Any, backbone: Any, data: Any, shots: Sequence[int], seed: int) -> OuterLoop:
    return OuterLoop(learner, Training(backbone, data, shots, seed))


def test_the_budget_is_spent_and_not_much_more(llama: CausalBackbone, data: Any) -> None:
    told: list[float] = []
    _, cost = loop(small(Fomaml), llama, data, [2], seed=0).run(2000, told.append)
    assert 2000 <= cost.tokens < 2000 + cost.tokens / cost.steps
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert cost.flops > 0
    assert cost.seconds > 0


def test_a_seed_repeats_and_another_differs(llama: CausalBackbone, data: Any) -> None:
    runs = [loop(small(Fomaml), llama, data, [2], seed=s).run(800) for s in (3, 3, 4)]
    made = [start.weights for start, _ in runs]
    assert all(torch.equal(w, made[1][name]) for name, w in made[0].items())
    assert not all(torch.equal(w, made[2][name]) for name, w in made[0].items())


def test_the_rate_rises_then_falls_to_nothing(llama: CausalBackbone, data: Any) -> None:
    for kind, first in ((Fomaml, 0.0), (Reptile, 0.5)):
        learner = small(kind)
        rates: list[float] = []
        make = learner.outer

        def outer(weights: Sequence[Tensor], make: Any = make, rates: list[float] = rates) -> Any:
            optimizer = make(weights)
            step = optimizer.step

            def noted(*args: Any) -> Any:
                rates.append(optimizer.param_groups[0]["lr"])
                return step(*args)

            optimizer.step = noted
            return optimizer

        learner.outer = outer
        loop(learner, llama, data, [2], seed=0).run(4000)
        highest = rates.index(max(rates))
        assert rates[: highest + 1] == sorted(rates[: highest + 1])
        assert rates[highest:] == sorted(rates[highest:], reverse=True)
        assert rates[-1] < 0.2 * max(rates)
        assert (highest == 0) == (first > 0)


def test_training_tasks_are_meta_train_with_no_shared_group(data: Any) -> None:
    names = data.names("meta-train")
    allowed = {e.id for name in names for e in data.task(name).parts["train"]}
    for step in range(20):
        support, query = draw_training_task(Stream(0, step), data, names, [2, 5], 7)
        assert len(support) in (2, 5)
        assert len(query) == 7
        assert {e.id for e in [*support, *query]} <= allowed
        assert not {e.group for e in support} & {e.group for e in query}


def test_no_task_large_enough(llama: CausalBackbone, data: Any) -> None:
    with pytest.raises(UserError, match="513 train examples"):
        loop(small(Fomaml), llama, data, [512], seed=0)


@pytest.mark.parametrize("tasks", [1, 5])
def test_the_last_batch_ends_with_the_budget(llama: CausalBackbone, data: Any, tasks: int) -> None:
    learner = Fomaml(Fomaml.Options(inner_steps=1, tasks_per_step=tasks, train_queries=2))
    _, cost = loop(learner, llama, data, [2], seed=0).run(1500)
    assert 1500 <= cost.tokens < 1500 + 4 * 128, "one task is at most four full rows"


def test_no_budget_gives_the_start_itself(llama: CausalBackbone, data: Any) -> None:
    start, cost = loop(small(Fomaml), llama, data, [2], seed=0).run(0)
    assert cost.as_dict()["steps"] == cost.tokens == 0
    first = llama.weights()
    assert all(torch.equal(weight, first[name]) for name, weight in start.weights.items())


@pytest.mark.parametrize(
    "name", [n for n in names("baseline") if issubclass(load("baseline", n), MetaTrained)]
)
def test_training_changes_every_meta_parameter_but_frozen_ones(
    llama: CausalBackbone, data: Any, name: str
) -> None:
    kind = load("baseline", name)
    wanted = {"inner_steps": 2, "tasks_per_step": 2, "train_queries": 2, "epoch_steps": 1}
    fields = kind.Options.model_fields
    learner = kind(kind.Options(**{key: v for key, v in wanted.items() if key in fields}))
    made = learner.prepare(llama)
    begin = learner.start(made, Stream(0, "initialisation").torch_seed())
    before = {n: value.detach().clone() for n, value in begin.meta.items()}
    start, cost = learner.meta_train(Training(made, data, [2], 0), 2500, lambda fraction: None)
    assert cost.tokens >= 2500
    assert cost.as_dict()["notes"].keys() == cost.noted.keys()
    same = [n for n, value in start.meta.items() if torch.equal(value, before[n])]
    assert same == []
    assert start.meta.keys() == before.keys()


def test_operations_are_counted_again_as_a_method_changes(llama: CausalBackbone, data: Any) -> None:
    """MAML++ passes from order 1 to 2: a token then costs more than at first."""
    per_token = []
    for epochs in (0, 2, 99):
        made = small(MamlPlusPlus, first_order_epochs=epochs, loss_epochs=0)
        _, cost = loop(made, llama, data, [2], seed=0).run(4000)
        per_token.append(cost.flops / cost.tokens)
        assert cost.steps > 4
    assert per_token[0] > per_token[1] > per_token[2]


def test_the_first_outer_step_moves(llama: CausalBackbone, data: Any) -> None:
    start, cost = loop(small(Fomaml), llama, data, [2], seed=0).run(1)
    assert cost.steps == 1
    first = llama.weights()
    assert not any(torch.equal(weight, first[name]) for name, weight in start.weights.items())


def test_what_a_method_notes_becomes_a_mean(llama: CausalBackbone, data: Any) -> None:
    _, cost = loop(small(Imaml), llama, data, [2], seed=0).run(1500)
    notes = cost.as_dict()["notes"]
    assert set(notes) == {"cg_residual", "cg_converged", "inner_gradient"}
    for name, value in notes.items():
        assert value == pytest.approx(sum(cost.noted[name]) / len(cost.noted[name]))
