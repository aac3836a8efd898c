"""Rules of when: cron expressions, intervals, single moments; and what becomes of ticks that were missed.

Values only. A tick is a moment at which a rule asks for a job, in microseconds UTC.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, get_args

from gigq import crontab
from gigq.clock import SECOND, from_datetime
from gigq.errors import InvalidSchedule

Misfire = Literal["skip", "once", "all"]
Overlap = Literal["skip", "queue", "allow"]

GRACE = 60 * SECOND
"""Microseconds that a tick may be late before ``misfire="skip"`` takes it for missed."""
CATCH_UP = 100
"""Missed ticks that ``misfire="all"`` makes good, unless told otherwise."""
MOST_CATCH_UP = 1000
AT_ONCE = 500
"""Ticks of one schedule that are made good in one go."""

_LEAST_INTERVAL = SECOND // 10
_LONGEST_INTERVAL = 10 * 365 * 86400 * SECOND


class Policy(NamedTuple):
    """What becomes of a tick that was missed, or that comes while the job before has not ended."""

    misfire: Misfire = "once"
    catch_up: int = CATCH_UP
    overlap: Overlap = "skip"


class Rule(NamedTuple):
    """One of ``cron``, ``every`` and ``at``; times and durations are microseconds."""

    cron: str | None = None
    every: int | None = None
    at: int | None = None
    timezone: str = "UTC"
    start: int | None = None
    end: int | None = None

    @classmethod
    def of(cls, text: str) -> Rule:
        """The rule that :meth:`text` has spelled."""
        return cls(**json.loads(text))

    def text(self) -> str:
        """As it is stored: JSON of what is given."""
        return json.dumps({name: value for name, value in self._asdict().items() if value is not None})

    def after(self, moment: int, anchor: int) -> int | None:
        """The first tick after a moment; None if none comes.

        Args:
            moment: microseconds UTC.
            anchor: what an interval without a start counts from; that itself is no tick.
        """
        if self.start is not None:
            moment = max(moment, self.start - 1)
        tick = self._after(moment, anchor)
        return None if tick is None or (self.end is not None and tick > self.end) else tick

    def _after(self, moment: int, anchor: int) -> int | None:
        if self.every is not None:
            base = anchor if self.start is None else self.start
            return base + ((moment - base) // self.every + 1) * self.every
        if self.at is not None:
            return self.at if self.at > moment else None
        return crontab.after(self.cron or "", self.timezone, moment)

    def between(self, first: int, last: int, anchor: int) -> Iterator[int]:
        """The ticks from ``first`` to ``last``, both included."""
        tick = self.after(first - 1, anchor)
        while tick is not None and tick <= last:
            yield tick
            tick = self.after(tick, anchor)

    def newest(self, count: int, first: int, last: int, anchor: int) -> list[int]:
        """The last ``count`` ticks from ``first`` to ``last``, in order, however many there are."""
        if self.end is not None:
            last = min(last, self.end)
        if self.every is not None:
            return list(self.between(max(first, last - count * self.every), last, anchor))[-count:]
        found = list(itertools.islice(self.between(first, last, anchor), count + 1))
        if len(found) <= count:
            return found
        found.clear()
        while len(found) < count and (tick := self._last(first, last, anchor)) is not None:
            found.append(tick)
            last = tick - 1
        return found[::-1]

    def _last(self, first: int, last: int, anchor: int) -> int | None:
        """The last tick from ``first`` to ``last``, looked for in stretches that grow, then in halves of one."""
        window = crontab.APART
        while (tick := self._first(max(first, last - window), last, anchor)) is None:
            if last - window <= first:
                return None
            window *= 2
        high = last
        while high - tick >= crontab.APART:
            middle = (tick + high) // 2
            later = self._first(middle + 1, last, anchor)
            tick, high = (tick, middle) if later is None else (later, high)
        return tick

    def _first(self, first: int, last: int, anchor: int) -> int | None:
        return next(self.between(first, last, anchor), None)

    def in_the_past(self) -> Rule:
        """The same without start and end, for ranges that are named by hand; an interval keeps its phase."""
        return self._replace(start=None, end=None)


class Due(NamedTuple):
    """What a schedule has to do when its time has come."""

    ticks: list[int]
    """To be fired, oldest first."""
    next: int | None
    """The tick that comes then; due at once if it is in the past."""
    missed: int | None = None
    """The newest tick that is left out because it was missed."""


def due(rule: Rule, policy: Policy, tick: int, now: int, anchor: int) -> Due:
    """Decide what to do about the ticks from ``tick``, which is due, to now."""
    wanted = policy.catch_up if policy.misfire == "all" else 1
    # Under newer time zone data a tick that was announced may be none any more: it is kept.
    ticks = rule.newest(wanted, tick, now, anchor) or [tick]
    following = rule.after(now, anchor)
    if policy.misfire == "skip" and now - ticks[-1] > GRACE:
        return Due([], following, ticks[-1])
    if len(ticks) > AT_ONCE:
        return Due(ticks[:AT_ONCE], ticks[AT_ONCE])
    return Due(ticks, following)


# -- what callers say ------------------------------------------------------------------------------------------


def rule(
    cron: str | None = None,
    every: float | timedelta | None = None,
    at: datetime | str | None = None,
    timezone: str | None = None,
    start: datetime | str | None = None,
    end: datetime | str | None = None,
) -> Rule:
    """A rule as callers spell it; see :meth:`gigq.JobQueue.schedule`.

    Raises:
        InvalidSchedule: naming the field.
    """
    given = [name for name, value in (("cron", cron), ("every", every), ("at", at)) if value is not None]
    if len(given) != 1:
        told = f"not {' and '.join(given)}" if given else "and none is given"
        raise InvalidSchedule(f"cron, every, at: exactly one of them is needed, {told}")
    zone = "UTC" if timezone is None else _known_zone(timezone)
    moments = {
        name: None if value is None else moment(value, name, timezone)
        for name, value in (("at", at), ("start", start), ("end", end))
    }
    made = Rule(
        cron=None if cron is None else crontab.check(cron),
        every=None if every is None else _interval(every),
        timezone=zone,
        **moments,
    )
    if made.at is not None and (start is not None or end is not None):
        raise InvalidSchedule("start, end: a schedule with at= has one tick, so neither can be given")
    if made.start is not None and made.end is not None and made.end < made.start:
        raise InvalidSchedule(f"end: {end} is before start, {start}")
    if made.cron is not None and made._replace(start=None, end=None).after(0, 0) is None:
        raise InvalidSchedule(f"cron: {cron!r}: no such date ever comes")
    return made


def policy(misfire: str | None = None, catch_up: int | None = None, overlap: str | None = None) -> Policy:
    """A policy as callers spell it.

    Raises:
        InvalidSchedule: naming the field.
    """
    made: dict[str, Any] = {"misfire": misfire or "once"}
    made["overlap"] = overlap or ("queue" if misfire == "all" else "skip")
    for name, known in (("misfire", get_args(Misfire)), ("overlap", get_args(Overlap))):
        if made[name] not in known:
            raise InvalidSchedule(f"{name}: one of {', '.join(known)}, not {made[name]!r:.100}")
    if made["misfire"] == "all" and made["overlap"] == "skip":
        raise InvalidSchedule(
            "misfire, overlap: 'all' makes good every missed tick, 'skip' would drop all of them but one; "
            "use overlap='queue' (one after the other) or 'allow'"
        )
    if catch_up is not None:
        if made["misfire"] != "all":
            raise InvalidSchedule("catch_up: bounds misfire='all', which is not given")
        if isinstance(catch_up, bool) or not isinstance(catch_up, int) or not 0 < catch_up <= MOST_CATCH_UP:
            raise InvalidSchedule(f"catch_up: a whole number from 1 to {MOST_CATCH_UP:,}, not {catch_up!r}")
        made["catch_up"] = catch_up
    return Policy(**made)


def declared(
    *, misfire: str | None = None, catch_up: int | None = None, overlap: str | None = None, **of_rule: Any
) -> tuple[Rule, Policy]:
    """Both, of the options that a schedule is declared with.

    Raises:
        InvalidSchedule: naming the field.
    """
    return rule(**of_rule), policy(misfire, catch_up, overlap)


def moment(value: datetime | str, field: str, timezone: str | None = None) -> int:
    """Microseconds UTC of a datetime or ISO text; a naive one is in ``timezone`` if that is given, else local.

    Raises:
        InvalidSchedule: naming the field.
    """
    try:
        parsed = datetime.fromisoformat(value) if isinstance(value, str) else value
        if parsed.tzinfo is None and timezone is not None:
            parsed = parsed.replace(tzinfo=crontab.zone_of(timezone))
        return from_datetime(parsed)
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise InvalidSchedule(
            f"{field}: a datetime, or text such as 2026-01-31T12:00:00, is needed, not {value!r:.100}"
        ) from None


def _interval(every: float | timedelta) -> int:
    microseconds = 0
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        if isinstance(every, timedelta):
            microseconds = every // timedelta(microseconds=1)
        elif not isinstance(every, bool):
            microseconds = round(every * SECOND)
    if not _LEAST_INTERVAL <= microseconds <= _LONGEST_INTERVAL:
        raise InvalidSchedule(
            f"every: seconds, or a timedelta, of at least 0.1 and at most ten years, not {every!r:.100}"
        )
    return microseconds


def _known_zone(name: str) -> str:
    if not isinstance(name, str) or not name:
        raise InvalidSchedule(f"timezone: a name such as 'Europe/Berlin' is needed, not {name!r:.100}")
    crontab.zone_of(name)
    return name
