import json
import random
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer
from sacrebleu import corpus_bleu, corpus_chrf
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from bench import languages
from bench.errors import UserError
from bench.languages import bleu_tokenizer
from bench.metrics import BUILT_IN, MeanMetric, build_metrics, language_of, metrics_of
from bench.tasks import Example
from bench.tokenizers import ScriptTokenizer

WORDS = ["the", "a", "cat", "dog", "sat", "on", "mat", "ran,", "red.", "3.5", "it's", "New-York"]
TEXTS = {
    "zh": ("今天天气很好我们去公园散步", "今天天气很好他们去学校"),
    "km": ("ខ្ញុំស្រឡាញ់ភាសាខ្មែរណាស់", "ខ្ញុំស្រឡាញ់ប្រទេសខ្មែរ"),
    "ar": ("ذهب الولد إلى المدرسة في الصباح", "ذهب الولد إلى البيت في المساء"),
    "vi": ("hôm nay trời đẹp và chúng tôi đi dạo", "hôm nay trời đẹp và họ đi học"),
}


def metric(name, language=None, num_refs=None):
    return next(m for m in build_metrics(language, num_refs=num_refs) if m.name == name)


def corpus(scorer, predictions, references):
    pairs = zip(predictions, references, strict=True)
    return scorer.score(np.sum([scorer.statistics(p, r) for p, r in pairs], axis=0))


def test_each_segment_is_split_by_the_tokenizer_of_its_own_language():
    pairs = {"zh": TEXTS["zh"], "en": ("the cat, sat.", "the cat sat."), "ar": TEXTS["ar"]}
    queries = [Example("", (r,), c, c, language=c) for c, (_, r) in pairs.items()]
    bleu = build_metrics(None, languages=tuple(pairs))[0]
    expected = [
        BLEU(tokenize=tok)._extract_corpus_statistics([said], [[reference]])[0]
        for (said, reference), tok in zip(pairs.values(), ("zh", "13a", "13a"), strict=True)
    ]
    assert bleu.of_episode([said for said, _ in pairs.values()], queries) == expected
    assert "|tok:13a+zh|" in bleu.signature()
    undeclared = build_metrics("zh")[0]
    assert undeclared.of_episode([pairs["zh"][0]], [Example("", pairs["zh"][1:], "", "")]) == [
        expected[0]
    ]


# Matches of 1 to 4 n-grams and their sums over a corpus, whose rounding puts sacreBLEU over 100.
@given(st.lists(st.integers(4, 5000), min_size=1, max_size=3))
def test_a_perfect_score_is_never_more_than_100(lengths):
    total = sum(lengths)
    counted = [total - n * len(lengths) for n in range(4)]
    sums = np.array([total, total, *counted, *counted], dtype=np.float64)
    bleu = metric("bleu")
    assert max(bleu.score(sums), *bleu.scores(sums[None])) <= 100
    chrf = np.array([n for n in counted * 2 for _ in range(3)][:18], dtype=np.float64)
    assert max(metric("chrf").score(chrf), *metric("chrf").scores(chrf[None])) <= 100


def salad(seed, references=1, size=30):
    """Predictions, one of them empty, and that many references for each; all of these overlap."""
    rng = random.Random(seed)
    predictions, several = [""], [["the cat sat"] * references]
    for _ in range(size):
        words = rng.choices(WORDS, k=rng.randint(1, 12))
        predictions.append(" ".join(w for w in words if rng.random() < 0.9))
        several.append(
            [" ".join(w for w in words if rng.random() < 0.8) for _ in range(references)]
        )
    return predictions, several


@pytest.mark.parametrize("references", [1, 3])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("name", "reference"), [("bleu", corpus_bleu), ("chrf", corpus_chrf)])
def test_equals_sacrebleu_to_the_last_digit(name, reference, seed, references):
    predictions, several = salad(seed, references)
    streams = [list(stream) for stream in zip(*several, strict=True)]
    expected = reference(predictions, streams).score
    assert corpus(metric(name), predictions, several) == expected
    assert 0 < expected < 100


@pytest.mark.parametrize(("name", "reference"), [("bleu", corpus_bleu), ("chrf", corpus_chrf)])
def test_references_may_vary_in_number(name, reference):
    predictions, several = salad(7, 3)
    for i, texts in enumerate(several):
        del texts[1 + i % 3 :]
    streams = [[texts[i] if i < len(texts) else None for texts in several] for i in range(3)]
    assert corpus(metric(name), predictions, several) == reference(predictions, streams).score


@pytest.mark.parametrize("name", BUILT_IN)
def test_no_match_and_no_text_score_zero(name):
    scorer = metric(name)
    assert corpus(scorer, ["", ""], [["a cat"], ["dog"]]) == 0
    assert corpus(scorer, ["xyz"], [["ab"]]) == 0


@pytest.mark.parametrize("kind", [BLEU, CHRF])
@pytest.mark.parametrize("references", [1, 2])
def test_signatures_are_sacrebleus(kind, references):
    scorer = kind()
    predictions, several = salad(0, references)
    scorer.corpus_score(predictions, list(zip(*several, strict=True)))
    ours = metric(kind.__name__.lower(), num_refs=references)
    ours.statistics("a", ["b", "c", "d"])  # what was scored last leaves the signature alone
    assert ours.signature() == str(scorer.get_signature())
    assert ours.signature().startswith(f"nrefs:{references}|")


def test_signatures_are_pairs_that_tell_metrics_apart():
    signatures = [m.signature() for m in build_metrics("zh")]
    assert len(set(signatures)) == len(BUILT_IN)
    assert "|tok:zh|" in signatures[0]
    for signature in signatures:
        keys = dict(pair.split(":") for pair in signature.split("|"))
        assert keys["nrefs"] == "var"
        assert keys["version"]


@pytest.mark.parametrize("name", ["rouge1", "rouge2", "rougeL", "rougeLsum"])
@pytest.mark.parametrize("references", [1, 3])
def test_rouge_is_the_mean_of_rouge_scores_best(name, references):
    predictions, several = salad(3, references)
    predictions[4] = predictions[4].replace(" ", "\n", 2)
    scorer = RougeScorer([name])
    best = [
        max(scorer.score(text, prediction)[name].fmeasure for text in texts)
        for prediction, texts in zip(predictions, several, strict=True)
    ]
    expected = 100 * np.mean(best)
    assert corpus(metric(name), predictions, several) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(st.text(st.characters(max_codepoint=127)))
def test_tokens_of_ascii_are_rouge_scores(text):
    assert ScriptTokenizer().tokenize(text) == DefaultTokenizer().tokenize(text)


@settings(deadline=None)
@given(st.text())
def test_canonically_equivalent_texts_have_the_same_tokens(text):
    tokenize = ScriptTokenizer().tokenize
    assert tokenize(unicodedata.normalize("NFD", text)) == tokenize(text)


@settings(deadline=None)
@given(st.text())
def test_tokens_keep_every_letter_and_number(text):
    def kept(s):
        return [c for c in s if unicodedata.category(c)[0] in "LN"]

    lowered = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
    # The two libraries may know different versions of Unicode; only characters both know count.
    lowered = "".join(c for c in lowered if unicodedata.category(c) != "Cn")
    assert kept("".join(ScriptTokenizer().tokenize(lowered))) == kept(lowered)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Café, CAFE\u0301!", ["café", "café"]),
        ("我爱Python3。", ["我", "爱", "python3"]),
        ("ラーメン", ["ラ", "ー", "メ", "ン"]),
        ("สวัสดี", ["ส", "วั", "ส", "ดี"]),
        ("ភាសា", ["ភា", "សា"]),
        ("မြန်မာ", ["မြ", "န်", "မာ"]),
        ("한국어 말", ["한국어", "말"]),
        ("हिन्दी", ["हिन्दी"]),
    ],
)
def test_tokens_by_script(text, tokens):
    assert ScriptTokenizer().tokenize(text) == [unicodedata.normalize("NFC", t) for t in tokens]


@pytest.mark.parametrize("language", TEXTS)
def test_every_script_scores(language):
    text, other = TEXTS[language]
    for scorer in build_metrics(language):
        assert corpus(scorer, [text], [[text]]) == pytest.approx(100)
        if scorer.name != "exact":
            assert 0 < corpus(scorer, [other], [[text]]) < 100


def test_composed_and_decomposed_words_are_one_to_rouge():
    text = TEXTS["vi"][0]
    assert corpus(metric("rougeL"), [unicodedata.normalize("NFD", text)], [[text]]) == 100


def test_exact_ignores_space_around_only():
    pairs = [(" a b\n", ["x", "a b"]), ("a  b", ["a b"]), ("A", ["a"]), ("", [" "])]
    predictions, references = zip(*pairs, strict=True)
    assert corpus(metric("exact"), predictions, references) == 50


@pytest.mark.parametrize(
    ("tags", "tokenizer"),
    [
        (("zh", "zho", "zh-CN", "zho_Hans", "ZH_tw", "yue"), "zh"),
        (("th", "tha", "lo", "lao", "km", "khm", "my", "mya", "bur", "km-KH", "shn"), "char"),
        (("en", "deu", "ar", "", None, "ja-Latn", "nan_Latn", "no language"), "13a"),
    ],
)
def test_bleu_tokenizer_by_language_tag(tags, tokenizer):
    assert {bleu_tokenizer(tag) for tag in tags} == {tokenizer}


@pytest.mark.parametrize("installed", [True, False])
def test_mecab_where_it_is_installed(monkeypatch, installed):
    monkeypatch.setattr(languages, "find_spec", lambda name: object() if installed else None)
    names = [bleu_tokenizer(tag) for tag in ("ja", "jpn", "ko", "kor-KR")]
    assert names == (["ja-mecab"] * 2 + ["ko-mecab"] * 2 if installed else ["char"] * 4)


@pytest.mark.parametrize(
    ("texts", "language"),
    [
        ([TEXTS["zh"][0], "OK"], "zh"),
        (["我爱你", "今日は良い天気です", "ラーメンを食べました"], "ja"),
        (["한국어 文化"], "ko"),
        (["ภาษาไทย"], "th"),
        (["ພາສາລາວ"], "lo"),
        ([TEXTS["km"][0]], "km"),
        (["မြန်မာဘာသာ"], "my"),
        ([TEXTS["ar"][0]], None),
        (["The word 中文 in an English text"], None),
        (["123 !"], None),
        ([], None),
    ],
)
def test_language_of_references(texts, language):
    assert language_of(iter(texts)) == language


@pytest.mark.parametrize("name", BUILT_IN)
def test_recorded_statistics_score_the_same_after_json(name):
    predictions, several = salad(11, 2)
    scorer = metric(name)
    pairs = zip(predictions, several, strict=True)
    recorded = json.loads(json.dumps([scorer.statistics(p, r) for p, r in pairs]))
    (reader,) = metrics_of("xx", {name: ""})
    assert reader.score(np.sum(recorded, axis=0)) == corpus(scorer, predictions, several)


def test_metrics_come_in_a_fixed_order():
    assert [m.name for m in build_metrics("en")] == list(BUILT_IN)
    assert [m.name for m in metrics_of(None, {"mine": "", "bleu": ""})] == ["mine", "bleu"]


def test_a_recorded_extra_scores_without_its_library():
    (mine,) = metrics_of(None, {"mine": ""})
    assert mine.score(np.array([3.0, 4.0])) == 0.75
    with pytest.raises(NotImplementedError, match="mine"):
        mine.statistics("a", ["a"])


def test_importing_metrics_imports_no_metric_library():
    code = (
        "import sys, bench.metrics, bench.statistics; bench.metrics.build_metrics('ja');"
        "print({'sacrebleu', 'rouge_score', 'evaluate', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


SCRIPT = """
import datasets
import evaluate


class Mine(evaluate.Metric):
    def _info(self):
        text = datasets.Value("string")
        forms = [
            datasets.Features({{"predictions": text, "references": references}})
            for references in ({references})
        ]
        return evaluate.MetricInfo("", citation="", features=forms)

    def _compute(self, predictions, references):
        best = references[0] if isinstance(references[0], list) else [references[0]]
        return {result}
"""
ONE, SEVERAL = "text,", "text, datasets.Sequence(text)"
LENGTH = '{"words": None, "length": max(map(len, best)) - len(predictions[0])}'


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """Writes a metric's script."""
    import evaluate

    root = tmp_path_factory.mktemp("evaluate")

    def write(name, references=SEVERAL, result=LENGTH):
        path = root / f"{name}.py"
        path.write_text(SCRIPT.format(references=references, result=result))
        return str(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate.config, "HF_EVALUATE_OFFLINE", True)
        yield write


def test_an_extra_metric_is_averaged_on_its_own_scale(script):
    mine = build_metrics(None, [script("mine")])[-1]
    assert mine.name == "mine"
    assert mine.statistics("ab", ["abc"]) == [1, 1]
    assert corpus(mine, ["ab", "a"], [["abc"], ["abcd", "ab"]]) == 2
    assert mine.signature().startswith("nrefs:var|metric:mine|agg:mean|script:")
    (reader,) = metrics_of(None, {"mine": ""})
    assert reader.score(np.array([4.0, 2.0])) == 2


@pytest.mark.parametrize("result", ['{"scores": [0.5]}', "{'n': __import__('numpy').float32(0.5)}"])
def test_an_extra_metric_may_give_its_number_in_other_ways(script, result):
    path = script(f"other{len(result)}", result=result)
    assert build_metrics(None, [path])[-1].statistics("a", ["a"]) == [0.5, 1]


def test_an_extra_metric_that_cannot_score_says_so(script):
    single = build_metrics(None, [script("single", references=ONE)])[-1]
    assert single.statistics("a", ["abc"]) == [2, 1]
    with pytest.raises(UserError, match="'single' failed"):
        single.statistics("a", ["abc", "b"])
    for number, result in enumerate(['{"a": "b"}', '{"a": float("nan")}', "{}"]):
        empty = build_metrics(None, [script(f"empty{number}", result=result)])[-1]
        with pytest.raises(UserError, match="gave no number"):
            empty.statistics("a", ["abc"])


def test_a_metric_that_does_not_load_is_the_users_error(script, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("import a_package_that_nobody_has\n")
    for path in (str(tmp_path / "absent.py"), "a-metric-that-nobody-has", str(broken)):
        with pytest.raises(UserError) as caught:
            build_metrics(None, [path])
        assert "\n" not in caught.value.message
        assert repr(path) in caught.value.message
        assert "the path of the metric's script" in caught.value.message
    assert "a_package_that_nobody_has" in caught.value.message


def test_two_metrics_of_one_name_are_refused(script):
    path = script("mine")
    with pytest.raises(UserError, match="second column 'mine'"):
        build_metrics(None, [path, path])
    with pytest.raises(UserError, match="second column 'bleu'"):
        build_metrics(None, ["bleu"])


def test_a_suites_own_metric_stands_between_and_keeps_its_name():
    class Rules(MeanMetric):
        pass

    own = Rules("rules")
    made = build_metrics("en", num_refs=1, own=[own])
    assert [metric.name for metric in made] == [*BUILT_IN, "rules"]
    assert made[-1] is own
    assert own.num_refs == 1
    with pytest.raises(UserError, match="second column 'rules'"):
        build_metrics("en", ["somewhere/rules.py"], own=[own])


def test_a_signature_says_how_recorded_sums_make_a_score():
    sums = np.array([3.0, 4, 1, 2, 2, 2])
    share, mean = metrics_of("en", {"rules": "nrefs:1|agg:share|kinds:a+b|version:1", "mine": "x"})
    assert share.score(sums) == 75
    assert {part.name: part.score(sums) for part in share.parts(sums)} == {
        "rules-a": 50,
        "rules-b": 100,
    }
    assert mean.score(sums[:2]) == 0.75
    assert mean.parts(sums[:2]) == ()
    assert share.limits == (0, 100)
    assert share.scores(np.zeros((1, 6))).tolist() == [0]
    for reader in (share, mean):
        with pytest.raises(NotImplementedError, match="was recorded elsewhere"):
            reader.statistics("a", ["b"])
