"""English sentences of the suite back to what they mean."""

from functools import cache, lru_cache
from itertools import product

from suites.translation.grammar import FIELDS, Meaning, Noun, english


@cache
def _forms() -> tuple[dict[str, tuple[str, bool]], dict[str, tuple[str, bool, bool]]]:
    """English nouns to (noun, plural), English verbs to (action, past, negated)."""
    cow = Noun("cow", None, definite=True, plural=False)
    nouns: dict[str, tuple[str, bool]] = {}
    for name in ("people", "animals", "things", "places"):
        for noun, plural in product(FIELDS[name], (False, True)):
            subject = Noun(noun, None, True, plural)
            said = english(Meaning(subject, "see", cow, False, False, None, None))
            nouns[said.split()[1]] = (noun, plural)
    verbs: dict[str, tuple[str, bool, bool]] = {}
    for action in FIELDS["actions"]:
        for past, negated, plural in product((False, True), repeat=3):
            subject = Noun("cow", None, True, plural)
            said = english(Meaning(subject, action, cow, past, negated, None, None))
            verbs[" ".join(said.split()[2:-2])] = (action, past, negated)
    return nouns, verbs


def _noun(words: list[str]) -> Noun:
    """Takes a noun phrase off the front."""
    article, quality = words.pop(0), words.pop(0) if words[0] in FIELDS["qualities"] else None
    noun, plural = _forms()[0][words.pop(0)]
    return Noun(noun, quality, article == "the", plural)


@lru_cache(maxsize=4096)
def meaning_of(sentence: str) -> Meaning:
    """What an English sentence of the suite means.

    Raises:
        ValueError: it is none.
    """
    words = sentence.split()
    try:
        subject = _noun(words)
        count = 3 if words[1] == "not" else 1
        action, past, negated = _forms()[1][" ".join(words[:count])]
        del words[:count]
        target = _noun(words)
        relation = words.pop(0) if words else None
        place = _noun(words) if relation else None
        meaning = Meaning(subject, action, target, past, negated, relation, place)
    except (IndexError, KeyError):
        meaning = None
    if meaning is None or english(meaning) != " ".join(sentence.split()):
        raise ValueError(f"no English sentence of the suite translation: {sentence!r}")
    return meaning
