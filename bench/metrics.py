"""Metrics that keep sufficient statistics, so that scores are resampled without the texts."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.languages import bleu_tokenizer, language_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.tasks import Example

__all__ = [
    "BUILT_IN",
    "MeanMetric",
    "Metric",
    "build_metrics",
    "language_of",
    "metrics_of",
    "ranks",
]

BUILT_IN = ("bleu", "chrf", "rouge1", "rouge2", "rougeL", "rougeLsum", "exact")


class Metric(ABC):
    """A score of a corpus that depends on its segments through a sum alone.

    Attributes:
        name: the column in a table.
        num_refs: references of each segment, for the signature; None where it varies.
        languages: tags of the references' languages, for the signature; empty where a metric
            reads none.
        limits: the lowest and the highest score there can be.
    """

    limits = (0.0, 100.0)

    def __init__(self, name: str, num_refs: int | None = None) -> None:
        """Loads nothing: a metric's library is imported when the first text is scored."""
        self.name, self.num_refs = name, num_refs
        self.languages: tuple[str | None, ...] = ()

    def limited(self, score: float) -> float:
        """The score, at a limit where rounding put it beyond."""
        return min(max(score, self.limits[0]), self.limits[1])

    def all_limited(self, scores: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """`limited` of each of some scores."""
        return scores.clip(*self.limits)

    @abstractmethod
    def signature(self) -> str:
        """How the score is made, as `key:value|key:value`, with the library's version."""

    @abstractmethod
    def statistics(self, prediction: str, references: Sequence[str]) -> list[float]:
        """Sufficient statistics of one segment, as JSON numbers; always of the same length."""

    def of_episode(
        self, predictions: Sequence[str], queries: "Sequence[Example]"
    ) -> list[list[float]]:
        """The statistics of each answer of an episode: of each by itself, unless the metric sees
        more of what was asked, or all answers together."""
        pairs = zip(predictions, queries, strict=True)
        return [self.statistics(text, query.references) for text, query in pairs]

    @abstractmethod
    def score(self, sums: "NDArray[np.float64]") -> float:
        """The corpus score of statistics summed over segments `(statistics,)`."""

    @abstractmethod
    def scores(self, sums: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """`score` of many corpora at once, `(corpora, statistics)` to `(corpora,)`; equal to it but
        for rounding."""

    def parts(self, sums: "NDArray[np.float64]") -> "Sequence[Metric]":
        """Scores of the kinds of things that it counts, from the same statistics; `sums` tells
        which kinds there are. Most metrics have none."""
        return ()

    @property
    def _nrefs(self) -> str:
        return "var" if self.num_refs is None else str(self.num_refs)


class _SacreBleu(Metric):
    """What sacreBLEU's two metrics share; `_scorer` is one of its metric objects."""

    @property
    @abstractmethod
    def _scorer(self) -> Any:
        """sacreBLEU's metric, made when it is first asked for."""

    def signature(self) -> str:
        """sacreBLEU's own signature."""
        # sacreBLEU remembers the references it saw last, which is one segment here.
        self._scorer.num_refs = -1 if self.num_refs is None else self.num_refs
        return str(self._scorer.get_signature())

    def statistics(self, prediction: str, references: Sequence[str]) -> list[float]:
        """Counts of matches; taken segment by segment, so that references may vary in number."""
        return _counts(self._scorer, prediction, references)


def _counts(scorer: Any, prediction: str, references: Sequence[str]) -> list[float]:
    """The statistics of one segment by one of sacreBLEU's metric objects."""
    streams = [[reference] for reference in references]
    counts: list[float] = scorer._extract_corpus_statistics([prediction], streams)[0]
    return counts


class Bleu(_SacreBleu):
    """Corpus BLEU by sacreBLEU (Post, 2018), with its defaults.

    Each segment is split by the tokenizer of its own reference's language. A corpus of several
    languages pools the counts of all, and the signature names each tokenizer (`tok:13a+zh`).

    Statistics: both lengths, then matched and all n-grams of the prediction for n = 1 to 4.
    """

    def __init__(self, language: str | None = None, num_refs: int | None = None) -> None:
        """`language` is that of segments whose example names none."""
        super().__init__("bleu", num_refs)
        self._language = language
        self._made: dict[str, Any] = {}

    @property
    def _scorer(self) -> Any:
        return self._scorer_of(None)

    def _scorer_of(self, language: str | None) -> Any:
        """sacreBLEU's metric with the tokenizer of a language."""
        from sacrebleu.metrics.bleu import BLEU

        name = bleu_tokenizer(language or self._language)
        if name not in self._made:
            self._made[name] = BLEU(tokenize=name)
        return self._made[name]

    @property
    def tokenizers(self) -> str:
        """The tokenizers of all segments, as a signature names them."""
        languages = self.languages or (None,)
        return "+".join(sorted({bleu_tokenizer(code or self._language) for code in languages}))

    def signature(self) -> str:
        """sacreBLEU's own signature, with every tokenizer that a segment is split by."""
        fields = super().signature().split("|")
        return "|".join(f"tok:{self.tokenizers}" if f.startswith("tok:") else f for f in fields)

    def of_episode(
        self, predictions: Sequence[str], queries: "Sequence[Example]"
    ) -> list[list[float]]:
        """The counts of each answer by the tokenizer of its query's language."""
        return [
            _counts(self._scorer_of(query.language), text, query.references)
            for text, query in zip(predictions, queries, strict=True)
        ]

    def score(self, sums: "NDArray[np.float64]") -> float:
        """BLEU of the corpus, 0 to 100."""
        return self.limited(float(self._scorer._compute_score_from_stats(sums.tolist()).score))

    def scores(self, sums: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """BLEU of each corpus (Papineni et al., 2002), orders without a match smoothed by halves
        (`smooth:exp`)."""
        import numpy as np

        length, reference = sums[:, 0], sums[:, 1]
        matched, counted = sums[:, 2:6], sums[:, 6:10]
        scored = (counted > 0).all(axis=1) & (matched > 0).any(axis=1)
        halves = 0.5 ** np.cumsum(matched == 0, axis=1)
        kept = np.where(matched == 0, halves, matched) / np.maximum(counted, 1)
        brevity = np.exp(np.minimum(0, 1 - reference / np.maximum(length, 1)))
        found = np.where(scored, 100 * brevity * np.exp(np.log(kept).mean(axis=1)), 0.0)
        return self.all_limited(found)


class Chrf(_SacreBleu):
    """Corpus chrF2 by sacreBLEU (Popovic, 2015), with its defaults.

    Statistics: n-grams of prediction, reference and both, for n = 1 to 6 characters.
    """

    def __init__(self, num_refs: int | None = None) -> None:
        super().__init__("chrf", num_refs)

    @cached_property
    def _scorer(self) -> Any:
        from sacrebleu.metrics.chrf import CHRF

        return CHRF()

    def score(self, sums: "NDArray[np.float64]") -> float:
        """ChrF of the corpus, 0 to 100."""
        return self.limited(float(self._scorer._compute_f_score(sums.tolist())))

    def scores(self, sums: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """ChrF2 of each corpus: of mean precision and recall over the orders that it has."""
        import numpy as np

        predicted, reference, matched = np.moveaxis(sums.reshape(len(sums), -1, 3), -1, 0)
        there = (predicted > 0) & (reference > 0)
        orders = np.maximum(there.sum(axis=1), 1)
        safe = np.where(there, (predicted, reference), 1.0)
        precision, recall = (np.where(there, matched, 0.0) / safe).sum(axis=2) / orders
        below = 4 * precision + recall
        found: NDArray[np.float64] = 500 * precision * recall / np.where(below > 0, below, 1.0)
        return self.all_limited(found)


class MeanMetric(Metric):
    """A mean over segments; statistics are the segment's value and 1.

    An instance of this class itself holds no way to score texts: it only reads what was recorded.
    """

    limits = (-math.inf, math.inf)
    scale = 1.0

    def signature(self) -> str:
        """Raises: the signature stands with the recorded statistics."""
        raise NotImplementedError(f"{self.name} was recorded elsewhere")

    def statistics(self, prediction: str, references: Sequence[str]) -> list[float]:
        """Raises: there is nothing here to score a text with."""
        raise NotImplementedError(f"{self.name} was recorded elsewhere")

    def score(self, sums: "NDArray[np.float64]") -> float:
        """The mean value times the metric's scale; 0 for no segment."""
        total, count = sums.tolist()
        return self.limited(self.scale * total / count if count else 0.0)

    def scores(self, sums: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """The mean value of each corpus times the metric's scale."""
        import numpy as np

        counts = sums[:, 1]
        means: NDArray[np.float64] = self.scale * sums[:, 0] / np.where(counts > 0, counts, 1.0)
        return self.all_limited(means)


class Rouge(MeanMetric):
    """F-measure of ROUGE (Lin, 2004) by rouge_score, on words of any script.

    With several references the best counts. `rougeLsum` takes lines as sentences.
    """

    limits = Metric.limits
    scale = 100.0

    @cached_property
    def _scorer(self) -> Any:
        from rouge_score.rouge_scorer import RougeScorer

        from bench.tokenizers import ScriptTokenizer

        return RougeScorer([self.name], tokenizer=ScriptTokenizer())

    def signature(self) -> str:
        """In the form of sacreBLEU's."""
        from importlib.metadata import version

        from bench.tokenizers import VERSION

        return (
            f"nrefs:{self._nrefs}|case:lc|type:{self.name}|measure:f1|multi:max|stem:no"
            f"|tok:scripts.{VERSION}|version:{version('rouge_score')}"
        )

    def statistics(self, prediction: str, references: Sequence[str]) -> list[float]:
        """The F-measure, 0 to 1, and 1."""
        best = self._scorer.score_multi(list(references), prediction)[self.name]
        return [float(best.fmeasure), 1]


class Exact(MeanMetric):
    """Share of predictions that equal a reference, space around them aside."""

    limits = Metric.limits
    scale = 100.0

    def signature(self) -> str:
        """In the form of sacreBLEU's; the version is the definition's, not the project's."""
        return f"nrefs:{self._nrefs}|case:mixed|strip:yes|multi:any|version:1"

    def statistics(self, prediction: str, references: Sequence[str]) -> list[float]:
        """1 or 0, and 1."""
        return [int(prediction.strip() in {text.strip() for text in references}), 1]


def _built_in(name: str, language: str | None, num_refs: int | None) -> Metric:
    if name == "bleu":
        return Bleu(language, num_refs)
    if name == "chrf":
        return Chrf(num_refs)
    return Exact(name, num_refs) if name == "exact" else Rouge(name, num_refs)


def build_metrics(
    language: str | None,
    extra: Sequence[str] = (),
    num_refs: int | None = None,
    own: Sequence[Metric] = (),
    languages: Sequence[str | None] = (),
) -> list[Metric]:
    """The metrics of a run: those of `BUILT_IN` in that order, the suite's own, then the extras.

    Args:
        language: tag of the references of examples that name none; chooses BLEU's tokenizer.
        extra: names or paths for `evaluate.load`.
        num_refs: references of every segment, for the signatures; None where it varies.
        own: that the suite declares.
        languages: of all examples that are scored, where they may differ.

    Raises:
        UserError: an extra cannot be loaded, or its name is taken.
    """
    metrics = [_built_in(name, language, num_refs) for name in BUILT_IN]
    for metric in own:
        metric.num_refs = num_refs
        metrics.append(metric)
    for path in extra:
        from bench.extra_metrics import EvaluateMetric, short_name

        if any(metric.name == short_name(path) for metric in metrics):
            raise UserError(
                f"metric {path!r} would be a second column {short_name(path)!r}; leave it out, or "
                "give its script another file name"
            )
        metrics.append(EvaluateMetric(path, num_refs))
    for metric in metrics:
        metric.languages = tuple(languages)
    return metrics


def metrics_of(language: str | None, signatures: Mapping[str, str]) -> list[Metric]:
    """Metrics that score recorded statistics, in the order of `signatures`, by name.

    A name that is not built in is a suite's own or an extra, which need not be loaded: `agg:` in
    its signature says how its statistics make a score, and they make a mean where it does not.
    """
    return [
        _built_in(name, language, None) if name in BUILT_IN else _recorded(name, signature)
        for name, signature in signatures.items()
    ]


def ranks(signature: str) -> bool:
    """Whether more of a metric is better, by what its signature says."""
    return "ranks:no" not in signature.split("|")


def _recorded(name: str, signature: str) -> Metric:
    fields = dict(field.partition(":")[::2] for field in signature.split("|"))
    if fields.get("agg") == "share":
        from bench.shares import Share

        return Share(name, kinds=fields["kinds"].split("+") if fields.get("kinds") else ())
    if fields.get("agg") == "bleu":
        metric = Bleu()
        metric.name = name
        return metric
    return MeanMetric(name)
