"""The frame of every study: plans, resuming, what is written, what is refused."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.stats import kendalltau

from bench.cli import main
from bench.errors import UserError
from bench.exports.runs import read_cells
from bench.records import read_cell
from bench.studies.effort import effort
from bench.studies.execution import execute_study
from bench.studies.figures import curve, legend, panels
from bench.studies.stability import halves, stability
from bench.studies.study import Findings, Study, Values
from bench.tables import entries, metrics, read_rows
from tests.runs import write_run

PLAN: Values = {
    "suites": ["translation"],
    "baselines": ["copy", "nearest"],
    "episodes": 2,
    "queries": 4,
    "seeds": [0, 1],
    "workers": 1,
}


class Floors(Study):
    """Two floors on a few episodes, once with and once without a second number of shots."""

    name = "floors"
    question = "Which floor is higher?"

    def plans(self, values: Values) -> dict[str, Values]:
        return {"few": values, "many": {**values, "shots": [16]}}

    def analyse(self, runs: Mapping[str, Path]) -> Findings:
        counts = [(name, len(list(read_cells(root)))) for name, root in runs.items()]
        table = pd.DataFrame(counts, columns=["run", "cells"])
        figure, (axes,) = panels(["Cells"])
        axes.bar(table["run"], table["cells"])
        shown = table.astype(str)
        return Findings("nearest.", table, shown, figure, "Cells.", ["Other data."], ["A note."])


def files(root: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in root.iterdir() if p.is_file()}


def test_a_study_leaves_its_files_and_goes_on_where_it_ended(tmp_path: Path) -> None:
    assert execute_study(Floors(), PLAN, tmp_path) == []
    first = files(tmp_path)
    assert set(first) == {"floors.csv", "floors.svg", "floors.png", "floors.md"}
    assert pd.read_csv(tmp_path / "floors.csv")["cells"].tolist() == [4, 4]
    assert first["floors.png"].startswith(b"\x89PNG")
    page = first["floors.md"].decode()
    for part in ("# Which floor is higher?", "**nearest.**", "(floors.svg)", "shots 8 | 16"):
        assert part in page
    for part in ("- Other data.", "- A note.", "Kendall's tau", "Commit: ", "Command: "):
        assert part in page
    cell = next((tmp_path / "runs" / "few" / "cells").rglob("*.jsonl"))
    kept = cell.stat().st_mtime_ns
    next((tmp_path / "runs" / "many" / "cells").rglob("*.jsonl")).unlink()
    assert execute_study(Floors(), PLAN, tmp_path) == []
    assert files(tmp_path) == first
    assert cell.stat().st_mtime_ns == kept


def test_another_study_does_not_go_on_in_its_place(tmp_path: Path) -> None:
    execute_study(Floors(), PLAN, tmp_path)
    with pytest.raises(UserError, match="queries: 4 -> 5"):
        execute_study(Floors(), {**PLAN, "queries": 5}, tmp_path)
    (tmp_path / "runs" / "strange").mkdir()
    with pytest.raises(UserError, match="holds strange, which this study has not"):
        execute_study(Floors(), PLAN, tmp_path)


def test_names_of_data_are_plain_text_on_a_page(tmp_path: Path) -> None:
    class Hostile(Floors):
        """Names that would be marks elsewhere."""

        def analyse(self, runs: Mapping[str, Path]) -> Findings:
            found = super().analyse(runs)
            name = "bad|pipe <script>x</script>\n# head $x_{$"
            figure, _ = panels([name])
            shown = pd.DataFrame({"task": [name], "K": ["< 1"]})
            return replace(found, notes=[name], shown=shown, figure=figure)

    execute_study(Hostile(), PLAN, tmp_path, "smoke")
    page = (tmp_path / "floors.md").read_text()
    plain = r"bad|pipe \<script>x\</script> # head $x_{$"
    assert f"- {plain}\n" in page
    assert f"| {plain.replace('|', chr(92) + '|')} | < 1 |" in page
    assert "not for conclusions" in page
    assert "# head" not in page.splitlines()


def test_finished_runs_are_told_again_by_other_code_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute_study(Floors(), PLAN, tmp_path)
    first = files(tmp_path)
    monkeypatch.setattr("bench.facts._code_digest", lambda: "another")
    monkeypatch.setattr("bench.studies.page.git_state", lambda: {"commit": "f" * 40})
    assert execute_study(Floors(), PLAN, tmp_path) == []
    again = files(tmp_path)
    assert f"; this page: {'f' * 40}" in again["floors.md"].decode()
    assert {n: b for n, b in again.items() if n != "floors.md"} == {
        n: b for n, b in first.items() if n != "floors.md"
    }
    next((tmp_path / "runs" / "many" / "cells").rglob("*.jsonl")).unlink()
    with pytest.raises(UserError, match=r"facts\.code: .* -> another"):
        execute_study(Floors(), PLAN, tmp_path)


def test_a_study_that_is_not_there_gets_close_names() -> None:
    done = CliRunner().invoke(main, ["study", "crosover"])
    assert done.exit_code == 2
    assert "crossover" in done.output


def test_effort_counts_a_shared_training_once(tmp_path: Path) -> None:
    train = {"seconds": 3.0, "tokens": 50}
    root = write_run(
        tmp_path, {"maml": 0.5, "joint": 0.4}, seeds=(0, 1), train_seeds=(0, 1), train=train
    )
    found = [read_cell(path) for path in sorted((root / "cells").rglob("*.jsonl"))]
    costs = [r["costs"] for _, records in found for r in records if "costs" in r]
    work = sum(c["adapt_ms"] + c["generate_ms"] for c in costs) / 1e3
    spent = effort([root])
    assert spent.tokens == 4 * 50  # two baselines, two train seeds
    assert spent.seconds == pytest.approx(work + 4 * 3.0)


def test_halves_of_seeds_agree_with_scores_by_hand(tmp_path: Path) -> None:
    values = {**PLAN, "baselines": ["copy", "lead", "nearest"], "seeds": [0, 1, 2]}
    execute_study(Floors(), values, tmp_path)
    rows = read_rows([tmp_path / "runs" / "few"])
    scorer = next(m for m in metrics(rows[0]) if m.name == "chrf")

    def scores(seed: int) -> list[float]:
        return [
            scorer.score(sum(e.sums for e in entries(row, "chrf") if e.seed == seed))
            for row in rows
        ]

    expected = [
        float(kendalltau(scores(a), scores(b)).statistic) for a, b in ((0, 1), (0, 2), (1, 2))
    ]
    assert halves(rows, "chrf") == pytest.approx(expected)
    assert halves(read_rows([write_run(tmp_path / "one", {"a": 0.5, "b": 0.4})])[:2], "chrf") == []


def test_few_tasks_are_told(tmp_path: Path) -> None:
    for count, told in ((9, True), (10, False)):
        root = write_run(tmp_path / str(count), {"a": 0.5, "b": 0.4}, episodes=count)
        (sentence,) = stability([root])
        assert (f"It rests on {count} task(s): that holds for them" in sentence) == told
    write_run(root, {"a": 0.5, "b": 0.4}, episodes=6, shots=2)
    (sentence,) = stability([root])
    assert "Some of it rests on 6 task(s)" in sentence


def test_a_curve_of_one_point_has_its_interval() -> None:
    figure, (panel,) = panels(["one"])
    curve(panel, [4], [2.0], [1.0], [3.5], ("#000000", "o"), "method")
    (bar,) = panel.collections
    assert bar.get_segments()[0].tolist() == [[4, 1.0], [4, 3.5]]
    legend(figure, panel)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["method"]
