"""Words of any script, for ROUGE."""

import unicodedata
from functools import lru_cache
from typing import Any

# Raise it when a text's tokens change: it is part of ROUGE's signature.
VERSION = 1


@lru_cache(maxsize=1)
def _pattern() -> Any:
    import regex

    # The long vowel mark and the half-width voicing marks belong to kana in all but name.
    kana = r"\p{Hiragana}\p{Katakana}\u30fc\uff70\uff9e\uff9f"
    scripts = rf"[\p{{Han}}{kana}\p{{Thai}}\p{{Lao}}\p{{Khmer}}\p{{Myanmar}}]"
    character = rf"[{scripts}&&[\p{{L}}\p{{N}}]]"
    word = rf"[[\p{{L}}\p{{M}}\p{{N}}]--{character}]+"
    return regex.compile(rf"(?V1){character}\p{{M}}*|{word}")


class ScriptTokenizer:
    """Splits a text into lower-cased words, and scripts without spaces into characters.

    Words are runs of letters, marks and numbers. Han, kana, Thai, Lao, Khmer and Burmese are
    split by character, marks kept on their base. On ASCII the tokens are those of rouge_score's
    default tokenizer without stemming, which drops all other characters.
    """

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text; canonically equivalent texts have the same."""
        # Composed twice: lower-casing can take a composed letter apart.
        composed = unicodedata.normalize("NFC", text).lower()
        tokens: list[str] = _pattern().findall(unicodedata.normalize("NFC", composed))
        return tokens
