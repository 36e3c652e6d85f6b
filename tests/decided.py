"""What tasks of the embedded suites decide, told from their attributes and not from their texts;
and tasks that differ from another in one rule."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from bench.streams import Stream
from bench.tasks import Example
from suites.dialogue import desks
from suites.dialogue import rules as dialogue
from suites.rules import REST, Rules
from suites.summarization import reports
from suites.summarization import rules as summarization
from suites.translation import grammar
from suites.translation import rules as translation
from suites.writing import rules as writing
from suites.writing import stanzas

Decided = dict[tuple[str, str], str]


@dataclass(frozen=True)
class Family:
    """A suite: its tasks by index, a random content, what a task says of it and decides by it.

    `flips` are an attribute, the kinds of decisions that fall with it, and what it may become.
    """

    rules: Rules
    task: Callable[[int], Any]
    draw: Callable[[Stream], Any]
    asked: Callable[[Any, Any], str]
    say: Callable[[Any, Any], str]
    decided: Callable[[Any, Any], Decided]
    flips: Callable[[Any], Iterator[tuple[str, set[str], Any]]]

    def example(self, task: Any, content: Any) -> Example:
        return Example(self.asked(task, content), (self.say(task, content),), "id", "group")


def flipped(task: Any, attribute: str, value: Any) -> Any:
    """A copy with one rule changed: an attribute, or `attribute.key` of a mapping."""
    other, (name, _, key) = copy.copy(task), attribute.partition(".")
    if not key:
        setattr(other, name, value)
        return other
    setattr(other, name, {**getattr(task, name), key: value})
    return other


def _other_words(words: dict[str, str], lexicon: Any) -> Iterator[tuple[str, str]]:
    """Each meaning with another of its words."""
    for meanings in lexicon.values():
        for meaning, forms in meanings.items():
            yield meaning, next(form for form in forms if form != words[meaning])


# -- translation ---------------------------------------------------------------------------


def _phrases(meaning: grammar.Meaning) -> dict[str, grammar.Noun]:
    found = {"subject": meaning.subject, "object": meaning.object}
    return found | ({"place": meaning.place} if meaning.place else {})


def _marked(meaning: grammar.Meaning) -> list[tuple[str, str]]:
    found = [("past" if meaning.past else "present", "verb"), ("object", "object")]
    found += [("negation", "verb")] if meaning.negated else []
    found += [("agreement", "verb")] if meaning.subject.plural else []
    for host, phrase in _phrases(meaning).items():
        found += [("plural", host)] if phrase.plural else []
        found += [("definite", host)] if phrase.definite else []
        found += [("indefinite", host)] if not phrase.definite and not phrase.plural else []
    return found


def sentence(language: grammar.Language, meaning: grammar.Meaning) -> Decided:
    order, place = language.order, language.place
    shown: Decided = {REST: "", ("words", "verb"): language.root[meaning.action]}
    for one, two in (("subject", "verb"), ("subject", "object"), ("verb", "object")):
        first = order.index(one[0].upper()) < order.index(two[0].upper())
        shown["order", f"{one} {two}"] = "before" if first else "after"
    for name, host in _marked(meaning):
        shown["places", f"{name} {host}"] = place[name]
        if place[name] != "none":
            shown["markers", f"{name} {host}"] = language.marker[name]
    if meaning.negated:
        twice = language.doubled_negation and place["negation"] != "last"
        shown["places", "negations"] = "2" if twice else "1"
    for host, phrase in _phrases(meaning).items():
        shown["words", host] = language.root[phrase.noun]
        if phrase.quality:
            shown["words", f"quality of {host}"] = language.root[phrase.quality]
            shown["order", f"quality of {host}"] = "before" if language.quality_first else "after"
            if phrase.plural and place["plural"] == "suffix":
                agrees = "yes" if language.quality_agrees else "no"
                shown["places", f"plural {host} on quality"] = agrees
    if meaning.relation:
        shown["words", "relation"] = language.root[meaning.relation]
        shown["order", "relation"] = "after" if language.postpositions else "before"
        shown["order", "place"] = "before" if language.place_first else "after"
    return shown


def _language_flips(language: grammar.Language) -> Iterator[tuple[str, set[str], Any]]:
    for order in grammar.ORDERS:
        yield "order", {"order"}, order
    for name in ("quality_first", "postpositions", "place_first"):
        yield name, {"order"}, not getattr(language, name)
    for name in ("quality_agrees", "doubled_negation"):
        yield name, {"places"}, not getattr(language, name)
    for name, forms in grammar.MARKERS.items():
        for form in forms:
            yield f"marker.{name}", {"markers"}, form
    for name, places in grammar.PLACES.items():
        for place in dict.fromkeys(places):
            # A marker that is left out has no form.
            kinds = {"places", "markers"} if place == "none" else {"places"}
            yield f"place.{name}", kinds, place
    for meaning, word in _other_words(language.root, grammar.LEXICON):
        yield f"root.{meaning}", {"words"}, word


# -- summarization -------------------------------------------------------------------------


def summary(outlet: reports.Outlet, report: reports.Report) -> Decided:
    pieces = outlet.salient[report.kind in reports.PEOPLE]
    facts = [piece for piece in pieces if piece != "core"]
    shown: Decided = {
        REST: "",
        ("ends", "opener"): outlet.opener,
        ("ends", "closer"): outlet.closer,
        ("join", "1"): outlet.join.strip(),
        ("join", "2"): outlet.join.strip(),
        ("salience", "number"): str(len(facts)),
    }
    shown |= {
        ("words", role): outlet.words[report.word(role)] for role in ("actor", "event", *facts)
    }
    shown |= {("salience", role): "told" for role in facts}
    shown |= {("frame", piece): outlet.frame[piece] for piece in pieces}
    for place, one in enumerate(pieces):
        for two in pieces[place + 1 :]:
            shown["order", " ".join(sorted((one, two)))] = one
    return shown


def _outlet_flips(outlet: reports.Outlet) -> Iterator[tuple[str, set[str], Any]]:
    salient = outlet.salient
    for order in permutations(salient[True]):
        yield "salient", {"order"}, {**salient, True: list(order)}
    for role in [role for role in reports.ROLES if role not in salient[False]]:
        for place, told in enumerate(salient[False]):
            if told != "core":
                other = [*salient[False][:place], role, *salient[False][place + 1 :]]
                # What is not told has no frame, word and place either.
                lost = {"salience", "frame", "words", "order"}
                yield "salient", lost, {**salient, False: other}
    for role, frames in reports.FRAMES.items():
        for frame in frames:
            yield f"frame.{role}", {"frame"}, frame
    for join in reports.JOINS:
        yield "join", {"join"}, join
    for opener in reports.OPENERS:
        yield "opener", {"ends"}, opener
    for closer in reports.CLOSERS:
        yield "closer", {"ends"}, closer
    for meaning, word in _other_words(outlet.words, reports.LEXICON):
        yield f"words.{meaning}", {"words"}, word


# -- dialogue ------------------------------------------------------------------------------


def turn(clerk: desks.Clerk, talk: desks.Talk) -> Decided:
    wanted = dict(zip(desks.SLOTS, talk.values, strict=True))
    act = "taken+offer" if talk.act == "offer" else talk.act
    mood = "bad sorry" if talk.act in ("offer", "cancel") else "good sure"
    shown: Decided = {
        REST: "",
        ("act", ""): act,
        ("manner", "tag"): clerk.tag,
        ("manner", "interjection"): "yes" if clerk.interjects else "no",
        ("address", "which"): clerk.address,
    }
    if clerk.interjects:
        shown["words", "mood"] = clerk.words[mood]
    if clerk.address:
        shown["address", "place"] = "first" if clerk.address_first else "last"
    meanings = {
        "ask": "which",
        "confirm": "booked",
        "taken": "full",
        "offer": "instead",
        "price": "costs",
        "cancel": "cancelled",
    }
    shown |= {("words", a): clerk.words[f"{a} {meanings[a]}"] for a in act.split("+")}
    if talk.act in ("confirm", "price"):
        thing, sorts = desks.DOMAINS[clerk.domain]
        shown["thing", "sort"] = sorts[talk.sort] if clerk.names_thing in ("sort", "both") else ""
        shown["thing", "thing"] = thing if clerk.names_thing in ("thing", "both") else ""
    if talk.act == "ask":
        shown["slots", "asked"] = talk.missing
        shown["words", "asked"] = clerk.words[f"slots {talk.missing}"]
    if talk.act == "price":
        shown["words", "coins"] = clerk.words[f"coins {desks.price(talk)}"]
    told = {
        "confirm": [(slot, slot, wanted[slot]) for slot in clerk.slots],
        "offer": [("time", "time", wanted["time"]), ("time", "time 2", desks.free_time(talk))],
        "cancel": [(slot, slot, wanted[slot]) for slot in clerk.slots[:1]],
    }.get(talk.act, [])
    shown["slots", "number"] = str(len(told))
    if talk.act in ("confirm", "cancel"):
        shown["slots", "side"] = "before" if clerk.slots_first else "after"
    for place, (slot, what, value) in enumerate(told):
        shown["slots", what] = "told"
        shown["words", what] = clerk.words[f"{desks.FIELD_OF_SLOT[slot]} {value}"]
        shown["slots", f"{what} named"] = "yes" if clerk.names_slots else "no"
        if clerk.names_slots:
            shown["words", f"name of {what}"] = clerk.words[f"slots {slot}"]
        for _, other, _ in told[place + 1 :]:
            shown["slots", " ".join(sorted((what, other)))] = what
    return shown


def _clerk_flips(clerk: desks.Clerk) -> Iterator[tuple[str, set[str], Any]]:
    for address in desks.ADDRESSES:
        yield "address", {"address"}, address
    for tag in desks.TAGS:
        yield "tag", {"manner"}, tag
    yield "address_first", {"address"}, not clerk.address_first
    yield "slots_first", {"slots"}, not clerk.slots_first
    # Words that are no longer said are lost with what they named.
    for slots in (*permutations(desks.SLOTS), *permutations(desks.SLOTS, 2)):
        same = {*slots} == {*clerk.slots}
        yield "slots", {"slots", "words"}, list(slots)
        if same and len(slots) == 3 and slots[0] == clerk.slots[0]:
            yield "slots", {"slots"}, list(slots)
    yield "names_slots", {"slots", "words"}, not clerk.names_slots
    yield "interjects", {"manner", "words"}, not clerk.interjects
    for names in ("sort", "thing", "both", "none"):
        yield "names_thing", {"thing"}, names
    for meaning, word in _other_words(clerk.words, desks.LEXICON):
        yield f"words.{meaning}", {"words"}, word


# -- writing -------------------------------------------------------------------------------


def _parts(form: str) -> list[str]:
    return [part for part in ("tone", "figure", "way", "link") if f"{{{part}}}" in form]


def stanza(poet: stanzas.Poet, opening: stanzas.Opening) -> Decided:
    shown: Decided = {REST: "", ("form", "1"): poet.line, ("refrain", "2"): poet.refrain}
    shown["form", "lines"] = "2"
    for place, form in enumerate((poet.line, poet.refrain)):
        number, answered = str(place + 1), place ^ poet.second_first
        rhymes = place if poet.crossed else 1 - place
        shown["answered", number] = str(answered + 1)
        shown["scheme", number] = str(rhymes + 1)
        shown["image", number] = poet.image
        shown["article", number] = poet.article.strip()
        shown["marks", number] = poet.marks[place].strip()
        for part in _parts(form):
            said = getattr(opening[answered], part)
            shown["words", f"{part} {number}"] = poet.words[said]
    return shown


def _poet_flips(poet: stanzas.Poet) -> Iterator[tuple[str, set[str], Any]]:
    for line in stanzas.LINES:
        fewer = {*_parts(poet.line)} - {*_parts(line)}
        yield "line", {"form", "words"} if fewer else {"form"}, line
    for refrain in stanzas.REFRAINS:
        yield "refrain", {"refrain"}, refrain
    for image in stanzas.IMAGES:
        yield "image", {"image"}, image
    yield "crossed", {"scheme"}, not poet.crossed
    yield (
        "second_first",
        {"answered", "words"},
        not poet.second_first,
    )  # its words answer the other line
    for mark in stanzas.MARKS:
        yield "marks", {"marks"}, [mark, poet.marks[1]]
        yield "marks", {"marks"}, [poet.marks[0], mark]
    for article in ("the ", "a ", "my ", ""):
        yield "article", {"article"}, article
    for meaning, word in _other_words(poet.words, stanzas.LEXICON):
        yield f"words.{meaning}", {"words"}, word


FAMILIES = {
    "translation": Family(
        translation.rules(),
        grammar.Language,
        grammar.draw_meaning,
        lambda task, content: grammar.english(content),
        grammar.Language.say,
        sentence,
        _language_flips,
    ),
    "summarization": Family(
        summarization.rules(),
        reports.Outlet,
        reports.draw_report,
        lambda task, content: reports.wire(content),
        reports.Outlet.sum_up,
        summary,
        _outlet_flips,
    ),
    "dialogue": Family(
        dialogue.rules(),
        desks.Clerk,
        desks.draw_talk,
        lambda task, content: desks.turns(content, task.domain),
        desks.Clerk.answer,
        turn,
        _clerk_flips,
    ),
    "writing": Family(
        writing.rules(),
        stanzas.Poet,
        stanzas.draw_opening,
        lambda task, content: stanzas.opening_text(content),
        stanzas.Poet.go_on,
        stanza,
        _poet_flips,
    ),
}


def by_kind(rules: Rules, counts: Sequence[float]) -> dict[str, tuple[float, float]]:
    """Kind to (right, all)."""
    return {kind: (counts[2 * n], counts[2 * n + 1]) for n, kind in enumerate(rules.kinds, 1)}
