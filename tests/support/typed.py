"""Functions whose annotations say how params are read back; the names they use are resolved late."""

from __future__ import annotations

import collections.abc
import datetime as dt
import decimal
import functools
import pathlib
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, Unpack

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]

SEEN: list[Any] = []
"""What the functions were called with."""


@dataclass
class Point:
    x: int
    y: int
    label: str = ""


@dataclass
class Order:
    when: dt.datetime
    lines: list[Line] = field(default_factory=list)
    note: str | None = None


@dataclass(frozen=True)
class Line:
    price: decimal.Decimal
    file: pathlib.Path | None = None


@dataclass
class Strange:
    """One field is of a type that nobody can read."""

    when: dt.date
    what: collections.abc.Callable[[], None] | None = None


class Options(TypedDict):
    since: dt.date
    depth: NotRequired[int]


class Plain(TypedDict):
    name: str


def one(value: dt.date) -> None:
    SEEN.append(value)


def several(when: dt.datetime, where: Point, n: int = 0, rest: Any = None) -> None:
    SEEN.append((when, where, n, rest))


def nested(orders: dict[str, list[Order]], steps: tuple[dt.timedelta, ...] = ()) -> None:
    SEEN.append((orders, steps))


def plain(
    a: int,
    b: str,
    c: list[int],
    d: dict[str, Any],
    e: Plain,
    f: typing.Literal["x"],
    g: float | None,
    h: object = None,
    i: Any = None,
) -> None:
    SEEN.append([a, b, c, d, e, f, g, h, i])


def unresolved(when: dt.date, what: Unknown, other: no.such.name) -> None:  # type: ignore[name-defined]  # noqa: F821
    SEEN.append((when, what, other))


def unreadable(
    strange: Strange,
    either: str | dt.date,
    shapes: Point | Line,
    loose: collections.abc.Iterator[dt.date],
    when: dt.date,
) -> None:
    SEEN.append([strange, either, shapes, loose, when])


def defaults(when: dt.date = None, where: Point = Point(1, 2)) -> None:  # type: ignore[assignment]  # noqa: B008, RUF013
    SEEN.append((when, where))


def keywords(first: dt.date, **others: dt.date) -> None:
    SEEN.append((first, others))


def unpacked(**options: Unpack[Options]) -> None:
    SEEN.append(options)


class Unclear(TypedDict):
    since: dt.date
    what: Unknown


def unclear(day: dt.date, **options: Unpack[Unclear]) -> None:
    SEEN.append((day, options))


def positional(*dates: dt.date, where: Point) -> None:
    SEEN.append((dates, where))


def after(when: dt.date, parent_results: dict[str, dt.date]) -> None:
    SEEN.append((when, parent_results))


def after_any(when: dt.date, **others: dt.date) -> None:
    SEEN.append((when, others))


async def awaited(when: dt.datetime) -> str:
    SEEN.append(when)
    return type(when).__name__


def passing_on(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@passing_on
@passing_on
def wrapped(when: dt.date, where: Point) -> None:
    SEEN.append((when, where))


class Made:
    """A class is called like a function."""

    def __init__(self, when: dt.date) -> None:
        SEEN.append(when)


class Called:
    """An object that can be called, and that no set or dict takes."""

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, when: dt.date) -> None:
        SEEN.append(when)


unhashable = Called()
