"""Fine-tuning for as many steps as were best on meta-validation tasks."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from bench.baseline import GradientLearner, Space

if TYPE_CHECKING:
    from torch import Tensor

    from bench.initialisation import Initialisation
    from bench.inner_loop import Adapted, AfterStep, Loss, Parameters
    from bench.training import TaskLoss, Training, TrainingCost


class EarlyStopped(GradientLearner):
    """Fine-tuning with a stopping time chosen on meta-validation tasks.

    Every meta-validation task in turn is fine-tuned for up to `inner_steps` steps, and its query
    loss read after every `every` of them, until the tasks or the token budget are spent; the number
    of steps with the lowest mean is what every test episode gets. One number a suite and train
    seed; weights are not trained.

    Support and queries are drawn as at test. A run that measures meta-validation tasks themselves,
    as `fewgen tune` does, flatters it a little: its one number was chosen there.

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

        inner_steps: int = Field(72, ge=1, description="the most gradient steps")
        inner_rate: float = Field(5e-4, ge=0, description="step size of the inner loop")
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

        names = Stream(training.seed, "early stopping").shuffled(training.names("meta-validation"))
        seed = Stream(training.seed, "initialisation").torch_seed()
        start, cost = self.start(training.backbone, seed), TrainingCost()
        watch, curves, left = Stopwatch(training.backbone.device), list[list[float]](), list(names)
        while left and cost.tokens < budget:
            count = training.affordable(len(left), cost, budget)
            chosen, left = left[:count], left[count:]
            task = training.episodes("early stopping", chosen, self.options.train_queries)
            curves += self._curves(start.for_tasks(task.count), task)
            cost.take(task)
            progress(min(cost.tokens / budget, 1.0))
        cost.seconds = watch.total() / 1e3
        if curves:
            mean = torch.tensor(curves, dtype=torch.float64).mean(0)
            steps = self._readings()[int(mean.argmin())]
            cost.noted = {"stopped_at": [float(steps)], "validation_tasks": [float(len(curves))]}
            start = start.with_meta({"stop/steps": torch.tensor(float(steps))})
        return start, cost

    def _readings(self) -> list[int]:
        """The numbers of steps after which the query loss is read."""
        most, every = self.options.inner_steps, self.options.every
        return [*range(every, most, every), most]

    def _curves(self, start: "Initialisation", task: "TaskLoss") -> list[list[float]]:
        """Of each task, the query losses at `_readings`; infinite where it diverged."""
        import torch

        readings, losses, taken = self._readings(), list["Tensor"](), 0

        def after_step(weights: "Parameters") -> None:
            nonlocal taken
            taken += 1
            if taken in readings:
                with torch.no_grad():
                    losses.append(task.query(weights).nan_to_num(torch.inf))

        self.inner_loop(task.support, start, readings[-1], after_step=after_step)
        curves: list[list[float]] = torch.stack(losses, 1).tolist()
        return curves

    def adapt(
        self, loss: "Loss", start: "Initialisation", after_step: "AfterStep | None" = None
    ) -> "Adapted":
        """The chosen number of steps."""
        steps = round(float(start.learned["stop/steps"]))
        return self.inner_loop(loss, start, steps, after_step=after_step)
