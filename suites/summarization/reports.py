"""What happened, how the wire reports it, and how each outlet sums it up.

An outlet is a bundle of rules drawn from its index: what it holds salient, in which order it
tells it, in which frames and in whose words.
"""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import combinations, permutations

from bench.streams import Stream
from suites.dials import USUAL, Draw, Levels

NEWSROOM = "1"  # names the random streams: an outlet stays what it is while this stays

# kind -> who it is about, what can happen, what is counted, why; each word with its three
# variants, the wire's own first.
KINDS: dict[str, dict[str, str]] = {
    "match": {
        "actor": "otters/divers/riverfolk herons/waders/stilts badgers/diggers/stripes",
        "event": "won/triumphed/prevailed lost/stumbled/yielded drew/shared/tied",
        "unit": "goals",
        "cause": "mud/mire/slush keeper/goalie/stopper",
    },
    "weather": {
        "actor": "fog/haze/murk frost/rime/chill storm/tempest/blow",
        "event": "arrived/came/landed lingered/stayed/dwelt passed/left/faded",
        "unit": "degrees",
        "cause": "wind/breeze/gust sea/tide/deep",
    },
    "market": {
        "actor": "wool/fleece/yarn grain/wheat/corn copper/redmetal/ore",
        "event": "rose/climbed/soared fell/slid/sank held/paused/rested",
        "unit": "coins",
        "cause": "harvest/yield/crop taxes/levies/dues",
    },
    "council": {
        "actor": "bridge/span/crossing school/academy/college library/archive/bookhouse",
        "event": "approved/passed/blessed rejected/refused/vetoed delayed/shelved/deferred",
        "unit": "votes",
        "cause": "budget/purse/funds protest/outcry/march",
    },
    "incident": {
        "actor": "lorry/truck/wagon ferry/boat/barge barn/shed/granary",
        "event": "overturned/tipped/toppled burned/blazed/flared broke/cracked/split",
        "unit": "people",
        "cause": "ice/glaze/freeze spark/ember/flame",
    },
}
SHARED: dict[str, str] = {
    "place": "brim/oldbrim/brimtown harl/oldharl/harltown tovey/oldtovey/toveytown "
    "sedge/oldsedge/sedgetown quill/oldquill/quilltown",
    "day": "monday/mon/moonday wednesday/wed/midweek friday/fri/fishday sunday/sun/restday",
    "amount": "two/2/pair three/3/trio five/5/handful nine/9/dozenish",
    "mood": "glad/pleased/merry angry/furious/cross calm/quiet/still",
}


def _lexicon() -> dict[str, dict[str, tuple[str, ...]]]:
    fields = dict(SHARED)
    for kind, words in KINDS.items():
        for role in ("actor", "event", "cause"):
            fields[f"{kind} {role}"] = words[role]
    split = {f: [tuple(w.split("/")) for w in text.split()] for f, text in fields.items()}
    return {f: {variants[0]: variants for variants in words} for f, words in split.items()}


LEXICON = _lexicon()
ROLES = ("place", "day", "amount", "cause", "mood")
PEOPLE = ("match", "council")  # kinds that outlets may judge by another rule than the rest
# How a piece is put: `{}` is the word, `{unit}` what is counted.
FRAMES: dict[str, tuple[str, ...]] = {
    "place": ("at {}", "{} :", "from {}"),
    "day": ("on {}", "{}", "last {}"),
    "amount": ("by {}", "{} {unit}", "some {} {unit}"),
    "cause": ("after {}", "blame {}", "{} to blame"),
    "mood": ("{} mood", "all {}", "voices {}"),
    "core": ("{actor} {event}", "{event} : {actor}", "the {actor} have {event}"),
}
JOINS = (" , ", " ; ", " - ", " and ")
OPENERS = ("", "", "brief :", "wire /", "now :")
CLOSERS = ("", "", "more soon", "ends")


def _tellings(facts: int) -> list[tuple[str, ...]]:
    """What may be told, in order: what happened and so many of the other roles."""
    chosen = combinations(ROLES, facts)
    return [order for roles in chosen for order in permutations(("core", *roles))]


FACTS = (1, 2, 3, 4)  # told beside what happened; the dial `length`
TELLINGS = {facts: _tellings(facts) for facts in FACTS}
_CORE_LAST = frozenset(t for told in TELLINGS.values() for t in told if t[-1] == "core")
# What an outlet decides, in the order in which the dial `rules` counts, and the values that
# meta-train never takes where `distance` is above 0.
RULES: dict[str, Collection[str | tuple[str, ...]]] = {
    "salient people": _CORE_LAST,
    "salient rest": _CORE_LAST,
    "core": (FRAMES["core"][2],),
    "join": (" and ",),
    "place": (FRAMES["place"][2],),
    "day": (FRAMES["day"][2],),
    "amount": (FRAMES["amount"][2],),
    "cause": (FRAMES["cause"][2],),
    "mood": (FRAMES["mood"][2],),
    "opener": (),
    "closer": (),
}


@dataclass(frozen=True)
class Report:
    """What one report says; words are the wire's own."""

    kind: str
    actor: str
    event: str
    place: str
    day: str
    amount: str
    cause: str
    mood: str
    order: int  # of the wire's sentences

    def word(self, role: str) -> str:
        """The word in a role."""
        return str(getattr(self, role))


def draw_report(stream: Stream) -> Report:
    """A random report; about 10^6 differ."""
    kind = stream.pick(list(KINDS))

    def word(field: str) -> str:
        return stream.pick(list(LEXICON[field]))

    return Report(
        kind,
        word(f"{kind} actor"),
        word(f"{kind} event"),
        word("place"),
        word("day"),
        word("amount"),
        word(f"{kind} cause"),
        word("mood"),
        stream.below(5),
    )


def wire(report: Report) -> str:
    """The report as the wire sends it: what happened, then the rest, beginning anywhere."""
    facts = [
        report.day,
        f"in {report.place}",
        f"{report.amount} {KINDS[report.kind]['unit']}",
        f"through {report.cause}",
        f"mood {report.mood}",
    ]
    turned = facts[report.order :] + facts[: report.order]
    return " . ".join([f"{report.kind} : {report.actor} {report.event}", *turned])


class Outlet:
    """One outlet, a function of its index and the dials alone; `rules` holds the values of
    `RULES`."""

    def __init__(self, index: int, sporadic: float = 0.04, levels: Levels = USUAL) -> None:
        stream = Stream(index, "summarization", NEWSROOM, "outlet")
        draw = Draw(stream, "summarization", index, RULES, levels)
        self.rules = draw.values
        self.words = draw.words(LEXICON, sporadic)
        groups = {True: "salient people", False: "salient rest"}
        self.salient = {people: self._telling(draw, rule) for people, rule in groups.items()}
        self.frame = {role: draw.pick(role, frames) for role, frames in FRAMES.items()}
        self.join = draw.pick("join", JOINS)
        self.opener = draw.pick("opener", OPENERS)
        self.closer = draw.pick("closer", CLOSERS)

    @staticmethod
    def _telling(draw: Draw, rule: str) -> tuple[str, ...]:
        """What is told of such reports, in order: what happened and some of the other roles."""
        drawn = tuple(draw.stream.shuffled(["core", *draw.stream.shuffled(ROLES)[:2]]))
        tellings = TELLINGS[draw.levels.length]
        if drawn not in tellings:
            drawn = draw.aside("length", rule).pick(tellings)
        return draw.take(rule, drawn, tellings)

    def _piece(self, role: str, report: Report) -> str:
        if role == "core":
            actor, event = self.words[report.actor], self.words[report.event]
            return self.frame[role].format(actor=actor, event=event)
        word, unit = self.words[report.word(role)], KINDS[report.kind]["unit"]
        return self.frame[role].format(word, unit=unit)

    def sum_up(self, report: Report) -> str:
        """The outlet's summary of a report."""
        pieces = [self._piece(role, report) for role in self.salient[report.kind in PEOPLE]]
        parts = [self.opener, self.join.join(pieces), self.closer]
        return " ".join(part for part in parts if part)
