"""Which rules of the family a sentence shows, read by the words and markers of all its languages.

The English input tells what the sentence should say; then heads, qualities and the relation are
found by their roots, whichever cognate a language took, and markers by their forms. Where a marker
may belong to either of two neighbours, or a root to two places, every way that leaves least
unexplained is a reading.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import permutations, product

from suites.rules import REST, Reading, Rules
from suites.translation.grammar import MARKERS, ROOTS, Meaning, Noun
from suites.translation.meanings import meaning_of

KINDS = ("order", "words", "markers", "places")
MEANING_OF = {root: meaning for meaning, roots in ROOTS.items() for root in roots}
MARKER_OF = {form: name for name, forms in MARKERS.items() for form in forms}
VERBAL = ("past", "present", "negation", "agreement")
CLAUSE = ("subject", "verb", "object")
QUALITY = "quality of "
SIDES = ("after", "before", "last")  # of a marker that may stand on several, as they are tried
MOST = 3  # tokens that may change places: repetitions without end are looked at no further


# -- what it should say ---------------------------------------------------------------------


def _roles(meaning: Meaning) -> dict[str, str]:
    """What stands in a sentence, to its meaning; of all content words."""
    roles = {"verb": meaning.action}
    if meaning.relation:
        roles["relation"] = meaning.relation
    for host, phrase in _phrases(meaning).items():
        roles[host] = phrase.noun
        if phrase.quality:
            roles[QUALITY + host] = phrase.quality
    return roles


def _phrases(meaning: Meaning) -> dict[str, Noun]:
    found = {"subject": meaning.subject, "object": meaning.object}
    return found | ({"place": meaning.place} if meaning.place else {})


@lru_cache(maxsize=4096)
def _expected(meaning: Meaning) -> frozenset[tuple[str, str]]:
    """(marker, host) wherever a language may mark."""
    found = {("past" if meaning.past else "present", "verb"), ("object", "object")}
    found |= {("negation", "verb")} if meaning.negated else set()
    found |= {("agreement", "verb")} if meaning.subject.plural else set()
    for host, phrase in _phrases(meaning).items():
        found |= {("plural", host)} if phrase.plural else set()
        if phrase.definite or not phrase.plural:
            found.add(("definite" if phrase.definite else "indefinite", host))
    return frozenset(found)


# -- what a sentence shows -------------------------------------------------------------------


@dataclass(frozen=True)
class _Mark:
    """A marker: the token that it is or that it hangs on, and the sides it may stand on."""

    name: str
    form: str
    at: int
    suffix: bool
    sides: Mapping[str, str] = field(hash=False)  # place ("before", "after", "last") to host


@dataclass(frozen=True)
class _Sentence:
    """A sentence with its content words assigned.

    Attributes:
        bases: the tokens without suffixes.
        at: role to the place of its token.
        marks: in their order.
        loose: what belongs to nothing.
    """

    meaning: Meaning
    bases: Sequence[str]
    at: Mapping[str, int]
    marks: Sequence[_Mark]
    loose: Sequence[str]

    def span(self, host: str) -> list[int]:
        """Places of a host's own content words."""
        return [self.at[role] for role in (host, QUALITY + host) if role in self.at]


def read(asked: str, answer: str) -> list[Reading]:
    """The readings of a sentence that leave least unexplained; see `suites.rules`."""
    meaning = meaning_of(asked)
    tokens = [token.split("-") for token in answer.split()]
    found: list[tuple[int, Reading]] = []
    for at in _assignments(_roles(meaning), [base for base, *_ in tokens]):
        sentence = _sentence(meaning, tokens, at)
        found += [_reading(sentence, chosen) for chosen in _choices(sentence)]
    best = max((fit for fit, _ in found), default=0)
    unlike: list[Reading] = []
    for fit, reading in found:
        if fit == best and reading not in unlike:
            unlike.append(reading)
    return unlike


def _assignments(roles: Mapping[str, str], bases: Sequence[str]) -> Iterator[dict[str, int]]:
    """Every way to find the roles among the tokens; those of equal meaning may change places."""
    said: dict[str, list[int]] = {}
    for place, base in enumerate(bases):
        said.setdefault(MEANING_OF.get(base, ""), []).append(place)
    ways = []
    for meaning in dict.fromkeys(roles.values()):
        own = [role for role, other in roles.items() if other == meaning]
        places: list[int | None] = [*said.get(meaning, [])[: MOST if len(own) > 1 else 1]]
        places += [None] * (len(own) - len(places))
        orders = dict.fromkeys(permutations(places, len(own)))
        ways.append([list(zip(own, order, strict=True)) for order in orders])
    for way in product(*ways):
        at = {role: place for pairs in way for role, place in pairs if place is not None}
        if at:
            yield at


def _sentence(
    meaning: Meaning, tokens: Sequence[Sequence[str]], at: Mapping[str, int]
) -> _Sentence:
    owner = {place: role.removeprefix(QUALITY) for role, place in at.items()}
    marks, loose = list[_Mark](), list[str]()
    for place, (base, *suffixes) in enumerate(tokens):
        if place in owner:
            hosts = {"suffix": owner[place]}
        else:
            left = next((owner[i] for i in range(place - 1, -1, -1) if i in owner), None)
            right = next((owner[i] for i in range(place, len(tokens)) if i in owner), None)
            around = {"after": left, "before": right} if not suffixes else {"after": left}
            hosts = {side: host for side, host in around.items() if host}
            last = place == len(tokens) - 1
            _take(marks, loose, base, place, {**hosts, "last": "verb"} if last else hosts)
        for suffix in suffixes:
            _take(marks, loose, suffix, place, hosts, suffix=True)
    return _Sentence(meaning, [base for base, *_ in tokens], at, marks, loose)


def _take(
    marks: list[_Mark],
    loose: list[str],
    form: str,
    place: int,
    hosts: Mapping[str, str],
    suffix: bool = False,
) -> None:
    """Adds a marker with the sides on which it may stand, or something loose."""
    name = MARKER_OF.get(form, "")
    fitting = {
        side: host
        for side, host in hosts.items()
        if name and (host == "verb") == (name in VERBAL) and host != "relation"
        if side != "last" or name == "negation"
    }
    if fitting:
        marks.append(_Mark(name, form, place, suffix, fitting))
    else:
        loose.append(form)


def _choices(sentence: _Sentence) -> Iterator[dict[str, str]]:
    """Of each marker that may stand on two sides somewhere, the side it prefers."""
    names = {m.name: tuple(m.sides) for m in sentence.marks if len(m.sides) > 1}
    for sides in product(*([side for side in SIDES if side in s] for s in names.values())):
        yield dict(zip(names, sides, strict=True))


def _reading(sentence: _Sentence, chosen: Mapping[str, str]) -> tuple[int, Reading]:
    """How well the sentence is explained, and what it shows."""
    expected, loose = _expected(sentence.meaning), len(sentence.loose)
    placed: dict[tuple[str, str], list[tuple[_Mark, str]]] = {}
    unexpected = list[str]()
    for mark in sentence.marks:
        side = chosen.get(mark.name, "")
        side = side if side in mark.sides else next(iter(mark.sides))
        key = mark.name, mark.sides[side]
        if key in expected:
            placed.setdefault(key, []).append((mark, side))
        else:
            unexpected.append(mark.form)
    shown: dict[tuple[str, str], str] = {**_order(sentence), **_words(sentence)}
    for key in sorted(expected):
        if key[1] in sentence.at:
            found, spare = _marked(sentence, key, placed)
            shown |= found
            unexpected += spare
    shown[REST] = " ".join([*sentence.loose, *unexpected, *_unread(sentence)])
    apart = sum(value == "apart" for value in shown.values())
    return len(placed) - loose - len(unexpected) - apart, shown


def _unread(sentence: _Sentence) -> list[str]:
    """Content words that no role took."""
    taken = {*sentence.at.values()}
    return [b for i, b in enumerate(sentence.bases) if i not in taken and b in MEANING_OF]


def _words(sentence: _Sentence) -> Reading:
    return {("words", role): sentence.bases[place] for role, place in sentence.at.items()}


def _order(sentence: _Sentence) -> Reading:
    """Of each two heads of the clause, of each quality, of the relation and of the place."""
    at, shown = sentence.at, dict[tuple[str, str], str]()
    heads = [head for head in CLAUSE if head in at]
    for i, one in enumerate(heads):
        for two in heads[i + 1 :]:
            shown["order", f"{one} {two}"] = _side(at[one], at[two])
    for role in at:
        if role.startswith(QUALITY) and (noun := role.removeprefix(QUALITY)) in at:
            shown["order", role] = _beside(sentence, role, noun)
    if "place" in at and "relation" in at:
        shown["order", "relation"] = _beside(sentence, "relation", "place")
    if "place" in at and heads:
        sides = {_side(at["place"], at[head]) for head in heads}
        shown["order", "place"] = sides.pop() if len(sides) == 1 else "amid"
    return shown


def _side(one: int, two: int) -> str:
    return "before" if one < two else "after"


def _beside(sentence: _Sentence, role: str, noun: str) -> str:
    """On which side of a noun, or `apart` where words of others stand between."""
    one, two = sentence.at[role], sentence.at[noun]
    own = {one, *sentence.span(noun)}
    others = {*sentence.at.values()} - own
    apart = any(min(one, two) < place < max(one, two) for place in others)
    return "apart" if apart else _side(one, two)


def _marked(
    sentence: _Sentence,
    key: tuple[str, str],
    placed: Mapping[tuple[str, str], Sequence[tuple[_Mark, str]]],
) -> tuple[Reading, list[str]]:
    """Form and place of a marker on its host, and those of its forms that are too many."""
    name, host = key
    marks, what = placed.get(key, ()), f"{name} {host}"
    agreeing = [m for m, _ in marks if _agrees(sentence, m, host)]
    others = [(m, side) for m, side in marks if m not in agreeing]
    places = [_place(sentence, m, side, host, placed) for m, side in others]
    shown = {("places", what): "none"}
    spare = places[1:]
    if name == "negation":
        mains = [place for place in places if place != "last"] or places[:1]
        shown["places", what] = "+".join(mains) or "none"
        shown["places", "negations"], spare = str(len(places)), mains[1:]
    elif places:
        shown["places", what] = "+".join(sorted({*places}))
    if marks:
        shown["markers", what] = "+".join(sorted({m.form for m, _ in marks}))
    if name == "plural" and QUALITY + host in sentence.at and places == ["suffix"]:
        shown["places", f"{what} on quality"] = "yes" if agreeing else "no"
    return shown, spare


def _agrees(sentence: _Sentence, mark: _Mark, host: str) -> bool:
    """Whether a plural hangs on the quality."""
    return mark.name == "plural" and mark.suffix and mark.at == sentence.at.get(QUALITY + host)


def _place(
    sentence: _Sentence,
    mark: _Mark,
    side: str,
    host: str,
    placed: Mapping[tuple[str, str], Sequence[tuple[_Mark, str]]],
) -> str:
    """Where a marker stands; `inside` of a noun phrase where no language has it."""
    noun, quality = sentence.at[host], sentence.at.get(QUALITY + host)
    if host == "verb":
        return "suffix" if mark.suffix else side
    if mark.name == "plural":
        if mark.suffix:
            return "suffix" if mark.at == noun else "inside"
        beyond = quality is not None and _side(quality, noun) == _side(mark.at, noun)
        beyond = beyond and abs(mark.at - noun) > abs((quality or 0) - noun)
        return "inside" if beyond else _side(mark.at, noun)
    own = sentence.span(host)
    if mark.suffix:
        earlier = ("plural",) if mark.name != "object" else ("plural", "definite", "indefinite")
        own = own + [
            m.at for name in earlier for m, _ in placed.get((name, host), ()) if not m.suffix
        ]
        return "suffix" if mark.at >= max(own) else "inside"
    if min(own) < mark.at < max(own):
        return "inside"
    return _side(mark.at, noun)


def rules() -> Rules:
    """The suite's score of rule-following."""
    return Rules("translation", KINDS, read)
