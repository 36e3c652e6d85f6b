"""`fewgen time`: others do the same work, gradients agree, and nothing else is imported."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from bench import works
from bench.cli import main
from bench.timed import AGREE, _compared, material
from bench.works import WORKS, Work, largest_error

PEERS = ["loop", "higher", "torchopt"]
MISSING = "the extra `peers` is not installed: pip install 'fewgen[peers]'"


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little of everything."""
    small = {"VOCABULARY": 300, "TASKS": 2, "SHOTS": 2, "STEPS": 2}
    small |= {"EPISODES": 3, "QUERIES": 2, "MOST": 3}
    for name, value in small.items():
        monkeypatch.setattr(works, name, value)


@pytest.mark.parametrize("name", ["meta-step-order-2", "meta-step-order-1", "adapt-generate"])
def test_others_find_the_same(name: str, tmp_path: Path) -> None:
    for peer in PEERS[1:]:
        pytest.importorskip(peer, reason=MISSING)
    out = tmp_path / "rows.json"
    words = ["time", "--work", name, "--pairs", "1", "--threads", "1", "--json", str(out)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    rows = json.loads(out.read_text())
    assert [row["peer"] for row in rows] == (PEERS if "meta" in name else PEERS[:1])
    for row in rows:
        assert list(row) == ["work", "device", "ours_s", "peer", "peer_s", "ratio", "max_rel_error"]
        assert row["work"] == name
        assert 0 <= row["max_rel_error"] < AGREE
        assert row["ratio"] == pytest.approx(row["peer_s"] / row["ours_s"])


def test_orders_differ() -> None:
    """Else the second order would not be compared."""
    given = material(None, "cpu", ["loop"])
    two, one = (WORKS[f"meta-step-order-{order}"]("x", given).ours() for order in (2, 1))
    assert largest_error(two, one) > 1e-3


def test_work_that_differs_is_not_timed() -> None:
    def never() -> Any:
        raise AssertionError("timed")

    work = Work("x", never, {"loop": never}, {"loop": 1e-2})
    with pytest.raises(Exception, match=r"x: gradients differ from those of loop by 1.0e-02"):
        _compared(work, material(None, "cpu", ["loop"]), 1)


def test_an_error_is_relative_to_each_tensor() -> None:
    one, zero = torch.ones(4), torch.zeros(2)
    assert largest_error([one * 1.5, zero], [one, zero]) == pytest.approx(0.5)
    assert largest_error([one, zero + 1], [one, zero]) > 1, "where theirs is 0, ours must be"


def test_unknown_names_are_told() -> None:
    for words in (
        ["--work", "meta-step"],
        ["--peer", "lop"],
        ["--data", "/no/such.jsonl"],
        ["--json", "/no/such/rows.json"],
    ):
        result = CliRunner().invoke(main, ["time", *words])
        assert result.exit_code != 0
        assert result.output.count("\n") <= 3
        assert words[1] in result.output


def test_only_four_packages_are_imported() -> None:
    code = (
        "import sys\n"
        "for name in 'pydantic pandas datasets evaluate sacrebleu rouge_score scipy'.split():\n"
        "    sys.modules[name] = None\n"
        "from bench.timed import material\n"
        "from bench.works import WORKS\n"
        "material(None, 'cpu', ['loop'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
