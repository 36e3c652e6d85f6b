"""Which rules of her persona a clerk's turn shows, read by the words and manners of all clerks.

What every clerk does alike is no decision, but a word that stands where no clerk has it is not
read: an interjection that does not begin the turn, a slot that is asked for or a price apart from
its verb. Commas are not read at all: where they stand follows from the rest.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from suites.dialogue.desks import ADDRESSES, DOMAINS, FIELD_OF_SLOT, LEXICON, SLOTS, TAGS
from suites.rules import REST, Reading, Rules

KINDS = ("act", "slots", "thing", "address", "manner", "words")
MOST = 4  # words of two classes: repetitions without end are looked at no further
ACT_WORDS = ("ask", "confirm", "taken", "offer", "price", "cancel")
SLOT_OF_FIELD = {field: slot for slot, field in FIELD_OF_SLOT.items()}
# A word to (class, meaning): the slot of a value, else the field, and what the guest would say.
CLASS_OF = {
    word: (SLOT_OF_FIELD.get(field, field), words[0])
    for field, meanings in LEXICON.items()
    for words in meanings.values()
    for word in words
}


@dataclass(frozen=True)
class _Wish:
    """What the guest asked for: `said` holds all words of the dialogue."""

    sort: str
    thing: str
    sorts: Sequence[str]
    said: frozenset[str]


def _wish(asked: str) -> _Wish:
    *_, sort, thing, _ = f"? ? ? {asked.splitlines()[0] if asked else ''}".split()
    sorts = next((sorts for name, sorts in DOMAINS.values() if name == thing), ())
    return _Wish(sort, thing, sorts, frozenset(asked.split()))


def read(asked: str, answer: str) -> list[Reading]:
    """The readings of a turn that leave least unexplained; see `suites.rules`."""
    wish, words = _wish(asked), answer.split()
    tag = max(
        (tag for tag in TAGS if words[-len(tag.split()) :] == tag.split()), key=len, default=""
    )
    body = words[: len(words) - len(tag.split())]
    found = [_reading(wish, body, classes, tag) for classes in _classes(wish, body)]
    best = max((fit for fit, _ in found), default=0)
    return [reading for fit, reading in found if fit == best]


def _classes(wish: _Wish, words: Sequence[str]) -> Iterator[list[str]]:
    """Ways to class the words, "" for those that no clerk says; none where all are such. A sort
    may be called as a slot's value is."""
    ways = list[list[str]]()
    for word in words:
        own = {CLASS_OF[word][0]} if word in CLASS_OF else set[str]()
        own |= {"sort"} if word in wish.sorts else set()
        own |= {"thing"} if word == wish.thing else set()
        own |= {"address"} if word and word in ADDRESSES else set()
        open_ = len(own) > 1 and sum(len(way) > 1 for way in ways) < MOST
        kept = sorted(own)[: None if open_ else 1]
        ways.append(kept or [word if word in ("it", ",", "?") else ""])
    if any(word[0] not in ("", ",", "?", "it") for word in ways):
        yield from map(list, product(*ways))


def _reading(
    wish: _Wish, words: Sequence[str], classes: Sequence[str], tag: str
) -> tuple[int, Reading]:
    """How well a turn is explained, and what it shows."""
    at: dict[str, list[int]] = {}
    for place, name in enumerate(classes):
        at.setdefault(name, []).append(place)
    act = "+".join(name for name in classes if name in ACT_WORDS)
    shown: dict[tuple[str, str], str] = {("act", ""): act, ("manner", "tag"): tag}
    rest = [words[place] for place in at.get("", ())]
    for name in ("address", "good", "bad", "sort", "thing", "coins", "it"):
        rest += [words[place] for place in at.get(name, ())[1:]]
    for name in (*ACT_WORDS, "coins"):
        place = at.get(name, (-1,))[0]
        if place >= 0 and (name != "coins" or _before(classes, place) == "price"):
            shown["words", name] = words[place]
    shown |= _manners(words, at)
    slots, loose = _slots(words, classes, act)
    shown |= slots
    if act in ("confirm", "price"):
        shown |= {("thing", n): words[at[n][0]] if n in at else "" for n in ("sort", "thing")}
    if act in ("confirm", "cancel"):
        shown["slots", "side"] = _side(at[act][0], [at[n] for n in (*SLOTS, "sort") if n in at])
    questions = at.get("?", ())[1 if act == "ask" else 0 :]
    shown[REST] = " ".join([*rest, *loose, *("?" for _ in questions)])
    return -len(rest) - len(loose) - _unlikely(wish, words, at), shown


def _before(classes: Sequence[str], place: int) -> str:
    return classes[place - 1] if place else ""


def _side(act: int, others: Sequence[Sequence[int]]) -> str:
    """Where an act stands beside what it is about."""
    places = [place for own in others for place in own]
    if all(act < place for place in places):
        return "after"
    return "before" if all(act > place for place in places) else "amid"


def _unlikely(wish: _Wish, words: Sequence[str], at: Mapping[str, Sequence[int]]) -> int:
    """What speaks against a reading: a sort that nobody asked for, or apart from its thing; a size
    that nobody named."""
    count = sum(words[place] != wish.sort for place in at.get("sort", ()))
    sizes = (words[place] for place in at.get("size", ()))
    count += sum(CLASS_OF[size][1] not in wish.said for size in sizes)
    both = "sort" in at and "thing" in at
    return count + (both and at["sort"][0] != at["thing"][0] - 1)


def _manners(words: Sequence[str], at: Mapping[str, Sequence[int]]) -> Reading:
    """The interjection, the address and its place."""
    mood = next((at[name][0] for name in ("good", "bad") if name in at), None)
    said = "no" if mood is None else "yes" if mood == 0 else "late"
    shown = {("manner", "interjection"): said}
    if mood == 0:
        shown["words", "mood"] = words[mood]
    address = at["address"][0] if "address" in at else None
    shown["address", "which"] = "" if address is None else words[address]
    outside = ("address", "good", "bad", ",", "", "?")
    core = [place for name, own in at.items() if name not in outside for place in own]
    if address is not None and core:
        first, last = address < min(core), address > max(core)
        shown["address", "place"] = "first" if first else "last" if last else "amid"
    return shown


def _slots(words: Sequence[str], classes: Sequence[str], act: str) -> tuple[Reading, list[str]]:
    """Slots that are told or asked for, and names of slots that stand alone."""
    shown, loose, told = dict[tuple[str, str], str](), list[str](), list[str]()
    for place, name in enumerate(classes):
        after = [*classes[place + 1 : place + 2]]
        if name == "slots":
            own = CLASS_OF[words[place]][1]
            if [own] == after:
                continue  # it names the value behind it
            if _before(classes, place) == act == "ask":
                shown["slots", "asked"], shown["words", "asked"] = own, words[place]
            else:
                loose.append(words[place])
        if name in SLOTS:
            if act == "taken+offer" and name == "time" and after not in (["taken"], ["offer"]):
                loose.append(words[place])
                continue
            before = sum(other.partition(" ")[0] == name for other in told)
            what = f"{name} {before + 1}" if before else name
            told.append(what)
            shown["slots", what], shown["words", what] = "told", words[place]
            named = place and CLASS_OF.get(words[place - 1]) == ("slots", name)
            shown["slots", f"{what} named"] = "yes" if named else "no"
            if named:
                shown["words", f"name of {what}"] = words[place - 1]
    for i, one in enumerate(told):
        for two in told[i + 1 :]:
            shown["slots", " ".join(sorted((one, two)))] = one
    shown["slots", "number"] = str(len(told))
    return shown, loose


def rules() -> Rules:
    """The suite's score of rule-following."""
    return Rules("dialogue", KINDS, read)
