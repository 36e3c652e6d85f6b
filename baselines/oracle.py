"""Fine-tuned on thousands of examples of the episode's own task: an upper reference."""

from collections.abc import Iterator, Sequence
from itertools import chain, islice

from pydantic import Field

from bench.baseline import GradientLearner
from bench.episodes import Episode, support_part
from bench.streams import Stream
from bench.tasks import Example, Task


class Oracle(GradientLearner):
    """No few-shot method: what the backbone reaches when examples of the task are not scarce.

    Fine-tunes the pre-trained backbone with Adam (Kingma and Ba 2015) on minibatches of up to
    `examples` examples of the episode's own task, none of a query's group; the K of its support
    set may be among them. A data file's task gives what its train part has, an embedded one further
    examples too. The record's `learned_from` tells how many there were. A task with fewer has as
    many fewer in a minibatch, so that each is passed as often, `inner_steps` * `rows` / `examples`
    times.

    Cost: a step is one pass through a minibatch, forward and backward.

    Use it as the upper end of a scale whose lower end is `zero-shot`: what lies between a method
    and this row, more support could have taught.
    """

    class Options(GradientLearner.Options):
        """Chosen on meta-validation tasks of the embedded suites."""

        inner_steps: int = Field(400, ge=0, description="n, gradient steps on minibatches")
        inner_rate: float = Field(1e-3, ge=0, description="step size of the inner loop")
        examples: int = Field(2000, ge=1, description="of the task, at most")
        rows: int = Field(32, ge=1, description="examples of a minibatch")

    options: Options

    def minibatches(self, task: Task, episode: Episode) -> Sequence[Sequence[Example]]:
        """The examples in random order again and again, cut into minibatches."""
        known, wanted = self._examples(task, episode), self.options
        rows = max(1, round(wanted.rows * len(known) / wanted.examples))
        stream = Stream(episode.seed, "minibatches", task.name, episode.index)
        passed = _again_and_again(stream, known)
        return [list(islice(passed, rows)) for _ in range(max(wanted.inner_steps, 1))]

    def _examples(self, task: Task, episode: Episode) -> list[Example]:
        """Those of the task's support part and then the further ones, at most `examples`."""
        asked = {query.group for query in episode.query}
        stream = Stream(episode.seed, "examples", task.name, episode.index)
        own = stream.visit(task.parts.get(support_part(task), ()))
        apart = (e for e in chain(own, task.further) if e.group not in asked)
        return list(islice(apart, self.options.examples))


def _again_and_again(stream: Stream, examples: Sequence[Example]) -> Iterator[Example]:
    """All examples, and when they are spent all again in another order; none if there are none."""
    while examples:
        yield from stream.shuffled(examples)
