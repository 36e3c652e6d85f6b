"""Dials: levels of what embedded suites can be turned by, as plans and revisions tell them."""

from collections.abc import Mapping, Sequence

from bench.errors import UserError, unknown
from bench.registry import load_suite, names
from bench.tasks import Dataset, Dial, Suite

Levels = Mapping[str, int | float]  # by dial


def check_dials(
    given: Mapping[str, Levels], suites: Sequence[str], where: str
) -> dict[str, dict[str, int | float]] | None:
    """The levels that are not the default's, in the order of `suites`; None if there are none.

    Args:
        given: by suite.
        suites: those that are used.
        where: named in messages.

    Raises:
        UserError: an unknown suite, dial or level, or a suite that is not used.
    """
    for name in given:
        if name not in names("suite"):
            raise UserError(f"{where}: dials: {unknown('suite', name, names('suite')).message}")
        if name not in suites:
            raise UserError(f"{where}: dials for {name!r}, which is not among the suites")
    kept = {
        name: turned
        for name in suites
        if name in given and (turned := check_levels(load_suite(name), given[name], where))
    }
    return kept or None


def check_levels(suite: Suite, given: Levels, where: str) -> dict[str, int | float]:
    """The levels of a suite's dials that are not the default's, by name.

    Raises:
        UserError: an unknown dial or level.
    """
    made = {}
    for name, level in sorted(given.items()):
        if name not in suite.dials:
            error = unknown(f"dial of {suite.name}", name, suite.dials)
            raise UserError(f"{where}: dials: {error.message}")
        dial = suite.dials[name]
        if level not in dial.levels:
            raise UserError(
                f"{where}: dials.{suite.name}.{name} = {level:g}: the levels are {_listed(dial)}"
            )
        if level != dial.default:
            made[name] = dial.levels[dial.levels.index(level)]
    return made


def _listed(dial: Dial) -> str:
    """`1, 2, 3 (2 unless given)`."""
    return f"{', '.join(f'{level:g}' for level in dial.levels)} ({dial.default:g} unless given)"


def dials_text(suite: Suite) -> str:
    """A suite's dials, a line each; empty if it has none."""
    width = max(map(len, suite.dials), default=0)
    rows = (f"  {n:<{width}}  {_listed(d)}: {d.summary}" for n, d in suite.dials.items())
    return "\n".join(rows)


def revision_at(version: str, levels: Levels, dials: Mapping[str, Dial]) -> str:
    """The revision of a suite's version with its dials at some levels: `2+distance=2,rules=4`, the
    version itself where all are the default's."""
    turned = {n: v for n, v in sorted(levels.items()) if v != dials[n].default}
    return version + "+" * bool(turned) + ",".join(f"{n}={v:g}" for n, v in turned.items())


def dial_flags(suite: str, revision: str) -> str:
    """The flags of a command line that ask for a revision of `revision_at`."""
    turned = revision.partition("+")[2]
    return "".join(f" --dial {suite}.{level}" for level in turned.split(",") if level)


def at_levels(suite: Suite, levels: Levels) -> Dataset:
    """The suite's embedded data at these levels.

    Raises:
        UserError: its revision does not tell them, so that results would be mixed up.
    """
    made: Dataset = suite.embedded(**levels)
    if not levels:
        return made
    needed = revision_at(suite.version, levels, suite.dials)
    if made.revision != needed:
        raise UserError(
            f"suite {suite.name!r} makes data of revision {made.revision!r} where its dials ask "
            f"for {needed!r}; its `embedded` must use bench.dials.revision_at"
        )
    return made
