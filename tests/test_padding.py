"""Padding changes no loss and no gradient; what a loss is the mean of is one choice, recorded."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import bench
from bench.backbone import Backbone, attention
from bench.batches import IGNORED, Batch
from bench.inner_loop import gradient
from bench.packing import Packing
from bench.records import read_cell
from bench.tasks import Example
from tests.proofs import plain_loss, relative, start


def padded(backbone: Backbone, batch: Batch, columns: int, rows: int) -> Batch:
    """The batch with more padding on the right, with labels that are none, and with rows of nothing
    but padding where rows are not in one line."""
    fillers = {"attention_mask": 0, "position_ids": 0}
    rows = 0 if batch.packing else rows

    def wider(tensor: Tensor, filler: int) -> Tensor:
        return torch.nn.functional.pad(tensor, (0, columns, 0, rows), value=filler)

    inputs = {n: wider(t, fillers.get(n, backbone.pad)) for n, t in batch.inputs.items()}
    width, packing, places = batch.labels_width, batch.packing, batch.places
    if packing:  # one line: what was padding of a row may be any padding of the line
        width += columns
        to_lines = torch.cat([packing.to_lines, packing.to_lines[-1:].expand(columns)])
        packing = Packing(packing.to_rows, to_lines, packing.groups, packing.length + columns)
    else:
        places = places // width * (width + columns) + places % width
    more = torch.nn.functional.pad
    labels, shares = more(batch.labels, (0, 3), value=IGNORED), more(batch.shares, (0, 3))
    return Batch(inputs, more(places, (0, 3)), labels, shares, batch.tokens, packing)


@pytest.mark.parametrize("mean", ["token", "sequence"])
@pytest.mark.parametrize(("columns", "rows"), [(7, 0), (0, 3), (5, 2)])
def test_padding_changes_no_loss_and_no_gradient(
    backbone: Backbone, examples: list[Example], mean: Any, columns: int, rows: int
) -> None:
    backbone.mean = mean
    begin = start(backbone)
    batch, _ = backbone.batch([examples])
    found = []
    for given in (batch, padded(backbone, batch, columns, rows)):
        with attention(True):
            loss = backbone.losses(begin.weights, given)[0]
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
    batch, _ = backbone.batch([examples])
    sizes = {len(backbone.pair_ids(example)[1]) for example in examples}
    assert len(sizes) > 1, "targets differ in length"
    by_token = backbone.losses(weights, batch)[0]
    torch.testing.assert_close(by_token, plain_loss(backbone, weights, examples))
    backbone.mean = "sequence"
    batch, _ = backbone.batch([examples])
    rows = [plain_loss(backbone, weights, [example]) for example in examples]
    expected = torch.stack(rows).mean()
    torch.testing.assert_close(backbone.losses(weights, batch)[0], expected, rtol=1e-12, atol=0)
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
