"""Which words rhyme: those of the suite by their class, others by how they are spelled.

Spelling is an approximation of English sound. From the last vowel group that looks stressed on,
both words must be spelled alike: a silent e at the end is no vowel group of its own, and neither is
a weak ending (-er, -ing, -y and the like) behind another vowel group. So `stone` and `alone`,
`flower` and `power` are found; `rain` and `lane` are missed, and `move` and `love` found wrongly.
"""

import re
from functools import lru_cache

from suites.writing.stanzas import RHYMES

CLASS_OF = {word: n for n, (ends, own) in enumerate(RHYMES) for word in (*ends, *own.values())}
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")  # noqa: RUF001, an apostrophe as printers set it
VOWELS = re.compile(r"(?<![aeiou])y(?![aeiou])|[aeiouy]+|[^\x00-\x7f]+")
WEAK = re.compile(r"(ers?|ings?|e[dsn]?|est|l?y|ies|les?)$")


def last_word(line: str) -> str:
    """A line's last word in small letters, "" if it has none."""
    words = WORD.findall(line.lower())
    return words[-1] if words else ""


@lru_cache(maxsize=65536)
def sound(word: str) -> str:
    """The end of a word, by spelling, from the last vowel group that looks stressed; the whole word
    where there is no vowel."""
    word = word.lower().replace("'", "").replace("’", "")  # noqa: RUF001
    starts = [match.start() for match in VOWELS.finditer(word)]
    weak = WEAK.search(word)
    strong = [start for start in starts if not weak or start < weak.start()]
    ends = strong[-1:] or starts[-1:]
    return word[ends[0] :] if ends else word


def rhyme(one: str, two: str) -> bool:
    """Whether two words rhyme. A word rhymes with itself: what is compared is the same line of an
    answer and of its reference, which may well end in one word, and the reference itself must be in
    perfect form. That a line repeats an earlier one's word is for the caller to see."""
    if one in CLASS_OF and two in CLASS_OF:
        return CLASS_OF[one] == CLASS_OF[two]
    return bool(one and two) and sound(one) == sound(two)
