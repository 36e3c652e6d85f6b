"""Inner steps that are taken anew for the outer gradient: the same numbers, less memory."""

import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import bench
from bench.backbone import Backbone, attention
from bench.baseline import MetaLearner
from bench.inner_loop import Adam, Sgd, adapt, gradient
from bench.records import read_cell
from bench.registry import load, names
from bench.tasks import Example
from bench.training import TaskLoss
from tests.proofs import RATE, direction, relative, start, unrolled
from tests.test_at_once import plan, unequal

SECOND = [
    name
    for name in names("baseline")
    if issubclass(load("baseline", name), MetaLearner) and load("baseline", name).order == "2"
]


def found(
    name: str, backbone: Backbone, examples: list[Example], checkpointed: bool, step: int
) -> tuple[dict[str, torch.Tensor], TaskLoss]:
    kind = load("baseline", name)
    learner = kind(kind.Options(inner_steps=3, inner_rate=0.02))
    learner.checkpoint_steps = checkpointed
    made = learner.prepare(backbone)
    task = TaskLoss(made, unequal(examples), step)
    return direction(learner, start(made, learner).for_tasks(3), task), task


# mamlpp: order 1 at step 0, the multi-step loss up to 8, the last loss alone behind it.
@pytest.mark.parametrize(
    ("name", "step"), [*((name, 4) for name in SECOND), ("mamlpp", 0), ("mamlpp", 9)]
)
def test_directions_and_token_counts_are_the_same(
    backbone: Backbone, examples: list[Example], name: str, step: int
) -> None:
    kept, before = found(name, backbone, examples, False, step)
    ours, after = found(name, backbone, examples, True, step)
    assert ours.keys() == kept.keys()
    for meta, value in kept.items():
        torch.testing.assert_close(ours[meta], value, rtol=1e-9, atol=1e-14)
    assert relative(ours.values(), kept.values()) < 1e-9
    assert after.tokens == before.tokens


@pytest.mark.parametrize("rule", [Sgd(RATE), Adam(1e-3)])
def test_what_is_reached_is_the_same_to_the_last_bit(
    backbone: Backbone, examples: list[Example], rule: Any
) -> None:
    batch, _ = backbone.batch([examples[:3]])
    weights = {n: w[None].requires_grad_() for n, w in backbone.weights().items()}
    with attention(True):
        kept, ours = (
            adapt(lambda w: backbone.losses(w, batch), weights, rule, 3, "2", None, anew)
            for anew in (None, ())
        )
    assert all(torch.equal(ours.weights[name], w) for name, w in kept.weights.items())
    assert all(map(torch.equal, ours.losses, kept.losses))


def test_gradients_reach_what_loss_and_rule_close_over() -> None:
    """Against plain unrolled autograd; the rates are made of what is learned, once."""
    torch.manual_seed(0)
    factor, logs, first = (torch.randn(4, dtype=torch.float64).requires_grad_() for _ in range(3))

    def loss(weights: Any) -> torch.Tensor:
        return (torch.tanh(weights["w"] * factor) - 0.3).square().sum(-1, keepdim=True)

    class Rates(Sgd):
        def step(self, weights: Any, gradients: Any, state: Any) -> Any:
            pairs = zip(weights.items(), gradients, strict=True)
            return {name: w - rates * g for (name, w), g in pairs}, state

    rates = logs.exp()
    made = adapt(loss, {"w": first}, Rates(0.0), 3, "2", None, [factor, logs]).weights
    wanted = [factor, logs, first]
    ours = torch.autograd.grad(made["w"].sin().sum(), wanted)
    rates = logs.exp()
    last = unrolled(lambda w: loss(w).sum(), {"w": first}, 3, step=lambda n, g, i: rates * g)[-1]
    plain = torch.autograd.grad(last["w"].sin().sum(), wanted)
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=0)


def test_a_state_of_another_kind_is_refused() -> None:
    class Odd(Sgd):
        def start(self, weights: Any) -> Any:
            return {1, 2}

    first = {"w": torch.ones(1, 2).requires_grad_()}
    with pytest.raises(TypeError, match="a set in the state of a step rule"):
        adapt(lambda w: w["w"].square().sum(1), first, Odd(RATE), 1, "2", None, ())


@dataclass(eq=False)
class Saved:
    tensor: torch.Tensor


def peak_bytes(backbone: Backbone, examples: list[Example], steps: int, anew: Any) -> int:
    """The most that all graphs hold at once, from the first inner step to the outer gradient."""
    held, peak = 0, 0

    def forget(size: int) -> None:
        nonlocal held
        held -= size

    def pack(tensor: torch.Tensor) -> Saved:
        nonlocal held, peak
        saved = Saved(tensor.detach())
        weakref.finalize(saved, forget, tensor.nbytes)
        held += tensor.nbytes
        peak = max(peak, held)
        return saved

    batch, _ = backbone.batch([examples])
    weights = {n: w[None].requires_grad_() for n, w in backbone.weights().items()}
    with (
        attention(True),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor),
    ):
        made = adapt(
            lambda w: backbone.losses(w, batch), weights, Sgd(RATE), steps, "2", None, anew
        )
        gradient(backbone.losses(made.weights, batch), weights)
    return peak


def test_graphs_of_kept_steps_add_up_and_those_of_steps_taken_anew_do_not(
    backbone: Backbone, examples: list[Example]
) -> None:
    held = {
        (anew, steps): peak_bytes(backbone, examples, steps, anew)
        for anew in (None, ())
        for steps in (1, 4)
    }
    weights = sum(w.nbytes for w in backbone.weights().values())
    assert held[(), 4] - held[(), 1] <= 3 * weights
    assert held[None, 4] - held[None, 1] > 9 * weights


def test_a_run_has_the_same_records_and_shows_the_operations(
    checkpoint: str, tmp_path: Path
) -> None:
    told, operations = {}, {}
    for checkpointed in (False, True):
        values = plan(
            checkpoint,
            tmp_path / str(checkpointed),
            baselines=["maml"],
            options={"maml": {"test_steps": 2}},
            checkpoint_steps=checkpointed,
        )
        outcome = bench.run(values)
        assert outcome.failures == {}
        header, records = read_cell(outcome.cells[0].path(outcome.root))
        told[checkpointed] = [
            header["train"]["tokens"],
            header["train"]["steps"],
            *((record["predictions"], record["losses"]) for record in records),
        ]
        operations[checkpointed] = header["train"]["flops"]
    assert told[True] == told[False]
    assert operations[True] > operations[False]
