"""What methods share that learn their inner step together with where it starts."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from bench.baseline import MetaLearner, Space

if TYPE_CHECKING:
    from bench.inner_loop import Parameters


class Stateless:
    """A step rule that keeps nothing from step to step."""

    def start(self, weights: "Parameters") -> Any:
        """There is no state."""
        return None


class LearnedStep(MetaLearner):
    """Descent whose step is learned by the second-order outer gradient."""

    order = "2"
    search: ClassVar[Space] = {
        "inner_rate": (0.05, 0.1, 0.2),
        "outer_rate": (3e-4, 1e-3),
        "test_steps": (8, 24, 36),
    }

    class Options(MetaLearner.Options):
        """Inner and outer loop."""

        inner_rule: Literal["sgd"] = Field("sgd", description="step rule of the inner loop")
        inner_rate: float = Field(0.1, ge=0, description="step size before training")
        outer_rate: float = Field(1e-3, gt=0, description="step size of the outer loop, to 0")
        tasks_per_step: int = Field(2, ge=1, description="tasks in one outer step")
