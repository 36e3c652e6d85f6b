"""Independent sources for the proofs: a loss without padding, plain unrolled autograd."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from baselines.maml import Maml
from bench.backbone import Backbone, attention
from bench.initialisation import Initialisation
from bench.steps import Steps

RATE = 0.05


def next_token_logs(backbone: Backbone, weights: Any, prompt: Any, target: Any) -> Tensor:
    """Log-probabilities (target tokens, vocabulary) of each token of one target."""
    model, first = backbone.model, len(prompt) - 1
    inputs: dict[str, Any] = {"input_ids": torch.tensor([prompt + target])}
    if model.config.is_encoder_decoder:
        inputs = {
            "input_ids": torch.tensor([prompt]),
            "decoder_input_ids": torch.tensor([[model.config.decoder_start_token_id, *target]]),
        }
        first = 0
    with attention(True):
        logits = functional_call(model, dict(weights), (), inputs).logits[0]
    return torch.log_softmax(logits, dim=-1)[first : first + len(target)]


def plain_loss(backbone: Backbone, weights: Mapping[str, Tensor], rows: Any) -> Tensor:
    """An independent loss: no padding, one row at a time, log-softmax picked by hand."""
    total, count = 0.0, 0
    for example in rows:
        prompt = backbone.tokenizer(f"{example.input} =>").input_ids
        target = [*backbone.tokenizer(f" {example.target}").input_ids, 1]
        logs = next_token_logs(backbone, weights, prompt, target)
        for place, token in enumerate(target):
            total = total - logs[place, token]
            count += 1
    return total / count


def ids_of(batch: Any) -> dict[str, Tensor]:
    return {key: value for key, value in batch.inputs.items() if key.endswith("input_ids")}


def start(backbone: Backbone, learner: Any = None) -> Initialisation:
    """Where meta-training begins, as leaves."""
    made = (learner or options(Maml)).start(backbone, 0)
    return made.with_meta({n: w.clone().requires_grad_() for n, w in made.meta.items()})


def options(kind: Any, **values: Any) -> Any:
    return kind(kind.Options(inner_rule="sgd", inner_rate=RATE, **values))


def unrolled(
    loss: Any, weights: Any, steps: int, inner: Any = None, step: Any = None, path: bool = True
) -> list[Any]:
    """The weights before the first step and behind each: descent on `loss` by plain autograd.

    `inner` names the weights that move, `step(name, gradient, number)` is what is taken off.
    """
    inner, now = inner or list(weights), [dict(weights)]
    step = step or (lambda name, gradient, number: RATE * gradient)
    for number in range(steps):
        last = now[-1]
        grads = torch.autograd.grad(loss(last), [last[n] for n in inner], create_graph=path)
        moved = {n: last[n] - step(n, g, number) for n, g in zip(inner, grads, strict=True)}
        now.append({**last, **moved})
    return now


def flat(parts: Any) -> Tensor:
    return torch.cat([part.detach().reshape(-1) for part in parts])


def relative(ours: Any, theirs: Any) -> float:
    """|ours - theirs| / |theirs|."""
    return float((flat(ours) - flat(theirs)).norm() / flat(theirs).norm())


def direction(learner: Any, begin: Any, task: Any) -> dict[str, Tensor]:
    """A learner's direction by the names of the meta-parameters."""
    with attention(True):
        parts = learner.direction(begin, task)
    return dict(zip(begin.meta, parts, strict=True))


class Scripted(Steps):
    """Writes what it is told, whatever it reads, and token 5 behind that."""

    def __init__(self, rows: Sequence[Sequence[int]], vocabulary: int) -> None:
        self.rows, self.left = len(rows), [list(row) for row in rows]
        self.vocabulary, self.kept = vocabulary, list[int]()

    def first(self) -> Tensor:
        new = [row.pop(0) if row else 5 for row in self.left]
        return torch.nn.functional.one_hot(torch.tensor(new), self.vocabulary)

    def next(self, tokens: Tensor) -> Tensor:
        return self.first()

    def keep(self, index: Tensor, tasks: Tensor | None = None) -> None:
        self.left = [self.left[i] for i in index.tolist()]
        self.kept.append(len(index))

    def _select(self, index: Tensor) -> None:
        raise AssertionError
