"""Tables as a reader sees them: every cell a text, what is bold, and the caption."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.probed import LOSS, flagged, is_probed
from bench.ranks import ALPHA, FEWEST_TASKS

if TYPE_CHECKING:
    import pandas as pd

SCORES = {
    "bleu": "BLEU",
    "chrf": "chrF",
    "rougeL": "ROUGE-L",
    "exact": "exact",
    "rules": "rules",
    "form": "form",
}
MISSING = "–"  # noqa: RUF001, an en dash is what tables show for nothing
FRONT = "•"  # on the Pareto front
FLAG = "†"  # not shown to lose under another task's support


@dataclass(frozen=True)
class Shown:
    """One table.

    Attributes:
        cells: texts; the first column names the row.
        bold: (row, column) of what is not different from the best.
        caption: lines.
    """

    cells: "pd.DataFrame"
    bold: frozenset[tuple[int, str]]
    caption: Sequence[str]

    @property
    def slug(self) -> str:
        """The caption's beginning in small letters, digits and hyphens."""
        return "-".join(re.findall("[a-z0-9]+", re.split("[,:]", self.caption[0])[0].lower()))

    def marked(self, escape: Callable[[str], str], strong: Callable[[str], str]) -> "pd.DataFrame":
        """The cells and their headings escaped, and what is bold marked."""
        marked = self.cells.map(escape)
        for row, column in self.bold:
            marked.loc[row, column] = strong(marked.loc[row, column])
        return marked.rename(columns=escape)


def title(metric: str) -> str:
    """A metric's name in a heading."""
    return SCORES.get(metric, metric)


def known(value: Any) -> bool:
    """Neither None nor what a table holds in its place."""
    import pandas as pd

    return not pd.isna(value)


def number(value: Any, digits: int = 1) -> str:
    """A value with commas."""
    return f"{value:,.{digits}f}" if known(value) else MISSING


def bracketed(value: float, low: float, high: float, form: str = ".1f") -> str:
    """A value with its interval; `+.1f` shows signs."""
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"


def outer_steps(line: Mapping[str, Any]) -> float | None:
    """Of a meta-trained row, the mean over train seeds; None where no step was recorded."""
    found = line.get("train_steps") if line["init"] == "meta-trained" else None
    return float(found) if known(found) and found else None


def score(line: Mapping[str, Any], metric: str) -> str:
    """A score with its interval."""
    if not known(line.get(metric)):
        return MISSING
    return bracketed(line[metric], line[f"{metric}_low"], line[f"{metric}_high"])


def difference(line: Mapping[str, Any]) -> str:
    """To the best row of the block."""
    if not known(line.get("to_best")):
        return MISSING
    if line["to_best"] == 0 and not known(line.get("to_best_p")):
        return "best"
    return bracketed(line["to_best"], line["to_best_low"], line["to_best_high"], "+.1f")


def flag(line: Mapping[str, Any]) -> str:
    """What stands behind the name of a row that nothing shows to use its support."""
    return f" {FLAG}" if flagged(line) else ""


def loss(line: Mapping[str, Any]) -> str:
    """Under another task's support, with its interval."""
    if not is_probed(line):
        return MISSING
    return f"{line[LOSS]:+.1f} [{line[f'{LOSS}_low']:+.1f}, {line[f'{LOSS}_high']:+.1f}]"


def leads(line: Mapping[str, Any]) -> bool:
    """Whether a row is the best of its block or not shown to differ from it; none where there are
    too few tasks to tell."""
    if not known(line.get("to_best")) or line["tasks"] < FEWEST_TASKS:
        return False
    return not known(line.get("to_best_p")) or bool(line["to_best_p"] >= ALPHA)


def many(count: float, thing: str) -> str:
    """`1 task`, `2 tasks`."""
    return f"{count:,.0f} {thing}{'' if count == 1 else 's'}"
