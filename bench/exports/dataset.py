"""A folder that `datasets` loads: the records of runs and their leaderboard, as Parquet."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.exports import Export
from bench.exports.folder import make_folder
from bench.exports.runs import Run, cell_paths, check_cells, read_cells
from bench.exports.slim import is_slim
from bench.readers import own_name
from bench.records import Cell, read_cell, write_whole
from bench.without_texts import Hidden, without_texts

if TYPE_CHECKING:
    import pyarrow as pa

CONFIGS = ("records", "leaderboard")
SPLIT = "test"


def export(directories: Sequence[Path], out: Path, texts: bool = True) -> Export:
    """Writes `records.parquet`, `leaderboard.parquet` and a README.md that declares both configs.

    `records` has one row a query, or one an episode where records are slim: no predictions, and
    statistics summed over the queries. They are written a cell at a time.

    Args:
        directories: written by `run`.
        out: the folder to be.
        texts: whether predictions, ids and names of tasks are written.

    Raises:
        UserError: nothing to export, a damaged file, or a folder with other files.
    """
    from bench.tables import frame_of, ranked
    from bench.unfinished import planned_rows

    runs = check_cells(list(directories), texts)

    def fill(folder: Path) -> list[str]:
        frame = frame_of(ranked(directories, change=list if texts else without_texts))
        frame.to_parquet(folder / "leaderboard.parquet", index=False)
        hidden = None if texts else Hidden(planned_rows(directories))
        slim = _write_records(folder / "records.parquet", directories, hidden)
        write_whole(folder / "README.md", _card(runs))
        return [
            f"{own_name(directory)}: slim records, one row an episode, without predictions"
            for directory in slim
        ]

    return Export(out, "dataset", make_folder(out, directories, fill))


def _write_records(path: Path, directories: Sequence[Path], hidden: Hidden | None) -> list[Path]:
    """Writes the records of all cells; returns the directories whose records are slim."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = _metrics(directories)
    schema, slim = _schema(names), dict[Path, None]()
    with pq.ParquetWriter(path, schema) as writer:
        for directory in directories:
            for cell, header, records in read_cells(directory):
                if hidden:
                    records = [hidden.record(header, record) for record in records]
                rows = [row for record in records for row in _rows(cell, record, names)]
                writer.write_table(pa.Table.from_pylist(rows, schema))
                if is_slim(header):
                    slim[directory] = None
    return list(slim)


def _metrics(directories: Sequence[Path]) -> list[str]:
    """Every metric of some cell."""
    found: dict[str, None] = {}
    for path in (path for directory in directories for path in cell_paths(directory)):
        found |= dict.fromkeys(read_cell(path)[0]["signatures"])
    return list(found)


def _schema(metrics: Sequence[str]) -> "pa.Schema":
    import pyarrow as pa

    numbers = ("shots", "train_seed", "seed", "index", "query")
    texts = ("suite", "baseline", "task", "digest", "query_id", "prediction")
    return pa.schema(
        [
            *((name, pa.string()) for name in texts[:2]),
            *((name, pa.int64()) for name in numbers[:4]),
            *((name, pa.string()) for name in texts[2:4]),
            ("query", pa.int64()),
            *((name, pa.string()) for name in texts[4:]),
            *((f"statistics_{name}", pa.list_(pa.float64())) for name in metrics),
        ]
    )


def _rows(
    cell: Cell, record: Mapping[str, Any], metrics: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """A row a query; one for all of them where the record is slim."""
    shared = {
        **vars(cell),
        **{key: record[key] for key in ("seed", "index", "task", "digest")},
    }
    answers, ids = record.get("predictions", [None]), record.get("query_ids")
    for place, answer in enumerate(answers):
        yield {
            **shared,
            "query": place if "predictions" in record else None,
            "query_id": ids[place] if ids else None,
            "prediction": answer,
            **{
                f"statistics_{name}": record["statistics"][name][place]
                for name in metrics
                if name in record["statistics"]
            },
        }


def _card(runs: Sequence[Run]) -> str:
    from huggingface_hub import DatasetCard, DatasetCardData

    data = DatasetCardData(
        pretty_name="fewgen records",
        tags=["fewgen", "few-shot"],
        configs=[
            {
                "config_name": name,
                "data_files": [{"split": SPLIT, "path": f"{name}.parquet"}],
                **({"default": True} if name == CONFIGS[0] else {}),
            }
            for name in CONFIGS
        ],
    )
    made = "\n\n".join(
        f"```\n{run.command}\n```\n\nCommit {run.commit}, begun {run.when}, on {run.hardware}."
        for run in runs
    )
    return str(DatasetCard(f"---\n{data.to_yaml()}\n---\n{_TEXT}\n{made}\n").content)


_TEXT = """
# Records of fewgen

What baselines of few-shot text generation answered on frozen episodes, and the table that was made
of it.

- `records`: one row a query: suite, baseline, K (`shots`), seeds, the episode (`index`, `task`,
  SHA-256 `digest` of its texts), the query's id, the prediction, and for each metric its sufficient
  statistics, whose sums over a corpus give the corpus score. Where predictions were not kept, one
  row an episode: `query`, `query_id` and `prediction` are null, statistics are summed.
- `leaderboard`: one row for each suite, data, baseline and K; scores are 0 to 100 with 95 %
  intervals in `_low` and `_high`, times in ms, memory in MiB.

```python
from datasets import load_dataset

records = load_dataset("FOLDER-OR-ID", "records", split="test")
```

## How it was made
"""
