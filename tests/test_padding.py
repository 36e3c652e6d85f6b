"""Padding changes no loss and no gradient; what a loss is the mean of is one choice, recorded."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import bench
from bench.backbone import IGNORED, Backbone, Batch, attention
from bench.inner_loop import gradient
from bench.records import read_cell
from bench.tasks import Example
from tests.proofs import plain_loss, relative, start


def padded(backbone: Backbone, batch: Batch, columns: int, rows: int) -> Batch:
    """The batch with more padding on the right and with rows of nothing but padding."""
    fillers = {"attention_mask": 0}

    def wider(tensor: Tensor, filler: int) -> Tensor:
        return torch.nn.functional.pad(tensor, (0, columns, 0, rows), value=filler)

    inputs = {n: wider(t, fillers.get(n, backbone.pad)) for n, t in batch.inputs.items()}
    return Batch(inputs, wider(batch.labels, IGNORED), batch.tokens)


@pytest.mark.parametrize("mean", ["token", "sequence"])
@pytest.mark.parametrize(("columns", "rows"), [(7, 0), (0, 3), (5, 2)])
def test_padding_changes_no_loss_and_no_gradient(
    backbone: Backbone, examples: list[Example], mean: Any, columns: int, rows: int
) -> None:
    backbone.mean = mean
    begin = start(backbone)
    batch, _ = backbone.batch(examples)
    found = []
    for given in (batch, padded(backbone, batch, columns, rows)):
        with attention(True):
            loss = backbone.loss(begin.weights, given)
            first = gradient(loss, begin.weights, differentiable=True)
            # Second order too: the derivative of the gradient's square.
            square = torch.stack([(g * g).sum() for g in first]).sum()
            second = gradient(square, begin.weights)
        found.append((loss, first, second))
    (loss, first, second), (other, other_first, other_second) = found
    torch.testing.assert_close(other, loss, rtol=1e-12, atol=0)
    assert relative(other_first, first) < 1e-10
    assert relative(other_second, second) < 1e-9


def test_the_two_means(backbone: Backbone, examples: list[Example]) -> None:
    weights = backbone.weights()
    batch, _ = backbone.batch(examples)
    assert len(set((batch.labels != IGNORED).sum(1).tolist())) > 1, "targets differ in length"
    by_token = backbone.loss(weights, batch)
    torch.testing.assert_close(by_token, plain_loss(backbone, weights, examples))
    backbone.mean = "sequence"
    rows = [plain_loss(backbone, weights, [example]) for example in examples]
    expected = torch.stack(rows).mean()
    torch.testing.assert_close(backbone.loss(weights, batch), expected, rtol=1e-12, atol=0)
    assert abs(expected - by_token) > 1e-5


def test_the_mean_is_recorded_and_changes_the_result(checkpoint: str, tmp_path: Path) -> None:
    losses = {}
    for mean in ("token", "sequence"):
        plan = {
            "backbone": checkpoint,
            "suites": ["translation"],
            "baselines": ["fine-tuned"],
            "loss_mean": mean,
            "shots": [2],
            "queries": 1,
            "episodes": 1,
            "max_new_tokens": 4,
            "out": str(tmp_path / mean),
        }
        outcome = bench.run(plan)
        header, records = read_cell(outcome.cells[0].path(outcome.root))
        assert header["settings"]["loss_mean"] == mean
        losses[mean] = records[0]["losses"]
    assert losses["token"] != losses["sequence"]
