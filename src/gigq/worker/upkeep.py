"""What a worker does besides jobs, every few seconds: chores that any worker could do again safely."""

from __future__ import annotations

from gigq.clock import Clock
from gigq.store import Store
from gigq.store.rows import Settlement
from gigq.worker import settling
from gigq.worker.chores import imports
from gigq.worker.chores.rescue import Rescue

_EVERY = 1_000_000_000
_IMPORTS_EVERY = 10
"""Turns between two looks at what is held for want of a module."""


class Upkeep:
    """One worker's share of the housekeeping."""

    def __init__(self, store: Store, clock: Clock, worker_id: str, missing: set[imports.Reference]) -> None:
        self._store = store
        self._clock = clock
        self._worker_id = worker_id
        self._missing = missing
        self.rescue = Rescue(store, clock)
        self._next = clock.monotonic()
        self._turn = 0

    def is_due(self) -> bool:
        return self._clock.monotonic() >= self._next

    def seconds_left(self) -> float:
        return max(0.0, (self._next - self._clock.monotonic()) / 1e9)

    def run_once(self, mine: int) -> bool:
        """Do what is due; whether a job may have become ready by it.

        Raises:
            StoreError: the database cannot be written now; the next turn tries again.
        """
        self._next = self._clock.monotonic() + _EVERY
        self._turn += 1
        settled = self.rescue.dead_workers(mine) + self.rescue.overdue(mine)
        self.announce(settled)
        released = 0
        if self._turn % _IMPORTS_EVERY == 1:
            released = imports.release(self._store, self._missing)
            imports.expire(self._store, self._clock.now())
        return bool(settled or released)

    def announce(self, settled: list[Settlement]) -> None:
        for settlement in settled:
            settling.announce(settlement, self._worker_id)
