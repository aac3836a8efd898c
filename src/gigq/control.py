"""What a running function can raise to say how its run ends: Retry, Snooze, RateLimited, Fail, Cancel."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any, ClassVar, NamedTuple

from gigq.clock import LONGEST, SECOND, SYSTEM, from_datetime, microseconds
from gigq.errors import InvalidJob, JobError
from gigq.limits import LONGEST_KEY
from gigq.status import End

MOST_RETRY_AFTER = 86_400.0
"""Seconds of a ``Retry-After`` that are heeded at most: a day."""

Duration = float | timedelta
"""Seconds, or a timedelta."""


class Control(JobError):
    """Base of what a function raises to say how its run ends; kinds of these may be made.

    ``except Exception`` catches it too: a function that has one around it lets these pass (``except JobError: raise``).
    """

    __module__ = "gigq"  # where it is imported from, and so what errors show

    end: ClassVar[End]
    """The word for the law."""
    delay: int | None = None
    """Microseconds until the job runs again, if it does; None is for its retry policy to say."""
    backs_off: str | None = None
    """The key of the limit that backs off for as long; empty for all that the job has."""


class Retry(Control):
    """This run has failed, and the job is to be tried again, as after any other error but with a delay of its own.

    It costs an attempt: the last one that ``max_attempts`` allows fails. ``retry_on`` and ``fail_on`` are not asked.
    """

    __module__ = "gigq"
    end = "raised"

    def __init__(self, after: Duration | None = None, reason: str = "") -> None:
        """Args:
            after: seconds, or a timedelta, until then; None is as the job's policy says.
            reason: for the error of the run.

        Raises:
            InvalidJob: ``after`` is neither.
        """
        super().__init__(after, reason)
        self.delay = None if after is None else known_duration(after, "Retry: after")
        self.reason = reason

    @classmethod
    def from_response(cls, response: Any, reason: str = "") -> Retry:
        """One that waits as long as an HTTP response asks for in ``Retry-After``, a day at most.

        Args:
            response: the response, or the error that carries it, as of requests, httpx, aiohttp or urllib. Without
                such a header the job's policy says how long.
            reason: for the error of the run.
        """
        return cls(retry_after(response), reason)

    def __str__(self) -> str:
        when = "" if self.delay is None else f" in {self.delay / SECOND:g} s"
        return _with_reason(f"again{when}", self.reason)


class Snooze(Control):
    """Nothing was done yet: run the job again later. It costs no attempt, and the history says "snoozed"."""

    __module__ = "gigq"
    end = "snoozed"

    def __init__(self, for_: Duration, reason: str = "") -> None:
        """Args:
            for_: seconds, or a timedelta, until then.
            reason: for the history.

        Raises:
            InvalidJob: ``for_`` is neither.
        """
        super().__init__(for_, reason)
        self.delay = known_duration(for_, "Snooze: for_")
        self.reason = reason

    def __str__(self) -> str:
        return _with_reason(f"for {(self.delay or 0) / SECOND:g} s", self.reason)


class RateLimited(Snooze):
    """Whoever is asked has had enough: the job goes back as by Snooze, and for as long no job of its limits starts."""

    __module__ = "gigq"

    def __init__(self, retry_after: Duration, key: str | None = None, reason: str = "") -> None:
        """Args:
            retry_after: seconds, or a timedelta, until then.
            key: of the limit that backs off, one of the job's; None is for all of them.
            reason: for the history.

        Raises:
            InvalidJob: ``retry_after`` is neither.
        """
        known_duration(retry_after, "RateLimited: retry_after")
        super().__init__(retry_after, reason)
        self.args = retry_after, key, reason
        self.backs_off = key or ""

    @classmethod
    def from_response(
        cls, response: Any, key: str | None = None, reason: str = "", *, default: Duration = 60
    ) -> RateLimited:
        """One that waits as long as an HTTP response asks for in ``Retry-After``, a day at most.

        Args:
            response: as for :meth:`Retry.from_response`.
            key: of the limit that backs off, one of the job's; None is for all of them.
            reason: for the history.
            default: how long where the response has no such header.
        """
        asked = retry_after(response)
        return cls(default if asked is None else asked, key, reason)


class Fail(Control):
    """The job fails at once, whatever attempts are left."""

    __module__ = "gigq"
    end = "fatal"

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)


class Cancel(Control):
    """The job is not wanted any more: it ends as cancelled."""

    __module__ = "gigq"
    end = "cancelled"

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)


class Verdict(NamedTuple):
    """What an exception means for its job."""

    end: End = "raised"
    delay: int | None = None
    """Microseconds until the job runs again, if it does; None for what it has declared."""
    note: str = ""
    """What the error does not say by itself."""
    backs_off: str | None = None
    """See Control."""


_ENDS = frozenset[End]({"raised", "snoozed", "fatal", "cancelled"})


def verdict_of(error: Control) -> Verdict:
    """What a control exception says; a kind of one may have made anything of its attributes."""
    end, delay, backs_off = type(error).end, error.delay, error.backs_off
    if end not in _ENDS or type(delay) not in (int, type(None)) or type(backs_off) not in (str, type(None)):
        raise TypeError("a control exception whose attributes were overridden")
    delay = None if delay is None else min(max(0, delay), LONGEST * SECOND)
    return Verdict(end, delay, backs_off=None if backs_off is None else backs_off[:LONGEST_KEY])


def known_duration(value: Any, what: str) -> int:
    """Microseconds of seconds or of a timedelta.

    Raises:
        InvalidJob: naming ``what``.
    """
    found = microseconds(value)
    if found is None:
        raise InvalidJob(f"{what}: seconds from 0 up, or a timedelta, are needed, not {value!r:.100}")
    return found


def retry_after(response: Any) -> float | None:
    """Seconds that an HTTP response asks to wait, a day at most; None if it does not ask.

    Args:
        response: a response with ``headers``, or an error that has them, itself or in its ``response``.
    """
    for holder in (getattr(response, "response", None), response):
        headers = getattr(holder, "headers", None)
        if headers is None or not hasattr(headers, "get"):
            continue
        text = headers.get("Retry-After") or headers.get("retry-after")
        if text is not None and (seconds := _seconds(str(text).strip())) is not None:
            return min(max(0.0, seconds), MOST_RETRY_AFTER)
    return None


def _seconds(text: str) -> float | None:
    """Of either form: so many seconds, or a date."""
    try:
        seconds = float(text)
    except ValueError:
        return _seconds_until(text)
    return seconds if math.isfinite(seconds) else None


def _seconds_until(text: str) -> float | None:
    from datetime import UTC
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    if date.tzinfo is None:  # "-0000": UTC, as is everything in HTTP
        date = date.replace(tzinfo=UTC)
    return (from_datetime(date) - SYSTEM.now()) / SECOND


def _with_reason(text: str, reason: str) -> str:
    return f"{text}: {reason}" if reason else text
