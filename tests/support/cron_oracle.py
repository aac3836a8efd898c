"""What a cron expression means, the slow way: every minute of a stretch of time is looked at."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from gigq.clock import SECOND

_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_MINUTE = timedelta(minutes=1)
_MARGIN = timedelta(days=2)


def _field(text: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        begin, end = (low, high) if span == "*" else (int(first), int(last or (high if step else first)))
        found |= set(range(begin, end + 1, int(step or 1)))
    return found


class Fields(NamedTuple):
    """An expression of numbers, ranges, lists and steps."""

    minutes: set[int]
    hours: set[int]
    days: set[int]
    months: set[int]
    weekdays: set[int]
    both_days: bool

    @classmethod
    def of(cls, cron: str) -> Fields:
        words = cron.split()
        minutes, hours, days, months, weekdays = (
            _field(word, low, high) for word, (low, high) in zip(words, _RANGES, strict=True)
        )
        both = words[2].startswith("*") or words[4].startswith("*")
        return cls(minutes, hours, days, months, {day % 7 for day in weekdays}, both)

    def match(self, wall: datetime) -> bool:
        if wall.minute not in self.minutes or wall.hour not in self.hours or wall.month not in self.months:
            return False
        day, weekday = wall.day in self.days, (wall.weekday() + 1) % 7 in self.weekdays
        return (day and weekday) if self.both_days else (day or weekday)


class Stretch:
    """A stretch of time in a zone, minute by minute."""

    def __init__(self, zone: str, first: datetime, last: datetime) -> None:
        self.first, self.last = first, last
        self._utc: list[datetime] = []
        self._walls: list[datetime] = []
        at, place = first - _MARGIN, ZoneInfo(zone)
        while at <= last + _MARGIN:
            self._utc.append(at)
            self._walls.append(at.astimezone(place).replace(tzinfo=None, fold=0))
            at += _MINUTE
        self._when: dict[datetime, datetime] = {}
        """When the clocks show a time first."""
        for utc, wall in zip(self._utc, self._walls, strict=True):
            self._when.setdefault(wall, utc)

    def ticks(self, cron: str) -> list[int]:
        """Microseconds."""
        fields = Fields.of(cron)
        found = set(self._passing(fields) if len(fields.hours) == 24 else self._calendar(fields))
        return sorted(int(tick.timestamp()) * SECOND for tick in found if self.first <= tick <= self.last)

    def _passing(self, fields: Fields) -> Iterator[datetime]:
        return (utc for utc, wall in zip(self._utc, self._walls, strict=True) if fields.match(wall))

    def _calendar(self, fields: Fields) -> Iterator[datetime]:
        wall, highest = min(self._walls), max(self._walls)
        while wall <= highest:
            if fields.match(wall):
                yield self._when[wall] if wall in self._when else self._first_past(wall)
            wall += _MINUTE

    def _first_past(self, wall: datetime) -> datetime:
        return next(utc for utc, shown in zip(self._utc, self._walls, strict=True) if shown > wall)


def transitions(zone: str, first: int, last: int) -> list[datetime]:
    """When the clocks of a zone changed, from the beginning of one year to that of another; to the minute."""
    place = ZoneInfo(zone)
    at, end = datetime(first, 1, 1, tzinfo=UTC), datetime(last, 1, 1, tzinfo=UTC)
    found = []
    while at < end:
        following = at + timedelta(days=1)
        if following.astimezone(place).utcoffset() != (offset := at.astimezone(place).utcoffset()):
            minutes = range(1, 24 * 60 + 1)
            place_of = bisect_right(
                minutes, False, key=lambda n: (at + n * _MINUTE).astimezone(place).utcoffset() != offset
            )
            found.append(at + minutes[place_of] * _MINUTE)
        at = following
    return found
