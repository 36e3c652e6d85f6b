"""Other ways to do the work of `bench.works`: a plain loop, and the libraries that people use.

Each takes one task after another, its batch padded on the right to its longest row.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bench.backbone import Row
from bench.batches import IGNORED, padded

Weights = dict[str, Tensor]
LIBRARIES = ("higher", "torchopt")


@dataclass(frozen=True)
class Rows:
    """Rows of one task: ids and labels (rows, tokens), padded; the label of a token is itself."""

    ids: Tensor
    labels: Tensor

    @classmethod
    def of(cls, rows: Sequence[Row], pad: int, device: torch.device) -> "Rows":
        """Padded to the longest."""
        return cls(
            padded([ids for ids, _ in rows], pad, device),
            padded([labels for _, labels in rows], IGNORED, device),
        )


@dataclass(frozen=True)
class MetaStep:
    """The mean gradient of the query losses of some tasks behind `steps` of descent.

    Attributes:
        tasks: support and query of each.
        second: through the steps' gradients too.
    """

    model: Any
    tasks: Sequence[tuple[Rows, Rows]]
    steps: int
    rate: float
    second: bool

    def weights(self) -> Weights:
        """The model's, as leaves."""
        return dict(self.model.named_parameters())

    def loss(self, weights: Mapping[str, Tensor] | None, rows: Rows) -> Tensor:
        """Mean cross-entropy of the labels; of the model as it is without weights."""
        inputs = {"input_ids": rows.ids, "use_cache": False}
        if weights is None:
            logits = self.model(**inputs).logits
        else:
            logits = functional_call(self.model, dict(weights), (), inputs).logits
        return cross_entropy(logits, rows.labels)

    def mean(self, gradient_of: Callable[[Rows, Rows], Sequence[Tensor]]) -> list[Tensor]:
        """The mean over tasks of what a peer finds for one."""
        total: list[Tensor] = []
        for support, query in self.tasks:
            found = gradient_of(support, query)
            total = [a + b for a, b in zip(total, found, strict=True)] if total else list(found)
        return [part / len(self.tasks) for part in total]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over labels, each told by the logits before it."""
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED
    )


def loop(work: MetaStep) -> list[Tensor]:
    """Plain autograd (Finn et al. 2017, algorithm 1)."""

    def gradient_of(support: Rows, query: Rows) -> Sequence[Tensor]:
        first = work.weights()
        weights = first
        for _ in range(work.steps):
            found = torch.autograd.grad(
                work.loss(weights, support), list(weights.values()), create_graph=work.second
            )
            pairs = zip(weights.items(), found, strict=True)
            with torch.set_grad_enabled(work.second):
                weights = {name: w - work.rate * g for (name, w), g in pairs}
            if not work.second:
                weights = {name: w.requires_grad_() for name, w in weights.items()}
        reached = first if work.second else weights
        return torch.autograd.grad(work.loss(weights, query), list(reached.values()))

    return work.mean(gradient_of)


class _Layers(nn.ModuleList):
    """A list whose slices are plain lists: models take slices of their layers, and the kind of list
    that `higher` makes of one cannot make another."""

    def __getitem__(self, index: Any) -> Any:
        return list(self)[index]


def higher(work: MetaStep) -> list[Tensor]:
    """facebookresearch/higher (Grefenstette et al. 2019)."""
    import higher as library

    for module in work.model.modules():
        if type(module) is nn.ModuleList:
            module.__class__ = _Layers

    def gradient_of(support: Rows, query: Rows) -> Sequence[Tensor]:
        optimizer = torch.optim.SGD(work.model.parameters(), lr=work.rate)
        with library.innerloop_ctx(
            work.model, optimizer, copy_initial_weights=False, track_higher_grads=work.second
        ) as (patched, inner):
            for _ in range(work.steps):
                logits = patched(input_ids=support.ids, use_cache=False).logits
                inner.step(cross_entropy(logits, support.labels))
            logits = patched(input_ids=query.ids, use_cache=False).logits
            time = 0 if work.second else -1
            reached = list(patched.parameters(time=time))
            return torch.autograd.grad(cross_entropy(logits, query.labels), reached)

    return work.mean(gradient_of)


def torchopt(work: MetaStep) -> list[Tensor]:
    """metaopt/torchopt (Ren et al. 2023), its functional optimiser."""
    import torchopt as library

    optimizer = library.sgd(lr=work.rate)

    def gradient_of(support: Rows, query: Rows) -> Sequence[Tensor]:
        first = work.weights()
        names, now = list(first), tuple(first.values())
        state = optimizer.init(now)
        for _ in range(work.steps):
            value = work.loss(dict(zip(names, now, strict=True)), support)
            found = torch.autograd.grad(value, now, create_graph=work.second)
            with torch.set_grad_enabled(work.second):
                updates, state = optimizer.update(found, state, inplace=False)
                now = library.apply_updates(now, updates, inplace=False)
            if not work.second:
                now = tuple(weight.requires_grad_() for weight in now)
        reached = tuple(first.values()) if work.second else now
        value = work.loss(dict(zip(names, now, strict=True)), query)
        return torch.autograd.grad(value, reached)

    return work.mean(gradient_of)


PEERS: dict[str, Callable[[MetaStep], list[Tensor]]] = {
    "loop": loop,
    "higher": higher,
    "torchopt": torchopt,
}
