"""Fine-tuning for as many steps as were best on meta-validation tasks."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from bench.baseline import GradientLearner, Space

if TYPE_CHECKING:
    from bench.initialisation import Initialisation
    from bench.inner_loop import Adapted, AfterStep, Loss, Parameters
    from bench.training import TaskLoss, Training, TrainingCost


class EarlyStopped(GradientLearner):
    """Fine-tuning with a stopping time chosen on meta-validation tasks.

    Every meta-validation task in turn is fine-tuned for up to `inner_steps` steps, and its query
    loss read after every `every` of them, until the tasks or the token budget are spent; the number
    of steps with the lowest mean is what every test episode gets. One number a suite and train
    seed; weights are not trained.

    Cost of a task: n passes and n / `every` readings, each counted as a whole pass. A step at test
    costs what one of fine-tuning does. The row's `stopped_at` tells the choice.

    Use it as the strong rival: what is gained over it is more than good stopping.
    """

    trains = True
    search: ClassVar[Space] = {
        "inner_rate": (3e-4, 5e-4, 7e-4, 1e-3, 2e-3),
        "inner_steps": (48, 72),
    }

    class Options(GradientLearner.Options):
        """Chosen by `fewgen tune`, see results/tuning.md."""

        inner_steps: int = Field(48, ge=1, description="the most gradient steps")
        inner_rate: float = Field(1e-3, ge=0, description="step size of the inner loop")
        every: int = Field(4, ge=1, description="steps between two readings of the query loss")
        train_queries: int = Field(16, ge=1, description="query examples of a validation task")

    options: Options

    def with_learned(self, start: "Initialisation") -> "Initialisation":
        """The number of steps, all of them until it was chosen; nothing else is learned."""
        import torch

        still = replace(start, frozen=frozenset(start.weights))
        return still.with_learned({"stop/steps": torch.tensor(float(self.options.inner_steps))})

    def meta_train(
        self, training: "Training", budget: int, progress: Callable[[float], None]
    ) -> "tuple[Initialisation, TrainingCost]":
        """Chooses the number of steps."""
        import torch

        from bench.streams import Stream
        from bench.timing import Stopwatch
        from bench.training import TrainingCost

        stream = Stream(training.seed, "early stopping", training.dataset.name)
        names = stream.shuffled(training.names("meta-validation"))
        seed = Stream(training.seed, "initialisation").torch_seed()
        start, cost = self.start(training.backbone, seed), TrainingCost()
        watch, curves = Stopwatch(training.backbone.device), []
        for name in names:
            if cost.tokens >= budget:
                break
            task = training.draw(stream, [name], self.options.train_queries)
            curves.append(self._curve(start, task))
            cost.take(task)
            progress(min(cost.tokens / budget, 1.0))
        cost.seconds = watch.total() / 1e3
        if curves:
            mean = torch.tensor(curves, dtype=torch.float64).mean(0)
            steps = (int(mean.argmin()) + 1) * self.options.every
            cost.noted = {"stopped_at": [float(steps)], "validation_tasks": [float(len(curves))]}
            start = start.with_meta({"stop/steps": torch.tensor(float(steps))})
        return start, cost

    def _curve(self, start: "Initialisation", task: "TaskLoss") -> list[float]:
        """Query losses after every `every` steps; infinite from where the inner loop diverged."""
        import torch

        from bench.inner_loop import Diverged

        options, losses, taken = self.options, list[float](), 0

        def after_step(weights: "Parameters") -> None:
            nonlocal taken
            taken += 1
            if taken % options.every == 0:
                with torch.no_grad():
                    losses.append(task.query(weights).item())

        count = max(options.inner_steps // options.every, 1)
        try:
            self.inner_loop(task.support, start, count * options.every, after_step=after_step)
        except Diverged:
            losses += [float("inf")] * (count - len(losses))
        return losses

    def adapt(
        self, loss: "Loss", start: "Initialisation", after_step: "AfterStep | None" = None
    ) -> "Adapted":
        """The chosen number of steps."""
        steps = round(float(start.learned["stop/steps"]))
        return self.inner_loop(loss, start, steps, after_step=after_step)
