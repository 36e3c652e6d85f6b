"""Ranks that claim no more than was shown: letters of ties, the front of score and cost, and how
many tasks a verdict needs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import TypeVar

T = TypeVar("T")
ALPHA = 0.05  # rows whose adjusted p-value is below it are said to differ


def fewest_tasks(level: float) -> int:
    """The fewest tasks with which an exact two-sided sign-flip test can reach a level.

    Of the 2^n equally likely ways to flip the signs of n paired differences (Fisher, 1935), two
    give the most extreme mean, so no p-value is below 2 / 2^n: 5 % needs n = 6.

    Args:
        level: above 0; of many comparisons, what Holm's adjustment leaves to the smallest p-value.
    """
    return max(math.ceil(1 - math.log2(level)), 1)


FEWEST_TASKS = fewest_tasks(ALPHA)  # rows that met fewer are not told apart


def letters(order: Sequence[T], differ: Callable[[T, T], bool]) -> list[str]:
    """The compact letter display (Piepho, 2004) of compared rows.

    Each letter is a largest set of rows no two of which differ (a maximal clique); 'a' holds the
    first row, and sets are named in the order of their members.

    Args:
        order: the rows, best first.
        differ: whether two rows were shown to differ; symmetric.

    Returns:
        The letters of each row, as 'a' or 'bc': two rows share one if and only if they do not
        differ. Beyond 26 letters come aa, ab and so on, and commas stand between all.
    """
    from networkx import Graph, find_cliques

    count = len(order)
    alike = Graph()
    alike.add_nodes_from(range(count))
    alike.add_edges_from(
        (i, j) for j in range(count) for i in range(j) if not differ(order[i], order[j])
    )
    sets = sorted(sorted(members) for members in find_cliques(alike))
    between = "," if len(sets) > len(ascii_lowercase) else ""
    return [
        between.join(_letter(place) for place, members in enumerate(sets) if row in members)
        for row in range(count)
    ]


def _letter(place: int) -> str:
    """a to z, then aa, ab ..."""
    before, last = divmod(place, len(ascii_lowercase))
    return (_letter(before - 1) if before else "") + ascii_lowercase[last]


@dataclass(frozen=True)
class Point:
    """A row's score and what it costs.

    Attributes:
        where: what the cost was measured on; costs of different places are not comparable, except
            that nothing is less than 0.
    """

    score: float
    cost: float
    where: str = ""

    def dominates(self, other: "Point") -> bool:
        """At least as good in both, and better in one."""
        if self.cost and other.cost and self.where != other.where:
            return False
        at_least = self.score >= other.score and self.cost <= other.cost
        return at_least and (self.score, self.cost) != (other.score, other.cost)


def front(points: Sequence[Point]) -> list[bool]:
    """Whether each point is on the Pareto front: none dominates it."""
    return [not any(other.dominates(point) for other in points) for point in points]
