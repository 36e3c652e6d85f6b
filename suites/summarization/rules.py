"""Which rules of its house a summary shows, read by the words and frames of all outlets."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from suites.rules import REST, Reading, Rules
from suites.summarization.reports import CLOSERS, FRAMES, JOINS, KINDS, LEXICON, OPENERS, ROLES

DECISIONS = ("salience", "order", "frame", "join", "ends", "words")
ROLE_OF = {
    word: field.rsplit(" ", 1)[-1]  # of a field "match actor" the role is actor
    for field, meanings in LEXICON.items()
    for words in meanings.values()
    for word in words
}
CORE = ("actor", "event")
PHRASES = {"join": [join.strip() for join in JOINS], "opener": OPENERS, "closer": CLOSERS}
Span = tuple[int, int, str]  # the first and the last place of a piece


def read(asked: str, answer: str) -> list[Reading]:
    """The one reading of a summary; see `suites.rules`."""
    words, at, rest = answer.split(), dict[str, int](), list[int]()
    for place, word in enumerate(words):
        role = ROLE_OF.get(word)
        if role and role not in at:
            at[role] = place
        else:
            rest.append(place)
    if not at:
        return []
    unit = KINDS.get(asked.partition(" : ")[0], {}).get("unit", "")
    frames = {piece: _frame(piece, words, at, unit) for piece in _pieces(at)}
    spans = sorted((min(places), max(places), piece) for piece, (_, places) in frames.items())
    shown: dict[tuple[str, str], str] = {("words", role): words[p] for role, p in at.items()}
    shown |= {("frame", piece): frame for piece, (frame, _) in frames.items() if frame}
    facts = [piece for piece in frames if piece != "core"]
    shown |= {("salience", piece): "told" for piece in facts}
    shown["salience", "number"] = str(len(facts))
    shown |= _order([piece for *_, piece in spans])
    between, used = _between(words, spans)
    shown |= between
    used |= {place for _, places in frames.values() for place in places}
    shown[REST] = " ".join(words[place] for place in rest if place not in used)
    return [shown]


def _pieces(at: Mapping[str, int]) -> list[str]:
    """What is told: other roles, and what happened if actor and event are both there."""
    told = [role for role in ROLES if role in at]
    return [*told, "core"] if all(role in at for role in CORE) else told


def _frame(
    piece: str, words: Sequence[str], at: Mapping[str, int], unit: str
) -> tuple[str, list[int]]:
    """The longest frame that a piece stands in, "" for none, and the places that it takes."""
    own = CORE if piece == "core" else (piece,)
    said = {role: words[at[role]] for role in own}
    best = "", [at[role] for role in own]
    for frame in FRAMES[piece]:
        form = frame.format(said.get(piece), unit=unit, **said).split()
        start = at[own[0]] - form.index(said[own[0]])
        if start >= 0 and list(words[start : start + len(form)]) == form:
            best = max(best, (frame, [*range(start, start + len(form))]), key=_longest)
    return best


def _longest(found: tuple[str, list[int]]) -> int:
    return len(found[1]) if found[0] else 0


def _order(pieces: Sequence[str]) -> Reading:
    """Which of each two pieces comes first."""
    return {
        ("order", " ".join(sorted((one, two)))): one
        for i, one in enumerate(pieces)
        for two in pieces[i + 1 :]
    }


def _between(words: Sequence[str], spans: Sequence[Span]) -> tuple[Reading, set[int]]:
    """Joiners by their number, and what opens and closes; with the places of those that some
    outlet has."""
    gaps = [("join", str(n), one[1] + 1, two[0]) for n, (one, two) in enumerate(pairwise(spans), 1)]
    if spans:
        gaps.append(("ends", "opener", 0, spans[0][0]))
        gaps.append(("ends", "closer", spans[-1][1] + 1, len(words)))
    shown, used = dict[tuple[str, str], str](), set[int]()
    for kind, what, start, end in gaps:
        said = shown[kind, what] = " ".join(words[start:end])
        if said in PHRASES[what if kind == "ends" else kind]:
            used |= {*range(start, end)}
    return shown, used


def rules() -> Rules:
    """The suite's score of rule-following."""
    return Rules("summarization", DECISIONS, read)
