"""Against other people's code in one process: the extra `peers`."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from baselines.imaml import Imaml
from baselines.maml import Maml
from baselines.meta_sgd import MetaSgd
from bench.backbone import Backbone, attention
from bench.causal import CausalBackbone
from bench.prompt import Prompt
from bench.tasks import Example
from bench.training import TaskLoss
from tests.conftest import build
from tests.proofs import RATE, options, plain_loss, relative, start

MISSING = "the extra `peers` is not installed: pip install 'fewgen[peers]'"


@pytest.fixture
def gpt2(tokenizer: Any) -> Backbone:
    """Tied, as GPT-2 is."""
    return CausalBackbone(build("gpt2", tokenizer), tokenizer, Prompt())


@pytest.fixture
def untied_gpt2(tokenizer: Any) -> Backbone:
    model = build("gpt2", tokenizer)
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    return CausalBackbone(model, tokenizer, Prompt())


class Asked(nn.Module):
    """A module whose forward is the independent loss of some examples, for libraries that want
    to call a module."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.model, self._backbone = backbone.model, backbone

    def forward(self, examples: list[Example]) -> Tensor:
        weights = {n.removeprefix("model."): p for n, p in self.named_parameters()}
        return plain_loss(self._backbone, weights, examples)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_maml_equals_higher_on_a_tied_gpt2(
    gpt2: Backbone, examples: list[Example], steps: int
) -> None:
    higher = pytest.importorskip("higher", reason=MISSING)
    begin = start(gpt2)
    task = TaskLoss(gpt2, [(examples[:4], examples[4:])])
    with attention(True):
        ours = options(Maml, inner_steps=steps).direction(begin, task)

    # higher patches a module's forward; batches of equal length need no padding there.
    model = gpt2.model
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)

    def loss(patched: Any, part: list[Example]) -> Tensor:
        total, count = torch.zeros((), dtype=torch.float64), 0
        for example in part:
            prompt = gpt2.tokenizer(f"{example.input} =>").input_ids
            target = [*gpt2.tokenizer(f" {example.target}").input_ids, 1]
            logits = patched(input_ids=torch.tensor([prompt + target])).logits[0]
            logs = torch.log_softmax(logits, -1)[len(prompt) - 1 : -1]
            total = total - logs[range(len(target)), target].sum()
            count += len(target)
        return total / count

    with attention(True), higher.innerloop_ctx(model, optimizer) as (patched, inner):
        for _ in range(steps):
            inner.step(loss(patched, examples[:4]))
        first = list(patched.parameters(time=0))
        theirs = torch.autograd.grad(loss(patched, examples[4:]), first)
    assert len(theirs) == len(ours), "a tied weight stands once in both"
    assert relative(ours, theirs) < 1e-9


@pytest.mark.parametrize("kind", [Maml, MetaSgd])
def test_descent_equals_torchopt_on_an_untied_model(
    untied_gpt2: Backbone, examples: list[Example], kind: Any
) -> None:
    torchopt = pytest.importorskip("torchopt", reason=MISSING)
    learner = options(kind, inner_steps=2)
    begin = start(untied_gpt2, learner)
    task = TaskLoss(untied_gpt2, [(examples[:4], examples[4:])])
    with attention(True):
        ours = learner.direction(begin, task)[: len(begin.weights)]

    asked = Asked(untied_gpt2)
    first = list(asked.parameters())
    optimizer = torchopt.MetaSGD(asked, lr=RATE)
    with attention(True):
        for _ in range(2):
            optimizer.step(asked(examples[:4]))
        theirs = torch.autograd.grad(asked(examples[4:]), first)
    assert relative(ours, theirs) < 1e-9


@pytest.mark.filterwarnings("ignore:We've integrated functorch:FutureWarning")  # torchopt's
def test_the_implicit_gradient_equals_torchopt() -> None:
    """A problem small enough to solve its inner problem to the end, where the theorem holds."""
    torchopt = pytest.importorskip("torchopt", reason=MISSING)
    generator = torch.Generator().manual_seed(0)
    support, query = (torch.randn(8, 3, generator=generator).double() for _ in "sq")
    strength = 2.0

    def loss(data: Tensor, weights: Tensor) -> Tensor:
        return (torch.tanh(data @ weights) - data[:, 0]).square().mean()

    class Task:
        count = 1

        def support(self, weights: Any) -> Tensor:
            return loss(support, weights["w"])[None]

        def query(self, weights: Any) -> Tensor:
            return loss(query, weights["w"])[None]

        def again(self, part: str, which: Any) -> None:
            pass

        def note(self, name: str, values: Any) -> None:
            pass

    from bench.initialisation import Initialisation

    theta = torch.randn(3, generator=generator).double().requires_grad_()
    learner = Imaml(
        Imaml.Options(
            inner_steps=400, inner_rate=0.2, strength=strength, cg_steps=50, cg_tolerance=1e-14
        )
    )
    ours = learner.direction(Initialisation({"w": theta}, ("w",)), Task())

    def inner(phi: Tensor, start: Tensor, data: Tensor) -> Tensor:
        return loss(data, phi) + strength / 2 * (phi - start).square().sum()

    def stationary(phi: Any, start: Any, data: Any) -> Any:
        return (torch.func.grad(inner)(phi[0], start[0], data),)

    solver = torchopt.linear_solve.solve_normal_cg(maxiter=50, atol=0)

    @torchopt.diff.implicit.custom_root(stationary, argnums=1, has_aux=False, solve=solver)
    def solve(phi: Any, start: Any, data: Any) -> Any:
        found = phi[0]
        for _ in range(400):
            found = found - 0.2 * torch.func.grad(inner)(found, start[0], data)
        return (found,)

    reached = solve((theta.detach().clone(),), (theta,), support)
    theirs = torch.autograd.grad(loss(query, reached[0]), theta)
    assert relative(ours, theirs) < 1e-8


def test_functional_call_is_what_peers_see(gpt2: Backbone, examples: list[Example]) -> None:
    """The loss above is ours: else nothing is compared."""
    batch, _ = gpt2.batch([examples])
    inputs = {"input_ids": batch.inputs["input_ids"], "use_cache": False}
    logits = functional_call(gpt2.model, gpt2.weights(), (), inputs).logits
    assert logits.dtype == torch.float64
    torch.testing.assert_close(
        gpt2.losses(gpt2.weights(), batch)[0], plain_loss(gpt2, gpt2.weights(), examples)
    )
