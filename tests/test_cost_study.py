"""`fewgen study cost`: N against closed forms, brute force and simulations of known truth."""

import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UserError
from bench.records import Cell, write_cell, write_json
from bench.shown import MISSING
from bench.streams import digest_of
from bench.studies import load_study
from bench.studies.payback import Array, Curve, fewest_steps, payback
from bench.studies.step_curves import SECONDS, seconds
from tests.runs import METRICS, header

UNITS, REPEATS = 24, 300


def curve(scores: Array, costs: Array, knots: Sequence[int], seed: int = 0) -> Curve:
    """Of per-task scores `(train seeds, tasks, steps + 1)` and costs `(tasks, steps + 1)`."""
    tasks = scores.shape[1]
    drawn = np.random.default_rng(seed).multinomial(tasks, np.full(tasks, 1 / tasks), size=REPEATS)
    weights = drawn / tasks
    return Curve(
        scores.mean(axis=1),
        np.einsum("re,tes->trs", weights, scores),
        costs.mean(axis=0),
        weights @ costs,
        tuple(knots),
        tasks,
    )


def exact(scores: Sequence[float], step: float) -> Curve:
    """Without any variation, a step of equal cost each."""
    line = np.tile(np.array(scores, dtype=np.float64), (1, UNITS, 1))
    costs = np.tile(np.arange(len(scores)) * step, (UNITS, 1))
    return curve(line, costs, range(len(scores)))


def test_n_is_the_closed_form() -> None:
    rival = exact([0, 10, 20, 30, 40], 1.0)  # quality 40 at a cost of 4
    method = exact([10, 30, 41], 1.0)  # reaches it with two steps
    found = payback(5.0, method, rival)
    assert (found.tasks, found.low, found.high) == (3, 3, 3)  # 5 / (4 - 2) = 2.5
    assert fewest_steps(method, 40) == 2
    assert payback(6.0, method, rival).tasks == 3  # 6 / 2, exactly
    assert payback(6.1, method, rival).tasks == 4
    assert payback(0.0, method, rival).tasks == 1
    assert payback(1e9, method, rival).tasks == 5e8


def test_never_is_an_answer() -> None:
    rival = exact([0, 10, 20, 30, 40], 1.0)
    worse = payback(1.0, exact([39, 39.9], 0.1), rival)
    assert (worse.tasks, worse.low, worse.high) == (math.inf,) * 3
    dear = payback(1.0, exact([0, 10, 20, 30, 40], 1.0), rival)
    assert dear.tasks == math.inf  # equal cost leaves nothing to earn the training with
    at_once = payback(1.0, exact([40], 1.0), rival)
    assert at_once.tasks == 1  # as good without any step, 1 / 4


def test_a_peak_before_the_usual_steps_counts() -> None:
    rival = exact([0, 10, 20, 30, 40], 1.0)
    method = exact([0, 45, 20, 10], 0.5)
    assert payback(0.1, method, rival).tasks == 1  # although the budget pays for all three steps
    assert payback(7.0, method, rival).tasks == 2  # 7 / (4 - 0.5)


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=8),
    st.integers(1, 20),
    st.integers(0, 500),
)
def test_n_is_what_brute_force_finds(scores: list[int], step: int, training: int) -> None:
    rival = exact([0, 12, 25], 40.0)
    found = payback(training, exact(scores, step), rival).tasks
    enough = [s for s, score in enumerate(scores) if score >= 25]
    needed = next(
        (n for n in range(1, 600) if enough and training / n + enough[0] * step <= 80), math.inf
    )
    assert found == (needed if not enough or enough[0] * step < 80 else math.inf)


# -- simulations ---------------------------------------------------------------------------

KNOTS = [0, 20, 40, 80, 120]
STEPS = np.arange(121)
RIVAL = np.interp(STEPS, KNOTS, [10.0, 25, 40, 55, 60])
METHOD = np.interp(STEPS, KNOTS, [30.0, 50, 58, 66, 68])
TRAINING = 3000.0


def drawn(
    rng: np.random.Generator, shared: Array, mean: Array, long: Array, seeds: int, seed_sd: float
) -> Curve:
    """A sample of tasks and train seeds of a population with those mean scores, where tasks differ
    in difficulty, in what suits this method, and in length, which costs are in proportion to."""
    own = rng.normal(0, 5, (1, UNITS, 1)) + rng.normal(0, 2, (max(seeds, 1), UNITS, 1))
    trained = rng.normal(0, seed_sd, (seeds, 1, 1)) if seeds else 0.0
    scores = mean + shared[None, :, None] + own + trained
    return curve(scores, long[:, None] * STEPS, KNOTS)


@pytest.mark.parametrize(("seeds", "seed_sd"), [(1, 0.0), (3, 3.0)])
def test_the_interval_covers_a_known_n(seeds: int, seed_sd: float) -> None:
    needed = fewest_steps(single(METHOD), RIVAL[-1]) or 0  # costs of a step are 1 in the mean
    truth = math.ceil(TRAINING / (STEPS[-1] - needed))
    rng, hits, below, above = np.random.default_rng(5), 0, 0, 0
    times = 150
    for _ in range(times):
        shared, long = rng.normal(0, 15, UNITS), rng.uniform(0.7, 1.3, UNITS)
        rival = drawn(rng, shared, RIVAL, long, 0, 0.0)
        method = drawn(rng, shared, METHOD, long, seeds, seed_sd)
        found = payback(TRAINING, method, rival)
        assert found.low <= found.tasks <= found.high
        hits += found.low <= truth <= found.high
        below += found.high < truth
        above += found.low > truth
    assert 0.91 * times <= hits
    assert max(below, above) <= 0.06 * times


def test_an_interval_that_tells_nothing_ends_in_never() -> None:
    rng = np.random.default_rng(1)
    shared, long = rng.normal(0, 15, UNITS), np.ones(UNITS)
    rival = drawn(rng, shared, RIVAL, long, 0, 0.0)
    alike = drawn(rng, shared, RIVAL + 0.5, long, 1, 0.0)
    found = payback(TRAINING, alike, rival)
    assert found.low < math.inf
    assert found.high == math.inf
    one = payback(TRAINING, single(METHOD), single(RIVAL))
    assert (one.tasks, one.high) == (math.ceil(TRAINING / (120 - 50)), math.inf)
    assert one.low == math.ceil(TRAINING / 120)  # the meta-training alone has to be paid for


def single(mean: Array) -> Curve:
    return curve(mean[None, None], STEPS[None].astype(np.float64), KNOTS)


# -- records -------------------------------------------------------------------------------


def record(cell: Cell, index: int, words: dict[int, int], ms: float) -> dict[str, object]:
    """An episode whose answers after so many steps are the first words of the references."""
    steps = max(words)
    rng = np.random.default_rng([cell.seed, index])
    references = [" ".join(rng.choice(["ant", "bee", "cat", "dog"], 6)) for _ in range(3)]
    texts = {step: [" ".join(r.split()[:many]) for r in references] for step, many in words.items()}
    sums = {
        step: {
            m.name: [m.statistics(t, [r]) for t, r in zip(made, references, strict=True)]
            for m in METRICS
        }
        for step, made in texts.items()
    }
    return {
        "index": index,
        "task": f"t{index}",
        "seed": cell.seed,
        "digest": digest_of(references),
        "support_part": "train",
        "support_ids": [],
        "query_ids": ["a", "b", "c"],
        "predictions": texts[steps],
        "statistics": sums[steps],
        "after": {str(step): sums[step] for step in words} if steps else {},
        "costs": {
            "support_tokens": 10,
            "inner_step_flops": 1e9 if steps else None,
            "adapt_ms": steps * ms,
            "adapt_waited_ms": 0.0,
            "inner_steps_ms": [ms] * steps,
            "adapt_peak_mib": None,
            "generate_ms": 30.0,
            "generate_waited_ms": 0.0,
            "generated_tokens": 10,
        },
    }


ROWS = {
    "zero-shot": {0: 1},
    "fine-tuned": {0: 1, 2: 2, 10: 4},
    "fomaml": {0: 2, 2: 4, 4: 5},  # as good with 2 of 4 steps
    "joint": {0: 2, 2: 3, 4: 3},  # never as good
}


def made_run(root: Path, rows: dict[str, dict[int, int]] = ROWS, waited: float = 500.0) -> Path:
    for name, words in rows.items():
        trained = name in ("fomaml", "joint")
        for train_seed in (0, 1) if trained else (None,):
            cell = Cell("translation", name, 8, train_seed, 0)
            train = {"seconds": 1.5, "waited_ms": waited, "tokens": 9, "flops": 7e9, "steps": 3}
            more = {"train": train if trained else {}, "matrix_rate": 1e11}
            records = [record(cell, i, words, 5.0) for i in range(12)]
            write_cell(root, cell, header(**more), records)
    write_json(root / "run.json", {"plan": {"seeds": [0], "train_seeds": [0, 1]}})
    return root


def test_records_give_the_n_they_were_made_with(tmp_path: Path) -> None:
    found = load_study("cost").analyse({"run": made_run(tmp_path)})
    n = found.table[found.table["quantity"] == "N"].set_index(["baseline", "unit"])
    # 1 s of training without what it waited, steps of 5 ms: 1 / (0.05 - 0.01); 7 / (10 - 2).
    assert n.loc[("fomaml", "tasks, by s"), ["value", "low", "high"]].tolist() == [25, 25, 25]
    assert n.loc[("fomaml", "tasks, by GFLOP"), ["value", "steps"]].tolist() == [1, 2]
    assert n.loc[("joint", "tasks, by s"), "low"] == math.inf
    assert "25 [25, 25] (fomaml, 1 of 2 methods never)" in found.answer
    shown = found.shown.set_index("baseline")
    assert shown.loc["joint", "N by s"] == "never [never, never]"
    assert shown.loc["fomaml", "steps to equal"] == "2 of 4"
    assert shown.loc["zero-shot", "s a task"] == MISSING
    assert shown.loc["fomaml", "training s"] == "1.00 [1.00, 1.00]"


def test_resamples_make_the_tables_own_estimate(tmp_path: Path) -> None:
    from bench.statistics import estimate, resampled
    from bench.studies.step_curves import estimate_of
    from bench.tables import entries, metrics, read_rows

    for row in read_rows([made_run(tmp_path)]):
        chrf = next(metric for metric in metrics(row) if metric.name == "chrf")
        found = entries(row, "chrf")
        assert estimate_of(resampled(found, chrf)) == estimate(found, chrf)


def test_gains_are_points_over_costs(tmp_path: Path) -> None:
    table = load_study("cost").analyse({"run": made_run(tmp_path)}).table
    row = table[table["baseline"] == "fomaml"]
    score = row[row["quantity"] == "score"].set_index("steps")["value"]
    bare = table[(table["baseline"] == "fine-tuned") & (table["quantity"] == "score")]
    gain = score[4] - bare.set_index("steps")["value"][0]
    per = row[row["quantity"] == "gain per adaptation"].set_index("unit")["value"]
    assert per["chrF per s"] == pytest.approx(gain / 0.02)
    assert per["chrF per GFLOP"] == pytest.approx(gain / 4)
    whole = row[row["quantity"] == "gain per whole cost"].set_index(["unit", "tasks"])["value"]
    assert whole["chrF per s", 100] == pytest.approx(gain / (0.02 + 1.0 / 100))
    assert whole["chrF per GFLOP", 10] == pytest.approx(gain / (4 + 0.7))
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()


def test_seconds_leave_out_what_was_waited() -> None:
    cost = {"inner_steps_ms": [4.0, 8.0], "adapt_ms": 14.0, "adapt_waited_ms": 7.0}
    assert seconds(cost, 2) == pytest.approx(0.007)
    assert seconds(cost, 1) == pytest.approx((4 + 2) / 2 / 1e3)  # with what is beside the steps
    assert seconds(cost, 0) == 0


def test_seconds_that_were_all_waited_are_not_told(tmp_path: Path) -> None:
    found = load_study("cost").analyse({"run": made_run(tmp_path, waited=1600.0)})
    shown = found.shown.set_index("baseline")
    columns = ["training s", "N by s", "points per s, 100 tasks"]
    assert set(shown.loc["fomaml", columns]) == {MISSING}
    assert shown.loc["fomaml", "N by GFLOP"] == "1 [1, 1]"
    assert any("waited up to 100%" in note for note in found.notes)
    assert (
        "device-seconds after so many new tasks: translation, K = 8: not measured" in found.answer
    )


def test_a_rival_is_needed_that_is_not_meta_trained(tmp_path: Path) -> None:
    study = load_study("cost")
    with pytest.raises(UserError, match="add --baseline fine-tuned"):
        study.plans({"baselines": ["maml"]})
    assert study.plans({"baselines": ["maml", "fine-tuned"]})["run"]["score_steps"] == [0]
    without = {name: words for name, words in ROWS.items() if name != "fine-tuned"}
    with pytest.raises(UserError, match="a row with inner steps and without meta-training"):
        study.analyse({"run": made_run(tmp_path, without)})


def test_what_was_not_scored_is_interpolated(tmp_path: Path) -> None:
    from bench.studies.step_curves import Measured
    from bench.tables import metrics, read_rows

    rows = read_rows([made_run(tmp_path)])
    row = next(row for row in rows if row.header["baseline"] == "fine-tuned")
    chrf = next(metric for metric in metrics(row) if metric.name == "chrf")
    found = Measured(row, chrf).curve(SECONDS)
    assert found.knots == (0, 2, 10)
    assert found.scores[0, 6] == pytest.approx((found.scores[0, 2] + found.scores[0, 10]) / 2)
    assert found.score_draws[0, :, 1] == pytest.approx(found.score_draws[0][:, [0, 2]].mean(axis=1))
    assert found.costs.tolist() == pytest.approx([0.005 * step for step in range(11)])


@pytest.mark.slow
def test_the_command_leaves_four_files_and_repeats_their_bytes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.cli", "study", "cost", "--size", "smoke"]
    command += ["--out", str(tmp_path / "cost")]
    subprocess.run(command, check=True, capture_output=True)
    names = [f"cost.{kind}" for kind in ("csv", "svg", "png", "md")]
    first = {name: (tmp_path / "cost" / name).read_bytes() for name in names}
    assert set(pd.read_csv(tmp_path / "cost" / "cost.csv")["quantity"]) >= {"N", "score"}
    assert "From how many new tasks on" in first["cost.md"].decode()
    subprocess.run(command, check=True, capture_output=True)
    assert {name: (tmp_path / "cost" / name).read_bytes() for name in names} == first
