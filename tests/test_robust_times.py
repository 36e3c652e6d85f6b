"""`fewgen compare` on files of pytest-benchmark: one statistic that stalled rounds do not move,
with errors that simulation confirms; what is written where nothing can be compared."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy import stats

from bench.benchmark_json import LEAST, compare_files, content
from bench.clocks import Clock
from bench.records import write_json
from tests.test_compare import FULL, add, command

Draw = Callable[[np.random.Generator, int], "np.ndarray"]


def saved(path: Path, ms: list[float], data: bool = True) -> Path:
    made = content({"loop": ms}, "0" * 40)
    if not data:
        del made["benchmarks"][0]["stats"]["data"]
    write_json(path, made)
    return path


def clock(folder: Path, base: list[float], head: list[float], data: bool = True) -> Clock:
    files = saved(folder / "base.json", base, data), saved(folder / "head.json", head, data)
    ((found,), _, _) = compare_files(*files, math.log(1.1))
    return found


# -- a stalled round -----------------------------------------------------------------------


@pytest.mark.parametrize("data", [True, False])
@pytest.mark.parametrize("stalled", [1, 3])
def test_stalled_rounds_hide_no_slowdown_of_the_median(
    data: bool, stalled: int, tmp_path: Path
) -> None:
    """54 % slower, but base waited for the scheduler: the mean says that head is faster."""
    rng = np.random.default_rng(54)
    base = (10 * np.exp(0.01 * rng.standard_normal(20))).tolist()
    head = (15.4 * np.exp(0.01 * rng.standard_normal(20))).tolist()
    base[:stalled] = [900.0] * stalled
    assert np.mean(base) > 2 * np.mean(head)
    files = saved(tmp_path / "a.json", base, data), saved(tmp_path / "b.json", head, data)
    done = command(*files, "--json", tmp_path / "found.json")
    assert done.exit_code == 1, done.output
    (cell,) = json.loads((tmp_path / "found.json").read_text())["speed"]["cells"]
    assert cell["verdict"] == "regression"
    assert cell["loss"] == pytest.approx(54, abs=3)
    assert (cell["base"], cell["head"]) == pytest.approx((10, 15.4), rel=0.02)
    assert cell["count"] == 20


@pytest.mark.parametrize("data", [True, False])
def test_the_loss_is_that_of_the_times_shown(data: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    found = clock(tmp_path, rng.gamma(2, 5, 31).tolist(), rng.gamma(2, 9, 17).tolist(), data)
    base, head = found.typical
    assert math.log(head / base) == pytest.approx(found.loss.estimate.value)


def test_trimmed_means_and_yuens_test_are_scipys(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for n, m in ((5, 5), (9, 23), (100, 40)):
        base, head = rng.lognormal(2, 0.3, n), rng.lognormal(2.1, 0.2, m)
        found = clock(tmp_path, base.tolist(), head.tolist())
        expected = stats.ttest_ind(np.log(head), np.log(base), equal_var=False, trim=0.2)
        assert found.loss.estimate.p() == pytest.approx(expected.pvalue)
        assert np.log(found.typical) == pytest.approx(
            [stats.trim_mean(np.log(side), 0.2) for side in (base, head)]
        )


def test_without_rounds_the_files_median_counts(tmp_path: Path) -> None:
    base, head = [10.0, 11.0, 12.0, 13.0, 50.0], [20.0, 21.0, 22.0, 23.0, 24.0]
    found = clock(tmp_path, base, head, data=False)
    assert found.typical == pytest.approx((12, 22))
    sides = [np.log(np.quantile(side, 0.75) / np.quantile(side, 0.25)) for side in (base, head)]
    error = math.sqrt(sum(math.pi / 2 * (side / 1.349) ** 2 / 5 for side in sides))
    assert found.loss.estimate.error == pytest.approx(error)
    one, two = saved(tmp_path / "one.json", base), saved(tmp_path / "two.json", head, data=False)
    ((mixed,), _, _) = compare_files(one, two, 0.1)
    assert mixed == found.__class__(found.name, found.base, found.head, mixed.loss, found.count), (
        "one statistic for both"
    )


@pytest.mark.parametrize("rounds", [1, 2, 3])
@pytest.mark.parametrize("data", [True, False])
def test_fewer_than_four_rounds_decide_nothing(rounds: int, data: bool, tmp_path: Path) -> None:
    found = clock(tmp_path, [10.0, 10.1, 10.2][:rounds], [30.0, 30.1, 30.2][:rounds], data)
    assert (LEAST, found.loss.estimate.error) == (4, math.inf)
    files = tmp_path / "base.json", tmp_path / "head.json"
    assert command(*files).exit_code == 3


def test_files_without_median_and_rounds_are_refused(tmp_path: Path) -> None:
    base = saved(tmp_path / "base.json", [1.0] * 5)
    head = tmp_path / "head.json"
    head.write_text('{"benchmarks": [{"fullname": "loop", "stats": {"mean": 1.0, "stddev": 1}}]}')
    done = command(base, head)
    assert done.exit_code == 2
    assert "neither `data` nor `median` and `iqr`" in done.output


# -- error rates ---------------------------------------------------------------------------

NOISE: dict[str, Draw] = {
    "log-normal": lambda rng, n: np.exp(0.05 * rng.standard_normal(n)),
    "skewed": lambda rng, n: 1 + rng.exponential(0.05, n),
    "stalls": lambda rng, n: np.exp(
        0.02 * rng.standard_normal(n) + 3 * (rng.random(n) < 0.05) * rng.random(n)
    ),
    "two speeds": lambda rng, n: 1 + 0.1 * (rng.random(n) < 0.3) + 0.01 * rng.random(n),
}


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("data", [True, False])
@pytest.mark.parametrize("sizes", [(5, 5), (10, 10), (40, 40), (20, 60)])
def test_wrong_verdicts_are_as_rare_as_they_say(
    noise: str, data: bool, sizes: tuple[int, int], tmp_path: Path
) -> None:
    """Base and head of one distribution, head slower by exactly the margin or not at all: a pass at
    the margin and a regression at no change are each wrong in 5 %, three standard errors allowed.
    A machine with two speeds fools a trimmed mean where one side has three times as many rounds."""
    from bench.benchmark_json import _compared, _Stats, _stats

    rng, runs, margin = np.random.default_rng(7), 600, math.log(1.1)

    def side(factor: float, rounds: int) -> _Stats:
        made = _stats((NOISE[noise](rng, rounds) * factor).tolist())
        return _Stats.model_validate(made if data else {**made, "data": []})

    passed = called = 0
    for _ in range(runs):
        slower = _compared("x", side(1, sizes[0]), side(1.1, sizes[1]), margin).loss
        passed += slower.estimate.upper() < margin
        same = _compared("x", side(1, sizes[0]), side(1, sizes[1]), margin).loss
        called += same.estimate.p_above() < 0.05
    most = 0.14 if (noise, data) == ("two speeds", True) else 0.077
    assert passed / runs <= most, (noise, data, sizes, passed / runs, called / runs)
    assert called / runs <= most, (noise, data, sizes, passed / runs, called / runs)


# -- nothing can be compared ---------------------------------------------------------------


@pytest.mark.parametrize("stale", [True, False])
def test_where_nothing_is_compared_the_files_say_so(stale: bool, tmp_path: Path) -> None:
    base = add(tmp_path / "a", FULL)
    files = {kind: tmp_path / f"found.{kind}" for kind in ("json", "junit", "markdown")}
    words = [word for kind, path in files.items() for word in (f"--{kind}", path)]
    if stale:
        assert command(base, base, *words).exit_code == 0
    done = command(base, tmp_path / "none <b>", *words)
    assert done.exit_code == 2
    said = done.output.removeprefix("Error: ").strip()
    assert said == f"{tmp_path}/none <b>: no such run directory"
    reason = said.removeprefix(f"{tmp_path}/")  # a file that travels names no place on this machine
    told = json.loads(files["json"].read_text())
    assert (told["verdict"], told["exit_code"], told["error"]) == ("error", 2, reason)
    (case,) = ElementTree.parse(files["junit"]).getroot().iter("testcase")
    assert [child.tag for child in case] == ["error"]
    assert reason in "".join(case.itertext()) + str([child.attrib for child in case])
    markdown = files["markdown"].read_text()
    assert "nothing could be compared" in markdown.splitlines()[0]
    assert "pass" not in markdown
    assert "<b>" not in markdown


def test_files_that_cannot_be_written_are_let_go(tmp_path: Path) -> None:
    base = add(tmp_path / "a", FULL)
    junit = tmp_path / "found.xml"
    done = command(base, base, "--json", tmp_path / "no" / "found.json", "--junit", junit)
    assert done.exit_code == 2
    assert not (tmp_path / "no").exists()
    assert "there is no directory" in junit.read_text()
