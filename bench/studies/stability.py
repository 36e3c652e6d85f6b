"""Whether another half of the seeds would rank alike: Kendall's tau between disjoint halves."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from bench.tables import ALPHA, Block, Row, entries, metrics, ranked


def stability(roots: Sequence[Path]) -> list[str]:
    """A sentence for each block of some runs that has two rows or more: Kendall's tau-b (1945)
    between the rankings by disjoint halves of its seeds, of all ways to halve them the mean, the
    least and the most; and which pairs of rows are ties, by the tables' own tests."""
    return [line for block in ranked(roots) for line in _told(block)]


def _told(block: Block) -> Iterator[str]:
    complete = block.complete
    if len(complete) < 2:
        return
    head, lines = complete[0][0].header, [line for _, line in complete]
    place = f"{head['suite']}, K = {head['shots']}{_read_anew(head['settings'])}"
    taus = halves([row for row, _ in complete], block.metric)
    if taus:
        mean = sum(taus) / len(taus)
        ranking = (
            f"Kendall's tau between disjoint halves of the seeds is {mean:.2f} "
            f"(least {min(taus):.2f}, most {max(taus):.2f}, of {len(taus)})"
        )
    else:
        ranking = "one seed has no halves, so no Kendall's tau between them"
    pairs = list(combinations(lines, 2))
    ties = sum(bool(set(a["group"]) & set(b["group"])) for a, b in pairs)
    yield (
        f"{place}: {ranking}; {ties} of {len(pairs)} pairs of rows are ties "
        f"(not shown to differ, {ALPHA:.0%}, Holm)."
    )


def _read_anew(settings: Mapping[str, Any]) -> str:
    """What tells blocks of one suite apart whose backbones were pre-trained anew."""
    anew = settings["pretrain"]
    if not anew:
        return ""
    read = anew.get("suites") or settings.get("train_suites") or ()
    return ", pre-trained" + f" on {' + '.join(read)}" * bool(read)


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
