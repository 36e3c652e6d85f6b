"""What the inner steps of some tasks read: whole support sets, or a minibatch a step."""

from collections.abc import Sequence
from itertools import chain, count

from bench.backbone import Backbone, Row
from bench.baseline import Learner
from bench.batches import Batch
from bench.episodes import Episode
from bench.errors import CellError
from bench.inner_loop import Loss
from bench.tasks import Example, Task

Steps = Sequence[Sequence[Example]]


class Reading:
    """What a method's inner steps read of some episodes at once.

    Attributes:
        cuts: of each task, the examples that were cut to the context.
        taught: of each task, how many examples it learns from in place of the support set; None
            where it learns from that.

    Raises:
        CellError: a few-shot method gives minibatches, or those of another are not fit.
    """

    def __init__(
        self,
        backbone: Backbone,
        method: Learner,
        tasks: Sequence[Task],
        episodes: Sequence[Episode],
    ) -> None:
        self._backbone = backbone
        pairs = list(zip(tasks, episodes, strict=True))
        given = [method.minibatches(task, episode) for task, episode in pairs]
        if method.few_shot and any(steps is not None for steps in given):
            raise CellError(
                f"{type(method).__name__} is a few-shot method, yet its minibatches are read in "
                "place of the support set; set few_shot = False if it is an upper reference"
            )
        self.taught = [
            None if steps is None else _distinct(steps, episode)
            for steps, episode in zip(given, episodes, strict=True)
        ]
        self._whole: Batch | None = None
        self._steps: list[list[list[Row]]] = []  # of each task, the rows of each step
        if all(steps is None for steps in given):
            self._whole, self.cuts = backbone.batch([episode.support for episode in episodes])
        else:
            either = ([e.support] if s is None else s for e, s in zip(episodes, given, strict=True))
            self._steps, self.cuts = map(list, zip(*map(self._rows, either), strict=True))
        self._tokens, self._read = [0] * len(episodes), 0

    def _rows(self, steps: Steps) -> tuple[list[list[Row]], int]:
        """The rows of one task's steps, each example cut into tokens once, and how many lost
        some."""
        made: dict[Example, Row] = {}
        cuts = 0
        for example in chain.from_iterable(steps):
            if example not in made:
                prompt, target, cut = self._backbone.pair_ids(example)
                made[example] = self._backbone.row([(prompt, target)])
                cuts += cut
        return [[made[example] for example in step] for step in steps], cuts

    def batch(self, step: int) -> Batch:
        """What a step reads; behind the last one it begins anew."""
        made = self._whole
        if made is None:
            made = self._backbone.collate([rows[step % len(rows)] for rows in self._steps])
        self._tokens = [a + b for a, b in zip(self._tokens, made.tokens, strict=True)]
        self._read += 1
        return made

    @property
    def tokens(self) -> list[int]:
        """Of each task, those that a step read, the mean over the steps so far."""
        return [round(count / max(self._read, 1)) for count in self._tokens]

    def loss(self) -> Loss:
        """The loss of each task, (tasks,), at one step after another."""
        steps = count()
        return lambda weights: self._backbone.losses(weights, self.batch(next(steps)))


def _distinct(steps: Steps, episode: Episode) -> int:
    """How many examples the steps hold.

    Raises:
        CellError: they hold what a query was cut from, or nothing.
    """
    examples = set(chain.from_iterable(steps))
    asked = {query.group for query in episode.query}
    if any(example.group in asked for example in examples):
        raise CellError(f"task {episode.task!r}: an example to learn from is of a query's group")
    if not examples:
        raise CellError(f"task {episode.task!r} has no example to learn from but the queries'")
    return len(examples)
