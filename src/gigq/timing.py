"""When a job may start, and when it is too late: what callers say, in microseconds."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from gigq.clock import SECOND, from_datetime, from_iso, microseconds
from gigq.errors import InvalidJob

Moment = datetime | str
"""A datetime, or ISO 8601 text; without an offset it is local time."""
Duration = float | timedelta
"""Seconds, or a timedelta."""


class Declared(Protocol):
    """What a job says of its times."""

    name: str
    run_at: Moment | None
    delay: Duration | None
    expires: Duration | Moment | None
    deadline: Duration | Moment | None


FIELDS = ("run_at", "delay", "expires", "deadline")
"""Those of ``Declared`` that are times."""


class Times(NamedTuple):
    """The times of a job that is submitted; microseconds UTC."""

    due_at: int | None = None
    """None where it may start at once."""
    expires_at: int | None = None
    deadline_at: int | None = None
    deadline: int | None = None
    """Microseconds from the submission to the deadline: it counts anew when the job is requeued."""
    ends_at: int | None = None
    """The earlier of the two: when a job is over that is still pending then."""

    def counted_from(self, moment: int) -> Times:
        """The same for times that were counted from 0."""
        if self == NO_TIMES:
            return NO_TIMES
        due_at, expires_at, deadline_at, ends_at = (
            None if time is None else moment + time
            for time in (self.due_at, self.expires_at, self.deadline_at, self.ends_at)
        )
        return Times(due_at, expires_at, deadline_at, self.deadline, ends_at)


NO_TIMES = Times()


_MOMENT = "a datetime or an ISO 8601 time such as 2026-01-31T12:00:00"


class _Time(NamedTuple):
    """A time that a job declares."""

    field: str
    shown: object
    micros: int
    is_moment: bool
    """Since 1970; else from the submission on."""

    def at(self, now: int) -> int:
        return self.micros if self.is_moment else now + self.micros


def check(job: Declared) -> None:
    """Refuse times that no job can have.

    Raises:
        InvalidJob: naming the field.
    """
    if job.run_at is None and job.delay is None and job.expires is None and job.deadline is None:
        return
    start, ends = _declared(job)
    for end in ends:
        if start is not None and start.is_moment == end.is_moment:
            _refuse_never(job, start, end, 0)


def times_of(job: Declared, now: int) -> Times:
    """The times of a job that is submitted now.

    Raises:
        InvalidJob: it could never start; or as :func:`check`.
    """
    if job.run_at is None and job.delay is None and job.expires is None and job.deadline is None:
        return NO_TIMES
    start, ends = _declared(job)
    due_at = None
    if start is not None and start.at(now) > now:
        due_at = start.at(now)
        for end in ends:
            _refuse_never(job, start, end, now)
    at = {end.field: end.at(now) for end in ends}
    deadline_at = at.get("deadline")
    deadline = None if deadline_at is None or deadline_at <= now else deadline_at - now
    return Times(due_at, at.get("expires"), deadline_at, deadline, min(at.values(), default=None))


def as_json(job: Declared) -> dict[str, float | str]:
    """What a job declares, in values that JSON has; those of ``Declared`` that it leaves out are missing."""
    plain: dict[str, float | str] = {}
    for field in FIELDS:
        value = getattr(job, field)
        if isinstance(value, timedelta):
            value = value.total_seconds()
        elif isinstance(value, datetime):
            value = value.astimezone().isoformat()
        if value is not None:
            plain[field] = value
    return plain


def put_off(job: Declared, times: Times, due_at: int) -> Times:
    """The same, but that it does not start before that moment.

    Raises:
        InvalidJob: it could never start.
    """
    if times.ends_at is not None and due_at >= times.ends_at:
        field = "expires" if times.ends_at == times.expires_at else "deadline"
        raise InvalidJob(
            f"job {job.name!r}: {field}: {getattr(job, field)} is not after the period of its debounce, so it could never start"
        )
    return times._replace(due_at=max(due_at, times.due_at or 0))


def _declared(job: Declared) -> tuple[_Time | None, list[_Time]]:
    """When it starts, and when it ends."""
    if job.run_at is not None and job.delay is not None:
        raise InvalidJob(f"job {job.name!r}: delay: cannot be beside run_at; both say when it may start")
    start = None
    if job.run_at is not None:
        start = _moment(job, "run_at", job.run_at, _MOMENT)
    elif job.delay is not None:
        start = _duration(job, "delay", job.delay, "seconds from 0 up or a timedelta")
    ends = []
    for field, value in (("expires", job.expires), ("deadline", job.deadline)):
        wanted = f"seconds above 0, a timedelta, {_MOMENT}"
        if isinstance(value, datetime | str):
            ends.append(_moment(job, field, value, wanted))
        elif value is not None:
            ends.append(_duration(job, field, value, wanted))
            if not ends[-1].micros:
                raise _needed(job, field, wanted, value)
    return start, ends


def _duration(job: Declared, field: str, value: object, wanted: str) -> _Time:
    micros = microseconds(value)
    if micros is None:
        raise _needed(job, field, wanted, value)
    return _Time(field, value, micros, is_moment=False)


def _moment(job: Declared, field: str, value: object, wanted: str) -> _Time:
    try:
        if isinstance(value, datetime):
            return _Time(field, value, from_datetime(value), is_moment=True)
        if isinstance(value, str):
            return _Time(field, value, from_iso(value), is_moment=True)
    except (ValueError, OverflowError, OSError):
        pass
    raise _needed(job, field, wanted, value)


def _needed(job: Declared, field: str, wanted: str, value: object) -> InvalidJob:
    return InvalidJob(f"job {job.name!r}: {field}: {wanted} is needed, not {value!r:.100}")


def _refuse_never(job: Declared, start: _Time, end: _Time, now: int) -> None:
    if start.at(now) >= end.at(now):
        raise InvalidJob(
            f"job {job.name!r}: {end.field}: {_said(end)} is not after {start.field} {_said(start)}, "
            "so it could never start"
        )


def _said(time: _Time) -> str:
    return f"{time.shown}" if time.is_moment else f"{time.micros / SECOND:g} s"
