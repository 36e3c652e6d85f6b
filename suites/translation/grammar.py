"""The invented family: what a sentence means, how English says it and how each language does.

A language is a bundle of rules drawn from its index. Its roots are chosen field by field from
three cognate sets, so that a few sentences show which set a field follows; word order, articles,
number, tense, negation, case and agreement are drawn one by one.
"""

from dataclasses import dataclass

from bench.streams import Stream
from suites.dials import USUAL, Draw, Levels
from suites.words import VARIANTS

GRAMMAR = "1"  # names the random streams: a language stays what it is while this stays

# Each field is drawn from one cognate set by a language as a whole.
FIELDS: dict[str, tuple[str, ...]] = {
    "people": tuple("farmer weaver sailor baker singer doctor potter".split()),
    "animals": tuple("goat horse bird otter fox cow owl".split()),
    "things": tuple("basket lamp rope drum boat ladder cart".split()),
    "places": tuple("river market hill bridge garden".split()),
    "actions": tuple("see carry find follow paint clean watch fear".split()),
    "qualities": tuple("old red small heavy quiet clever new".split()),
    "relations": ("near", "behind", "from"),
}
FIELD_OF = {meaning: field for field, meanings in FIELDS.items() for meaning in meanings}

# English forms that a rule does not give.
PAST = {"see": "saw", "find": "found"}
THIRD = {"carry": "carries", "watch": "watches"}

MARKERS: dict[str, tuple[str, ...]] = {
    "plural": ("mi", "sou", "arn"),
    "definite": ("ol", "hae", "niv"),
    "indefinite": ("wen", "eki", "zul"),
    "object": ("ta", "iru", "gem"),
    "past": ("vek", "ano", "lir"),
    "present": ("im", "bao", "rel"),
    "negation": ("nai", "kut", "ozo"),
    "agreement": ("ji", "uld", "kas"),
}
# Where a marker may stand: on the word, before it, behind it, or nowhere.
PLACES: dict[str, tuple[str, ...]] = {
    "plural": ("suffix", "suffix", "before", "after"),
    "definite": ("suffix", "before", "after", "none"),
    "indefinite": ("before", "none", "none"),
    "object": ("suffix", "before", "none"),
    "past": ("suffix", "before", "after"),
    "present": ("suffix", "none", "none"),
    "negation": ("suffix", "before", "after", "last"),
    "agreement": ("suffix", "none"),
}
ORDERS = ("SVO", "SOV", "VSO", "VOS", "OVS", "OSV")
# What a language decides, in the order in which the dial `rules` counts, and the values that
# meta-train never takes where `distance` is above 0.
RULES: dict[str, tuple[str | bool, ...]] = {
    "order": ("VOS", "OSV"),
    "definite": ("after",),
    "past": ("before",),
    "object": ("before",),
    "negation": ("last",),
    "plural": ("before",),
    "quality first": (),
    "postpositions": (),
    "place first": (),
    "indefinite": (),
    "present": (),
    "agreement": (),
    "quality agrees": (),
    "doubled negation": (),
}
# By length: the chance of an adjective at a noun, and of a phrase of place.
LENGTHS = {1: (0.0, 0.0), 2: (0.35, 0.3), 3: (0.7, 0.8)}


@dataclass(frozen=True)
class Noun:
    """A noun phrase: `definite` and `plural` decide its articles and endings."""

    noun: str
    quality: str | None
    definite: bool
    plural: bool


@dataclass(frozen=True)
class Meaning:
    """What one sentence says, before any language."""

    subject: Noun
    action: str
    object: Noun
    past: bool
    negated: bool
    relation: str | None
    place: Noun | None


def draw_meaning(stream: Stream, length: int = 2) -> Meaning:
    """A random sentence meaning; about 10^8 differ, 10^5 of the shortest length."""
    qualified, placed = LENGTHS[length]

    def noun(*fields: str) -> Noun:
        field = stream.pick(fields)
        quality = stream.pick(FIELDS["qualities"]) if stream.chance(qualified) else None
        return Noun(stream.pick(FIELDS[field]), quality, stream.chance(0.6), stream.chance(0.4))

    relation = stream.pick(FIELDS["relations"]) if stream.chance(placed) else None
    return Meaning(
        subject=noun("people", "animals"),
        action=stream.pick(FIELDS["actions"]),
        object=noun("people", "animals", "things", "things"),
        past=stream.chance(0.5),
        negated=stream.chance(0.3),
        relation=relation,
        place=noun("places") if relation else None,
    )


def _english_noun(phrase: Noun) -> str:
    quality = f"{phrase.quality} " if phrase.quality else ""
    noun = phrase.noun
    if phrase.plural:
        noun += "es" if noun.endswith("x") else "s"
        return f"{'the' if phrase.definite else 'some'} {quality}{noun}"
    article = "the" if phrase.definite else "an" if (quality or noun)[0] in "aeiou" else "a"
    return f"{article} {quality}{noun}"


def _english_verb(meaning: Meaning) -> str:
    verb, plural = meaning.action, meaning.subject.plural
    if meaning.negated:
        return f"{'did' if meaning.past else 'do' if plural else 'does'} not {verb}"
    if meaning.past:
        regular = verb[:-1] + "ied" if verb.endswith("rry") else verb + "d" * verb.endswith("e")
        return PAST.get(verb) or (regular if regular != verb else verb + "ed")
    return verb if plural else THIRD.get(verb, verb + "s")


def english(meaning: Meaning) -> str:
    """The English sentence."""
    words = [_english_noun(meaning.subject), _english_verb(meaning), _english_noun(meaning.object)]
    if meaning.relation and meaning.place:
        words += [meaning.relation, _english_noun(meaning.place)]
    return " ".join(words)


def _make_roots() -> dict[str, tuple[str, ...]]:
    """Three cognates for each meaning; all roots and markers differ from one another."""
    stream = Stream(0, "translation", GRAMMAR, "roots")
    onsets = "b d f g h k l m n p r s t v z sh kr tl br".split()
    vowels = ["a", "e", "i", "o", "u", "ai", "ou"]
    codas = ["", "", "n", "r", "l", "k", "s"]
    taken = {form for forms in MARKERS.values() for form in forms}
    roots: dict[str, tuple[str, ...]] = {}
    for meaning in FIELD_OF:
        cognates: list[str] = []
        while len(cognates) < VARIANTS:
            root = "".join(
                stream.pick(onsets) + stream.pick(vowels) + (stream.pick(codas) if last else "")
                for last in (False, True)
            )
            if root not in taken:
                taken.add(root)
                cognates.append(root)
        roots[meaning] = tuple(cognates)
    return roots


ROOTS = _make_roots()
LEXICON = {field: {m: ROOTS[m] for m in meanings} for field, meanings in FIELDS.items()}


class Language:
    """One language of the family, a function of its index and the dials alone.

    `sporadic` is the share of words that follow another cognate set than their field; `rules` holds
    the values of `RULES`.
    """

    def __init__(self, index: int, sporadic: float = 0.04, levels: Levels = USUAL) -> None:
        stream = Stream(index, "translation", GRAMMAR, "language")
        draw = Draw(stream, "translation", index, RULES, levels)
        self.rules = draw.values
        self.root = draw.words(LEXICON, sporadic)
        self.marker = {name: draw.word(name, forms) for name, forms in MARKERS.items()}
        self.place = {name: draw.pick(name, places) for name, places in PLACES.items()}
        self.order = draw.pick("order", ORDERS)
        self.quality_first = draw.chance("quality first", 0.5)
        self.postpositions = draw.chance("postpositions", 0.5)
        self.place_first = draw.chance("place first", 0.5)
        self.quality_agrees = draw.chance("quality agrees", 0.5)
        self.doubled_negation = draw.chance("doubled negation", 0.25)

    def _mark(self, words: list[str], name: str, at: int) -> list[str]:
        """Puts a marker on or around `words`; `at` is the word that a suffix goes on."""
        marker, place = self.marker[name], self.place[name]
        if place == "suffix":
            return [*words[:at], f"{words[at]}-{marker}", *words[at + 1 :]]
        if place == "before":
            return [marker, *words]
        return [*words, marker] if place == "after" else words

    def _noun(self, phrase: Noun, case: str | None = None) -> list[str]:
        noun = [self.root[phrase.noun]]
        quality = [self.root[phrase.quality]] if phrase.quality else []
        if phrase.plural:
            noun = self._mark(noun, "plural", at=0)
            if quality and self.quality_agrees and self.place["plural"] == "suffix":
                quality = self._mark(quality, "plural", at=0)
        words = quality + noun if self.quality_first else noun + quality
        article = "definite" if phrase.definite else "indefinite"
        if phrase.definite or not phrase.plural:
            words = self._mark(words, article, at=len(words) - 1)
        return self._mark(words, case, at=len(words) - 1) if case else words

    def _verb(self, meaning: Meaning) -> list[str]:
        verb = [self.root[meaning.action]]
        if meaning.subject.plural:
            verb = self._mark(verb, "agreement", at=0)
        if meaning.negated and self.place["negation"] == "suffix":
            verb = self._mark(verb, "negation", at=0)
        tense = "past" if meaning.past else "present"
        verb = self._mark(verb, tense, at=0)
        if meaning.negated and self.place["negation"] in ("before", "after"):
            verb = self._mark(verb, "negation", at=0)
        return verb

    def say(self, meaning: Meaning) -> str:
        """The sentence in this language."""
        parts = {
            "S": self._noun(meaning.subject),
            "V": self._verb(meaning),
            "O": self._noun(meaning.object, case="object"),
        }
        words = [word for part in self.order for word in parts[part]]
        if meaning.relation and meaning.place:
            place, relation = self._noun(meaning.place), [self.root[meaning.relation]]
            phrase = place + relation if self.postpositions else relation + place
            words = phrase + words if self.place_first else words + phrase
        if meaning.negated and (self.place["negation"] == "last" or self.doubled_negation):
            words.append(self.marker["negation"])
        return " ".join(words)
