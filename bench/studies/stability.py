"""Whether another half of the seeds would rank alike: Kendall's tau between disjoint halves."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from bench.ranks import ALPHA
from bench.statistics import FEW_TASKS
from bench.tables import Block, Row, entries, metrics, pair_key, ranked


def stability(roots: Sequence[Path]) -> list[str]:
    """A sentence for each suite of some runs: Kendall's tau-b (1945) between the rankings by
    disjoint halves of the seeds, over all its tables and all ways to halve them the mean, the least
    and the most; how many pairs of rows are ties, by the tables' own tests; and whether the tasks
    are few."""
    by_suite: dict[str, list[Block]] = {}
    for block in ranked(roots):
        if len(block.complete) > 1:
            head = block.rows[0].header
            split = "" if head["split"] == "meta-test" else f", {head['split']}"
            by_suite.setdefault(f"{head['suite']} ({head['dataset']}{split})", []).append(block)
    return [_told(place, blocks) for place, blocks in by_suite.items()]


def _told(place: str, blocks: Sequence[Block]) -> str:
    taus = [t for b in blocks for t in halves([row for row, _ in b.complete], b.metric)]
    tied = {  # floors are in several blocks: each pair counts once
        pair_key(one, two): not block.separable or bool(set(a["group"]) & set(b["group"]))
        for block in blocks
        for (one, a), (two, b) in combinations(block.complete, 2)
    }
    ranking = "one seed has no halves, so no Kendall's tau between them"
    if taus:
        ranking = (
            f"Kendall's tau between disjoint halves of the seeds is {sum(taus) / len(taus):.2f} "
            f"(least {min(taus):.2f}, most {max(taus):.2f}, of {len(taus)} in {len(blocks)} "
            "table(s))"
        )
    counts = {len({e.task for e in entries(b.complete[0][0], b.metric)}) for b in blocks}
    few = (
        f" {'It rests' if len(counts) == 1 else 'Some of it rests'} on {min(counts)} task(s): that "
        "holds for them, and says little of others."
        if min(counts) < FEW_TASKS
        else ""
    )
    return (
        f"{place}: {ranking}; {sum(tied.values())} of {len(tied)} pairs of rows are ties "
        f"(not shown to differ, {ALPHA:.0%}, Holm).{few}"
    )


def halves(rows: Sequence[Row], metric: str) -> list[float]:
    """Kendall's tau-b between the rows' scores on disjoint halves of their seeds, for each pair of
    halves (of an odd number of seeds one is in neither); empty for one seed, or where scores are
    equal.

    Args:
        rows: with the same seeds.
        metric: one that all rows were scored with.
    """
    from scipy.stats import kendalltau

    seeds = sorted({seed for _, seed in rows[0].cells})
    size = len(seeds) // 2
    if not size:
        return []
    found = []
    for half in combinations(seeds, size):
        rest = [seed for seed in seeds if seed not in half]
        for other in combinations(rest, size):
            if half < other:  # each pair of halves once
                one, two = (_scores(rows, metric, chosen) for chosen in (half, other))
                tau = float(kendalltau(one, two).statistic)
                found += [tau] if tau == tau else []
    return found


def _scores(rows: Sequence[Row], metric: str, seeds: Sequence[int]) -> list[float]:
    from bench.statistics import corpus_score

    scorer = next(m for m in metrics(rows[0]) if m.name == metric)
    return [
        corpus_score([e for e in entries(row, metric) if e.seed in seeds], scorer) for row in rows
    ]
