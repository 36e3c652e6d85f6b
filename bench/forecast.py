"""What an episode will cost, before a run starts: steps, tokens, and the memory of a worker."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.baseline import GradientLearner, Learner
from bench.cells import each_episode
from bench.context import Context
from bench.machine import cores, free_memory, gpus_here, workers_that_fit
from bench.records import Cell
from bench.shown import many

PROCESS = 2**30  # bytes of a worker beside its weights: libraries and activations
TRAINED = 4  # copies of the weights in meta-training: gradients, two moments of Adam, the best


@dataclass(frozen=True)
class Cost:
    """What the first episode of a cell takes.

    Attributes:
        steps: gradient steps on its support set.
        tokens: support tokens that a step reads; 0 without steps, None where the backbone that
            counts them is yet to be trained.
        demonstrations: support tokens in each prompt.
        answers: queries that are answered.
        answer_tokens: new tokens of an answer, at most.
    """

    suite: str
    shots: int
    steps: int
    tokens: int | None
    demonstrations: int
    answers: int
    answer_tokens: int

    @property
    def work(self) -> int:
        """Tokens through the model, a gradient step as three passes: what costs are ranked by."""
        asked = self.answers * (self.demonstrations + self.answer_tokens)
        return 3 * self.steps * (self.tokens or self.shots) + asked

    def __str__(self) -> str:
        read = (
            f"{self.shots} examples" if self.tokens is None else f"{self.tokens:,} support tokens"
        )
        steps = f"{many(self.steps, 'inner step')} on {read}, then "
        shown = f" behind {self.demonstrations:,} tokens of demonstrations"
        return (
            f"an episode ({self.suite}, {self.shots} shots) takes {steps if self.steps else ''}"
            f"{many(self.answers, 'answer')} of at most {self.answer_tokens} tokens"
            f"{shown if self.demonstrations else ''}"
        )


def cost_of(context: Context, cell: Cell) -> Cost:
    """What the first episode of a learner's cell takes.

    Raises:
        CellError: the method gives minibatches that are not fit.
    """
    method = context.baseline(cell.baseline)
    assert isinstance(method, Learner)
    episode = next(each_episode(context, cell.suite, cell.shots, cell.seed))
    from bench.reading import Reading

    steps, tokens, shown = method.steps_at_test, None, 0
    if not context.plan.pretrain:
        backbone, task = context.backbone(None), context.dataset(cell.suite).task(episode.task)
        reads = steps and episode.support
        tokens = Reading(backbone, method, [task], [episode]).batch(0).tokens[0] if reads else 0
        shown = sum(backbone.batch([episode.support])[0].tokens) if method.demonstrates else 0
    most = context.max_new_tokens(cell.suite)
    return Cost(cell.suite, cell.shots, steps, tokens, shown, len(episode.query), most)


def costs(context: Context, cells: Sequence[Cell]) -> dict[str, Cost]:
    """Of each baseline with a model, the dearest of what `cost_of` tells of its cells."""
    found: dict[str, Cost] = {}
    seen = set[tuple[str, str, int]]()
    for cell in cells:
        key = cell.baseline, cell.suite, cell.shots
        if key in seen or not isinstance(context.baseline(cell.baseline), Learner):
            continue
        seen.add(key)
        cost = cost_of(context, cell)
        if cell.baseline not in found or cost.work > found[cell.baseline].work:
            found[cell.baseline] = cost
    return found


def lines(found: dict[str, Cost]) -> list[str]:
    """A line for all baselines whose episodes take the same."""
    alike: dict[Cost, list[str]] = {}
    for name, cost in found.items():
        alike.setdefault(cost, []).append(name)
    return [f"{', '.join(names)}: {cost}" for cost, names in alike.items()]


def pace_line(baseline: str, seconds: float, episodes: int) -> str:
    """What is expected of a baseline once its first episodes were timed."""
    from bench.progress import duration

    whole = duration(seconds * episodes)
    return (
        f"{baseline}: {duration(seconds)} an episode, about {whole} for its {episodes:,} episodes"
    )


def worker_memory(context: Context, found: dict[str, Cost]) -> int:
    """Bytes that a worker takes, roughly: its libraries, the weights, their copies in
    meta-training, and for each task adapted at once its own weights and their gradients."""
    if context.plan.pretrain or not found:
        return PROCESS  # what a plan pre-trains itself is small
    backbone = context.backbone(None)
    weights = sum(w.numel() * w.element_size() for w in backbone.weights().values())
    tokens = context.plan.tokens_at_once or backbone.tokens_at_once
    most = 1
    for name, cost in found.items():
        method, copies = context.baseline(name), 1
        if isinstance(method, GradientLearner) and method.options.adapt in ("all", "body"):
            at_once = min(context.plan.tasks_at_once, max(1, tokens // (cost.tokens or 1)))
            copies += 2 * at_once + TRAINED * method.trains
        most = max(most, copies)
    return PROCESS + most * weights


def workers_for(context: Context, found: dict[str, Cost]) -> int:
    """Workers of a plan: what it asks for, else one for each GPU, else as many as the cores and
    the free memory of this machine carry."""
    if context.plan.workers:
        return context.plan.workers
    if context.device.type == "cuda":
        return len(gpus_here())
    each = worker_memory(context, found)
    return workers_that_fit(cores(), context.plan.threads, free_memory(), each)
