"""`fewgen time`: others do the same work, gradients agree, and nothing else is imported."""

import json
import math
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from bench import sweeps, works
from bench.checkpoints import load_backbone
from bench.cli import main
from bench.cost_tables import _short, peers_table
from bench.errors import UserError
from bench.growth import growth
from bench.inner_loop import Sgd
from bench.sweeps import AXES, Bench, sweep
from bench.timed import AGREE, compare, material
from bench.timing import matrix_rate
from bench.works import WORKS, Work, largest_error, works_of

PEERS = ["loop", "higher", "torchopt"]
DEVICES = ["cpu", *["cuda"] * torch.cuda.is_available()]
MISSING = "the extra `peers` is not installed: pip install 'fewgen[peers]'"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little of everything."""
    small: dict[str, Any] = {"VOCABULARY": 300, "TASKS": 2, "SHOTS": 2, "STEPS": 2}
    small |= {"EPISODES": 3, "QUERIES": 2, "MOST": 3}
    small |= {"MEDIUM": {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 320}}
    small |= {"RANK": 2, "LENGTH": 8, "LORA_TASKS": 2}
    for name, value in small.items():
        monkeypatch.setattr(works, name, value)
    few = {
        "tasks": (1, 2),
        "shots": (1, 3),
        "steps": (1, 2),
        "length": (16, 48, 10**6),
        "rank": (1, 2),
        "order": ("none", "1", "2"),
        "dtype": ("float32", "bfloat16", "float64"),
    }
    assert few.keys() == AXES.keys()
    for name, values in few.items():
        monkeypatch.setitem(AXES, name, values)
    monkeypatch.setattr(sweeps, "Setting", partial(sweeps.Setting, tasks=2, shots=2, steps=2))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", WORKS)
def test_others_find_the_same(name: str, device: str, tmp_path: Path) -> None:
    for peer in PEERS[1:]:
        pytest.importorskip(peer, reason=MISSING)
    out = tmp_path / "rows.json"
    words = [
        "time",
        "--peers",
        "--work",
        name,
        "--pairs",
        "1",
        "--threads",
        "1",
        "--device",
        device,
        "--json",
        str(out),
    ]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    rows = json.loads(out.read_text())
    assert [row["peer"] for row in rows] == (PEERS if "meta" in name else PEERS[:1])
    for row in rows:
        assert list(row) == ["work", "device", "ours_s", "peer", "peer_s", "ratio", "max_rel_error"]
        assert row["work"] == name
        assert (row["device"] == "cpu") == (device == "cpu")
        assert 0 <= row["max_rel_error"] < AGREE
        assert row["ratio"] == pytest.approx(row["peer_s"] / row["ours_s"])


def test_orders_differ() -> None:
    """Else the second order would not be compared."""
    given = material(None, "cpu", ["loop"])
    two, one = (WORKS[f"meta-step-order-{order}"]("x", given).ours() for order in (2, 1))
    assert largest_error(two, one) > 1e-3


def test_work_that_differs_is_not_timed_and_leaves_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never() -> Any:
        raise AssertionError("timed")

    def differs(name: str, _: Any) -> Work:
        return Work(name, never, {"loop": never}, {"loop": 1e-2})

    def agrees(name: str, _: Any) -> Work:
        return Work(name, list, {"loop": list}, {"loop": 0.0})

    monkeypatch.setattr("bench.timed.WORKS", {"x": differs, "y": agrees})
    rows = compare(["x", "y"], material(None, "cpu", ["loop"]), 1, 1, lambda done, whole: None)
    assert next(rows)["work"] == "y"
    with pytest.raises(UserError, match=r"^x: gradients differ from those of loop by 1.0e-02; it"):
        next(rows)


def test_steps_one_percent_too_long_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each ends is compared by a gradient there, which must tell such steps apart."""
    given = material(None, "cpu", ["loop"])
    assert WORKS["adapt-generate"]("x", given).errors["loop"] < AGREE / 10
    monkeypatch.setattr(works, "Sgd", lambda rate: Sgd(1.01 * rate))
    assert WORKS["adapt-generate"]("x", given).errors["loop"] > AGREE


def test_an_error_is_relative_to_each_tensor() -> None:
    one, zero = torch.ones(4), torch.zeros(2)
    assert largest_error([one * 1.5, zero], [one, zero]) == pytest.approx(0.5)
    assert largest_error([one, zero + 1], [one, zero]) > 1, "where theirs is 0, ours must be"


def test_unknown_names_are_told() -> None:
    for words, told in (
        ("--peers --work meta-step", "unknown work 'meta-step'"),
        ("--peers --peer lop", "unknown peer 'lop'"),
        ("--peers --over tasks", "--over goes without --peers"),
        ("--work lora", "--work goes with --peers"),
        ("--over taks", "unknown axis 'taks'"),
        ("--backbone tinny", "unknown backbone 'tinny'"),
        ("--suite translatoin", "unknown suite 'translatoin'"),
        ("--data /no/such.jsonl", "/no/such.jsonl"),
        ("--json /no/such/rows.json", "--json /no/such/rows.json: there is no directory /no/such"),
        ("--plot /no/such/plot.svg", "--plot /no/such/plot.svg: there is no directory /no/such"),
        ("--plot /tmp", "--plot /tmp: a directory"),
        ("--json /tmp/same --plot /tmp/same", "--json and --plot name the same file"),
        ("--peers --work lora --peer higher", "lora: no peer does it but loop; add --peer loop"),
    ):
        result = CliRunner().invoke(main, ["time", *words.split()])
        assert result.exit_code == 2, words
        assert result.output.count("\n") == 1
        assert told in result.output


def test_lora_is_left_out_on_a_cpu() -> None:
    assert works_of([], "cpu", []) == [name for name in WORKS if name != "lora"]
    assert works_of([], "cuda", []) == list(WORKS)
    assert works_of(["lora", "lora"], "cpu", ["loop"]) == ["lora"]
    assert works_of([], "cuda", ["higher"]) == ["meta-step-order-2", "meta-step-order-1"]


def test_peers_that_are_not_installed_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = CliRunner().invoke(
        main, ["time", "--peers", "--work", "meta-step-order-1", "--pairs", "1", "--threads", "1"]
    )
    assert result.exit_code == 0, result.output
    assert "higher is not installed" in result.stderr
    rows = [line.split("|")[2].strip() for line in result.stdout.splitlines() if "meta" in line]
    assert rows == ["loop"]


def test_a_device_without_rows_is_marked() -> None:
    row = {"work": "lora", "ours_s": 0.51234, "peer": "loop", "peer_s": 1.5, "ratio": 2.9278}
    row |= {"max_rel_error": 2e-6}
    table = peers_table({"CPU": [row], "GPU": []}, "not measured: no GPU at hand")
    cells = {column.header: list(column.cells) for column in table.columns}
    assert cells["CPU: ours, s"] == ["0.512"]
    assert cells["CPU: peer over ours"] == ["2.93"]
    assert cells["GPU"] == ["not measured: no GPU at hand"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (0.0, "0"), (0.012345, "0.0123"), (9.876, "9.88"), (98765.4, "98,765")],
)
def test_numbers_are_short(value: float | None, shown: str) -> None:
    assert _short(value) == shown


# -- along axes ----------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
def test_every_axis_is_timed(tmp_path: Path, checkpoint: str, device: str) -> None:
    out, picture = tmp_path / "costs.json", tmp_path / "plot.svg"
    words = [word for axis in AXES for word in ("--over", axis)]
    words += [
        "--backbone",
        checkpoint,
        "--rounds",
        "2",
        "--threads",
        "1",
        "--json",
        str(out),
        "--plot",
        str(picture),
    ]
    result = CliRunner().invoke(main, ["time", *words])
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text())
    costs = {(cost["axis"], cost["value"]): cost for cost in found["costs"]}
    kept = {(axis, v) for axis, values in AXES.items() for v in values} - {("length", 10**6)}
    assert set(costs) == kept
    assert len(found["notes"]) == 1
    assert found["notes"][0].startswith(
        "length 1000000 left out: beyond the context of small-gpt2, "
    )
    assert found["notes"][0] in result.output
    for (axis, value), cost in costs.items():
        assert cost["setting"][axis] == value
        assert cost["ms_low"] <= cost["ms"] <= cost["ms_high"]
        assert 0 < cost["step_task_ms"] < cost["ms"] * 1.001
        assert cost["peak_mib"] > cost["added_mib"]
        assert device == "cuda" or cost["joules"] is None
    assert set(found["growth"]) == set(AXES)
    assert "time" in found["growth"]["tasks"]
    assert found["growth"]["dtype"] == {}
    assert picture.read_text().lstrip().startswith("<svg")


def test_operations_are_those_of_the_shapes(checkpoint: str) -> None:
    bench = Bench(checkpoint, material(None, "cpu"))
    found = sweep(bench, ["length", "steps", "order"], 1, 1, lambda done, total: None)
    flops = {(c["axis"], c["value"]): c["step_flops"] for c in found["costs"]}
    assert flops["steps", 2] == flops["steps", 1]
    assert flops["order", "2"] > 1.5 * flops["order", "1"] > 1.5 * flops["order", "none"]
    # By hand, for rows of 48 tokens: three products (forward, both backward) of every weight of
    # the body at every token, of the embedding at every label, and of attention's two in each of
    # two layers, 16 wide. Rows of a task stand in one line with one place of padding, and one more
    # beside each row in attention.
    backbone = load_backbone(checkpoint, None, torch.device("cpu"), "float32")
    episodes = bench.material.episodes(2, 2, 2)
    batch = sweeps._batch(backbone, [e.support for e in episodes], 48)
    own = dict(backbone.model.named_parameters())
    body = sum(p.numel() for n, p in own.items() if p.dim() == 2 and ".h." in n)
    head = own["transformer.wte.weight"].numel() * batch.labels.numel()
    attention = 2 * 2 * (2 * 2) * 49 * 49 * 16
    by_hand = 3 * 2 * (body * 2 * (2 * 48 + 1) + head + attention)
    assert flops["length", 48] == by_hand


def test_length_is_cut_and_repeated_from_the_end() -> None:
    for name in ("tiny", "tiny-t5", "tiny-lstm"):
        backbone = load_backbone(name, None, torch.device("cpu"), "float32")
        task = [material(None, "cpu").episodes(1, 2, 2)[0].support]
        for length in (16, 64):
            batch = sweeps._batch(backbone, task, length)
            assert batch.tokens == [2 * length]
            assert bool((batch.labels == backbone.eos).any())


def test_what_a_backbone_cannot_do_is_noted(
    checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(checkpoint, material(None, "cpu"))

    def no_kernel(dtype: str, rank: int | None = None) -> Any:
        if dtype == "bfloat16":
            raise RuntimeError('"lu" not implemented\nfor BFloat16')
        return load_backbone(checkpoint, None, torch.device("cpu"), dtype)

    monkeypatch.setattr(bench, "backbone", no_kernel)
    found = sweep(bench, ["dtype"], 1, 1, lambda done, total: None)
    assert found["notes"] == ['dtype bfloat16 left out: "lu" not implemented for BFloat16']
    assert [cost["value"] for cost in found["costs"]] == ["float32", "float64"]
    monkeypatch.setitem(AXES, "shots", (10**5,))
    monkeypatch.setattr(bench.material.dataset, "names", lambda split: ["velari-000"])
    with pytest.raises(UserError, match=r"shots 100000 left out: task .* are needed"):
        sweep(bench, ["shots"], 1, 1, lambda done, total: None)


def test_tasks_that_hold_too_few_examples_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    given = material(None, "cpu")
    names = [episode.task for episode in given.episodes(3, 2, 2)]
    assert len(set(names)) == 3
    real = given.dataset.task

    def lacking(name: str) -> Any:
        task = real(name)
        return task if name != names[1] else type(task)(name, {"train": [], "test": []})

    monkeypatch.setattr(given.dataset, "task", lacking)
    others = [episode.task for episode in given.episodes(3, 2, 2)]
    assert others[:2] == [names[0], names[2]]
    assert names[1] not in others


def test_the_exponent_of_a_power_law() -> None:
    values = [1, 2, 4, 8]
    rounds = [[scale * v**1.5 for v in values] for scale in (1, 1.1, 0.9, 1, 1.2, 1)]
    found = growth(values, rounds)
    assert found is not None
    assert (found.exponent, found.low, found.high) == pytest.approx((1.5, 1.5, 1.5))
    few = growth(values, rounds[:5])
    assert few is not None
    assert few.low is None, "five rounds give at most 93.75 %"
    assert growth([4], [[1.0]]) is None
    assert growth(values, [[0.0, 1, 1, 1]]) is None


def test_the_interval_holds_the_exponent_as_often_as_it_says() -> None:
    """Of noise that is neither normal nor symmetric, but has the same median in every round."""
    generator = torch.Generator().manual_seed(0)
    values = [1, 2, 4, 8, 16]
    held, repeats = 0, 400
    for _ in range(repeats):
        noise = torch.rand(7, 5, generator=generator).reciprocal()
        found = growth(
            values, [[v * n for v, n in zip(values, r, strict=True)] for r in noise.tolist()]
        )
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 1 <= found.high
    assert held / repeats > 0.95


def test_the_rate_of_a_matrix_product_is_possible() -> None:
    rate = matrix_rate(torch.device("cpu"), torch.float32)
    assert 1e8 < rate < 1e14


@pytest.mark.slow
def test_only_four_packages_are_imported() -> None:
    code = (
        "import sys\n"
        "for name in 'pydantic pandas datasets evaluate sacrebleu rouge_score scipy'.split():\n"
        "    sys.modules[name] = None\n"
        "from bench.cli import main\n"
        "from bench.sweeps import AXES\n"
        "AXES['steps'] = (1,)\n"
        "main(['time', '--over', 'steps', '--rounds', '1', '--threads', '1'], "
        "standalone_mode=False)\n"
        "from bench import works\n"
        "works.VOCABULARY, works.TASKS, works.SHOTS, works.STEPS = 300, 1, 1, 1\n"
        "main(['time', '--peers', '--work', 'meta-step-order-1', '--peer', 'loop', '--pairs', '1', "
        "'--threads', '1'], standalone_mode=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_error_that_is_no_number_is_the_largest() -> None:
    good, bad = torch.ones(2), torch.full((2,), torch.nan)
    assert works.largest_error([good, 2 * good], [good, good]) == 1
    assert math.isnan(works.largest_error([good, bad], [good, good]))
    assert math.isnan(works.largest_error([good, good], [good, bad]))


def interrupted_at(visit: int, rounds: int) -> list[int]:
    """How many rounds two points hold, and are told, when the so many-th run is interrupted."""
    visits = list[int]()

    def run() -> None:
        visits.append(0)
        if len(visits) == visit:
            raise KeyboardInterrupt

    points = [sweeps.Point("steps", n, sweeps.Setting(steps=n), run, 1) for n in (1, 2)]
    whole = sweeps._rounds(points, rounds, torch.device("cpu"), lambda done, total: None)
    return [whole, *(len(point.ms) for point in points)]


def test_an_interrupt_leaves_the_rounds_that_are_whole() -> None:
    assert interrupted_at(99, 3) == [3, 3, 3]
    assert interrupted_at(8, 3) == [1, 1, 1]  # a visit is two runs: the second point, second round
    with pytest.raises(KeyboardInterrupt):
        interrupted_at(3, 3)
