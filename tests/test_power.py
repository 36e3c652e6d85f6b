"""Sizes from variances: textbook sample sizes, brute force, what cannot be reached, bad words."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm, ttest_1samp

from bench.gate_power import Goal, chances, gate_sizes
from bench.power import FEWEST_TASKS, Error, Noise, fewest, limits, noise_of, power, redrawn, sizes
from bench.variance import Values, split
from tests.runs import write_run
from tests.test_variance import KNOWN, command, drawn, run, scores, write

__all__ = ["run"]  # a fixture

PLAIN = Noise(1.0, 0.0, 0.0, 0.0, 0.0, alone=False, trained=False, one_seed=False)
TRAINED = Noise(4.0, 9.0, 0.1, 0.5, 2.0, alone=False, trained=True, one_seed=False)


@pytest.mark.parametrize(
    ("effect", "wanted", "tasks"),
    # Cohen (1988) and G*Power: one-sample t, two-sided, 0.05.
    [(0.2, 0.8, 199), (0.5, 0.8, 34), (0.8, 0.8, 15), (0.5, 0.95, 54)],
)
def test_sizes_are_the_textbooks(effect: float, wanted: float, tasks: int) -> None:
    assert sizes(PLAIN, (1, 1), effect, wanted)[0].tasks == tasks


def test_power_is_what_t_tests_find() -> None:
    rng = np.random.default_rng(0)
    found = power(PLAIN.error(20, 1, 1), 0.5)
    p = ttest_1samp(rng.normal(0.5, 1, size=(20, 20_000)), 0).pvalue
    assert found == pytest.approx((p < 0.05).mean(), abs=0.01)
    assert power(PLAIN.error(20, 1, 1), 0.0) == pytest.approx(0.05)
    assert power(Error(0.0, 1, 0.0), 0.1) == 1


def test_an_error_is_the_spread_of_means() -> None:
    rng = np.random.default_rng(1)
    known = {**KNOWN, "decoding": 0.0, "decoding x train seed": 0.0}
    means = [drawn(rng, [2] * 6, 3, 1, known).scores.mean() for _ in range(20_000)]
    noise = Noise(
        *(known[f] for f in ("task", "support draw", "train seed")), 1.0, 3.0, *[False] * 3
    )
    noise = replace(noise, trained=True)
    assert noise.error(6, 2, 3).value == pytest.approx(np.std(means), rel=0.02)


def test_freedom_is_satterthwaites() -> None:
    """Of the estimate by mean squares of simulated data: 2 mean^2 / variance."""
    rng = np.random.default_rng(2)
    known = {**KNOWN, "task": 1.0, "decoding": 0.0, "decoding x train seed": 0.0}
    estimates = []
    for _ in range(5000):
        y = drawn(rng, [1] * 8, 4, 1, known).scores[:, :, 0]
        rest = y - y.mean(axis=0) - y.mean(axis=1, keepdims=True) + y.mean()
        both = np.square(rest).sum() / 21 / 32
        estimates.append(y.mean(axis=1).var(ddof=1) / 8 + y.mean(axis=0).var(ddof=1) / 4 - both)
    noise = Noise(1.0, 4.0, 2.0, 1.0, 3.0, alone=False, trained=True, one_seed=False)
    error = noise.error(8, 1, 4)
    assert np.mean(estimates) == pytest.approx(error.value**2, rel=0.03)
    expected = 2 * np.mean(estimates) ** 2 / np.var(estimates)
    assert error.freedom == pytest.approx(expected, rel=0.1)


def test_the_fewest_is_the_fewest() -> None:
    for tasks in (FEWEST_TASKS, FEWEST_TASKS + 1, 16, 17, 1000, 12345):
        assert fewest(lambda n, t=tasks: n >= t) == tasks  # type: ignore[misc]
    assert fewest(lambda n: False) is None


def test_sizes_reach_the_power_and_no_smaller_one_does() -> None:
    found = sizes(TRAINED, (0.5, 2.0), 1.0, 0.8)
    assert {size.train_seeds for size in found} > {1}
    for size in found:
        if size.tasks is None:
            continue
        assert size.tasks_low is not None
        assert size.tasks_low <= size.tasks <= (size.tasks_high or np.inf)
        at = TRAINED.error(size.tasks, size.episodes, size.train_seeds)
        assert 0.8 <= size.power == power(at, 1.0)
        if size.tasks > FEWEST_TASKS:
            below = TRAINED.error(size.tasks - 1, size.episodes, size.train_seeds)
            assert power(below, 1.0) < 0.8


def test_what_train_seeds_do_stays_whatever_the_tasks() -> None:
    noise = replace(TRAINED, seed=4.0)
    found = {(s.train_seeds, s.episodes): s for s in sizes(noise, (1, 1), 1.0, 0.8)}
    assert found[2, 1].tasks is None
    assert all(s.tasks is None for s in found.values() if 2 <= s.train_seeds <= 16)
    assert any(s.tasks for s in found.values() if s.train_seeds >= 32)


def test_only_what_was_told_apart_is_foretold() -> None:
    once = noise_of(split(drawn(np.random.default_rng(3), [1] * 12, 3, 1, KNOWN)))
    assert (once.alone, once.episodes()) == (True, (1,))
    one_seed = noise_of(split(drawn(np.random.default_rng(3), [2] * 12, 1, 1, KNOWN)))
    assert (one_seed.one_seed, one_seed.train_seeds()) == (True, (1,))
    with pytest.raises(ValueError, match="one task"):
        noise_of(split(drawn(np.random.default_rng(3), [9], 3, 1, KNOWN)))
    with pytest.raises(ValueError, match="one train seed"):
        redrawn(split(drawn(np.random.default_rng(3), [2] * 12, 1, 1, KNOWN)))


def test_a_row_that_is_trained_anew_differs_by_what_seeds_do() -> None:
    rng = np.random.default_rng(4)
    known = {**KNOWN, "decoding": 0.0, "decoding x train seed": 0.0}
    one = drawn(rng, [2] * 30, 40, 1, known)
    halves = [
        Values(one.keys, tuple(range(20)), (None,), one.scores[:, part])
        for part in (slice(20), slice(20, 40))
    ]
    apart = noise_of(split(halves[0].minus(halves[1])))
    foretold = redrawn(split(Values(one.keys, one.train_seeds, (None,), one.scores)))
    assert foretold.error(30, 2, 20).value == pytest.approx(apart.error(30, 2, 20).value, rel=0.2)
    assert (foretold.task, foretold.draw) == (0, 0)


def test_limits_hold_the_noise() -> None:
    rng, held = np.random.default_rng(5), []
    known = {**KNOWN, "decoding": 0.0, "decoding x train seed": 0.0}
    true = Noise(9.0, 4.0, 2.0, 1.0, 3.0, False, True, False).error(12, 2, 4).value
    for _ in range(500):
        v = drawn(rng, [2] * 12, 4, 1, known)
        found = split(Values(v.keys, v.train_seeds, (None,), v.scores))
        noise = noise_of(found)
        low, high = limits(noise, found)
        square = noise.error(12, 2, 4).value ** 2
        held.append(low * square <= true**2 <= high * square)
    assert np.mean(held) > 0.9


# -- the gate ------------------------------------------------------------------------------

SEEDS = Noise(0.0, 0.0, 0.02, 0.1, 2.0, alone=False, trained=True, one_seed=False)
STILL = Noise(0.0, 0.0, 0.0, 0.0, 0.0, alone=False, trained=False, one_seed=False)


def test_chances_with_many_degrees_of_freedom_are_normal() -> None:
    said = chances([SEEDS, SEEDS], 10**6, 1, 400, 0.05)
    error = np.sqrt(0.02 / 400)
    assert said.passing == pytest.approx(norm.cdf(0.05 / error - norm.ppf(0.95)) ** 2, abs=0.01)
    assert said.wrong == pytest.approx(0.05)
    assert said.calling == pytest.approx(norm.sf(norm.ppf(0.975) - 0.1 / error), abs=0.01)


def test_one_train_seed_is_never_a_size_where_seeds_differ() -> None:
    found = gate_sizes([SEEDS], [(1, 1)], Goal())
    assert {s.tasks for s in found if s.train_seeds == 1} <= {None}
    assert chances([SEEDS], 1000, 1, 1, 0.5).wrong > 0.05
    assert any(s.tasks for s in found)
    for size in found:
        if size.tasks:
            assert size.chances.meet(Goal())
            assert (
                chances([SEEDS], size.tasks, size.episodes, size.train_seeds, 0.5) == size.chances
            )


def test_more_cells_need_more() -> None:
    one, many = (
        {
            (s.train_seeds, s.episodes): s.tasks
            for s in gate_sizes([SEEDS] * n, [(1, 1)] * n, Goal())
        }
        for n in (1, 20)
    )
    both = [k for k in one if one[k] and many.get(k)]
    assert both
    assert all(many[k] >= one[k] for k in both)


def test_what_is_not_trained_passes_but_its_losses_must_be_seen() -> None:
    said = chances([STILL], 8, 1, 0, 0.5)
    assert (said.passing, said.wrong) == (1, 0)
    assert 0.5 < said.calling < 0.9
    [size] = gate_sizes([STILL], [(1, 1)], Goal())[:1]
    assert size.tasks is not None
    assert size.tasks > 8


# -- the command ---------------------------------------------------------------------------


def test_sizes_with_their_cost(run: Path, tmp_path: Path) -> None:
    words = ["--difference", "1", "--baseline", "fomaml", "--minus", "fine-tuned"]
    done = command("power", run, *words, "--json", tmp_path / "p.json")
    assert done.exit_code == 0, done.output
    [found] = json.loads((tmp_path / "p.json").read_text(encoding="utf-8"))["comparisons"]
    assert found["baseline"] == "fomaml"
    size = next(s for s in found["sizes"] if s["tasks"])
    cells = (
        size["tasks"] * size["episodes"]
    )  # a second an episode, 20 s a training, one untrained row
    assert size["seconds"] == size["train_seeds"] * (cells + 20) + cells
    assert "cpu, 1 thread(s)" in done.output
    assert "With 1 train seed" in done.output
    assert "The suite has 48 tasks" in done.output


def test_without_names_the_two_best_are_compared(run: Path) -> None:
    assert "fomaml minus reptile on" in command("power", run, "--difference", "2").output
    only = command("power", run, "--difference", "2", "--baseline", "reptile")
    assert "reptile minus fomaml on" in only.output


def test_the_gates_size(run: Path, tmp_path: Path) -> None:
    done = command("power", run, "--margin", "3", "--json", tmp_path / "g.json")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "g.json").read_text(encoding="utf-8"))
    assert [cell["baseline"] for cell in found["cells"]] == ["fine-tuned", "fomaml", "reptile"]
    assert found["goal"]["margin"] == 3
    assert "as if all its trainings were drawn anew" in done.output
    assert "never" in done.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "one of --difference D and --margin M"),
        (["--difference", "1", "--margin", "1"], "one of --difference D and --margin M"),
        (["--difference", "0"], "points above 0"),
        (["--difference", "-1"], "points above 0"),
        (["--difference", "nan"], "points above 0"),
        (["--margin", "0"], "points above 0"),
        (["--margin", "1", "--baseline", "fomaml"], "go with --difference"),
        (["--margin", "1", "--level", "0.1"], "go with --difference"),
        (["--difference", "1", "--power", "1"], "--power"),
        (["--difference", "1", "--baseline", "fomalm"], "did you mean fomaml"),
        (["--difference", "1", "--minus", "fomaml"], "add --baseline"),
        (["--difference", "1", "--json", "/nowhere/at/all.json"], "no directory"),
    ],
)
def test_bad_words_are_told(run: Path, words: list[str], told: str) -> None:
    done = command("power", run, *words)
    assert done.exit_code == 2
    assert told in done.output


def test_one_train_seed_tells_the_gate_nothing(tmp_path: Path) -> None:
    write(tmp_path, "fine-tuned", scores(0, 1), [None])
    write(tmp_path, "fomaml", scores(1, 1), [0], init="meta-trained")
    done = command("power", tmp_path, "--margin", "1")
    assert done.exit_code == 2
    assert "--train-seeds 0,1,2,3" in done.output
    done = command("power", tmp_path, "--difference", "1")
    assert done.exit_code == 0
    assert "There is one train seed" in done.output


def test_one_row_is_no_comparison(tmp_path: Path) -> None:
    write(tmp_path, "fine-tuned", scores(0, 1), [None])
    assert "run two baselines" in command("power", tmp_path, "--difference", "1").output
    write(tmp_path, "copy", scores(0, 1)[:2], [None], init="none")
    done = command("power", tmp_path, "--difference", "1")
    assert done.exit_code == 2
    assert "one task" in done.output


def test_equal_differences_give_no_size(tmp_path: Path) -> None:
    """Two tasks with the same texts: no variance, so no number of tasks follows."""
    root = write_run(tmp_path, {"one": 1.0, "two": 0.0}, episodes=2)
    done = command("power", root, "--difference", "1")
    assert done.exit_code == 2
    assert "100.00 in every episode: there is no variance" in done.output
    told = command("variance", root, "--baseline", "one", "--minus", "two")
    assert "All values are the same" in " ".join(told.output.split())
