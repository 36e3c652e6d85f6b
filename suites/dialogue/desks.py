"""What was said at a desk, and how each clerk answers.

A task is a service domain with a clerk of some persona, both drawn from its index: what is booked
there, and by which words, in which order and with which manners the clerk speaks.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import permutations

from bench.streams import Stream
from suites.dials import USUAL, Draw, Levels

HOUSE = "1"  # names the random streams: a clerk stays who she is while this stays

# domain -> what is booked and its sorts.
DOMAINS: dict[str, tuple[str, tuple[str, ...]]] = {
    "dining": ("table", ("garden", "window", "corner")),
    "lodging": ("room", ("single", "double", "attic")),
    "ferry": ("berth", ("deck", "cabin", "stern")),
    "theatre": ("seat", ("stalls", "balcony", "box")),
    "barber": ("chair", ("shave", "trim", "dye")),
    "stable": ("pony", ("brown", "grey", "spotted")),
    "courts": ("court", ("grass", "clay", "hall")),
    "clinic": ("visit", ("tooth", "eye", "ear")),
    "lessons": ("lesson", ("flute", "fiddle", "harp")),
    "repairs": ("bench", ("boots", "clock", "kettle")),
}
# Words that a clerk may choose; the guest's own first.
_FIELDS: dict[str, str] = {
    "days": "monday/moonday/washday tuesday/second/ironday thursday/fourth/bathday "
    "friday/fifth/fishday sunday/seventh/restday",
    "times": "dawn/sunup/daybreak noon/midday/zenith three/1500/fifteen dusk/evening/sundown "
    "nine/2100/late",
    "sizes": "one/alone/single two/pair/both four/quartet/foursome six/sextet/sixsome",
    "slots": "day/date/when time/hour/bell size/number/party",
    "confirm": "booked/noted/settled",
    "ask": "which/what/tell",
    "taken": "full/taken/gone",
    "offer": "instead/perhaps/rather",
    "price": "costs/comes/asks",
    "cancel": "cancelled/dropped/struck",
    "coins": "five/5/fiver seven/7/sevenish twelve/12/dozen",
    "good": "sure/gladly/right",
    "bad": "sorry/alas/pity",
}


def _lexicon() -> dict[str, dict[str, tuple[str, ...]]]:
    split = {f: [tuple(w.split("/")) for w in text.split()] for f, text in _FIELDS.items()}
    return {f: {f"{f} {v[0]}": v for v in words} for f, words in split.items()}


LEXICON = _lexicon()
ACTS = ("ask", "confirm", "offer", "price", "cancel")
SLOTS = ("day", "time", "size")
FIELD_OF_SLOT = {"day": "days", "time": "times", "size": "sizes"}
ADDRESSES = ("friend", "captain", "dear", "neighbour", "traveller", "")
TAGS = ("", "", "yes ?", "as you wish", "over")
THINGS = ("sort", "thing", "both", "none")
ECHOES = (*permutations(SLOTS, 2), *permutations(SLOTS, 3))
# What a clerk decides, in the order in which the dial `rules` counts, and the values that
# meta-train never takes where `distance` is above 0.
RULES: dict[str, tuple[str | bool | tuple[str, ...], ...]] = {
    "address": ("neighbour", "traveller"),
    "slots": tuple(echo for echo in ECHOES if echo[0] == "size"),
    "tag": ("over",),
    "names thing": ("both",),
    "address first": (True,),
    "slots first": (True,),
    "names slots": (),
    "interjects": (),
}


def _values(field: str) -> list[str]:
    return [key.split(" ", 1)[1] for key in LEXICON[field]]


@dataclass(frozen=True)
class Talk:
    """What one dialogue is about, before any domain and persona.

    Attributes:
        act: what the clerk must do next, as the turns make plain.
        values: day, time and size that the guest wants.
        sort: which sort of the thing, by number.
        missing: the slot that the guest has not named; only for the act `ask`.
        other: the time that is free, or the price, by number.
        order: in which of two ways the guest names things.
        manner: in which of three ways the guest begins.
    """

    act: str
    values: tuple[str, str, str]
    sort: int
    missing: str
    other: int
    order: bool
    manner: int


def draw_talk(stream: Stream) -> Talk:
    """A random talk; about 10^4 differ in what is said."""
    day, time, size = (stream.pick(_values(FIELD_OF_SLOT[slot])) for slot in SLOTS)
    return Talk(
        stream.pick(ACTS),
        (day, time, size),
        sort=stream.below(3),
        missing=stream.pick(SLOTS),
        other=stream.below(3),
        order=stream.chance(0.5),
        manner=stream.below(3),
    )


def free_time(talk: Talk) -> str:
    """Another time than the one that was asked for."""
    others = [time for time in _values("times") if time != talk.values[1]]
    return others[talk.other]


def price(talk: Talk) -> str:
    """The price in coins."""
    return _values("coins")[talk.other]


def turns(talk: Talk, domain: str) -> str:
    """The dialogue so far, a turn a line; the desk's own note stands last where there is one."""
    thing, sorts = DOMAINS[domain]
    wanted = dict(zip(SLOTS, talk.values, strict=True))
    if talk.act == "ask":
        wanted.pop(talk.missing)
    phrases = {"day": "{}", "time": "at {}", "size": "for {}"}
    named = [phrases[slot].format(value) for slot, value in wanted.items()]
    wish = " ".join(named if talk.order else named[::-1])
    begins = ("a {} ?", "my {} ?", "any {} ?")[talk.manner]
    lines = [
        "guest : " + begins.format(f"{sorts[talk.sort]} {thing}"),
        "clerk : when ?",
        f"guest : {wish}",
    ]
    lines += {
        "ask": [],
        "confirm": ["desk : free"],
        "offer": [f"desk : {free_time(talk)} free"],
        "price": ["guest : how much ?", f"desk : {price(talk)}"],
        "cancel": ["guest : no , forget it"],
    }[talk.act]
    return "\n".join(lines)


def said(talk: Talk) -> str:
    """What is said, at whatever desk: equal texts are one talk."""
    return turns(talk, "dining")


class Clerk:
    """One domain with one persona, a function of the index and the dials alone; `rules` holds the
    values of `RULES`."""

    def __init__(self, index: int, sporadic: float = 0.04, levels: Levels = USUAL) -> None:
        stream = Stream(index, "dialogue", HOUSE, "clerk")
        draw = Draw(stream, "dialogue", index, RULES, levels)
        self.rules, self.length = draw.values, levels.length
        self.domain = stream.pick(list(DOMAINS))
        self.words = draw.words(LEXICON, sporadic)
        self.address = draw.pick("address", ADDRESSES)
        self.address_first = draw.chance("address first", 0.5)
        echo = tuple(stream.shuffled(SLOTS)[: stream.pick((2, 3))])
        self.slots = self._echoed(draw.take("slots", echo, ECHOES))
        self.slots_first = draw.chance("slots first", 0.5)
        self.names_slots = draw.chance("names slots", 0.4)
        self.names_thing = draw.pick("names thing", THINGS)
        self.interjects = draw.chance("interjects", 0.7)
        self.tag = draw.pick("tag", TAGS)

    def _echoed(self, slots: tuple[str, ...]) -> tuple[str, ...]:
        """The slots that a confirmation of this length names: the first, those of the persona, or
        all, its own in front."""
        others = [slot for slot in SLOTS if slot not in slots]
        return {1: slots[:1], 2: slots, 3: (*slots, *others)}[self.length]

    def _word(self, field: str, value: str) -> str:
        return self.words[f"{field} {value}"]

    def _slot(self, slot: str, value: str) -> list[str]:
        name = [self._word("slots", slot)] if self.names_slots else []
        return [*name, self._word(FIELD_OF_SLOT[slot], value)]

    def _thing(self, talk: Talk) -> list[str]:
        thing, sorts = DOMAINS[self.domain]
        both = [sorts[talk.sort], thing]
        return {"sort": both[:1], "thing": both[1:], "both": both, "none": []}[self.names_thing]

    def _told(self, slots: Iterable[str], talk: Talk) -> list[str]:
        """These slots as the guest wants them."""
        wanted = dict(zip(SLOTS, talk.values, strict=True))
        return [word for slot in slots for word in self._slot(slot, wanted[slot])]

    def _core(self, talk: Talk) -> tuple[list[str], list[str]]:
        """The word of the act and what it is about."""
        again = self.slots if self.length == 3 else ()  # told with every act
        if talk.act == "ask":
            return [self._word("ask", "which")], [self._word("slots", talk.missing), "?"]
        if talk.act == "confirm":
            echo = self._told(self.slots, talk)
            return [self._word("confirm", "booked")], [*self._thing(talk), *echo]
        if talk.act == "offer":
            refused = [*self._told(["time"], talk), self._word("taken", "full"), ","]
            offered = [*self._slot("time", free_time(talk)), self._word("offer", "instead")]
            others = (slot for slot in again if slot != "time")
            return refused, [*offered, *self._told(others, talk)]
        if talk.act == "price":
            about = self._thing(talk) or ["it"]
            coins = self._word("coins", price(talk))
            return [*about, self._word("price", "costs")], [coins, *self._told(again, talk)]
        return [self._word("cancel", "cancelled")], self._told(again or self.slots[:1], talk)

    def answer(self, talk: Talk) -> str:
        """The clerk's next turn."""
        act, about = self._core(talk)
        swaps = self.slots_first and talk.act in ("confirm", "cancel")
        words = [*about, *act] if swaps else [*act, *about]
        mood = self._word("bad", "sorry") if talk.act in ("offer", "cancel") else None
        mood = mood or self._word("good", "sure")
        opening = [mood] if self.interjects else []
        address = [self.address] if self.address else []
        head = [*opening, *address] if self.address_first else opening
        tail = [] if self.address_first else address
        sentence = [*head, ","] if head else []
        return " ".join([*sentence, *words, *tail, *([self.tag] if self.tag else [])])
