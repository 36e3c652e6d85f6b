"""Word choice: a task says every meaning with one of a few words, field by field."""

from collections.abc import Mapping

from bench.streams import Stream

Lexicon = Mapping[str, Mapping[str, tuple[str, ...]]]  # field -> meaning -> its words

VARIANTS = 3


def choose_words(
    stream: Stream, lexicon: Lexicon, sporadic: float = 0.04, variants: int = VARIANTS
) -> dict[str, str]:
    """The word of every meaning: a field follows one variant as a whole, with a leaning to one
    home variant, so that a few examples show which.

    Args:
        stream: the task's.
        lexicon: `VARIANTS` words for each meaning, in the same order within a field.
        sporadic: share of words that follow another variant than their field: what no few
            examples can tell, as in real languages and real writers.
        variants: that are chosen among; of one only, it is every meaning's word.
    """
    home = stream.below(variants)
    variant = {field: home if stream.chance(0.4) else stream.below(variants) for field in lexicon}
    # A draw among all may give the field's own.
    chance = sporadic * variants / max(variants - 1, 1)
    return {
        meaning: words[stream.below(variants) if stream.chance(chance) else variant[field]]
        for field, meanings in lexicon.items()
        for meaning, words in meanings.items()
    }
