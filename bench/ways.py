"""How a model is read: on the fast path, or on a slower one where the fast one would be wrong."""

from dataclasses import dataclass, replace
from typing import Literal

Answers = Literal["steps", "padded", "alone"]


@dataclass(frozen=True)
class Ways:
    """What of the fast path a model takes.

    Attributes:
        lines: the rows of a task stand in one line, without padding between them.
        tasks: layers hold the weights of several tasks in one pass; else one task is read after
            another, by the model's own layers.
        answers: `steps`, our own decoding; `padded`, transformers' `generate` with prompts padded
            to one length; `alone`, the same with one prompt at a time.
        reasons: why it is not the fast path, a sentence for each part.
    """

    lines: bool
    tasks: bool = True
    answers: Answers = "steps"
    reasons: tuple[str, ...] = ()

    def without(self, reason: str, **changes: object) -> "Ways":
        """The next slower way, and why it is taken."""
        return replace(self, **changes, reasons=(*self.reasons, reason))  # type: ignore[arg-type]

    @property
    def told(self) -> dict[str, object]:
        """What a header says: nothing of a model that takes the fast path."""
        return {"slower_path": list(self.reasons)} if self.reasons else {}
