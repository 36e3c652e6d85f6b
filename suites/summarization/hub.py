"""Public summarization corpora whose tasks can be told apart."""

from collections.abc import Iterable, Iterator

from bench.tasks import Mapped, PublicData, RawRow

PARTS = {"train": "train", "validation": "validation", "test": "test"}
XLSUM = """
amharic arabic azerbaijani bengali burmese chinese_simplified chinese_traditional english french
gujarati hausa hindi igbo indonesian japanese kirundi korean kyrgyz marathi nepali oromo pashto
persian pidgin portuguese punjabi russian scottish_gaelic serbian_cyrillic serbian_latin sinhala
somali spanish swahili tamil telugu thai tigrinya turkish ukrainian urdu uzbek vietnamese welsh
yoruba
""".split()


def dialogsum(rows: Iterable[RawRow]) -> Iterator[Mapped]:
    """A task is a topic. A dialogue of the test part has three summaries, in rows of their own
    whose ids end in _1, _2, _3: they stand one after another and become references of one."""
    before: tuple[str, dict[str, object]] | None = None
    references: list[str] = []
    for row in rows:
        dialogue, summary = row.values["dialogue"], row.values["summary"]
        if before and before[1]["input"] == dialogue:
            references.append(summary)
            continue
        references = [summary]
        record = {
            "task": " ".join(row.values["topic"].lower().split()),
            "split": PARTS[row.part],
            "input": dialogue,
            "references": references,
            "group": dialogue,
        }
        if before:
            yield before
        before = row.where, record
    if before:
        yield before


def xlsum(rows: Iterable[RawRow]) -> Iterator[Mapped]:
    """Configs are languages; an article and the one sentence that sums it up."""
    for row in rows:
        yield (
            row.where,
            {
                "task": row.config,
                "split": PARTS[row.part],
                "input": row.values["text"],
                "target": row.values["summary"],
                "group": row.values["id"],
            },
        )


PUBLIC = (
    PublicData(
        id="knkarthick/dialogsum",
        summary="dialogues of everyday life and their summaries; a task is a topic",
        licence="CC BY-NC-SA 4.0",
        revision="main",
        parts=PARTS,
        records=dialogsum,
    ),
    PublicData(
        id="csebuetnlp/xlsum",
        summary="news and one-sentence summaries in 45 languages; a task is a language",
        licence="CC BY-NC-SA 4.0",
        revision="refs/convert/parquet",
        parts=PARTS,
        records=xlsum,
        configs=tuple(XLSUM),
        folders=True,
    ),
)
