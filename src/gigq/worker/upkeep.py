"""What a worker does besides jobs, every few seconds: chores that any worker could do again safely."""

from __future__ import annotations

from gigq.clock import Clock
from gigq.store import Store
from gigq.store.rows import Settlement
from gigq.worker import settling
from gigq.worker.chores import imports, schedules
from gigq.worker.chores.limits import Tidying
from gigq.worker.chores.rescue import Rescue
from gigq.worker.chores.retention import Retention

_EVERY = 1_000_000_000
_AGAIN = 100_000
"""Microseconds until schedules are tried again that could not be written."""
_AT_MOST = 25_000_000
"""Nanoseconds after which schedules that are due wait for the next turn."""
_IMPORTS_EVERY = 10
"""So many times more seldom: a look at what is held for want of a module."""


class Upkeep:
    """One worker's share of the housekeeping."""

    def __init__(self, store: Store, clock: Clock, worker_id: str, missing: set[imports.Reference]) -> None:
        self._store = store
        self._clock = clock
        self._worker_id = worker_id
        self._missing = missing
        self.rescue = Rescue(store, clock)
        self._retention = Retention(store, clock)
        self._next = self._due = clock.monotonic()
        self._tidying = Tidying(store, clock)
        self._imports_next = clock.monotonic()
        self.next_tick: int | None = None
        """When a schedule is due, as far as this worker has heard (microseconds UTC)."""

    def is_due(self) -> bool:
        return self.seconds_left() == 0

    def seconds_left(self) -> float:
        left = (self._due - self._clock.monotonic()) / 1e9
        if self.next_tick is not None:
            left = min(left, (self.next_tick - self._clock.now()) / 1e6)
        return max(0.0, left)

    def run_once(self, mine: int) -> bool:
        """Do what is due; whether a job may have become ready by it.

        Args:
            mine: number of this worker, whose runs its own loop looks after.

        Raises:
            StoreError: the database cannot be written now; the next turn tries again.
        """
        try:
            fired = self.fire_schedules()
            released = self._clock.monotonic() >= self._next and self._look_after_others(mine)
            self._retention.run_once()
            return bool(fired or released)
        finally:
            self._due = min(self._next, self._clock.monotonic() + int(self._retention.seconds_left() * 1e9))

    def fire_schedules(self) -> int:
        """Make the jobs of schedules that are due, or as many as do not keep others waiting; how many."""
        until = self._clock.monotonic() + _AT_MOST
        total = 0
        while True:
            self.next_tick = self._clock.now() + _AGAIN
            fired, self.next_tick = schedules.fire(self._store, self._clock)
            total += fired
            is_more = self.next_tick is not None and self.next_tick <= self._clock.now()
            if not is_more or self._clock.monotonic() >= until:
                return total

    def _look_after_others(self, mine: int) -> bool:
        self._next = self._clock.monotonic() + _EVERY
        settled = self.rescue.dead_workers(mine) + self.rescue.overdue(mine)
        self._store.forget_stops()
        self.announce(settled)
        expired = self._store.expire(self._clock.now())
        released = self.look_after_imports()
        self._retention.learn()
        self._tidying.run()
        return bool(settled or expired or released)

    def look_after_imports(self) -> int:
        """Now and then: let go what was held for want of a module, if this worker might have it; how many."""
        if self._clock.monotonic() < self._imports_next:
            return 0
        self._imports_next = self._clock.monotonic() + _IMPORTS_EVERY * _EVERY
        released = imports.release(self._store, self._missing)
        imports.expire(self._store, self._clock.now())
        return released

    def announce(self, settled: list[Settlement]) -> None:
        for settlement in settled:
            settling.announce(settlement, self._worker_id)
