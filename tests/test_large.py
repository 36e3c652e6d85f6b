"""A file that is larger than memory allows: read as a stream, sampled by group, told in a note."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.rows import Record
from bench.sampling import Kept, size_of

GIB = 2**30
LIMIT_MIB = 500
# The peak is the kernel's VmHWM, which starts anew with a process; getrusage's ru_maxrss is handed
# down, so that it may show the peak of the process that runs the tests.
READ = """
import json, re, sys
from pathlib import Path
from bench.sources import Source, open_dataset
data = open_dataset(Source(sys.argv[1]))
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
examples = sum(len(part) for task in data.tasks.values() for part in task.parts.values())
found = {"peak": peak, "examples": examples, "notes": data.notes, "tasks": len(data.tasks)}
print(json.dumps(found))
"""


def write_large(path: Path, size: int) -> int:
    """Records of 20 tasks: as they would come from a crawl, longer and shorter ones."""
    words = [f"word{i:04d}" for i in range(1000)]
    number = 0
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < size:
            for _ in range(2000):
                length = 40 + 7 * (number % 23)
                start = (number * 31) % 700
                text = f"{number} " + " ".join(words[start : start + length])
                row = {"task": f"t{number % 20}", "input": text, "target": words[number % 1000]}
                number += 1
                file.write(json.dumps(row) + "\n")
    return number


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "layout"])
def test_2_gb_are_read_within_500_mib(suffix: str, tmp_path: Path) -> None:
    """The readers of the other formats get a file that alone is larger than the limit; what is
    kept of the records is the same code for all."""
    path = tmp_path / "train.jsonl"
    number = write_large(path, 2 * GIB if suffix == "jsonl" else 640 * 2**20)
    if suffix == "parquet":
        path = to_parquet(path)
    elif suffix == "layout":  # datasets reads a folder in a hub's layout
        (tmp_path / "data").mkdir()
        path.rename(tmp_path / "data" / "train.jsonl")
        path = tmp_path
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    print(f"{suffix}: peak {found['peak']:.0f} MiB")
    assert found["peak"] < LIMIT_MIB
    assert found["tasks"] == 20
    assert 10_000 < found["examples"] < number
    (note,) = [note for note in found["notes"] if "examples kept" in note]
    assert note.startswith(f"{found['examples']:,} of {number:,} examples kept")


def to_parquet(path: Path) -> Path:
    """The same records in Parquet without compression, written in pieces."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    fields = [(name, pa.string()) for name in ("task", "input", "target")]
    target = path.with_suffix(".parquet")
    with (
        path.open(encoding="utf-8") as file,
        ParquetWriter(target, pa.schema(fields), compression="none", use_dictionary=False) as out,
    ):
        while lines := file.readlines(8 * 2**20):
            out.write_table(pa.Table.from_pylist(list(map(json.loads, lines)), pa.schema(fields)))
    path.unlink()
    return target


def record(number: int) -> Record:
    text = f"{number} " + "x" * (number % 50)
    return Record("", "", text, ("y",), "t", f"g{number // 3}", str(number), "", "", "")


def test_what_is_kept_does_not_depend_on_the_order() -> None:
    records = [record(number) for number in range(3000)]
    limit = sum(map(size_of, records)) // 5
    orders = (records, records[::-1], records[1::2] + records[::2])
    kept = []
    for order in orders:
        sample = Kept(limit)
        for one in order:
            sample.add(one)
        assert sample.seen == 3000
        assert sample.size == sum(map(size_of, sample.records)) <= limit
        kept.append({one.id for one in sample.records})
    assert kept[0] == kept[1] == kept[2]
    assert limit / 4 < sum(size_of(r) for r in records if r.id in kept[0])


def test_a_group_stays_whole_or_goes() -> None:
    sample = Kept(limit=200 * 900)
    for number in range(3000):
        sample.add(record(number))
    groups = [one.group for one in sample.records]
    assert {groups.count(group) for group in set(groups)} == {3}


def test_all_is_kept_where_it_fits() -> None:
    sample = Kept()
    for number in range(300):
        sample.add(record(number))
    assert len(sample.records) == 300
    assert sample.share == 1.0
