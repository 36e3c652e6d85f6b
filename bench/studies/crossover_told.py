"""What the study of crossings says: the answer, how to read its figures, what else to know."""

from collections import Counter
from collections.abc import Iterator, Sequence

from bench.plan import Plan
from bench.ranks import ALPHA
from bench.shown import bracketed
from bench.statistics import Estimate
from bench.studies.crossing import OVERTAKEN, THROUGHOUT, VERDICTS
from bench.studies.curves import MEAN, TO_CONTROL, Curve


def answer(compared: Sequence[Curve], rival: str, control: str) -> str:
    """Whether meta-trained methods are always ahead, counted."""
    counted = [one for one in compared if one.head["init"] == "meta-trained"]
    found = Counter(one.crossing.verdict for one in counted)
    worse = [one for one in counted if any(one.crossing.behind)]
    if found[THROUGHOUT] == len(counted):
        lead = "Yes, as far as K was measured"
    else:
        lead = "No" if worse else "Not shown either way"
    told = [f"{found[verdict]} {verdict}" for verdict in VERDICTS if found[verdict]]
    overtaken = [one for one in counted if one.crossing.verdict == OVERTAKEN]
    where = [f"{one.baseline} on {one.head['suite']} {one.crossing}" for one in overtaken]
    parts = [
        f"{lead}: of {len(counted)} pairs of a suite and a meta-trained method, against {rival} at "
        f"K = {listed(counted[0].shots)}: {', '.join(told)}",
        f"{rival} overtakes at K = {'; '.join(where)}"
        if where
        else f"{rival} is not shown to overtake any",
        *_by_mean(counted, MEAN, rival),
        *_by_mean(counted, TO_CONTROL, control),
    ]
    return ". ".join(parts) + "."


def _by_mean(counted: Sequence[Curve], name: str, other: str) -> Iterator[str]:
    """Which methods differ from another over all K together."""
    judged = [one for one in counted if name in one.tested]
    if not judged:
        return
    parts = []
    for word, sign in (("ahead", 1), ("behind", -1)):
        some = [
            f"{one.baseline} on {one.head['suite']} {signed(one, one.tested[name])}"
            for one in judged
            if one.shown(name) == sign
        ]
        if some:
            parts.append(f"{len(some)} of {len(judged)} shown {word} ({', '.join(some)})")
    span = f"K = {judged[0].alike[0]} to {judged[0].alike[-1]}"
    found = "; ".join(parts) or f"none of {len(judged)} shown to differ"
    yield f"By the mean difference to {other} over {span}: {found}"


def signed(one: Curve, estimate: Estimate) -> str:
    """A difference with its interval."""
    bounds = one.bounds(estimate)
    return bracketed(estimate.value, bounds.low, bounds.high, "+.1f")


def caption(compared: Sequence[Curve], rival: str, control: str) -> str:
    """How to read table, figure and crossover.csv."""
    first, last = compared[0].shots[0], compared[0].shots[-1]
    return (
        f"Points of each suite's primary metric; a difference is the method less {rival} on the "
        "same episodes, and the mean difference is over log2 K. Brackets are 95 % intervals, over "
        "tasks and train seeds, at each K by itself; what is shown, at a K or by the mean (ahead "
        f"or behind, after it), is at {ALPHA:.0%} by p-values adjusted for all "
        "differences and means of this study (Holm), so that an interval may leave out 0 and "
        "nothing be shown; what is not shown to differ is not shown to be equal either. The mean "
        f"is over the K that have the same episodes. {control}, where it is among the methods, "
        "trains on the same tasks without an inner loop: the mean to it is what learning to learn "
        "adds to having seen them. In the figure a line ends where K has other episodes. "
        f"{rival} overtakes at the last place where the difference, a line between measured K on "
        "log2 K, comes down to 0 and from where on it stays below; the interval is that of all K "
        "at which 0 is not refuted, behind the last K at which the method is ahead, by tests at "
        "each K by itself, not adjusted. "
        f"< {first} and > {last}: outside of what was measured, or an interval open to that side; "
        "in crossover.csv 0 and inf. none: there is no crossing, as the method is shown ahead "
        "nowhere; in crossover.csv the fields are empty."
    )


def notes(
    suites: Sequence[Sequence[Curve]], compared: Sequence[Curve], plan: Plan
) -> Iterator[str]:
    """What else a reader must know."""
    yield from _dropped(suites)
    yield f"Tasks measured: {', '.join(_measured(found[0]) for found in suites)}."
    yield from _below_floors(suites)
    yield from _diverged(suites)
    trained = [one for one in compared if one.head["init"] == "meta-trained"]
    raw = [found.p() for one in trained for found in one.tested.values()]
    adjusted = [p for one in trained for p in one.adjusted.values()]
    yield (
        f"Of {len(raw)} differences of meta-trained methods, means over K among them, "
        f"{sum(p < ALPHA for p in raw)} are shown at {ALPHA:.0%} by themselves, of which chance "
        f"alone would show {ALPHA * len(raw):.1f} if no method differed, and "
        f"{sum(p < ALPHA for p in adjusted)} after Holm's adjustment for all "
        f"{sum(len(one.tested) for one in compared)} that were tested."
    )
    drawn = [one.baseline for one in compared if "train_shots" in one.head["settings"]]
    if drawn:
        yield (
            f"One meta-training with K drawn from {listed(plan.train_shots)} serves all K: "
            f"{', '.join(dict.fromkeys(drawn))}."
        )


def _measured(one: Curve) -> str:
    """On how many tasks each K was measured."""
    counts = {k: len({r["task"] for r in row.records()}) for k, row in one.rows.items()}
    parts = [
        f"{count} at K = {listed([k for k, n in counts.items() if n == count])}"
        for count in dict.fromkeys(counts.values())
    ]
    return f"{one.place} {' and '.join(parts)}"


def _below_floors(suites: Sequence[Sequence[Curve]]) -> Iterator[str]:
    """At which K nothing that has a model scores above the best method without one."""
    for found in suites:
        sides: dict[bool, list[Curve]] = {True: [], False: []}
        for one in found:
            sides[one.head["backbone"] is None].append(one)
        if not all(sides.values()):
            continue
        best = {
            k: {floor: max(one.scores[k][0] for one in side) for floor, side in sides.items()}
            for k in found[0].shots
        }
        if low := [k for k, scores in best.items() if scores[False] < scores[True]]:
            yield (
                f"{found[0].place}: at K = {listed(low)} every method with a model scores below "
                "the best one without (scores, not tests); differences between them say little "
                "there of skill in the task."
            )


def _dropped(suites: Sequence[Sequence[Curve]]) -> Iterator[str]:
    """From which K on the prompts of a method lack examples."""
    for one in (one for found in suites for one in found):
        lost = [k for k, row in one.rows.items() if any(r.get("dropped") for r in row.records())]
        if lost:
            peak = max(one.shots, key=lambda k: one.scores[k][0])
            yield (
                f"{one.baseline} on {one.place} leaves out the examples that the context does not "
                f"hold from K = {lost[0]} on; it scores most at K = {peak}."
            )


def _diverged(suites: Sequence[Sequence[Curve]]) -> Iterator[str]:
    """How many inner loops ended worse than they began, by method and K; of several train seeds
    each is counted."""
    met, lost = Counter[tuple[str, int]](), Counter[tuple[str, int]]()
    for one in (one for found in suites for one in found):
        for k, row in one.rows.items():
            told = [bool(record["diverged"]) for record in row.records() if "diverged" in record]
            met[one.baseline, k] += len(told)
            lost[one.baseline, k] += sum(told)
    for name in dict.fromkeys(name for name, _ in met):
        parts = [
            f"{count} of {met[name, k]} at K = {k}"
            for (method, k), count in lost.items()
            if method == name and count
        ]
        if parts:
            yield f"{name}: inner loops that ended worse than they began: {', '.join(parts)}."
    if any(met.values()) and not any(lost.values()):
        yield "No inner loop ended worse than it began."


def listed(values: Sequence[int]) -> str:
    """With commas, or as `1 to 16` where no number between is left out."""
    if len(values) > 2 and list(values) == [*range(values[0], values[-1] + 1)]:
        return f"{values[0]} to {values[-1]}"
    return ", ".join(map(str, values))
