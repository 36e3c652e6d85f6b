"""Outputs of a comparison: for the screen, for a pull request, for CI's test reports."""

import html
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator

from bench.outcome import UNITS, Line, Outcome

MARKS = {"pass": "✅", "regression": "❌", "inconclusive": "⚠️"}
ORDER = ("regression", "inconclusive", "pass")
LISTED = 20  # lines of a list that are shown
BOUNDS = "one-sided 95 % bounds"
HEADS = ("verdict", "cell", "metric", "base", "head", "loss", BOUNDS, "margin", "p adj.")
MEASURED = {"quality": "score statistics", "speed": "times"}
LONG = 1e6  # from here on numbers are written with a power of ten


def plain(text: str) -> str:
    """A text on one line without characters that steer a terminal or break XML."""
    kept = (
        " " if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") else char for char in text
    )
    return " ".join("".join("�" if char in "\ufffe\uffff" else char for char in kept).split())


def _same(line: Line) -> bool:
    return line.identical and line.complete


def _shown(outcome: Outcome) -> list[Line]:
    """The cells that differ or are not complete, worst first."""
    lines = [line for judged in outcome.judged for line in judged.lines if not _same(line)]
    return sorted(lines, key=_rank)


def _rank(line: Line) -> tuple[int, float, float]:
    loss = -math.inf if math.isnan(line.loss) else line.loss
    return ORDER.index(line.verdict), line.p_adjusted, -loss


def _columns(line: Line) -> list[str]:
    unit, digits = _unit(line), 2 if line.kind == "quality" else 1
    return [
        line.verdict,
        plain(line.name),
        plain(line.metric),
        _number(line.base, 2),
        _number(line.head, 2),
        _number(line.loss, digits, "+", unit),
        _bounds(line, digits),
        f"{line.margin:g}" if line.kind == "quality" else f"{line.margin:.4g}{unit}",
        f"{line.p_adjusted:.3f}",
    ]


def _unit(line: Line) -> str:
    return "" if line.kind == "quality" else " %"


def _number(value: float, digits: int, sign: str = "", unit: str = "") -> str:
    if math.isnan(value):
        return "unknown"
    form = f"{sign}.{digits}f" if abs(value) < LONG else f"{sign}.3g"
    return f"{value:{form}}{unit}"


def _bounds(line: Line, digits: int) -> str:
    if not math.isfinite(line.upper):
        return "unknown"
    low, high = (_number(bound, digits, "+") for bound in (line.lower, line.upper))
    return f"[{low}, {high}]{_unit(line)}"


def _remarks(outcome: Outcome) -> Iterator[str]:
    """Lines that stand below the table."""
    for judged in outcome.judged:
        if same := sum(map(_same, judged.lines)):
            yield f"the same {MEASURED[judged.kind]} in base and head: {same} cell(s)"
    for judged in outcome.judged:
        if judged.advice:
            yield f"{judged.kind}: {judged.advice}"
    yield from _listed("failed in head", (f"{n}: {why}" for n, why in outcome.failed.items()))
    yield from _listed("not finished in head", outcome.unfinished)
    yield from _listed("not measured in head", outcome.unmeasured)
    yield from _listed("left out", outcome.left_out)
    yield from _listed("differs", outcome.differences)
    yield from outcome.notes


def _listed(what: str, lines: Iterable[str]) -> Iterator[str]:
    every = list(lines)
    yield from (f"{what}: {line}" for line in every[:LISTED])
    if len(every) > LISTED:
        yield f"{what}: {len(every) - LISTED} more; --json has them all"


def _sides(outcome: Outcome) -> str:
    named = [outcome.base, outcome.head]
    if outcome.commits:
        named = [
            f"{name} ({commit[:12]}{'+changes' if '+' in commit else ''})"
            for name, commit in zip(named, outcome.commits, strict=True)
        ]
    return f"base {named[0]}, head {named[1]}"


def _table(rows: list[list[str]], form: str) -> str:
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(HEADS))
    aligned = ["left"] * 3 + ["right"] * 6
    return str(
        frame.to_markdown(index=False, tablefmt=form, disable_numparse=True, colalign=aligned)
    )


def as_text(outcome: Outcome) -> str:
    """For the screen: the verdict, the cells that differ, what else to know."""
    parts = [plain(outcome.headline), plain(_sides(outcome))]
    if shown := _shown(outcome):
        parts += ["", _table([_columns(line) for line in shown], "simple"), ""]
    parts += [plain(line) for line in _remarks(outcome)]
    return "\n".join(parts) + "\n"


def _markdown(text: str) -> str:
    """A text that Markdown and HTML take for nothing but text, and that calls nobody."""
    safe = re.sub(r"([\\`*_{}\[\]|#~!])", r"\\\1", html.escape(plain(text), quote=False))
    return safe.replace("@", "@\u200b").replace("://", ":\u200b//")


def as_markdown(outcome: Outcome) -> str:
    """A summary for a pull request."""
    parts = [f"### {MARKS[outcome.verdict]} fewgen compare: {_markdown(outcome.headline)}", ""]
    parts += [_markdown(_sides(outcome)), ""]
    if shown := _shown(outcome):
        rows = [[_markdown(text) for text in _columns(line)] for line in shown]
        parts += [_table(rows, "pipe"), ""]
    parts += [f"- {_markdown(line)}" for line in _remarks(outcome)]
    return "\n".join(parts).rstrip("\n") + "\n"


def as_junit(outcome: Outcome) -> str:
    """JUnit XML: a test suite a kind, a test case a cell. A regression is a failure, an
    inconclusive cell is skipped; what failed to run in head is an error."""
    from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

    report = JUnitXml("fewgen compare")
    for judged in outcome.judged:
        suite = TestSuite(f"fewgen {judged.kind}")
        for line in judged.lines:
            case = TestCase(plain(line.name), f"fewgen.{judged.kind}")
            if line.verdict == "regression":
                case.result = [Failure(_sentence(line), "regression")]
            elif line.verdict == "inconclusive":
                case.result = [Skipped(f"inconclusive: {_sentence(line)}")]
            suite.add_testcase(case)
        report.add_testsuite(suite)
    if outcome.failed:
        suite = TestSuite("fewgen failed in head")
        for name, reason in outcome.failed.items():
            case = TestCase(plain(name), "fewgen.failed")
            case.result = [Error(plain(reason), "failed")]
            suite.add_testcase(case)
        report.add_testsuite(suite)
    return bytes(report.tostring()).decode() + "\n"  # type: ignore[no-untyped-call]


def failure_markdown(base: str, head: str, reason: str) -> str:
    """A summary for a pull request where nothing could be compared."""
    return (
        f"### ❌ fewgen compare: nothing could be compared\n\n"
        f"base {_markdown(base)}, head {_markdown(head)}\n\n- {_markdown(reason)}\n"
    )


def failure_junit(reason: str) -> str:
    """JUnit XML where nothing could be compared: a test case with an error."""
    from junitparser import Error, JUnitXml, TestCase, TestSuite

    report, suite = JUnitXml("fewgen compare"), TestSuite("fewgen compare")
    case = TestCase("comparison", "fewgen.compare")
    case.result = [Error(plain(reason), "nothing could be compared")]
    suite.add_testcase(case)
    report.add_testsuite(suite)
    return bytes(report.tostring()).decode() + "\n"  # type: ignore[no-untyped-call]


def _sentence(line: Line) -> str:
    """A cell in words."""
    if math.isnan(line.head):
        return plain(f"head has none; {line.metric} {_number(line.base, 2)} in base")
    loss = _number(line.loss, 2, "+", f" {UNITS[line.kind]}")
    return plain(
        f"loss {loss}, {BOUNDS} {_bounds(line, 2)}, margin {line.margin:.4g}, adjusted p "
        f"{line.p_adjusted:.3f}; {line.metric} {_number(line.base, 2)} in base, "
        f"{_number(line.head, 2)} in head{'' if line.complete else '; head is not complete'}"
    )
