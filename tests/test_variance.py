"""Variance components against known ones, closed forms, regressions and restricted likelihood."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from scipy.optimize import minimize
from scipy.stats import f_oneway

from bench.cli import main
from bench.records import Cell, write_cell, write_json
from bench.statistics import Entry, corpus_score, difference
from bench.variance import FACTORS, Split, Values, linearised, split, values_of
from tests.simulated import METRICS, SCORERS, Design, Like, population, simulate
from tests.test_tables import header

KNOWN = dict(zip(FACTORS, [9.0, 4.0, 2.0, 1.0, 3.0, 1.5, 0.5], strict=True))


def drawn(
    rng: np.random.Generator, visits: list[int], seeds: int, draws: int, known: dict[str, float]
) -> Values:
    """Values with known components; visits of each task."""
    label = np.repeat(np.arange(len(visits)), visits)
    n, tasks = len(label), len(visits)
    sizes = [(tasks, 1, 1), (n, 1, 1), (1, seeds, 1), (tasks, seeds, 1), (n, seeds, 1)]
    sizes += [(n, 1, draws), (n, seeds, draws)]
    scores = np.zeros((n, seeds, draws))
    for factor, size in zip(FACTORS, sizes, strict=True):
        effect = np.sqrt(known[factor]) * rng.standard_normal(size)
        scores = scores + (effect[label] if size[0] == tasks and "task" in factor else effect)
    keys = tuple((f"t{task:03}", 0, i) for i, task in enumerate(label))
    return Values(keys, tuple(range(seeds)), tuple(range(draws)), scores)


DESIGNS = [
    ([3] * 12, 4, 2),
    ([1, 2, 3, 4] * 4, 4, 2),
    ([1] * 24, 4, 1),
    ([2, 1] * 12, 1, 1),
    ([2] * 24, 1, 3),
]


@pytest.mark.parametrize(("visits", "seeds", "draws"), DESIGNS)
def test_estimates_are_unbiased(visits: list[int], seeds: int, draws: int) -> None:
    rng = np.random.default_rng(1)
    found = [split(drawn(rng, visits, seeds, draws, KNOWN)) for _ in range(400)]
    for place, component in enumerate(found[0].components):
        estimates = np.array([s.components[place].estimate for s in found])
        known = sum(KNOWN[factor] for factor in component.factors)
        assert abs(estimates.mean() - known) < 4 * estimates.std() / np.sqrt(400)


@pytest.mark.slow
@pytest.mark.parametrize(("visits", "seeds", "draws"), DESIGNS)
def test_intervals_hold_the_truth(visits: list[int], seeds: int, draws: int) -> None:
    rng = np.random.default_rng(2)
    found = [split(drawn(rng, visits, seeds, draws, KNOWN)) for _ in range(2000)]
    for place, component in enumerate(found[0].components):
        known = sum(KNOWN[factor] for factor in component.factors)
        held = np.mean(
            [s.components[place].low <= known <= s.components[place].high for s in found]
        )
        assert 0.93 < held < 0.97, component.factors


def test_one_way_is_the_textbooks() -> None:
    values = drawn(np.random.default_rng(3), [5] * 8, 1, 1, KNOWN)
    untrained = Values(values.keys, (None,), (None,), values.scores)
    found = split(untrained)
    groups = values.scores[:, 0, 0].reshape(8, 5)
    within = groups.var(axis=1, ddof=1).mean()
    between = f_oneway(*groups).statistic * within
    assert found.of("support draw").estimate == pytest.approx(within)  # type: ignore[union-attr]
    assert found.of("task").estimate == pytest.approx((between - within) / 5)  # type: ignore[union-attr]
    assert found.absent == tuple(f for f in FACTORS if "seed" in f or "decoding" in f)


def residual(scores: np.ndarray, columns: list[np.ndarray]) -> float:
    """What a regression on dummies leaves of the squares."""
    x = np.concatenate(columns, axis=1)
    fitted = x @ np.linalg.lstsq(x, scores, rcond=None)[0]
    return float(np.square(scores - fitted).sum())


def dummies(labels: list[Any]) -> np.ndarray:
    names = sorted(set(labels))
    return np.array([[float(label == name) for name in names] for label in labels])


def test_mean_squares_are_those_of_regressions_where_tasks_are_visited_unequally() -> None:
    visits, seeds = [1, 3, 2, 2], 3
    values = drawn(np.random.default_rng(4), visits, seeds, 1, KNOWN)
    untold = Values(values.keys, values.train_seeds, (None,), values.scores)
    task = [key[0] for key in values.keys]
    places = list(product(range(len(task)), range(seeds)))
    y = values.scores[:, :, 0].ravel()
    by_task, by_seed = dummies([task[e] for e, _ in places]), dummies([s for _, s in places])
    by_draw = dummies([e for e, _ in places])
    by_both = dummies([(task[e], s) for e, s in places])
    left = [
        residual(y, columns)
        for columns in (
            [by_task, by_seed],
            [by_draw, by_seed],
            [by_both],
            [by_draw, by_both],
        )
    ]
    n, t, s = len(task), len(visits), seeds
    rest = left[3] / ((n - t) * (s - 1))
    both = (left[0] - left[2]) / ((t - 1) * (s - 1))
    draw = (left[0] - left[1]) / (n - t)
    k = (n - sum(v * v for v in visits) / n) / (t - 1)
    found = split(untold)
    expected = {
        "train seed x support draw": rest,
        "train seed x task": (both - rest) / k,
        "support draw": (draw - rest) / s,
    }
    for factor, estimate in expected.items():
        assert found.of(factor).estimate == pytest.approx(estimate)  # type: ignore[union-attr]


def test_what_is_below_zero_gives_way_to_restricted_likelihood() -> None:
    """The maximum over covariance matrices of the whole data, found by a general search."""
    known = {**KNOWN, "train seed": 0.0, "train seed x task": 0.0}
    rng = np.random.default_rng(6)
    values = next(
        v
        for _ in range(50)
        if (v := drawn(rng, [2] * 5, 3, 1, known))
        and sum(
            c.estimate < 0
            for c in split(Values(v.keys, v.train_seeds, (None,), v.scores)).components
        )
    )
    found = split(Values(values.keys, values.train_seeds, (None,), values.scores))
    task = np.repeat(np.arange(5), 2)
    places = list(product(range(10), range(3)))
    same = np.array(
        [
            [
                [
                    task[a] == task[b],
                    a == b,
                    s == u,
                    task[a] == task[b] and s == u,
                    (a, s) == (b, u),
                ]
                for b, u in places
            ]
            for a, s in places
        ],
        dtype=float,
    )
    y, ones = values.scores.ravel(), np.ones(30)

    def loss(variances: np.ndarray) -> float:
        v = same @ variances + 1e-12 * np.eye(30)
        inverse = np.linalg.inv(v)
        precision = ones @ inverse @ ones
        off = y - (ones @ inverse @ y) / precision
        return float(np.linalg.slogdet(v)[1] + np.log(precision) + off @ inverse @ off)

    ours = np.array([c.variance for c in found.components])
    best = min(
        (
            minimize(loss, start, bounds=[(0, None)] * 4 + [(1e-3, None)])
            for start in (ours + 0.1, np.ones(5), 3 * np.ones(5))
        ),
        key=lambda result: result.fun,
    )
    assert (ours >= 0).all()
    assert loss(ours) == pytest.approx(best.fun, abs=1e-3)
    assert ours == pytest.approx(best.x, abs=0.05)


@pytest.mark.parametrize("metric", METRICS)
def test_parts_of_a_score_have_it_as_their_mean(metric: str) -> None:
    real = population("translation", 16)
    [row] = simulate(np.random.default_rng(0), real, metric, [Like("fomaml")], Design(20, 2, 2, 2))
    parts = linearised(row, SCORERS[metric])
    assert np.mean([*parts.values()]) == pytest.approx(corpus_score(row, SCORERS[metric]))
    if metric == "rougeL":
        for entry in row:
            part = parts[entry.train_seed, entry.key]
            assert part == pytest.approx(100 * entry.sums[0] / entry.sums[1])


@pytest.mark.parametrize("metric", METRICS)
def test_the_error_from_components_is_that_of_the_comparison(metric: str) -> None:
    """The bootstrap of `bench.statistics` knows nothing of components."""
    from bench.power import noise_of

    real = population("translation", 16)
    rows = [Like(name, seed_sd=1.0, both_sd=0.5, residual_sd=1.0) for name in ("fomaml", "reptile")]
    a, b = simulate(np.random.default_rng(8), real, metric, rows, Design(48, 2, 6))
    one, two = (values_of({None: row}, SCORERS[metric]) for row in (a, b))
    foretold = noise_of(split(one.minus(two))).error(48, 2, 6)
    found = difference(a, b, SCORERS[metric], repeats=4000)
    assert foretold.value == pytest.approx(found.error, rel=0.06)
    assert foretold.freedom == pytest.approx(found.freedom, rel=0.15)


def names(found: Split) -> list[str]:
    return [" + ".join(c.factors) for c in found.components]


def test_what_a_design_cannot_tell_apart_stands_together() -> None:
    rng = np.random.default_rng(9)
    once = split(drawn(rng, [1] * 6, 3, 1, KNOWN))
    assert names(once) == [
        "task + support draw + decoding",
        "train seed",
        "train seed x task + train seed x support draw + decoding x train seed",
    ]
    alone = split(drawn(rng, [2] * 6, 1, 1, KNOWN))
    assert alone.unknown == ("train seed",)
    assert names(alone)[0] == "task + train seed x task"
    one_task = split(drawn(rng, [6], 3, 1, KNOWN))
    assert one_task.unknown == ("task",)
    assert "train seed + train seed x task" in names(one_task)
    with pytest.raises(ValueError, match="one episode"):
        split(drawn(rng, [1], 1, 1, KNOWN))


def test_values_meet_where_both_rows_have_them() -> None:
    def row(trained: tuple[int | None, ...], count: int) -> list[Entry]:
        return [
            Entry(f"t{i}", s, 0, i, np.array([0.1 * (i + (s or 0)), 1.0]))
            for s in trained
            for i in range(count)
        ]

    scorer = SCORERS["rougeL"]
    trained = values_of({None: row((0, 1), 4)}, scorer)
    untrained = values_of({None: row((None,), 3)}, scorer)
    both = trained.minus(untrained)
    assert both.train_seeds == (0, 1)
    assert both.scores[:, :, 0] == pytest.approx(np.array([[0, 10]] * 3), abs=1e-6)
    sampled = values_of({0: row((None,), 3), 1: row((None,), 3)}, scorer)
    assert untrained.minus(sampled).decodings == (0, 1)
    with pytest.raises(ValueError, match="share no train seed"):
        trained.minus(values_of({None: row((5,), 4)}, scorer))
    other = [Entry("other", None, 9, 0, np.array([1.0, 1.0]))]
    with pytest.raises(ValueError, match="share no episode"):
        trained.minus(values_of({None: other}, scorer))
    with pytest.raises(ValueError, match="no episode was met by all"):
        values_of({None: [*row((0,), 1), Entry("u", 1, 1, 0, np.ones(2))]}, scorer)


# -- the command ---------------------------------------------------------------------------


def write(
    root: Path, baseline: str, values: np.ndarray, train_seeds: list[int | None], **more: Any
) -> None:
    """A run whose episodes, two of each task, have these ROUGE-L values `(episodes, seeds)`."""
    head = header(primary="rougeL", signatures={"rougeL": "made up"}, **more)
    costs = {
        "adapt_ms": 400.0,
        "inner_steps_ms": [1.0],
        "generate_ms": 600.0,
        "generated_tokens": 9,
    }
    costs |= {"adapt_peak_mib": None, "adapt_joules": None}
    for column, train in enumerate(train_seeds):
        records = [
            {
                "index": i,
                "task": f"t{i // 2}",
                "seed": 0,
                "digest": f"d{i}",
                "support_part": "train",
                "statistics": {"rougeL": [[value / 100, 1]]},
                "costs": costs,
            }
            for i, value in enumerate(values[:, column].tolist())
        ]
        train_cost = {"train": {"seconds": 20.0, "tokens": 1}} if train is not None else {}
        write_cell(
            root, Cell("translation", baseline, 8, train, 0), {**head, **train_cost}, records
        )
    seeds = [s for s in train_seeds if s is not None] or [0]
    facts = {"suites": {"translation": {"tasks": {"k8": [f"t{i}" for i in range(48)]}}}}
    write_json(root / "run.json", {"plan": {"seeds": [0], "train_seeds": seeds}, "facts": facts})


def scores(seed: int, seeds: int, shift: float = 0.0) -> np.ndarray:
    """Of 12 tasks, two episodes each."""
    return (
        50 + shift + drawn(np.random.default_rng(seed), [2] * 12, seeds, 1, KNOWN).scores[:, :, 0]
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    write(root, "fine-tuned", scores(0, 1), [None])
    write(root, "reptile", scores(1, 4, 1), [0, 1, 2, 3], init="meta-trained")
    write(root, "fomaml", scores(2, 4, 3), [0, 1, 2, 3], init="meta-trained")
    return root


def command(*words: object) -> Result:
    return CliRunner().invoke(main, [*map(str, words)])


def test_a_table_and_its_json(run: Path, tmp_path: Path) -> None:
    done = command("variance", run, "--baseline", "fomaml", "--json", tmp_path / "v.json")
    assert done.exit_code == 0, done.output
    [found] = json.loads((tmp_path / "v.json").read_text(encoding="utf-8"))
    assert (found["tasks"], found["episodes"], found["train_seeds"]) == (12, 24, 4)
    assert sum(c["share"] for c in found["components"]) == pytest.approx(1)
    assert "decoding" in found["zero_by_construction"]
    for component in found["components"]:
        assert f"| {' + '.join(component['factors'])} " in done.output
        assert f"{component['variance'] ** 0.5:.2f}" in done.output
    assert "Answers are not sampled" in done.output
    everything = command("variance", run)
    assert all(f"{name} on translation" in everything.output for name in ("fine-tuned", "reptile"))


def test_a_difference_is_split(run: Path) -> None:
    done = command("variance", run, "--baseline", "fomaml", "--minus", "fine-tuned")
    assert "fomaml minus fine-tuned on translation, K = 8, rougeL" in done.output
    assert "24 episode(s), 4 train seed(s)" in done.output


def test_other_draws_of_answers_are_joined(run: Path, tmp_path: Path) -> None:
    """What the decoding seed alone divides is one row; other settings are not."""
    base = header()["settings"]
    known = {**KNOWN, "decoding": 30.0}
    drawn_anew = 50 + drawn(np.random.default_rng(5), [2] * 12, 1, 3, known).scores[:, 0]
    for seed in range(3):
        told = "sample, temperature = 1.0, top_p = 1.0" + f", decoding_seed = {seed}" * bool(seed)
        settings = {**base, "decoding": told}
        write(tmp_path / f"{seed}", "zero-shot", drawn_anew[:, [seed]], [None], settings=settings)
    other = {**base, "decoding": "sample, temperature = 0.5, top_p = 1.0"}
    write(tmp_path / "other", "zero-shot", drawn_anew[:, [0]], [None], settings=other)
    names = [tmp_path / name for name in ("0", "1", "2", "other")]
    done = command("variance", *names, "--json", tmp_path / "v.json")
    assert done.exit_code == 0, done.output
    joined, single = json.loads((tmp_path / "v.json").read_text(encoding="utf-8"))
    assert (joined["decodings"], single["decodings"]) == (3, 1)
    decoding = next(c for c in joined["components"] if c["factors"] == ["decoding"])
    assert decoding["variance"] == pytest.approx(30.5, rel=0.6)
    assert "decoding is not measured" in done.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--baseline", "fomalm"], "did you mean fomaml"),
        (["--baseline", "fomaml", "--minus", "reptil"], "did you mean reptile"),
        (["--baseline", "fomaml", "--minus", "fomaml"], "name two baselines"),
        (["--minus", "fomaml"], "add --baseline"),
        (["--metric", "rougeX"], "did you mean rougeL"),
        (["--json", "/nowhere/at/all.json"], "no directory"),
    ],
)
def test_bad_words_are_told_in_a_line(run: Path, words: list[str], told: str) -> None:
    done = command("variance", run, *words)
    assert done.exit_code == 2
    assert told in done.output
    assert len(done.output.strip().splitlines()) == 1


def test_what_cannot_be_split_is_told(run: Path, tmp_path: Path) -> None:
    assert "no run.json" in command("variance", tmp_path).output
    write(tmp_path / "one", "copy", np.ones((1, 1)), [None], init="none")
    done = command("variance", tmp_path / "one")
    assert done.exit_code == 2
    assert "nothing could be split" in done.output
    write(
        tmp_path / "far", "maml", scores(3, 1), [7], backbone_identity="other", init="meta-trained"
    )
    done = command("variance", run, tmp_path / "far", "--baseline", "fomaml", "--minus", "maml")
    assert "stand in no common block" in done.output
    write(tmp_path / "same", "maml", scores(3, 1), [7], init="meta-trained")
    done = command("variance", run, tmp_path / "same", "--baseline", "fomaml", "--minus", "maml")
    assert done.exit_code == 2
    assert "share no train seed" in done.output
