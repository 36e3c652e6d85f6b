"""Public parallel corpora."""

from collections.abc import Iterable, Iterator

from bench.errors import UserError
from bench.tasks import Mapped, PublicData, RawRow

NUSAX = "ace ban bbc bjn bug ind jav mad min nij sun".split()
# Languages of FLORES+ that are read unless a plan names others; English comes first.
FLORES = """
eng_Latn ace_Latn ban_Latn bjn_Latn bug_Latn ceb_Latn fao_Latn fij_Latn fur_Latn gla_Latn grn_Latn
hau_Latn ibo_Latn ilo_Latn jav_Latn kab_Latn khm_Khmr lij_Latn lim_Latn lmo_Latn mri_Latn nso_Latn
pag_Latn pap_Latn plt_Latn quy_Latn sag_Latn scn_Latn smo_Latn sna_Latn srd_Latn sun_Latn szl_Latn
vec_Latn war_Latn xho_Latn yor_Latn zul_Latn
""".split()


def nusax(rows: Iterable[RawRow]) -> Iterator[Mapped]:
    """Configs are language pairs; `text_1` is English, `text_2` the other language. The corpus is
    parallel: a sentence is one group in all tasks."""
    for row in rows:
        text = row.values["text_1"]
        source, language = row.config.split("-")
        yield (
            row.where,
            {
                "task": row.config,
                "split": PARTS[row.part],
                "input": text,
                "target": row.values["text_2"],
                "group": text,
                "language": language,
                "source_language": source,
            },
        )


def flores(rows: Iterable[RawRow]) -> Iterator[Mapped]:
    """Configs are languages, English the first; rows of one `id` and part are one sentence."""
    english: dict[tuple[str, str], str] = {}
    for row in rows:
        if not (english or row.config.startswith("eng")):
            raise UserError(
                f"{row.where}: English comes first, to pair with; add --config eng_Latn"
            )
        key = row.part, str(row.values["id"])
        if row.config.startswith("eng"):
            english[key] = row.values["text"]
        elif key in english:
            yield (
                row.where,
                {
                    "task": f"eng-{row.config}",
                    "split": FLORES_PARTS[row.part],
                    "input": english[key],
                    "target": row.values["text"],
                    "group": "-".join(key),
                    "language": row.config,
                    "source_language": "eng_Latn",
                },
            )


PARTS = {"train": "train", "validation": "validation", "test": "test"}
FLORES_PARTS = {"dev": "train", "devtest": "test"}  # there is no other part to learn from
PUBLIC = (
    PublicData(
        id="indonlp/NusaX-MT",
        summary="English to 11 languages of Indonesia; a task is a language",
        licence="CC BY-SA 4.0",
        revision="refs/convert/parquet",
        parts=PARTS,
        records=nusax,
        configs=tuple(f"eng-{language}" for language in NUSAX),
        folders=True,
    ),
    PublicData(
        id="openlanguagedata/flores_plus",
        summary="English to 37 languages, sentences that both have; a task is a language, dev its "
        "train part; ask for access",
        licence="CC BY-SA 4.0",
        revision="main",
        parts=FLORES_PARTS,
        records=flores,
        configs=tuple(FLORES),
    ),
)
