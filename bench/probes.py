"""Whether a method uses its support set: what it answers to the same queries with a wrong one."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from bench.episodes import Episode, draw_support
from bench.errors import UserError
from bench.streams import Stream
from bench.tasks import Dataset, Example

if TYPE_CHECKING:
    from bench.context import Context

Support = tuple[Example, ...]
OTHER_TASK = "other-task"
PROBES = {  # name: the support that it puts in the place of an episode's own
    OTHER_TASK: "another task's",
    "shuffled-targets": "its own with targets changed among its examples",
    "no-support": "none",
    "one-repeated": "one of its examples again and again",
}


class NotProbed(UserError):
    """An episode has no such wrong support; the message says why."""


def wrong_support(
    probe: str, episode: Episode, suite: str, dataset: Dataset, names: Sequence[str]
) -> Support:
    """The support that a probe puts in the place of an episode's own; with K examples, or none.

    Whatever is drawn comes from a stream of the probe and the episode.

    Args:
        probe: one of `PROBES`.
        names: the tasks of the split, of which another is taken.

    Raises:
        NotProbed: there is none that differs from its own.
    """
    stream = Stream(episode.seed, "probe", probe, suite, episode.task, episode.index)
    if probe == OTHER_TASK:
        return _of_another(stream, episode, suite, dataset, names)
    if probe == "shuffled-targets":
        return shuffled(stream, episode.support)
    if probe == "one-repeated":
        if len(set(episode.support)) == 1:
            raise NotProbed("its support is one example already")
        return (stream.pick(episode.support),) * len(episode.support)
    return ()


def _of_another(
    stream: Stream, episode: Episode, suite: str, dataset: Dataset, names: Sequence[str]
) -> Support:
    """The support of another task as drawn for its episode of that seed and index, without any
    group of the queries."""
    asked, shots = frozenset(query.group for query in episode.query), len(episode.support)
    for name in stream.visit([name for name in names if name != episode.task]):
        task = dataset.task(name)
        found = draw_support(suite, task, shots, episode.seed, episode.index, asked)
        if len(found) == shots:
            return found
    raise NotProbed(f"no other task holds {shots} examples whose groups are not asked for")


def shuffled(stream: Stream, support: Sequence[Example]) -> Support:
    """The examples with their references changed among them, so that as few as can be keep their
    own target: none, unless one target is more than half of all.

    Raises:
        NotProbed: all targets are the same.
    """
    alike: dict[str, list[int]] = {}
    for place in stream.visit(range(len(support))):
        alike.setdefault(support[place].target, []).append(place)
    if len(alike) < 2:
        raise NotProbed("its support holds one target")
    line = [place for places in alike.values() for place in places]
    shift = max(map(len, alike.values()))  # no run of equal targets is longer
    given = dict(zip(line, [*line[shift:], *line[:shift]], strict=True))
    return tuple(
        replace(example, references=support[given[place]].references)
        for place, example in enumerate(support)
    )


def probed_episodes(
    context: "Context", suite: str, episodes: Sequence[Episode]
) -> tuple[dict[str, dict[int, Episode]], list[str]]:
    """The first episodes of a cell as the plan's probes change them, and a reason for each that is
    left out.

    Returns:
        Probe to index to the episode with its wrong support, and `TASK: PROBE: WHY`.
    """
    made: dict[str, dict[int, Episode]] = {probe: {} for probe in context.plan.probed}
    reasons: dict[str, None] = {}
    for probe, found in made.items():
        for episode in episodes[: context.plan.probe_episodes]:
            names, _ = context.usable(suite, len(episode.support))
            try:
                wrong = wrong_support(probe, episode, suite, context.dataset(suite), names)
                found[episode.index] = replace(episode, support=wrong)
            except NotProbed as error:
                reasons[f"{episode.task}: {probe}: {error.message}"] = None
    return made, list(reasons)


def not_probed(context: "Context", suite: str) -> list[str]:
    """A reason for each episode of a plan that one of its probes leaves out."""
    from bench.cells import each_episode

    plan, reasons = context.plan, dict[str, None]()
    if not plan.probed:
        return []
    for shots in plan.shots:
        for seed in plan.seeds:
            first = islice(each_episode(context, suite, shots, seed), plan.probe_episodes)
            reasons |= dict.fromkeys(probed_episodes(context, suite, list(first))[1])
    return list(reasons)
