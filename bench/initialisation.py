"""What an inner loop starts from: the meta-parameters of a method."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor


@dataclass(frozen=True)
class Initialisation:
    """The weights of a backbone, those of them that move, and what else a method learns.

    Attributes:
        weights: every weight of the backbone by name, in its order; a tied one stands once.
        inner: the names of those that the inner loop changes.
        learned: step sizes, preconditioners: what meta-training learns beside weights. A name holds
            a slash, as no weight's does (`rate/lm_head.weight`).
        frozen: the names of weights that meta-training leaves as they are.
        tasks: how many tasks adapt at once; None for one alone.
    """

    weights: Mapping[str, Tensor]
    inner: tuple[str, ...]
    learned: Mapping[str, Tensor] = field(default_factory=dict)
    frozen: frozenset[str] = frozenset()
    tasks: int | None = None

    @property
    def moving(self) -> dict[str, Tensor]:
        """The weights that the inner loop changes, once for each task, (tasks, ...)."""
        return {name: self.spread(self.weights[name]) for name in self.inner}

    def spread(self, value: Tensor) -> Tensor:
        """A value once for each task, without a copy."""
        return value if self.tasks is None else value.expand(self.tasks, *value.shape)

    def for_tasks(self, count: int) -> "Initialisation":
        """The same for so many tasks at once."""
        return replace(self, tasks=count)

    @property
    def meta(self) -> dict[str, Tensor]:
        """What meta-training changes; a direction is given in this order."""
        kept = {name: w for name, w in self.weights.items() if name not in self.frozen}
        return {**kept, **self.learned}

    def with_meta(self, values: Mapping[str, Tensor]) -> "Initialisation":
        """The same with other values of what `meta` names."""
        weights = {name: values.get(name, weight) for name, weight in self.weights.items()}
        return replace(self, weights=weights, learned={name: values[name] for name in self.learned})

    def with_learned(self, learned: Mapping[str, Tensor]) -> "Initialisation":
        """The same with more that is learned."""
        return replace(self, learned={**self.learned, **learned})
