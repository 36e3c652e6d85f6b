"""How a stanza opens, and how each poet goes on.

A poet is a bundle of rules drawn from the index: which field the images come from, how long a
line is and in which order its words stand, which opening line is answered first, how the rhymes
fall, and the refrain that ends the stanza.
"""

from dataclasses import dataclass

from bench.streams import Stream
from suites.dials import USUAL, Draw, Levels

WORKSHOP = "1"  # names the random streams: a poet stays who she is while this stays

# Rhyme class -> words that may end an opening line / the rhyme in each field of images.
IMAGES = ("sea", "forge", "farm", "sky", "house")
_RHYMES = """
day way say / bay clay hay ray tray
rain again plain / main chain grain crane pane
slow know ago / tow glow mow snow dough
dream seem deem / stream gleam team beam seam
call small fall / squall maul stall nightfall hall
more before lore / shore ore core soar door
sing bring thing / ling ring spring wing string
tale pale frail / whale nail vale gale pail
tell well farewell / shell bell dell spell cell
"""
RHYMES: list[tuple[list[str], dict[str, str]]] = [
    (ends.split(), dict(zip(IMAGES, images.split(), strict=True)))
    for ends, images in (line.split(" / ") for line in _RHYMES.strip().splitlines())
]
# What the opening says, and the three words that poets answer it with.
_FIELDS: dict[str, str] = {
    "people": "child:sparrow/spark/seed mother:harbour/hearth/orchard king:mast/anvil/oak "
    "stranger:tide/smoke/crow friend:lantern/bellows/plough sister:pearl/silver/clover",
    "ways": "waits:lingers/abides/bides sleeps:drowses/slumbers/rests walks:wanders/roams/strays "
    "weeps:mourns/grieves/sighs laughs:sings/chimes/dances",
    "tones": "old:ancient/hoary/worn young:green/tender/new cold:frozen/bitter/bleak "
    "kind:gentle/mild/soft",
    "links": "for:towards/unto/until with:beside/amid/among from:beyond/past/out",
}
_SPLIT = {field: [word.split(":") for word in text.split()] for field, text in _FIELDS.items()}
LEXICON = {
    field: {word: tuple(answers.split("/")) for word, answers in pairs}
    for field, pairs in _SPLIT.items()
}
REFRAINS = (
    "oh {figure} , come {rhyme}",
    "and still the {figure} {rhyme}",
    "sing {figure} , sing {rhyme}",
    "no {figure} without {rhyme}",
    "so ends the {figure} in {rhyme}",
    "{figure} and {figure} and {rhyme}",
)
LINES = (
    "{figure} {way} {link} {rhyme}",
    "the {tone} {figure} {way} {link} {rhyme}",
    "{way} the {figure} {link} {rhyme}",
    "{tone} and {tone} , the {figure} {link} {rhyme}",
    "{link} the {tone} {figure} {rhyme}",
)
MARKS = ("", " ,", " ;", " !", " .")
ARTICLES = ("the ", "a ", "my ", "")
# What a poet decides, in the order in which the dial `rules` counts, and the values that
# meta-train never takes where `distance` is above 0.
RULES: dict[str, tuple[str | bool, ...]] = {
    "line": LINES[-2:],
    "refrain": REFRAINS[-2:],
    "article": ("my ",),
    "second first": (True,),
    "first mark": (" !",),
    "last mark": (" !",),
    "image": (),
    "crossed": (),
}


@dataclass(frozen=True)
class Line:
    """What an opening line says; `rhyme` is its class, `end` which of its words ends the line."""

    tone: str
    figure: str
    way: str
    link: str
    rhyme: int
    end: int


Opening = tuple[Line, Line]


def draw_opening(stream: Stream) -> Opening:
    """Two random lines of different rhymes; about 10^7 pairs differ."""
    first, second = stream.shuffled(range(len(RHYMES)))[:2]

    def line(rhyme: int) -> Line:
        words = {field: stream.pick(list(LEXICON[field])) for field in LEXICON}
        return Line(
            words["tones"],
            words["people"],
            words["ways"],
            words["links"],
            rhyme,
            stream.below(3),
        )

    return line(first), line(second)


def opening_text(opening: Opening) -> str:
    """The two lines as anybody would write them."""
    return "\n".join(
        f"the {o.tone} {o.figure} {o.way} {o.link} {RHYMES[o.rhyme][0][o.end]}" for o in opening
    )


class Poet:
    """One poet, a function of the index and the dials alone; `rules` holds the values of
    `RULES`."""

    def __init__(self, index: int, sporadic: float = 0.04, levels: Levels = USUAL) -> None:
        stream = Stream(index, "writing", WORKSHOP, "poet")
        draw = Draw(stream, "writing", index, RULES, levels)
        self.rules, self.length = draw.values, levels.length
        self.words = draw.words(LEXICON, sporadic)
        self.image = draw.pick("image", IMAGES)
        self.line = draw.pick("line", LINES)
        self.refrain = draw.pick("refrain", REFRAINS)
        self.crossed = draw.chance("crossed", 0.5)  # rhymes ABAB, else ABBA
        self.second_first = draw.chance("second first", 0.5)  # answers the second line first
        self.marks = [draw.pick("first mark", MARKS), draw.pick("last mark", MARKS)]
        self.article = draw.pick("article", ARTICLES)

    def go_on(self, opening: Opening) -> str:
        """The lines that end the stanza: `length` - 1 answers and the refrain."""
        answered = opening[::-1] if self.second_first else opening
        rhymes = opening if self.crossed else opening[::-1]
        answers = [(self.line, self.marks[0], place) for place in range(self.length - 1)]
        return "\n".join(
            self._line(form, answered[place], rhymes[place]) + mark
            for form, mark, place in [*answers, (self.refrain, self.marks[1], 1)]
        )

    def _line(self, form: str, said: Line, sound: Line) -> str:
        """A line in the poet's words, about one opening line and rhyming with one."""
        parts = ("tone", "figure", "way", "link")
        words = {part: self.words[getattr(said, part)] for part in parts}
        return form.format(**words, rhyme=f"{self.article}{RHYMES[sound.rhyme][1][self.image]}")
