"""What a worker does besides jobs, every few seconds: chores that any worker could do again safely."""

from __future__ import annotations

from gigq.clock import Clock
from gigq.store import Store
from gigq.store.rows import Settlement
from gigq.worker import settling
from gigq.worker.chores import imports
from gigq.worker.chores.rescue import Rescue
from gigq.worker.chores.retention import Retention

_EVERY = 1_000_000_000
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
        self._imports_next = clock.monotonic()

    def is_due(self) -> bool:
        return self._clock.monotonic() >= self._due

    def seconds_left(self) -> float:
        return max(0.0, (self._due - self._clock.monotonic()) / 1e9)

    def run_once(self, mine: int) -> bool:
        """Do what is due; whether a job may have become ready by it.

        Raises:
            StoreError: the database cannot be written now; the next turn tries again.
        """
        try:
            became_ready = self._clock.monotonic() >= self._next and self._look_after_others(mine)
            self._retention.run_once()
            return became_ready
        finally:
            self._due = min(self._next, self._clock.monotonic() + int(self._retention.seconds_left() * 1e9))

    def _look_after_others(self, mine: int) -> bool:
        self._next = self._clock.monotonic() + _EVERY
        settled = self.rescue.dead_workers(mine) + self.rescue.overdue(mine)
        self._store.forget_stops()
        self.announce(settled)
        expired = self._store.expire(self._clock.now())
        released = self.look_after_imports()
        self._retention.learn()
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
