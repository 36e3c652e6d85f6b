"""What commands share: kinds of values, and lists of options."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class IntegerList(click.ParamType[list[int]]):
    """Integers with commas between them."""

    name = "0,1,2"

    def convert(self, value: Any, param: Any, ctx: Any) -> list[int]:
        """The integers of a text such as `0,1,2`."""
        try:
            return [int(part) for part in str(value).split(",")]
        except ValueError:
            self.fail(f"{value!r} is not a list of integers such as 0,1,2", param, ctx)


class Points(click.ParamType[float]):
    """A loss of a score, 0 or more."""

    name = "0.5"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """The number of a text such as `0.5`."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0 <= number <= 100:
            self.fail(f"{value!r} is no number of points from 0 to 100, as 0.5", param, ctx)
        return number


class Percent(click.ParamType[float]):
    """A share, written in per cent; its sign is asked for, as 0.1 might mean either."""

    name = "10%"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """The share of a text such as `10%`."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d{1,6}(?:\.\d+)?) ?%", str(value).strip(), re.ASCII)
        if not found:
            self.fail(f"{value!r} is not written in per cent, as 10%", param, ctx)
        return float(found.group(1)) / 100


def with_options(options: Sequence[Any]) -> Callable[[F], F]:
    """A decorator that adds options and arguments to a command, in their order."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate
