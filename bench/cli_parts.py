"""What commands share: kinds of values, and lists of options."""

import contextlib
import csv
import math
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import click

GO_ON = "to go on, run the same command again"

F = TypeVar("F", bound=Callable[..., Any])


class Listed(click.ParamType[tuple[Any, ...]]):
    """Values with commas between them; one that holds a comma is put in double quotes."""

    def __init__(self, item: Any = None) -> None:
        self.item = click.types.convert_type(item)
        self.name = f"{self.item.name},..."

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[Any, ...]:
        """The values of a text such as `4,8`."""
        if isinstance(value, tuple):
            return value
        try:
            rows = list(csv.reader([str(value)], skipinitialspace=True, strict=True))
        except csv.Error as error:
            self.fail(f"{value!r} is no list of values with commas between them ({error})")
        parts = [part.strip() for row in rows for part in row]
        if not parts or not all(parts):
            self.fail(f"{value!r}: a value between the commas is empty", param, ctx)
        return tuple(self.item.convert(part, param, ctx) for part in parts)


def list_option(*names: str, item: Any = None, **settings: Any) -> Callable[[F], F]:
    """An option of several values: `--shots 4,8` and `--shots 4 --shots 8` are the same.

    Args:
        names: as `click.option` takes them.
        item: click's type of one value; text if not given.
        settings: of `click.option`.
    """

    def joined(ctx: Any, param: Any, value: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
        return tuple(part for given in value for part in given)

    return click.option(*names, type=Listed(item), multiple=True, callback=joined, **settings)


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


class _Terminated(BaseException):
    """The process was asked to end by SIGTERM, as schedulers and CI systems do."""


@contextlib.contextmanager
def interruptible(hint: str) -> Iterator[None]:
    """Ends the command with 130 where it is interrupted and with 143 where SIGTERM asks for its
    end, as shells count signals; `hint` says how to go on. What the block holds, workers and
    temporary folders, is given up first."""

    def end(number: int, frame: Any) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except (KeyboardInterrupt, _Terminated) as error:
        asked = isinstance(error, _Terminated)
        with contextlib.suppress(OSError):  # a screen that takes no text
            click.echo(f"{'terminated' if asked else 'interrupted'}; {hint}", err=True)
        sys.exit(143 if asked else 130)
    finally:
        signal.signal(signal.SIGTERM, before)


def with_options(options: Sequence[Any]) -> Callable[[F], F]:
    """A decorator that adds options and arguments to a command, in their order."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate
