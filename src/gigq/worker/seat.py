"""A worker's place at a store: its number, its life lock, its start marks."""

from __future__ import annotations

import os
import socket
from collections import deque

from gigq import ids
from gigq.clock import Clock
from gigq.lease import Lease
from gigq.marks import SLOTS, Marks
from gigq.queues import EVERYTHING, Serving
from gigq.store import Store
from gigq.worker.calls import Call

_FAREWELL = 1.0
"""Seconds that a good-bye may wait for its turn; without it the free life lock tells the same."""


class Seat:
    """Taken at the first claim, and held until :meth:`leave`, or until the process ends."""

    def __init__(self, store: Store, worker_id: str, clock: Clock, serving: Serving = EVERYTHING) -> None:
        self.worker_id = worker_id
        self.serving = serving
        self.pid = os.getpid()
        self.birth = ids.process_birth(self.pid)
        self.host = socket.gethostname()
        self.boot = ids.boot_id()
        self._store = store
        self._clock = clock
        taken = store.register(self, clock.now())
        self.number = taken.number
        self._area = taken.area
        self._life = taken.life
        self.marks: Marks = store.engine.sidecar.marks(taken.area)
        self._slots = deque(range(SLOTS))
        self._used = False
        """Whether the history may name this worker."""

    @property
    def free(self) -> int:
        """Runs that may be claimed beside those that are not settled."""
        return len(self._slots)

    def share_marks(self) -> Marks:
        """Start marks that other processes can write too."""
        if self.marks.place is None:
            self.marks = self._store.engine.sidecar.share(self._area)
        return self.marks

    def call(self, lease: Lease) -> Call:
        """A call with a slot for its start mark, which it keeps until it is settled."""
        return self.calls([lease])[0]

    def calls(self, leases: list[Lease]) -> list[Call]:
        """The same for several."""
        self._used = self._used or bool(leases)
        take = self._slots.popleft
        return [Call(lease, take()) for lease in leases]

    def settled(self, calls: list[Call]) -> None:
        self._slots.extend([call.slot for call in calls])

    def leave(self) -> None:
        """Say good-bye. What is not settled will be rescued, as if the worker had died."""
        try:
            if len(self._slots) == SLOTS:
                with self._store.engine.hurried(_FAREWELL):
                    if self._used:
                        self._store.retire(self.number, self._clock.now())
                    else:
                        self._store.forget(self.number)
        finally:
            self._life.close()  # the marks stay: an abandoned thread may still write its own
