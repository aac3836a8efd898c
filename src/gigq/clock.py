"""Time, injected: wall clock in integer microseconds UTC, monotonic clock in integer nanoseconds."""

from __future__ import annotations

import functools
import math
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

SECOND = 1_000_000
"""Microseconds in a second."""
LONGEST = 10 * 365 * 86400
"""Seconds: ten years, above which a duration is surely a mistake (and would overflow in a century or two)."""

_NUMBER = (int, float)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Clock(Protocol):
    """Where the queue and the worker read the time."""

    def now(self) -> int:
        """Microseconds since 1970, UTC."""

    def monotonic(self) -> int:
        """Nanoseconds that never go back; one clock for all processes of a boot."""


class SystemClock:
    """The clocks of this machine."""

    @staticmethod
    def now() -> int:
        return time.time_ns() // 1000

    @staticmethod
    def monotonic() -> int:
        return time.monotonic_ns()


SYSTEM: Clock = SystemClock()


def to_iso(moment: int) -> str:
    """``1_700_000_000_000_000`` -> ``2023-11-14T22:13:20.000000+00:00``."""
    seconds, microseconds = divmod(moment, SECOND)
    return f"{_to_the_second(seconds)}.{microseconds:06d}+00:00"


@functools.lru_cache(maxsize=64)
def _to_the_second(seconds: int) -> str:
    """Jobs are made many in a second."""
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]


def from_datetime(value: datetime) -> int:
    """Microseconds UTC; a naive datetime is taken as local time."""
    aware = value if value.tzinfo is UTC else value.astimezone(UTC)
    return (aware - _EPOCH) // _MICROSECOND


def from_iso(text: str) -> int:
    """Microseconds UTC of an ISO 8601 text; without an offset it is local time.

    Raises:
        ValueError: the text is not a timestamp.
    """
    return from_datetime(datetime.fromisoformat(text))


def from_seconds(seconds: float) -> int:
    """Seconds to whole microseconds."""
    return round(seconds * SECOND)


def is_seconds(value: Any) -> bool:
    """Whether it is a number of seconds that may be waited for."""
    if not isinstance(value, _NUMBER) or isinstance(value, bool):
        return False
    return math.isfinite(value) and 0 <= value <= LONGEST


def microseconds(value: Any) -> int | None:
    """Of seconds, or of a timedelta; None for anything that cannot be waited for."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    return from_seconds(value) if is_seconds(value) else None
