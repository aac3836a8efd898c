"""What a worker needs at a store, taken at the first use: its seat, its runner, its share of the housekeeping."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from gigq import log
from gigq.errors import StoreError
from gigq.queue import JobQueue
from gigq.store import Store
from gigq.store.base import Parent
from gigq.store.rows import Lease
from gigq.worker.calls import Runner, too_large
from gigq.worker.chores.imports import Reference
from gigq.worker.seat import Seat
from gigq.worker.upkeep import Upkeep

Load = Callable[[str, str, str | None], Callable[..., Any]]


class Desk:
    """One worker's things; may be used by several threads."""

    def __init__(self, queue: JobQueue, worker_id: str, load: Load, max_result: int) -> None:
        """Args:
        queue: whose store is worked on.
        worker_id: what users see.
        load: the function of a reference (module, name, script).
        max_result: bytes of JSON that a result may take.
        """
        self._queue = queue
        self._worker_id = worker_id
        self._load = load
        self.max_result = max_result
        self._guard = threading.Lock()
        self._seat: Seat | None = None
        self._runner: Runner | None = None
        self._upkeep: Upkeep | None = None
        self.missing: set[Reference] = set()
        """Functions that this worker has tried to import in vain."""

    @property
    def store(self) -> Store:
        return self._queue._store

    def seat(self) -> Seat:
        with self._guard:
            if self._seat is not None and self._seat.pid != os.getpid():
                self._seat = self._runner = None  # forked: that seat is the parent's
            if self._seat is None:
                self._seat = Seat(self.store, self._worker_id, self._queue.clock)
            return self._seat

    def runner(self) -> Runner:
        seat = self.seat()
        with self._guard:
            if self._runner is None:
                self._runner = Runner(
                    self._worker_id,
                    seat.marks,
                    self._queue.clock,
                    self._load,
                    self._parents,
                    self._params,
                    self.max_result,
                )
            return self._runner

    def upkeep(self) -> Upkeep:
        with self._guard:
            if self._upkeep is None:
                self._upkeep = Upkeep(self.store, self._queue.clock, self._worker_id, self.missing)
            return self._upkeep

    def leave(self) -> None:
        """Give up the seat; the next use takes a new one."""
        with self._guard:
            seat, self._seat, self._runner, self._upkeep = self._seat, None, None, None
        if seat is not None:
            # A store that is gone or locked cannot be told: the free life lock says it.
            with contextlib.suppress(StoreError):
                seat.leave()

    def tell_missing(self, lease: Lease, reason: str) -> None:
        """Once per function: this worker cannot run it, and its jobs wait for one that can."""
        reference = (lease.module, lease.function, lease.script)
        if reference in self.missing:
            return
        self.missing.add(reference)
        told = (
            f"gigq: job {lease.id} ({lease.name}) needs {lease.module}.{lease.function}, which this worker cannot "
            f"import: {reason}. It waits for a worker that can; start one from the project's folder."
        )
        print(log.harmless(told), file=sys.stderr, flush=True)

    def _params(self, lease: Lease) -> str:
        return self.store.params(lease)

    def _parents(self, lease: Lease, limit: int) -> list[Parent]:
        large, parents = self.store.parents([lease.seq], limit)
        if large:
            raise too_large(lease, large[lease.seq])
        return parents
