"""How long ended jobs stay: what callers say, and how it is told."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Any

from gigq.clock import SECOND
from gigq.errors import InvalidJob

Age = float | str | timedelta
"""Seconds, a timedelta, or a text such as ``"7d"``, ``"36h"``, ``"1d12h"``: units are s, m, h, d and w."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_TEXT = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])", re.ASCII)
_LONGEST = 100 * 365 * 86400
"""Seconds: a century."""


def microseconds(age: Any, field: str) -> int:
    """An age in the unit of the tables.

    Raises:
        InvalidJob: it is not an age above 0; ``field`` names it.
    """
    seconds = _seconds(age)
    if not 0 < seconds <= _LONGEST:
        raise InvalidJob(
            f"{field}: seconds above 0, a timedelta or a text such as '7d' or '36h' is needed, or None for ever; "
            f"not {age!r:.100}"
        )
    return max(1, round(seconds * SECOND))


def _seconds(age: Any) -> float:
    """NaN for what is no age."""
    if isinstance(age, timedelta):
        return age.total_seconds()
    if isinstance(age, str):
        text = age.strip().lower()
        if not _TEXT.fullmatch(text):
            return math.nan
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    return float(age) if isinstance(age, int | float) and not isinstance(age, bool) else math.nan


def text(seconds: float) -> str:
    """``7d``, ``1d12h``, ``90.5s``: the other way round."""
    if seconds != int(seconds):
        return f"{seconds:.6f}".rstrip("0") + "s"
    parts, left = [], int(seconds)
    for unit in "wdhms":
        number, left = divmod(left, _UNITS[unit])
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts)
