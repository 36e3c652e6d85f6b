"""Cost columns from records made by hand, against numbers worked out beside them."""

from pathlib import Path
from typing import Any

import pytest

from bench.publish import READ, USED, render, to_markdown
from bench.records import Cell, write_cell
from bench.tables import leaderboard
from tests.test_tables import GOOD, add, header, plan, record

LATER = (
    "support_tokens inner_step_flops adapt_joules generate_peak_mib generate_joules".split()
)  # what records of older versions lack


def told(index: int, seed: int = 0, **more: Any) -> dict[str, Any]:
    """An episode's record with the costs of today."""
    made = record(index, GOOD[index], seed)
    late = {"support_tokens": 100, "inner_step_flops": 2e6, "generate_peak_mib": 50.0 + index}
    joules = {"adapt_joules": None, "generate_joules": None}
    return {**made, "costs": {**made["costs"], **late, **joules, **more}}


def row(root: Path, *cells: list[dict[str, Any]], **more: Any) -> Any:
    """The one row of a run with these cells, one a seed; a header's lists have a value a cell."""
    for seed, records in enumerate(cells):
        own = {key: value[seed] for key, value in more.items()}
        write_cell(root, Cell("translation", "tuned", 8, None, seed), header(**own), records)
    plan(root, list(range(len(cells))), [0])
    return leaderboard([root]).iloc[0]


def test_quartiles_are_over_episodes_each_with_its_median_step(tmp_path: Path) -> None:
    steps = [[1.0, 2.0, 30.0], [4.0, 4.0]], [[6.0], [10.0, 8.0, 0.0]]  # medians 2, 4, 6, 8
    cells = [
        [
            told(i, seed, inner_steps_ms=part, generate_ms=10.0 * (2 * seed + i + 1))
            for i, part in enumerate(parts)
        ]
        for seed, parts in enumerate(steps)
    ]
    line = row(tmp_path, *cells, matrix_rate=[1e9, 1e9])
    assert list(line[["inner_step_ms_q1", "inner_step_ms", "inner_step_ms_q3"]]) == [3.5, 5, 6.5]
    assert list(line[["generate_ms_q1", "generate_ms", "generate_ms_q3"]]) == [17.5, 25, 32.5]
    assert (line["adapt_peak_mib"], line["generate_peak_mib"]) == (101, 51)


def test_rates_are_of_all_work_over_all_time(tmp_path: Path) -> None:
    cells = [
        [
            told(0, inner_steps_ms=[4.0] * 2, adapt_ms=10.0, inner_step_flops=1e6),
            told(1, inner_steps_ms=[4.0] * 5, adapt_ms=40.0, inner_step_flops=3e6),
        ],
        [
            told(0, 1, support_tokens=50, adapt_ms=30.0, inner_step_flops=4e6),
            told(1, 1, support_tokens=50, adapt_ms=20.0, inner_step_flops=4e6),
        ],
    ]
    line = row(tmp_path, *cells, matrix_rate=[1e9, 4e9])
    # 7 steps of 100 tokens and 4 of 50 in 0.1 s; 2e6 + 15e6 + 16e6 operations in 11 steps, where
    # 0.05 s at 1e9 a second and 0.05 s at 4e9 had done 250e6.
    assert line["adapt_tokens_per_s"] == pytest.approx(9000)
    assert line["inner_step_flops"] == pytest.approx(3e6)
    assert line["adapt_utilisation"] == pytest.approx(33 / 250)
    assert line["matrix_rate"] == 2.5e9
    # 4 x 10 tokens in 4 x 30 ms.
    assert line["generate_tokens_per_s"] == pytest.approx(1000 / 3)
    assert line["generate_ms_per_token"] == pytest.approx(3)


def test_an_episode_without_answers_has_no_time_of_answering(tmp_path: Path) -> None:
    cells = [told(0), told(1, generate_ms=0.0, generated_tokens=0)]
    line = row(tmp_path, cells, matrix_rate=[1e9])
    assert (line["generate_ms_q1"], line["generate_ms_per_token"]) == (30, 3)


def test_energy_is_a_mean_over_episodes(tmp_path: Path) -> None:
    cells = [told(i, adapt_joules=2.0 + i, generate_joules=5.0 * i) for i in (0, 1)]
    line = row(tmp_path, cells, matrix_rate=[1e9])
    assert (line["adapt_joules"], line["generate_joules"]) == (2.5, 2.5)
    dark = row(tmp_path / "cpu", [told(0), told(1)], matrix_rate=[1e9])
    assert dark[["adapt_joules", "generate_joules", "train_joules"]].isna().all()


def test_training_is_a_mean_over_train_seeds(tmp_path: Path) -> None:
    made = {"seconds": 2.0, "tokens": 500, "flops": 3e9, "joules": 30.0, "peak_mib": 70.0}
    other = {"seconds": 6.0, "tokens": 700, "flops": 2e9, "joules": 50.0, "peak_mib": 60.0}
    costs = {**made, "matrix_rate": 4e9}, {**other, "matrix_rate": 2e9}
    for seed in (0, 1):
        add(tmp_path, "trained", GOOD, seed, init="meta-trained", train=costs[seed])
    plan(tmp_path, [0], [0, 1])
    line = leaderboard([tmp_path]).iloc[0]
    assert (line["train_s"], line["train_tokens_per_s"], line["train_flops"]) == (4, 150, 2.5e9)
    assert line["train_utilisation"] == pytest.approx(5e9 / (2 * 4e9 + 6 * 2e9))
    assert (line["train_joules"], line["train_peak_mib"]) == (40, 70)


def test_methods_without_steps_or_counted_operations_leave_cells_empty(tmp_path: Path) -> None:
    still = [told(i, inner_steps_ms=[], inner_step_flops=None) for i in (0, 1)]
    line = row(tmp_path / "still", still, matrix_rate=[1e9])
    none = ["inner_step_ms", "inner_step_flops", "adapt_tokens_per_s", "adapt_utilisation"]
    assert line[none].isna().all()
    assert line["train_utilisation"] is None
    assert line["adapt_ms"] == 15
    uncounted = [told(i, inner_step_flops=None) for i in (0, 1)]
    line = row(tmp_path / "uncounted", uncounted, matrix_rate=[1e9])
    assert line[none].notna().tolist() == [True, False, True, False]


def test_records_of_older_versions_are_read(tmp_path: Path) -> None:
    old = [record(i, GOOD[i]) for i in (0, 1)]
    assert not set(LATER) & old[0]["costs"].keys()
    line = row(tmp_path, old, inner_step_flops=[7e6], rechunked=[False])
    assert (line["adapt_ms"], line["inner_step_ms"], line["inner_step_flops"]) == (15, 5, 7e6)
    empty = ["adapt_tokens_per_s", "adapt_utilisation", "matrix_rate", "generate_peak_mib"]
    assert line[empty].isna().all()
    table = leaderboard([tmp_path])
    for kind in (*READ, *USED):
        content = render(kind, table)
        assert ("tuned" if isinstance(content, str) else b"tuned") in content


def test_a_row_that_was_rechunked_is_marked(tmp_path: Path) -> None:
    cells = [told(0), told(1)], [told(0, 1), told(1, 1)]
    row(tmp_path, *cells, rechunked=[False, True], matrix_rate=[1e9, 1e9])
    add(tmp_path, "whole", GOOD)
    table = leaderboard([tmp_path]).set_index("baseline")
    assert table["rechunked"].to_dict() == {"tuned": 1, "whole": 0}
    assert ",rechunked," in render("csv", table)
    text = to_markdown(leaderboard([tmp_path]))
    assert "Cells that adapted fewer at once than planned" in text
    assert "(*): tuned 1." in text
    marked = [line for line in text.splitlines() if " 15.0 * " in line]
    assert [line.split("|")[1].strip(" *") for line in marked] == ["tuned"]


def test_operations_of_an_episode_are_near_its_own_count(tmp_path: Path) -> None:
    """Attention alone grows faster than tokens."""
    from bench.cells import cell_episodes, run_cell
    from bench.context import Context
    from bench.plan import make_plan
    from bench.solver import Solver
    from bench.timing import flop_counter

    values = {"suites": ["translation"], "baselines": ["fine-tuned"], "episodes": 6, "queries": 1}
    steps = {"fine-tuned": {"inner_steps": 1}}
    context = Context(make_plan({**values, "max_new_tokens": 2, "options": steps}), tmp_path)
    cell = Cell("translation", "fine-tuned", 8, None, 0)
    _, records = run_cell(context, cell)
    solver = Solver(context, cell, context.baseline("fine-tuned"))
    for episode, made in zip(cell_episodes(context, cell), records, strict=True):
        batch, _ = solver.backbone.batch([episode.support])
        with flop_counter() as counter:
            solver.method.inner_loop(
                lambda weights, batch=batch: solver.backbone.losses(weights, batch),
                solver.start.for_tasks(1),
                1,
            )
        assert made["costs"]["support_tokens"] == batch.tokens[0]
        assert made["costs"]["inner_step_flops"] == pytest.approx(
            counter.get_total_flops(), rel=0.1
        )
