"""How long ended jobs stay: what callers say, and how it is told."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gigq.clock import SECOND
from gigq.errors import InvalidJob

if TYPE_CHECKING:
    from gigq.store import Store

Age = float | str | timedelta
"""Seconds, a timedelta, or a text such as ``"7d"``, ``"36h"``, ``"1d12h"``: units are s, m, h, d and w."""

_AS_IT_IS: Any = object()
_ENDS = ("completed", "failed", "cancelled", "timeout")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_TEXT = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])", re.ASCII)
_LONGEST = 100 * 365 * 86400
"""Seconds: a century."""


class Keeping:
    """The part of JobQueue that is about how long jobs stay."""

    if TYPE_CHECKING:

        @property
        def _store(self) -> Store: ...

    def retain(
        self,
        *,
        completed: Age | None = _AS_IT_IS,
        failed: Age | None = _AS_IT_IS,
        cancelled: Age | None = _AS_IT_IS,
        timeout: Age | None = _AS_IT_IS,
    ) -> dict[str, float | None]:
        """Say how long jobs are kept after their end; what is not said is left as it is, and None is for ever.

        It is stored with the queue, and workers see to it, now and then and a few jobs at a time. A job that others which
        have not completed depend on is spared.

        Args:
            completed: Seconds, a timedelta, or a text such as ``"7d"``, ``"36h"``, ``"1d12h"``.
            failed: The same for failed jobs,
            cancelled: for cancelled ones,
            timeout: and for those that ran past their timeout.

        Returns:
            What is in force now, as :meth:`retention` tells it.

        Raises:
            InvalidJob: An age is none; nothing was changed.
        """
        said = {"completed": completed, "failed": failed, "cancelled": cancelled, "timeout": timeout}
        ages = {
            status: None if age is None else microseconds(age, status)
            for status, age in said.items()
            if age is not _AS_IT_IS
        }
        if ages:
            self._store.retain(ages)
        if any(ages.values()):
            self._store.allow_giving_back()
        return self.retention()

    def retention(self) -> dict[str, float | None]:
        """How long jobs are kept after their end, by status: seconds, or None for ever."""
        kept = self._store.retention()
        return {status: kept[status] / SECOND if status in kept else None for status in _ENDS}


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
