"""How long paired intervals take beside sacreBLEU's own paired bootstrap, and ROUGE beside scoring
the texts again: 10,000 pairs, 1,000 resamples. Seconds of this process, so that what else the
machine does counts for neither side; nothing here passes or fails by them."""

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import Result, _paired_bs_test

from bench.context import dataset_of
from bench.metrics import Metric, build_metrics
from bench.statistics import Entry, Interval, corpus_score, paired_interval

pytestmark = pytest.mark.slow
PAIRS, RESAMPLES, RESCORED = 10_000, 1_000, 3


def seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    """Of this process, and what was made."""
    before = time.process_time()
    made = run()
    return time.process_time() - before, made


def metric(name: str) -> Metric:
    """Its library is loaded."""
    found = next(m for m in build_metrics("en") if m.name == name)
    found.statistics("a", ["a"])
    return found


@pytest.fixture(scope="module")
def texts() -> tuple[list[str], list[str], list[str]]:
    """The answers of two systems, and the references."""
    data, draw = dataset_of("translation"), random.Random(0)
    targets = [e.target for n in data.names("meta-train") for e in data.task(n).parts["train"]]

    def answer(text: str) -> str:
        words = [word for word in text.split() if draw.random() < 0.85]
        return " ".join(words[::-1] if draw.random() < 0.3 else words)

    references = draw.sample(targets, PAIRS)
    return [answer(t) for t in references], [answer(t) for t in references], references


def entries(scorer: Metric, answers: Sequence[str], references: Sequence[str]) -> list[Entry]:
    """Every pair is an episode."""
    pairs = enumerate(zip(answers, references, strict=True))
    return [
        Entry("all", None, 0, i, np.array(scorer.statistics(answer, [reference])))
        for i, (answer, reference) in pairs
    ]


def both(scorer: Metric, texts: Any) -> tuple[list[Entry], list[Entry]]:
    a, b, references = texts
    return entries(scorer, a, references), entries(scorer, b, references)


@pytest.mark.parametrize("kind", [BLEU, CHRF])
def test_paired_interval_beside_sacrebleus_bootstrap(benchmark: Any, texts: Any, kind: Any) -> None:
    a, b, references = texts
    scorer, theirs, name = metric(kind.__name__.lower()), kind(), kind.__name__

    def measured() -> tuple[float, float, float, Any, Interval]:
        extracting, (first, second) = seconds(lambda: both(scorer, texts))
        drawing, found = seconds(lambda: paired_interval(first, second, scorer, RESAMPLES))
        return extracting, drawing, corpus_score(first, scorer), second, found

    extracting, drawing, score, second, found = benchmark.pedantic(measured, rounds=1)
    extracted, before = seconds(lambda: theirs._extract_corpus_statistics(a, [references]))
    first = Result(theirs._aggregate_and_compute(before).score)
    # It extracts the other system's statistics itself.
    tested, (_, results) = seconds(
        lambda: _paired_bs_test(
            {name: (before, first)}, "b", b, [references], {name: theirs}, RESAMPLES, seed=0
        )
    )
    again, after = seconds(lambda: theirs._extract_corpus_statistics(b, [references]))
    assert score == pytest.approx(first.score, abs=1e-9)
    assert corpus_score(second, scorer) == pytest.approx(results[name].score, abs=1e-9)
    assert [list(entry.sums) for entry in second] == after
    assert found.low < first.score - results[name].score < found.high
    benchmark.extra_info |= {
        "sacrebleu over ours": (extracted + tested) / (extracting + drawing),
        "sacrebleu over ours, statistics": (extracted + again) / extracting,
        "sacrebleu over ours, resamples": (tested - again) / drawing,
    }


def test_paired_interval_of_rouge_beside_scoring_again(benchmark: Any, texts: Any) -> None:
    a, b, references = texts
    scorer, theirs = metric("rougeL"), RougeScorer(["rougeL"])
    first, second = both(scorer, texts)
    drawing, _ = benchmark.pedantic(
        lambda: seconds(lambda: paired_interval(first, second, scorer, RESAMPLES)), rounds=1
    )

    def rescored(places: Sequence[int]) -> float:
        """The difference of the means on some pairs, by their texts."""
        parts = [
            theirs.score(references[i], a[i])["rougeL"].fmeasure
            - theirs.score(references[i], b[i])["rougeL"].fmeasure
            for i in places
        ]
        return 100 * sum(parts) / len(parts)

    draw = random.Random(0)
    resamples = [draw.choices(range(PAIRS), k=PAIRS) for _ in range(RESCORED)]
    scoring, _ = seconds(lambda: [rescored(places) for places in resamples])
    ours = corpus_score(first, scorer) - corpus_score(second, scorer)
    assert ours == pytest.approx(rescored(range(PAIRS)), abs=1e-9)
    benchmark.extra_info["scoring again over ours, a resample"] = (scoring / RESCORED) / (
        drawing / RESAMPLES
    )
