"""What the study of probes answers: who uses its support, and who remembers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.probes import OTHER_TASK, PROBES
from bench.shown import bracketed
from bench.studies.memory import OWN, Line, shows_memory


@dataclass(frozen=True)
class Found:
    """The lines of an analysis: losses, memory, the baseline that memory is held against, and
    those that were asked for and cannot be probed."""

    losses: list[Line]
    memory: list[Line]
    reference: str
    not_probed: Sequence[str] = ()


def answer(found: Found) -> str:
    """The sentence that the figures give."""
    return " ".join([_on_use(found.losses), *_on_others(found.losses), _on_memory(found)])


def _on_use(losses: Sequence[Line]) -> str:
    """Who uses its support: shown to lose everywhere, not shown somewhere, the same whatever it
    is."""
    lines = [line for line in losses if line["support"] == OTHER_TASK]
    if not lines:
        return "No task could lend another its support, so who uses it is not known."
    methods = dict.fromkeys(line["baseline"] for line in lines)
    own = {name: [line for line in lines if line["baseline"] == name] for name in methods}
    deaf = [name for name, some in own.items() if all(line["ignores"] for line in some)]
    sure = [name for name, some in own.items() if all(line["shown"] for line in some)]
    unsure = [line for line in lines if not line["shown"] and line["baseline"] not in deaf]
    none = [line for line in unsure if line["flagged"]]
    alone = [line for line in unsure if not line["flagged"]]
    parts = []
    if sure:
        parts.append(_lost(sure, [line for name in sure for line in own[name]]))
    if alone:
        parts.append(
            "shown by itself, but not when adjusted for all such losses: the loss of "
            f"{listed(_each(alone, lines))}"
        )
    if none:
        parts.append(f"nothing shows that it is used by {listed(_each(none, lines))}")
    if deaf:
        parts.append(f"the answers of {listed(deaf)} do not depend on it")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _on_others(losses: Sequence[Line]) -> Iterator[str]:
    """Under each other probe the methods whose loss is somewhere not shown to be above 0, of those
    whose answers depend on their support."""
    told = []
    for support in (probe for probe in PROBES if probe != OTHER_TASK):
        lines = [line for line in losses if line["support"] == support]
        parts = []
        for name in dict.fromkeys(line["baseline"] for line in lines if not line["ignores"]):
            own = [line for line in lines if line["baseline"] == name]
            marked = sum(line["flagged"] for line in own)
            if marked:
                parts.append(f"{name} in {marked} of {len(own)}" if len(own) > 1 else name)
        if parts:
            told.append(f"under {support} of {listed(parts)}")
    if told:
        yield f"Not shown to be above 0, each by itself, is the loss {'; '.join(told)}."


def place_of(line: Line) -> str:
    """The suite of a line, with the name of data that is not embedded."""
    data = line["dataset"]
    return str(line["suite"]) if data == "embedded" else f"{line['suite']} ({data})"


def _lost(names: Sequence[str], lines: Sequence[Line]) -> str:
    """What methods lose, and where."""
    lost = [line["difference"] for line in lines]
    ends = dict.fromkeys(f"{value:.1f}" for value in (min(lost), max(lost)))
    suites = listed([*dict.fromkeys(map(place_of, lines))])
    shots = sorted({line["shots"] for line in lines})
    at = f" at K = {listed([*map(str, shots)])}" if len(shots) > 1 else ""
    return (
        f"{listed(names)} {'loses' if len(names) == 1 else 'lose'} {' to '.join(ends)} points "
        f"under another task's support on {suites}{at}"
    )


def _each(some: Sequence[Line], lines: Sequence[Line]) -> list[str]:
    """Each with its loss, and its place among all lines."""
    return [f"{row_of(line, lines)} ({ranged(line)})" for line in some]


def row_of(line: Line, lines: Sequence[Line]) -> str:
    """A method and where it stands; with its K where the lines have several."""
    at = f" at K = {line['shots']}" if len({one["shots"] for one in lines}) > 1 else ""
    return f"{line['baseline']} on {place_of(line)}{at}"


def _on_memory(found: Found) -> str:
    tested = [line for line in found.memory if "memorised" in line]
    if not tested:
        return f"Memory was not measured: it takes meta-trained methods and {found.reference}."
    some = [
        f"{row_of(line, tested)} ({_support(line)}: {ranged(line)})"
        for line in tested
        if shows_memory(line)
    ]
    if some:
        return f"Memorised meta-train tasks: {listed(some)}."
    most = max(tested, key=lambda line: line["excess"])
    excess = bracketed(most["excess"], most["excess_low"], most["excess_high"], "+.1f")
    return (
        "Nothing shows memorised meta-train tasks: the largest advantage on them in excess of "
        f"{found.reference}'s is {excess} ({row_of(most, tested)}, {_support(most)})."
    )


def _support(line: Line) -> str:
    told = {OTHER_TASK: "another task's support", "no-support": "no support", OWN: "own support"}
    return told[line["support"]]


def ranged(line: Mapping[str, Any]) -> str:
    """A difference with its interval."""
    return bracketed(line["difference"], line["low"], line["high"], "+.1f")


def listed(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
