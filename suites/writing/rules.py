"""Which rules of a poet two lines show, read by the words, forms and images of all poets.

Only words with which some poet answers are read: an opening that is given back shows nothing. A
line whose frame is that of a refrain is one, wherever it stands.
"""

from collections.abc import Sequence
from itertools import product

from suites.rules import REST, Reading, Rules
from suites.writing.stanzas import LEXICON, LINES, MARKS, REFRAINS, RHYMES

KINDS = ("form", "answered", "refrain", "scheme", "image", "article", "marks", "words")
PART_OF = {"people": "figure", "ways": "way", "tones": "tone", "links": "link"}
# A word that answers, to what it stands for in a form and the opening's word.
ANSWER = {
    word: (PART_OF[field], said)
    for field, meanings in LEXICON.items()
    for said, words in meanings.items()
    for word in words
}
# A word that rhymes, to the number of its class and its field of images.
IMAGE = {word: (n, field) for n, (_, own) in enumerate(RHYMES) for field, word in own.items()}
ARTICLES = ("the", "a", "my")
SIGNS = tuple(mark.strip() for mark in MARKS if mark)
FRAME = {word for form in (*LINES, *REFRAINS) for word in form.split() if "{" not in word}
MOST = 4  # lines that are read
Shown = dict[tuple[str, str], str]


def read(asked: str, answer: str) -> list[Reading]:
    """The readings of an answer; see `suites.rules`. Where a line's words answer both opening
    lines alike, it may answer either."""
    lines = [line.split() for line in answer.splitlines() if line.strip()]
    opening = [line.split() for line in asked.splitlines()]
    lines, count = lines[:MOST], len(lines)
    if not any(word in ANSWER or word in IMAGE for line in lines for word in line):
        return []
    shown, rest, ways = Shown({("form", "lines"): str(count)}), list[str](), []
    for number, words in enumerate(lines, 1):
        found, unknown = _line(number, words, opening)
        shown |= found
        rest += unknown
        ways.append([(("answered", str(number)), which) for which in _answered(words, opening)])
    shown[REST] = " ".join(rest)
    return [shown | dict(way) for way in product(*ways)]


def _line(
    number: int, words: Sequence[str], opening: Sequence[Sequence[str]]
) -> tuple[Shown, list[str]]:
    """What a line shows but for which one it answers, and its words that no poet has."""
    mark = words[-1] if words[-1] in SIGNS else ""
    words = words[: len(words) - bool(mark)]
    *body, end = words or [""]
    article = body.pop() if body and body[-1] in ARTICLES else ""
    place = str(number)
    shown = {("marks", place): mark, ("article", place): article}
    if end in IMAGE:
        rhyme, shown["image", place] = IMAGE[end]
        answers = [str(n) for n, line in enumerate(opening, 1) if line[-1] in RHYMES[rhyme][0]]
        shown["scheme", place] = answers[0] if answers else "neither"
    parts = [f"{{{ANSWER[word][0]}}}" if word in ANSWER else word for word in body]
    form = " ".join([*parts, "{rhyme}"])
    shown["refrain" if form in REFRAINS else "form", place] = form
    said: dict[str, set[str]] = {}
    for word in body:
        if word in ANSWER:
            said.setdefault(ANSWER[word][0], set()).add(word)
    shown |= {("words", f"{part} {place}"): "+".join(sorted(w)) for part, w in said.items()}
    unknown = [word for word in body if word not in ANSWER and word not in FRAME]
    return shown, unknown + ([end] if end not in IMAGE else [])


def _answered(words: Sequence[str], opening: Sequence[Sequence[str]]) -> list[str]:
    """The opening lines, by number, that a line's words answer most of."""
    said = [ANSWER[word][1] for word in words if word in ANSWER]
    counts = [sum(word in line for word in said) for line in opening]
    best = max(counts, default=0)
    return [str(n) for n, c in enumerate(counts, 1) if c == best] if best else ["neither"]


def rules() -> Rules:
    """The suite's score of rule-following."""
    return Rules("writing", KINDS, read)
