"""The texts of recorded episodes, drawn again from what a run's plan names.

Records hold the ids of examples and a digest of their texts; what is drawn counts only where its
digest is the record's.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from bench.cells import each_episode
from bench.context import Context
from bench.episodes import Episode
from bench.errors import UserError
from bench.plan import Plan
from bench.records import read_json

OTHER_DIGEST = "drawn again, the data give an episode of another digest"


class Texts:
    """Draws the episodes of some run directories again.

    Attributes:
        reasons: why plans cannot be used, by directory.
    """

    def __init__(self, directories: Sequence[Path]) -> None:
        self._contexts: list[Context] = []
        self.reasons: list[str] = []
        for directory in directories:
            try:
                plan = Plan.model_validate(read_json(directory / "run.json")["plan"])
            except ValidationError as error:
                fault = error.errors(include_url=False)[0]
                key = ".".join(str(part) for part in fault["loc"])
                self.reasons.append(f"the plan of {directory.name}: {key}: {fault['msg']}")
            else:
                self._contexts.append(Context(plan, directory))

    def episodes(
        self, suite: str, shots: int, first: tuple[int, int], digests: Mapping[tuple[int, int], str]
    ) -> tuple[Iterator[Episode], str]:
        """The episodes of a seed in the order of their index, if that of the place `first` has the
        digest that was recorded; else none, and why."""
        reasons, seed = list(self.reasons), first[0]
        for context in self._contexts:
            plan = context.plan
            if suite not in plan.suites or shots not in plan.shots or seed not in plan.seeds:
                continue
            try:
                found = next(each_episode(context, suite, shots, seed, first[1]), None)
                if found and found.digest == digests[first]:
                    return each_episode(context, suite, shots, seed, first[1]), ""
                reasons.append(OTHER_DIGEST)
            except UserError as error:
                reasons.append(error.message)
        return iter(()), reasons[0] if reasons else "no plan of these runs names them"
