"""Limit: how many jobs of a key may run at once, and how many may start within a time."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from itertools import pairwise
from string import Formatter
from typing import Any, NamedTuple

from gigq.clock import SECOND
from gigq.errors import InvalidJob

Key = str | Callable[[dict[str, Any]], str]
Rate = str | tuple[int, float]
Cost = int | str | Callable[[dict[str, Any]], int]

MOST = 8
"""Limits on one job."""
JOINT = " & "
"""Between the keys of a job that has several, wherever they are shown; so no key may contain it."""
LONGEST_KEY = 200
_LARGEST = 2**53
_LONGEST_WINDOW = 366 * 86400 * SECOND
_RATE = re.compile(r"\s*(\d[\d_]*)\s*/\s*(\d+(?:\.\d+)?)?\s*([a-z]+)\s*", re.IGNORECASE)
_UNITS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
}


class Share(NamedTuple):
    """What a job takes of a limit, in the units of the tables."""

    key: str
    concurrency: int | None
    amount: int | None
    """Of starts, or their cost, ``per`` microseconds."""
    per: int | None
    cost: int


class Limit:
    """
    Bounds the jobs that share a key, across all workers of the queue.
    """

    def __init__(
        self, key: Key, *, concurrency: int | None = None, rate: Rate | None = None, cost: Cost = 1
    ) -> None:
        """
        Describe a limit; at least one of ``concurrency`` and ``rate`` is needed.

        Args:
            key: What the jobs have in common: text in which ``{host}`` stands for a parameter of the job, and
                ``{page.url}`` for a part of one; or a function of the params (a dict) that returns the key.
            concurrency: How many may run at once.
            rate: How many may start within any time of a length: ``"100/min"``, ``"5/s"``, ``"1000/day"``,
                ``"20/30s"``, or ``(n, seconds)``.
            cost: How many a job counts for, of both: a whole number, a template such as ``"{pages}"``, or a function
                of the params.

        Raises:
            InvalidJob: naming the argument that cannot be accepted.
        """
        self.key = key
        self.concurrency = concurrency
        self.rate = rate
        self.cost = cost
        self._named = f"limit {key!r:.100}: "
        self._key = _template(key, f"{self._named}key")
        self._cost = _template(cost, f"{self._named}cost") if isinstance(cost, str) else None
        if concurrency is None and rate is None:
            raise InvalidJob(f"{self._named}concurrency, rate or both are needed")
        self._concurrency = known_concurrency(concurrency, self._named)
        self._amount, self._per = known_rate(rate, self._named)
        if isinstance(cost, int):
            self._check_cost(cost, "")
        elif self._cost is None and not callable(cost):
            raise InvalidJob(
                f"{self._named}cost: a whole number, a template or a function, not {cost!r:.100}"
            )

    def share(self, params: dict[str, Any], whose: str = "") -> Share:
        """What a job with these params takes.

        Raises:
            InvalidJob: they lack a parameter that the key or the cost names, or do not make a good one.
        """
        key = known_key(self._value(self.key, self._key, params, whose, "key"), f"{whose}{self._named}key")
        cost: Any = 1 if self.cost == 1 else self._value(self.cost, self._cost, params, whose, "cost")
        if isinstance(cost, str):
            cost = int(cost) if cost.isdecimal() else cost
        return Share(key, self._concurrency, self._amount, self._per, self._check_cost(cost, whose))

    def _value(
        self, given: Any, template: _Template | None, params: dict[str, Any], whose: str, field: str
    ) -> Any:
        if template is not None:
            return template.fill(params, f"{whose}{self._named}{field}")
        if not callable(given):
            return given
        try:
            return given(params)
        except Exception as error:
            raise InvalidJob(
                f"{whose}{self._named}{field}: its function raised {type(error).__name__}: {error}"
            ) from error

    def _check_cost(self, cost: Any, whose: str) -> int:
        if not _is_whole(cost) or not 1 <= cost < _LARGEST:
            raise InvalidJob(
                f"{whose}{self._named}cost: a whole number of at least 1 is needed, not {cost!r:.100}"
            )
        for most, what in ((self._concurrency, "concurrency"), (self._amount, "rate")):
            if most is not None and cost > most:
                raise InvalidJob(
                    f"{whose}{self._named}cost: {cost} is more than the {what} of {most}, so that the job could never run"
                )
        return int(cost)

    def __repr__(self) -> str:
        shown = [
            f"{name}={value!r}"
            for name, value in (("concurrency", self.concurrency), ("rate", self.rate))
            if value is not None
        ]
        shown += [f"cost={self.cost!r}"] * (self.cost != 1)
        return f"Limit({', '.join([repr(self.key), *shown])})"


def declared(limit: Any, whose: str = "") -> Sequence[Limit]:
    """The limits that a job declares: one, several or none.

    Raises:
        InvalidJob: it is something else.
    """
    if limit is None:
        return ()
    found = limit if isinstance(limit, list | tuple) else [limit]
    if not all(isinstance(one, Limit) for one in found):
        raise InvalidJob(f"{whose}limit: a Limit or a list of them is needed, not {limit!r:.100}")
    if len(found) > MOST:
        raise InvalidJob(f"{whose}limit: at most {MOST} limits, not {len(found)}")
    return found


def shares(limit: Any, params: dict[str, Any], whose: str = "") -> list[Share] | None:
    """What a job takes of each of its limits, by key; None if it has none.

    Raises:
        InvalidJob: naming the limit that cannot be applied to its params.
    """
    found = sorted([one.share(params, whose) for one in declared(limit, whose)], key=lambda one: one.key)
    for one, other in pairwise(found):
        if one.key == other.key:
            raise InvalidJob(
                f"{whose}limit: two limits have the key {one.key!r}; a job takes of each key once"
            )
    return found or None


def as_json(limit: Any, whose: str = "") -> list[dict[str, Any]]:
    """The limits that a job declares, as the arguments of :class:`Limit`, in values that JSON has.

    Raises:
        InvalidJob: one of them asks a function.
    """
    found = declared(limit, whose)
    for one in found:
        if callable(one.key) or callable(one.cost):
            raise InvalidJob(
                f"{whose}limit: {one!r:.200} asks a function; here its key and cost must be templates"
            )
    return [
        {"key": one.key, "concurrency": one.concurrency, "rate": one.rate, "cost": one.cost} for one in found
    ]


def known_key(key: Any, where: str) -> str:
    """A key as it is stored."""
    if not isinstance(key, str) or not key or len(key) > LONGEST_KEY:
        raise InvalidJob(f"{where}: text of 1 to {LONGEST_KEY} characters is needed, not {key!r:.250}")
    if not key.isprintable() or JOINT in key:
        raise InvalidJob(f"{where}: without control characters and {JOINT!r} in it, not {key!r}")
    return key


def known_concurrency(concurrency: Any, whose: str) -> int | None:
    """A number of jobs at once, or None for no bound."""
    if concurrency is None:
        return None
    if not _is_whole(concurrency) or not 1 <= concurrency < _LARGEST:
        raise InvalidJob(
            f"{whose}concurrency: a whole number of at least 1 is needed, not {concurrency!r:.100}"
        )
    return int(concurrency)


def known_rate(rate: Any, whose: str) -> tuple[int | None, int | None]:
    """How many in how many microseconds; None for no bound."""
    if rate is None:
        return None, None
    amount, seconds = _parsed(rate)
    if not _is_whole(amount) or not 1 <= amount < _LARGEST or not _is_number(seconds):
        raise InvalidJob(
            f"{whose}rate: text such as '100/min', '5/s' or '20/30s', or (how many, seconds), is needed, "
            f"not {rate!r:.100}"
        )
    per = seconds * SECOND
    if not 1000 <= per <= _LONGEST_WINDOW:
        raise InvalidJob(f"{whose}rate: a time from 0.001 s to 366 days is needed, not that of {rate!r:.100}")
    return int(amount), round(per)


class Setting(NamedTuple):
    """What an operator sets of a limit; what is not among the fields that are set stays as it is."""

    sets_concurrency: bool = False
    concurrency: int | None = None
    sets_rate: bool = False
    amount: int | None = None
    per: int | None = None


def setting(concurrency: Any, rate: Any, whose: str) -> Setting:
    """One of what was given; ``...`` is not.

    Raises:
        InvalidJob: it cannot be accepted, or nothing was given.
    """
    if concurrency is ... and rate is ...:
        raise InvalidJob(f"{whose}concurrency, rate or both are needed")
    most = None if concurrency is ... else known_concurrency(concurrency, whose)
    amount, per = (None, None) if rate is ... else known_rate(rate, whose)
    return Setting(concurrency is not ..., most, rate is not ..., amount, per)


def shown_rate(amount: int | None, per: int | None) -> str | None:
    """A rate as text that :func:`known_rate` reads back."""
    if amount is None or per is None:
        return None
    for unit, seconds in (("day", 86400), ("hour", 3600), ("min", 60), ("s", 1)):
        if per == seconds * SECOND:
            return f"{amount}/{unit}"
    return f"{amount}/{per / SECOND:.6f}".rstrip("0").rstrip(".") + "s"


def _parsed(rate: Any) -> tuple[Any, Any]:
    if isinstance(rate, str):
        match = _RATE.fullmatch(rate)
        unit = _UNITS.get(match[3].lower()) if match else None
        if match is None or unit is None:
            return None, None
        return int(match[1]), float(match[2] or 1) * unit
    if isinstance(rate, list | tuple) and len(rate) == 2:
        return rate[0], rate[1]
    return None, None


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _template(text: Any, where: str) -> _Template | None:
    """None for a function."""
    if isinstance(text, str):
        return _Template(text, where)
    if callable(text):
        return None
    raise InvalidJob(f"{where}: text or a function of the params is needed, not {text!r:.100}")


class _Template:
    """Text in which ``{name}`` and ``{name.part}`` stand for parameters."""

    def __init__(self, text: str, where: str) -> None:
        try:
            pieces = list(Formatter().parse(text))
        except ValueError as error:
            raise InvalidJob(f"{where}: {error}; a brace that is meant is written twice") from None
        self._pieces: list[tuple[str, list[str]]] = []
        for literal, name, form, conversion in pieces:
            path = [] if name is None else name.split(".")
            if form or conversion or not all(path) or (name is not None and set(name) & set("[]!: ")):
                raise InvalidJob(f"{where}: {{name}} or {{name.part}} is needed, not {{{name}}}")
            self._pieces.append((literal, path))

    def fill(self, params: dict[str, Any], where: str) -> str:
        return "".join(
            [literal + (_found(params, path, where) if path else "") for literal, path in self._pieces]
        )


def _found(params: dict[str, Any], path: list[str], where: str) -> str:
    value: Any = params
    for place, step in enumerate(path):
        value = _step(value, step)
        if value is _MISSING:
            what = "is not among the params" if not place else f"is not in {'.'.join(path[:place])}"
            raise InvalidJob(f"{where}: names the parameter {'.'.join(path)}, but {step!r} {what}")
    if value is None or isinstance(value, Mapping | list | tuple | set | frozenset):
        raise InvalidJob(
            f"{where}: the parameter {'.'.join(path)} is {value!r:.100}; text or a number is needed"
        )
    return str(value.value if isinstance(value, Enum) else value)


_MISSING = object()


def _step(value: Any, step: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(step, _MISSING)
    if isinstance(value, list | tuple) and step.isdecimal():
        return value[int(step)] if int(step) < len(value) else _MISSING
    return _MISSING if step.startswith("_") else getattr(value, step, _MISSING)
