"""Answers the episodes of one cell: adapts to many at once, lets all their models write, and times
both."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import torch

from bench.artefacts import initialisation_folder, read_initialisation
from bench.backbone import Backbone, languages_of, not_finite
from bench.baseline import GradientLearner, Learner
from bench.batches import chunks
from bench.context import Context
from bench.episodes import Episode
from bench.errors import CellError
from bench.generation import Generation
from bench.initialisation import Initialisation
from bench.inner_loop import Adapted, AfterStep, Parameters
from bench.reading import Reading
from bench.records import Cell
from bench.streams import Stream
from bench.timing import Meter, flop_counter, out_of_memory, process_rate

T = TypeVar("T")
Solved = tuple[list[str], dict[str, Any]]  # predictions, and the record's costs and counts


@dataclass
class Costs:
    """What an episode took: its share of the tasks that were adapted at once. Times in
    milliseconds on the device's clock, energy in joules, None where unknown.

    Attributes:
        support_tokens: that one inner step reads, the mean over steps.
        inner_step_flops: operations of one inner step, those of the first episode scaled by tokens;
            None where there is none.
        adapt_waited_ms: of `adapt_ms`, while others had the cores (`bench.timing.waited_ms`).
        adapt_peak_mib: of all tasks at once; so is `generate_peak_mib`.
    """

    support_tokens: int
    inner_step_flops: float | None
    adapt_ms: float
    adapt_waited_ms: float | None
    inner_steps_ms: list[float]
    adapt_peak_mib: float | None
    adapt_joules: float | None
    generate_ms: float
    generate_waited_ms: float | None
    generate_peak_mib: float | None
    generate_joules: float | None
    generated_tokens: int


class Solver:
    """A learner with its initialisation, answering the episodes of one cell."""

    def __init__(self, context: Context, cell: Cell, method: Learner) -> None:
        self.context, self.cell, self.method = context, cell, method
        given = context.backbone(cell.train_seed)
        self.identity = given.identity
        self.backbone: Backbone = method.prepare(given)
        self.train_cost: dict[str, Any] = {}
        seed = Stream(cell.seed, "initialisation", cell.baseline).torch_seed()
        self.start: Initialisation = method.start(self.backbone, seed)
        if method.trains:
            assert cell.train_seed is not None
            sources = context.sources(cell.suite)
            folder = initialisation_folder(context, sources, cell.baseline, cell.train_seed)
            self.start, self.train_cost = read_initialisation(
                folder, self.start, self.backbone.device
            )
        self.flops_per_token: float | None = None  # of one inner step
        self.most = context.plan.tasks_at_once
        self.largest = 0

    def header(self) -> dict[str, Any]:
        """What all episodes of the cell share."""
        adapts, trains = self.method.steps_at_test > 0, self.method.trains
        return {
            "backbone_identity": self.identity,
            "adapted_params": sum(w.numel() for w in self.start.moving.values()) if adapts else 0,
            "meta_params": sum(v.numel() for v in self.start.meta.values()) if trains else 0,
            "tasks_at_once": self.largest,
            "score_steps": self.context.plan.score_steps,
            "rechunked": self.most < self.context.plan.tasks_at_once,
            "matrix_rate": process_rate(self.backbone.device, self.backbone.model.dtype),
            "train": self.train_cost,
            **self.backbone.ways.told,
        }

    def solve(
        self,
        episodes: Sequence[Episode],
        progress: Callable[[float], None],
        pace: Callable[[float], None] = lambda seconds: None,
    ) -> list[Solved]:
        """Predictions for the queries of each episode, and its record's costs and counts.

        Args:
            progress: told the share that is done.
            pace: told once, after the first batch, the seconds that an episode took.

        Raises:
            CellError: so many at once do not fit the memory.
        """
        self._warm_up(episodes[0])

        def work(chunk: Sequence[Episode]) -> list[Solved]:
            start, first = time.perf_counter(), not self.largest
            made = self._solve(chunk)
            if first:
                pace((time.perf_counter() - start) / len(chunk))
            self.largest = max(self.largest, len(chunk))
            return made

        return self._in_chunks(episodes, work, progress)

    def answers(
        self, episodes: Sequence[Episode], progress: Callable[[float], None]
    ) -> list[list[str]]:
        """Answers as those of `solve`, without costs, to episodes that all have a support or none:
        what nothing adapted is what a cell begins with.

        Raises:
            CellError: so many at once do not fit the memory.
        """
        return self._in_chunks(episodes, self._answers, progress)

    def _in_chunks(
        self,
        episodes: Sequence[Episode],
        work: Callable[[Sequence[Episode]], list[T]],
        progress: Callable[[float], None],
    ) -> list[T]:
        """What `work` makes of each episode, as many at once as the plan and the memory allow."""
        sizes = [sum(self._reading([e]).batch(0).tokens) if e.support else 0 for e in episodes]
        solved: dict[int, T] = {}
        edges = self.context.plan.length_edges
        tokens = self.context.plan.tokens_at_once or self.backbone.tokens_at_once
        waiting = list(chunks(sizes, self.most, tokens, edges))
        while waiting:
            chunk = waiting.pop(0)
            try:
                made = work([episodes[place] for place in chunk])
            except Exception as error:
                if not out_of_memory(error):
                    raise
                self._halve(len(chunk))
                parts = [chunk, *waiting]
                waiting = [part for whole in parts for part in self._parts(whole)]
                continue
            solved.update(zip(chunk, made, strict=True))
            progress(len(solved) / len(episodes))
        return [solved[place] for place in range(len(episodes))]

    def _halve(self, count: int) -> None:
        """So many at once did not fit the memory: half as many go, where the plan allows that."""
        half, device, plan = count // 2, self.backbone.device, self.context.plan
        lower = "shots, length or beams" if plan.decoding == "beam" else "shots or length"
        if not half:
            raise CellError(f"one episode does not fit the memory of {device}; lower {lower}")
        if not plan.allow_rechunk:
            raise CellError(
                f"{count} episodes at once do not fit the memory of {device}; set tasks_at_once = "
                f"{half} (--tasks-at-once {half}), or add --allow-rechunk"
            )
        self.most = min(self.most, half)

    def _parts(self, chunk: Sequence[int]) -> Iterator[list[int]]:
        """A chunk in pieces of so many as go at once."""
        for start in range(0, len(chunk), self.most):
            yield list(chunk[start : start + self.most])

    def _reading(self, episodes: Sequence[Episode]) -> Reading:
        """What inner steps read of these episodes."""
        dataset = self.context.dataset(self.cell.suite)
        tasks = [dataset.task(episode.task) for episode in episodes]
        return Reading(self.backbone, self.method, tasks, episodes)

    def _solve(self, episodes: Sequence[Episode]) -> list[Solved]:
        """One chunk. Where an inner loop met a loss that is no number, there are no weights to
        answer with: answers are empty."""
        device, count = self.backbone.device, len(episodes)
        reading = self._reading(episodes)
        watch = Meter(device)
        adapted = self._adapted(reading, lambda weights: watch.mark())
        adapting = watch.spent()
        inner = [lap / count for lap in watch.laps()[:-1]]
        curves = self._curves(adapted, reading)
        whole = [all(map(math.isfinite, curve)) for curve in curves]
        meter = Meter(device)
        answers = self._generate(adapted, episodes, whole)
        writing = meter.spent()
        after = self._after(reading, episodes, curves, len(adapted.losses))
        for episode, curve in zip(episodes, curves, strict=True):
            if curve and not math.isfinite(curve[0]):  # before the first step
                self.backbone.check_finite(episode.task, episode.support)
        solved = []
        for place, (made, curve) in enumerate(zip(answers, curves, strict=True)):
            tokens, wrote = reading.tokens[place], whole[place] / max(sum(whole), 1)
            costs = Costs(
                support_tokens=tokens,
                inner_step_flops=self.flops_per_token and self.flops_per_token * tokens,
                adapt_ms=adapting.ms / count,
                adapt_waited_ms=adapting.waited_ms and adapting.waited_ms / count,
                inner_steps_ms=inner,
                adapt_peak_mib=adapting.peak_mib,
                adapt_joules=adapting.joules and adapting.joules / count,
                generate_ms=writing.ms * wrote,
                generate_waited_ms=writing.waited_ms and writing.waited_ms * wrote,
                generate_peak_mib=writing.peak_mib,
                generate_joules=writing.joules and writing.joules * wrote,
                generated_tokens=made.tokens,
            )
            finite = [value for value in curve if math.isfinite(value)]
            taught, shown = reading.taught[place], self.method.demonstrates
            counts = {
                "losses": finite,
                "diverged": diverged(curve) or bool(made.broken),
                "truncated": (0 if shown else reading.cuts[place]) + made.cut_inputs,
                "dropped": made.dropped,
                "cut_outputs": made.cut_outputs,
                **({} if taught is None else {"learned_from": taught}),
                **({"after": after[place]} if after[place] else {}),
            }
            solved.append((made.texts, {**counts, "costs": asdict(costs)}))
        return solved

    def _answers(self, episodes: Sequence[Episode]) -> list[list[str]]:
        """The texts of one chunk."""
        whole = [True for _ in episodes]
        if episodes[0].support:
            reading = self._reading(episodes)
            adapted = self._adapted(reading)
            whole = [all(map(math.isfinite, c)) for c in self._curves(adapted, reading)]
        else:
            adapted = Adapted(dict(self.start.weights))
        return [made.texts for made in self._generate(adapted, episodes, whole)]

    def _adapted(self, reading: Reading, after_step: AfterStep | None = None) -> Adapted:
        """The method's weights behind its inner steps."""
        start = self.start.for_tasks(len(reading.cuts))
        return self.method.adapt(reading.loss(), start, after_step)

    def _curves(self, adapted: Adapted, reading: Reading) -> list[list[float]]:
        """Of each task, the inner objective before every step and, of what the first read, after
        the last, up to the first that is no number; empty where there are no steps."""
        tasks = len(reading.cuts)
        if not adapted.losses:
            return [[] for _ in range(tasks)]
        assert isinstance(self.method, GradientLearner)
        start = self.start.for_tasks(tasks)
        objective = self.method.objective(reading.loss(), start)
        with torch.no_grad():
            last = objective(adapted.weights)
        curves: list[list[float]] = torch.stack([*adapted.losses, last], 1).tolist()
        ends = ([not math.isfinite(value) for value in curve] for curve in curves)
        kept = [end.index(True) + 1 if any(end) else len(end) for end in ends]
        return [curve[:end] for curve, end in zip(curves, kept, strict=True)]

    def _after(
        self,
        reading: Reading,
        episodes: Sequence[Episode],
        curves: Sequence[Sequence[float]],
        steps: int,
    ) -> list[dict[int, list[str]]]:
        """Of each task, answers after those of the plan's `score_steps` that an inner loop of so
        many steps reaches.

        The loop is taken anew, so that neither the times nor the answers of the row depend on it.
        """
        wanted, count = self.context.plan.score_steps, len(episodes)
        after: list[dict[int, list[str]]] = [{} for _ in episodes]
        if not steps or min(wanted, default=steps + 1) > steps:
            return after
        taken = 0

        def answer(weights: Parameters) -> None:
            if taken not in wanted:
                return
            now = Adapted({name: weight.detach() for name, weight in weights.items()})
            whole = [taken < len(c) and all(map(math.isfinite, c[: taken + 1])) for c in curves]
            for texts, made in zip(after, self._generate(now, episodes, whole), strict=True):
                texts[taken] = made.texts

        def after_step(weights: Parameters) -> None:
            nonlocal taken
            taken += 1
            answer(weights)

        start = self.start.for_tasks(count)
        answer(start.weights)
        self.method.adapt(reading.loss(), start, after_step)
        return after

    def _generate(
        self, adapted: Adapted, episodes: Sequence[Episode], whole: Sequence[bool]
    ) -> list[Generation]:
        """Answers of the tasks whose weights are numbers, empty ones of the others."""
        kept = [place for place, fine in enumerate(whole) if fine]
        weights: Any = adapted.weights
        if len(kept) < len(episodes):
            own = self.backbone.sites.per_task(weights)
            weights = {name: w[kept] if name in own else w for name, w in weights.items()}
        answers = [Generation([""] * len(episode.query)) for episode in episodes]
        if kept:
            made = self._ask(weights, [episodes[place] for place in kept])
            for place, generation in zip(kept, made, strict=True):
                self._take_broken(generation, episodes[place])
                answers[place] = generation
        return answers

    def _ask(self, weights: Parameters, episodes: Sequence[Episode]) -> list[Generation]:
        """What these weights answer to the queries of each episode."""
        return self.backbone.generate(
            weights,
            [[query.input for query in episode.query] for episode in episodes],
            self.context.max_new_tokens(self.cell.suite),
            [episode.support for episode in episodes] if self.method.demonstrates else None,
            [self._streams(episode) for episode in episodes],
            [[languages_of(query) for query in episode.query] for episode in episodes],
        )

    def _take_broken(self, made: Generation, episode: Episode) -> None:
        """Answers for which logits were NaN or infinite become empty, if training or adaptation
        made them so.

        Raises:
            CellError: the backbone's own weights give such logits too.
        """
        if not made.broken:
            return
        moved = self.method.trains or self.method.steps_at_test > 0
        if not moved or self._ask(self.backbone.weights(), [episode])[0].broken:
            raise not_finite(episode.task)
        for place in made.broken:
            made.texts[place] = ""

    def _streams(self, episode: Episode) -> list[Stream]:
        """Of each query: what a sampled answer draws from, whatever else is answered beside it."""
        again = self.context.plan.decoding_seed  # 0 is the draw of plans that name none
        names = ("answer", self.cell.suite, episode.task, episode.index, *([again] * bool(again)))
        return [Stream(episode.seed, *names, q.input, q.references) for q in episode.query]

    def _warm_up(self, episode: Episode) -> None:
        """One uncounted pass, so that no first call is timed; counts a step's operations."""
        if isinstance(self.method, GradientLearner) and self.method.steps_at_test > 0:
            reading, start = self._reading([episode]), self.start.for_tasks(1)
            with flop_counter() as counter:
                self.method.inner_loop(reading.loss(), start, 1)
            self.flops_per_token = counter.get_total_flops() / reading.tokens[0]
        self.backbone.generate(
            self.start.weights,
            [[episode.query[0].input]],
            2,
            streams=[self._streams(episode)[:1]],
            languages=[[languages_of(episode.query[0])]],
        )


def diverged(losses: Sequence[float]) -> bool:
    """Whether the support loss increased or became NaN."""
    return bool(losses) and not (math.isfinite(losses[-1]) and losses[-1] <= losses[0])
