"""The script behind results/meta-training.md."""

import runpy
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
from click.testing import CliRunner

from tests.test_tables import GOOD, POOR, REFERENCES, add, plan

SCRIPT = Path(__file__).parents[1] / "results" / "meta_training.py"


@pytest.fixture(scope="module")
def main() -> Any:
    return runpy.run_path(str(SCRIPT))["main"]


def made(folder: Path, texts: dict[int, Any]) -> str:
    for train_seed, part in texts.items():
        add(folder, "maml", part, train_seed, order="2", init="meta-trained")
    add(folder, "zero-shot", POOR)
    plan(folder, [0], list(texts))
    return str(folder)


def chrf(texts: Any) -> float:
    return sacrebleu.corpus_chrf(list(chain(*texts)), [list(chain(*REFERENCES))]).score


def test_a_difference_is_that_of_the_scores_and_bold_where_it_is_shown(
    main: Any, tmp_path: Path
) -> None:
    good, poor = GOOD * 6, POOR * 6
    run = made(tmp_path / "a", {0: good, 1: poor})
    without = made(tmp_path / "b", {0: poor, 1: poor})
    apart = chrf(good) - chrf(poor)
    head, _, *lines = CliRunner().invoke(main, [run, without]).output.splitlines()
    assert head == "| baseline | translation chrf |"
    assert len(lines) == 1, "no row without training"
    assert lines[0].startswith(f"| maml | {apart / 2:+.1f} [-"), "one train seed gained nothing"
    first = CliRunner().invoke(main, [run, without, "--train-seed", "0"]).output
    assert f"| maml | **{apart:+.1f} [+" in first
    assert "| maml | +0.0 [+0.0, +0.0] |" in CliRunner().invoke(main, [run, run]).output


def test_runs_that_share_nothing_are_told(main: Any, tmp_path: Path) -> None:
    run = made(tmp_path / "a", {0: GOOD})
    told = CliRunner().invoke(main, [run, run, "--train-seed", "7"])
    assert told.exit_code == 1
    assert "translation / maml: the two runs share no episode of train seed 7" in told.output
    other = CliRunner().invoke(main, [run, str(tmp_path)])
    assert other.exit_code == 2
    assert "is not a run directory" in other.output
