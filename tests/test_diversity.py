"""Distinct-n and self-BLEU of an episode, against counting by hand and against sacreBLEU."""

import random
from collections import Counter

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

import bench
from bench.diversity import Distinct, SelfBleu, diversity, of_references
from bench.episodes import draw_episode
from bench.errors import UserError
from bench.metrics import build_metrics, metrics_of, ranks
from bench.registry import load_suite
from bench.tables import leaderboard
from bench.tasks import Example

WORDS = "ant bee cat dog elk . , the".split()
answers = st.lists(
    st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), min_size=2, max_size=7
)


def queries(count: int) -> list[Example]:
    return [Example("asked", ("said",), str(i), str(i)) for i in range(count)]


@given(answers, st.sampled_from([1, 2]))
def test_distinct_is_different_ngrams_over_all(texts: list[str], order: int) -> None:
    words = [[w for w in text.split() if w.isalpha()] for text in texts]
    grams = [tuple(own[i : i + order]) for own in words for i in range(len(own) - order + 1)]
    metric = Distinct(order)
    sums = np.sum(metric.of_episode(texts, queries(len(texts))), axis=0)
    assert sums.tolist() == [len(set(grams)), len(grams)]
    assert metric.score(sums) == pytest.approx(100 * len(set(grams)) / max(len(grams), 1))


@given(answers)
def test_self_bleu_is_sacrebleus_with_the_others_as_references(texts: list[str]) -> None:
    metric, bleu = SelfBleu("en"), sacrebleu.BLEU()
    found = metric.of_episode(texts, queries(len(texts)))
    others = [[*texts[:i], *texts[i + 1 :]] for i in range(len(texts))]
    told = [
        bleu._extract_corpus_statistics([text], [[other] for other in rest])[0]
        for text, rest in zip(texts, others, strict=True)
    ]
    assert found == told
    streams = [list(stream) for stream in zip(*others, strict=True)]
    whole = bleu.corpus_score(texts, streams).score
    assert metric.score(np.sum(found, axis=0)) == pytest.approx(whole)


def test_the_tokenizer_is_the_languages() -> None:
    texts = ["我去河边", "我去市场", "他去市场"]
    bleu = sacrebleu.BLEU(tokenize="zh")
    told = [bleu._extract_corpus_statistics([t], [[o] for o in texts if o != t])[0] for t in texts]
    assert SelfBleu("zh").of_episode(texts, queries(3)) == told
    assert "tok:zh" in SelfBleu("zh").signature()
    mine = [Example("asked", ("said",), "i", "g", language="zh") for _ in texts]
    assert SelfBleu("en").of_episode(texts, mine) == told


def test_answers_that_are_all_alike_and_all_unlike() -> None:
    same, unlike = ["a b c d e"] * 4, ["a b c d", "e f g h", "i j k l"]
    one, two, self_bleu = diversity("en")

    def score(metric, texts):
        return metric.score(np.sum(metric.of_episode(texts, queries(len(texts))), axis=0))

    assert score(one, same) == score(two, same) == 25
    assert score(self_bleu, same) == pytest.approx(100)
    assert score(one, unlike) == score(two, unlike) == 100
    assert score(self_bleu, unlike) == 0


def test_one_answer_and_none_that_say_something() -> None:
    for metric in diversity(None):
        (alone,) = metric.of_episode(["a b"], queries(1))
        assert metric.score(np.array(alone)) == (0 if metric.name == "self-bleu" else 100)
        empty = metric.of_episode(["", ""], queries(2))
        assert metric.score(np.sum(empty, axis=0)) == 0
        assert len(alone) == len(empty[0])


def test_recorded_statistics_are_read_without_the_suite() -> None:
    texts = [" ".join(random.Random(i).choices(WORDS, k=9)) for i in range(6)]
    made = diversity("en")
    readers = metrics_of("en", {metric.name: metric.signature() for metric in made})
    for metric, reader in zip(made, readers, strict=True):
        sums = np.array([np.sum(metric.of_episode(texts, queries(6)), axis=0)] * 2)
        assert reader.name == metric.name
        assert reader.scores(sums).tolist() == pytest.approx([metric.score(sums[0])] * 2)
        assert not ranks(metric.signature())
    assert all(ranks(metric.signature()) for metric in build_metrics("en"))


def test_what_the_references_have_is_at_hand() -> None:
    data = load_suite("writing").embedded()
    episodes = [
        draw_episode("writing", data.task(name), 8, 16, 0, i)
        for i, name in enumerate(data.names("meta-test")[:3])
    ]
    found = of_references(episodes, "en")
    words = [
        [w for w in query.target.split() if w.isalpha()]
        for episode in episodes
        for query in episode.query
    ]
    apart = [Counter(w for own in words[i : i + 16] for w in own) for i in (0, 16, 32)]
    assert found["distinct-1"] == pytest.approx(
        100 * sum(map(len, apart)) / sum(counts.total() for counts in apart)
    )
    assert 0 < found["distinct-1"] < found["distinct-2"] < 100
    assert 0 < found["self-bleu"] < 100
    with pytest.raises(ValueError, match="no episode"):
        of_references([], "en")


def test_diversity_is_told_and_ranks_nothing(tmp_path) -> None:
    bench.run(
        {
            "suites": ["writing"],
            "baselines": ["nearest", "copy"],
            "episodes": 3,
            "queries": 4,
            "out": str(tmp_path / "run"),
            "workers": 1,
        }
    )
    table = leaderboard([tmp_path / "run"]).set_index("baseline")
    assert table.loc["nearest", "distinct-2"] <= 100
    for name in ("distinct-1", "distinct-2", "self-bleu", "rules", "rules-image", "form-rhyme"):
        assert (table[f"{name}_low"] <= table[name]).all()
        assert (table[name] <= table[f"{name}_high"]).all()
    assert list(table["rank_metric"]) == ["form", "form"]
    shown = (tmp_path / "run" / "leaderboard.md").read_text()
    heads = [cell.strip() for cell in shown.splitlines()[0].split("|")]
    assert [head for head in heads if head in ("rules", "form")] == ["rules", "form"]
    assert not {"distinct-1", "self-bleu", "rules-image", "form-rhyme"} & {*heads}
    assert "self-bleu" not in shown
    with pytest.raises(UserError, match="self-bleu ranks nothing"):
        leaderboard([tmp_path / "run"], "self-bleu")
