"""Jobs that were kept for long enough after their end: let them go, and give the room back.

When a job ended, no index knows: that would cost every job. But whoever has looked at a stretch of the queue once knows
when the first of its jobs will be old enough, and has no need to look there before. What ends there later is old enough
later still. So the queue is known as stretches with the time of the next look, in the memory of each worker.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

from gigq.clock import SECOND, Clock
from gigq.store import Store
from gigq.store.clearing import END

_FORGET_AFTER = 600 * SECOND
"""Microseconds, at least, until everything is looked at again: what was spared, and what ended late in an old stretch."""
_COARSE = 50
"""Looks at one stretch while its jobs grow old: they may stay for so much of their age longer, but not ..."""
_COARSEST = 60 * SECOND
_LOOKS = 8
"""Stretches that one turn looks at."""
_WORK, _REST = 1, 4
"""Parts of the time that it works where there is much to do."""
_LEAST_REST = 10_000_000
"""Nanoseconds."""
_SPACE_EVERY = 60_000_000_000
"""Nanoseconds between two looks for room to give back."""


class _Stretch(NamedTuple):
    """Jobs low <= seq < high, to be looked at from ``due`` on (microseconds)."""

    due: int
    high: int
    low: int


class _Sweep:
    """What one worker knows of the jobs of one status."""

    def __init__(self, status: str, age: int, now: int) -> None:
        self.status = status
        self.age = age
        self.candidates: list[int] = []
        """Old enough, and to be removed next."""
        self._begin(now)

    def _begin(self, now: int) -> None:
        self._stretches = [_Stretch(now, END, 0)]
        self._forget_at = now + max(self.age, _FORGET_AFTER)

    @property
    def due(self) -> int:
        return 0 if self.candidates else min(self._stretches[0].due, self._forget_at)

    def look(self, store: Store, now: int) -> None:
        """Look at the stretch that is due first."""
        if now >= self._forget_at:
            self._begin(now)
        stretch = heapq.heappop(self._stretches)
        found = store.sweep(self.status, now - self.age, stretch.low, stretch.high, now)
        low = stretch.low if found.low is None else found.low
        if found.low is not None:
            heapq.heappush(self._stretches, _Stretch(now, low, stretch.low))
        self.candidates = found.may_go
        if found.may_go:  # those that they have spared may be free then
            heapq.heappush(self._stretches, _Stretch(now, stretch.high, low))
        elif found.first_to_come is not None or stretch.high == END:
            first = now if found.first_to_come is None else found.first_to_come
            due = max(first + self.age, now + min(self.age // _COARSE, _COARSEST))
            heapq.heappush(self._stretches, _Stretch(due, stretch.high, low))


class Retention:
    """One worker's part in it; any worker can do it again safely."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._sweeps: dict[str, _Sweep] = {}
        self._learnt_at = 0
        self._rest_until = clock.monotonic()
        self._space_next = clock.monotonic()

    def learn(self) -> None:
        """Hear how long jobs are kept."""
        ages = self._store.retention()
        now, before = self._clock.now(), self._learnt_at
        self._learnt_at = now
        known = (
            self._sweeps if now >= before else {}
        )  # a clock that was put back: all times of looks are void
        self._sweeps = {
            status: known[status]
            if status in known and known[status].age == age
            else _Sweep(status, age, now)
            for status, age in ages.items()
        }

    def seconds_left(self) -> float:
        """Until there is something to do."""
        now = self._clock.now()
        due = min((sweep.due for sweep in self._sweeps.values()), default=None)
        left = float(self._space_next - self._clock.monotonic())
        if due is not None:
            left = min(left, (due - now) * 1000.0)
        return max(0.0, left, self._rest_until - self._clock.monotonic()) / 1e9

    def run_once(self) -> int:
        """Do a piece of what is due; how many jobs went.

        Raises:
            StoreError: the database cannot be written now.
        """
        if self.seconds_left() > 0:
            return 0
        began = self._clock.monotonic()
        self._rest_until = began + _LEAST_REST
        gone = self._sweep()
        if began >= self._space_next and not self._store.give_back():
            self._space_next = began + _SPACE_EVERY
        if gone:
            self._space_next = began  # perhaps there is room to give back now
        took = self._clock.monotonic() - began
        self._rest_until += took * _REST // _WORK
        return gone

    def _sweep(self) -> int:
        """Look until there is something to remove, and remove some of it."""
        now = self._clock.now()
        for sweep in self._sweeps.values():
            looks = 0
            while sweep.due <= now and not sweep.candidates and looks < _LOOKS:
                sweep.look(self._store, now)
                looks += 1
            if sweep.candidates:
                gone, sweep.candidates = self._store.let_go(
                    sweep.status, sweep.candidates, now - sweep.age, now
                )
                return gone
        return 0
