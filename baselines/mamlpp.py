"""MAML++: MAML with learned rates and a steadier outer loop."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import Field

from baselines.learned_step import LearnedStep
from bench.baseline import cosine

if TYPE_CHECKING:
    from torch import Tensor

    from bench.initialisation import Initialisation
    from bench.inner_loop import Parameters, Path
    from bench.training import TaskLoss

LEAST = 0.03  # the paper's code leaves every step before the last this share of 1 / n


def step_weights(steps: int, epoch: int, epochs: int) -> list[float]:
    """The weights of the query losses behind each of n steps, which sum to 1: equal at first, all
    but all on the last after `epochs` (Antoniou et al. 2019, section 4; the least share is that of
    the authors' code)."""
    share = 1 / steps
    rest = max(share * (1 - epoch / epochs), share * LEAST) if epoch < epochs else 0.0
    return [rest] * (steps - 1) + [1 - rest * (steps - 1)]


@dataclass(frozen=True)
class StepRates:
    """theta <- theta - rates[step] * gradient, with a rate for every tensor and step; steps beyond
    the last rate take that one."""

    rates: "Parameters"

    def start(self, weights: "Parameters") -> Any:
        """No step taken."""
        return 0

    def step(
        self, weights: "Parameters", gradients: "Sequence[Tensor]", state: Any
    ) -> "tuple[dict[str, Tensor], Any]":
        """One step of descent."""
        moved = {}
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
            rates = self.rates[name]
            moved[name] = weight - rates[min(state, len(rates) - 1)] * gradient
        return moved, state + 1


class MamlPlusPlus(LearnedStep):
    """MAML++ (Antoniou et al. 2019), what of it concerns models without batch norm.

    - a learned rate for every tensor and each of the n inner steps (LSLR); test steps beyond n take
      the last;
    - multi-step loss: the outer loss is sum_i w_i L_Q(theta_i); the w_i are equal at first and move
      to the last step over `loss_epochs`;
    - derivative-order annealing: order 1 for the first `first_order_epochs`, order 2 after;
    - the outer rate falls along a half cosine.

    An epoch is `epoch_steps` outer steps. The row's `second_order` is the share of training tasks
    that were differentiated twice.

    Cost of a training task: up to 2 n passes while the multi-step loss lasts, then n + 1 as `maml`;
    a pass of order 2 costs about twice one of order 1. A step at test costs less than one of Adam.

    Use it where plain MAML is unstable: with large inner rates, or many steps.
    """

    class Options(LearnedStep.Options):
        """Chosen by `fewgen tune`, see results/tuning.md."""

        outer_rate: float = Field(3e-4, gt=0, description="step size of the outer loop, to 0")
        inner_rate: float = Field(0.2, ge=0, description="step size of the inner loop")
        epoch_steps: int = Field(1, ge=1, description="outer steps of an epoch")
        loss_epochs: int = Field(8, ge=0, description="epochs of the multi-step loss")
        first_order_epochs: int = Field(3, ge=0, description="epochs of order 1")

    options: Options

    def with_learned(self, start: "Initialisation") -> "Initialisation":
        """n rates for every tensor that moves."""
        count, rate = max(self.options.inner_steps, 1), self.options.inner_rate
        learned = {f"rate/{n}": w.new_full((count,), rate) for n, w in start.moving.items()}
        return start.with_learned(learned)

    def rule(self, start: "Initialisation") -> StepRates:
        """Descent with the learned rates."""
        return StepRates({name: start.learned[f"rate/{name}"] for name in start.inner})

    def direction(self, start: "Initialisation", task: "TaskLoss") -> "Sequence[Tensor]":
        """The gradient of the weighted query losses behind every step."""
        from bench.inner_loop import gradient
        from bench.recomputed import recomputed

        options, epoch = self.options, task.step // self.options.epoch_steps
        steps = options.inner_steps
        if steps == 0:
            return gradient(task.query(start.weights), start.meta)
        query = partial(recomputed, task.query, ()) if self.checkpoint_steps else task.query
        shares = iter(step_weights(steps, epoch, options.loss_epochs))
        parts: list[Tensor] = []

        def after_step(weights: "Parameters") -> None:
            share = next(shares)
            if share:
                parts.append(share * query(weights))

        path: Path = "1" if epoch < options.first_order_epochs else "2"
        task.note("second_order", [float(path == "2")] * task.count)
        self.inner(task.support, start, path, after_step)
        return gradient(sum(parts[1:], parts[0]), start.meta)

    def schedule(self, spent: float) -> float:
        """A half cosine."""
        return cosine(spent)
