"""Cron expressions, and what they mean where clocks change; times are microseconds UTC.

An expression of wall-clock hours (``0 5 * * *``, ``*/15 9-17 * * *``) has one tick for each matching time of the calendar:
one that the clocks skip comes when they have jumped, one that they repeat comes the first time. An expression of every
hour (``*/10 * * * *``) goes by the time that passes: it ticks through both of two repeated hours, and has nothing to do in
one that is skipped.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from gigq.clock import SECOND, from_datetime
from gigq.errors import InvalidSchedule

if TYPE_CHECKING:
    from cronsim import CronSim

APART = 60 * SECOND
"""Microseconds between two ticks of an expression, at least."""

_LONGEST_TEXT = 500
_FIELDS = 5
_MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


def check(text: str) -> str:
    """The expression of a text, without needless blanks.

    Raises:
        InvalidSchedule: it is none, or no date that it names ever comes.
    """
    if not isinstance(text, str):
        raise InvalidSchedule(f"cron: text such as '0 5 * * *' is needed, not {text!r:.100}")
    words = text.split()
    bare = " ".join(words)
    if bare.startswith("@") and bare not in _MACROS:
        raise InvalidSchedule(f"cron: {text!r:.100} is none of {', '.join(_MACROS)}")
    if not bare.startswith("@") and len(words) != _FIELDS:
        raise InvalidSchedule(
            f"cron: five fields are needed (minute, hour, day of month, month, day of week), not {text!r:.100}; "
            "for seconds there is every="
        )
    if len(bare) > _LONGEST_TEXT:
        raise InvalidSchedule(f"cron: longer than {_LONGEST_TEXT} characters")
    refusal = _refusal(bare)
    if refusal == "bad day-of-month" and _refusal(" ".join([*words[:3], "*", words[4]])) is None:
        refusal = "no such date ever comes"
    if refusal is not None:
        raise InvalidSchedule(f"cron: {text!r}: {refusal}")
    return bare


def _refusal(cron: str) -> str | None:
    """What the library has against an expression."""
    from cronsim import CronSimError

    try:
        _read(cron)
    except CronSimError as error:
        return str(error)[:1].lower() + str(error)[1:]
    except (ValueError, AssertionError, RecursionError):  # numbers of a thousand digits and the like
        return "it cannot be read"
    return None


@functools.lru_cache(maxsize=4096)
def after(cron: str, timezone: str, moment: int) -> int | None:
    """The first tick after a moment. Kept: many schedules have the same expression.

    The library walks the calendar, where there are no time zones; the clock's changes are minded here, since it
    doubles ticks that fall into a skipped hour and loses some where clocks change by half an hour (cronsim 2.8).
    """
    zone = zone_of(timezone)
    try:
        local = datetime.fromtimestamp(moment // SECOND, zone)
        found = _first_after(cron, zone, local, moment)
        if _is_every_hour(cron) and (again := _repeated(cron, zone, local, moment)) is not None:
            found = again if found is None else min(found, again)
    except (OverflowError, ValueError):  # beyond the calendar
        return None
    return found


def _first_after(cron: str, zone: tzinfo, local: datetime, moment: int) -> int | None:
    every_hour = _is_every_hour(cron)
    for wall in _walls(cron, local.replace(tzinfo=None, fold=0)):
        for tick in _moments(wall, zone) if every_hour else [_once(wall, zone)]:
            if tick > moment:
                return tick
    return None


def _repeated(cron: str, zone: tzinfo, local: datetime, moment: int) -> int | None:
    """The first tick in the second of two passes of the clock, if ``local`` is in the first."""
    lap = _offset(local.replace(fold=0)) - _offset(local.replace(fold=1))
    if local.fold or lap <= timedelta(0):
        return None
    wall_now = local.replace(tzinfo=None)
    for wall in _walls(cron, wall_now - lap):
        if wall > wall_now:
            return None
        moments = _moments(wall, zone)
        if len(moments) > 1 and moments[1] > moment:
            return moments[1]
    return None


def _walls(cron: str, wall: datetime) -> Iterator[datetime]:
    """Times of the calendar that match, after one, in order."""
    walk = copy.copy(_read(cron))
    walk.dt = wall.replace(microsecond=0)
    return walk


@functools.lru_cache(maxsize=4096)
def _read(cron: str) -> CronSim:
    from cronsim import CronSim

    return CronSim(_MACROS.get(cron, cron), datetime(2000, 1, 1))


def _is_every_hour(cron: str) -> bool:
    return len(_read(cron).hours) == 24


def _moments(wall: datetime, zone: tzinfo) -> list[int]:
    """When the clocks show a time: not at all, once, or twice."""
    found = []
    for fold in (0, 1):
        moment = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        shown = moment.astimezone(zone).replace(tzinfo=None, fold=0)
        if shown == wall and from_datetime(moment) not in found:
            found.append(from_datetime(moment))
    return found


def _once(wall: datetime, zone: tzinfo) -> int:
    """The first moment at which the clocks show a time, or have jumped over it."""
    moments = _moments(wall, zone)
    if moments:
        return moments[0]
    # Read with the offset after the jump it is before that, and the other way round.
    before, after = (from_datetime(wall.replace(tzinfo=zone, fold=fold)) // SECOND for fold in (1, 0))
    offset = _offset(datetime.fromtimestamp(before, zone))
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(datetime.fromtimestamp(middle, zone)) == offset:
            before = middle
        else:
            after = middle
    return after * SECOND


def _offset(local: datetime) -> timedelta:
    offset = local.utcoffset()
    assert offset is not None  # noqa: S101 - it has a zone
    return offset


@functools.lru_cache(maxsize=256)
def zone_of(name: str) -> tzinfo:
    """A time zone by its name.

    Raises:
        InvalidSchedule: there is no such zone here.
    """
    if name == "UTC":
        return UTC
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        if zoneinfo.available_timezones():
            why = "is not in this machine's time zone data. Use a name such as 'Europe/Berlin'"
        else:
            why = "cannot be looked up: this machine has no time zone data. Install it: pip install tzdata"
        raise InvalidSchedule(f"timezone: {name!r:.100} {why}") from None
