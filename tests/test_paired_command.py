"""`fewgen paired`: what is compared, and that its figures are those of the parts it is made of."""

import json

import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.errors import UserError
from bench.paired import effect, randomised_p, segment_bootstrap_p, segment_randomised_p
from bench.paired_command import as_markdown, paired_table
from bench.records import read_cell, write_cell
from bench.statistics import difference, holm
from bench.tables import entries, read_rows
from tests.runs import METRICS, Cell, write_run

CHRF = next(metric for metric in METRICS if metric.name == "chrf")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    kept = {"good": 0.9, "fair": 0.8, "poor": 0.4}
    return write_run(tmp_path_factory.mktemp("run"), kept, ("translation", "writing"), (0, 1))


def test_every_row_is_compared_to_the_best_of_its_block(run):
    table = paired_table([run])
    assert set(zip(table["suite"], table["baseline"], table["minus"], strict=True)) == {
        (suite, baseline, "good")
        for suite in ("translation", "writing")
        for baseline in ("fair", "poor")
    }
    assert (table["difference"] < 0).all()
    assert (table["difference_high"] >= table["difference"]).all()
    assert table["p_holm"].tolist() == holm(table["p"].tolist())


def test_figures_are_those_of_their_functions(run):
    line = paired_table([run], ["poor"], "fair", segments=True).iloc[0]
    rows = {r.header["baseline"]: r for r in read_rows([run]) if r.header["suite"] == line["suite"]}
    a, b = (entries(rows[name], "chrf") for name in ("poor", "fair"))
    found = difference(a, b, CHRF)
    assert (line["difference"], line["p"]) == (found.value, found.p())
    assert line["p_randomised"] == randomised_p(a, b, CHRF)
    assert line["g"] == effect(a, b, CHRF).value
    import numpy as np

    flat = [
        np.array([s for place in sorted(rows[name].cells) for r in rows[name].cells[place]
                  for s in r["statistics"]["chrf"]])
        for name in ("poor", "fair")
    ]  # fmt: skip
    assert line["p_segments_bootstrap"] == segment_bootstrap_p(*flat, CHRF)
    assert line["p_segments_randomised"] == segment_randomised_p(*flat, CHRF)
    text = as_markdown(paired_table([run], ["poor"], "fair", segments=True))
    assert "Segments: sacreBLEU" in text
    assert f"{line['difference']:+.1f}" in text


def test_rows_with_other_train_seeds_have_a_difference_alone(tmp_path):
    write_run(tmp_path / "a", {"one": 0.9}, train_seeds=(0, 1), init="meta-trained")
    write_run(tmp_path / "b", {"two": 0.5}, train_seeds=(2, 3), init="meta-trained")
    line = paired_table([tmp_path / "a", tmp_path / "b"], ["one"], "two").iloc[0]
    assert line["difference_low"] < line["difference"]
    assert line["g"] is None or line["g"] != line["g"]
    with pytest.raises(UserError, match="other train seeds"):
        paired_table([tmp_path / "a", tmp_path / "b"], ["one"], "two", segments=True)


def test_sums_hold_no_segments(tmp_path):
    root = write_run(tmp_path, {"good": 0.9, "poor": 0.5})
    for name in ("good", "poor"):
        cell = Cell("translation", name, 8, None, 0)
        header, records = read_cell(cell.path(root))
        for record in records:
            for metric, found in record["statistics"].items():
                record["statistics"][metric] = [
                    [sum(column) for column in zip(*found, strict=True)]
                ]
        write_cell(root, cell, header, records)
    assert len(paired_table([root])) == 1
    with pytest.raises(UserError, match="sums, not segments"):
        paired_table([root], segments=True)


def test_the_command_prints_and_writes(run, tmp_path):
    out = tmp_path / "paired.json"
    words = ["paired", str(run), "--minus", "fair", "--json", str(out)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    lines = json.loads(out.read_text())
    assert len(lines) == done.output.count("| fair ") == 4
    for words, message in (
        (["paired", str(run), "--baseline", "goood"], "did you mean good"),
        (["paired", str(run), "--metric", "blue"], "did you mean bleu"),
        (["paired", str(run), "--baseline", "good", "--minus", "good"], "nothing to compare"),
        (["paired", str(tmp_path / "nothing")], "not a run directory"),
    ):
        done = CliRunner().invoke(main, words)
        assert done.exit_code != 0
        assert message in str(done.exception or "") + done.output
