"""What a worker needs at a store, taken at the first use: its seat, its runner, its share of the housekeeping."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from gigq import callables, log
from gigq.errors import ParentResultsTooLarge, StoreError
from gigq.lease import Lease
from gigq.queue import JobQueue
from gigq.queues import EVERYTHING, Serving
from gigq.store import Store
from gigq.worker.calls import Call
from gigq.worker.chores.imports import Reference
from gigq.worker.notes import Notes
from gigq.worker.runner import MAX_PARENT_RESULTS, ParentRows, Runner
from gigq.worker.seat import Seat
from gigq.worker.upkeep import Upkeep

Load = Callable[[str, str, str | None], Callable[..., Any]]


class Desk:
    """One worker's things, and whom its runs turn to (runner.Office); may be used by several threads."""

    def __init__(
        self,
        queue: JobQueue,
        worker_id: str,
        load: Load,
        max_result: int,
        serving: Serving = EVERYTHING,
    ) -> None:
        """Args:
        queue: whose store is worked on.
        worker_id: what users see.
        load: the function of a reference (module, name, script).
        max_result: bytes of JSON that a result may take.
        serving: the queues whose jobs it takes.
        """
        self._queue = queue
        self._worker_id = worker_id
        self.load = load
        self.max_result = max_result
        self.serving = serving
        self._guard = threading.Lock()
        self._seat: Seat | None = None
        self._runner: Runner[Call] | None = None
        self._upkeep: Upkeep | None = None
        self.notes: Notes[Call] = Notes(lambda: self.wake())
        self.wake: Callable[[], None] = lambda: None
        """Called when a job has said something and nothing else waits to be delivered."""
        self.missing: set[Reference] = set()
        """Functions that this worker has tried to import in vain."""
        self.is_stopping = False
        """Whether the worker is about to end, so that jobs that look are told."""

    @property
    def store(self) -> Store:
        return self._queue._store

    def seat(self) -> Seat:
        with self._guard:
            if self._seat is not None and self._seat.pid != os.getpid():
                self._seat = self._runner = None  # forked: that seat is the parent's
            if self._seat is None:
                self._seat = Seat(self.store, self._worker_id, self._queue.clock, self.serving)
            return self._seat

    def runner(self) -> Runner[Call]:
        seat = self.seat()
        with self._guard:
            if self._runner is None:
                self._runner = Runner(self, seat.marks, self._queue.clock, self.notes, self.max_result)
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
            f"import: {reason}. It waits for a worker that can"
        )
        told += "." if callables.is_typed(lease.script) else "; start one from the project's folder."
        print(log.harmless(told), file=sys.stderr, flush=True)

    # -- what runs ask; see runner.Office ----------------------------------------------------------------------

    def started(self, run: Call) -> None:
        if log.worker.isEnabledFor(20):
            lease = run.lease
            log.started(lease.id, lease.name, lease.attempts + 1, self._worker_id)

    def params(self, run: Call) -> str:
        return self.store.params(run.lease)

    def parents(self, run: Call, limit: int) -> ParentRows:
        lease = run.lease
        large, parents = self.store.parents([lease.seq], limit)
        if large:
            raise ParentResultsTooLarge(
                f"the results of the {lease.parents} parents of job {lease.id} take {large[lease.seq]:,} bytes, over "
                f"the limit of {MAX_PARENT_RESULTS:,}. Submit it with pass_parent_results=False and read them one by "
                "one from gigq.current_job().parents."
            )
        return [(parent.id, parent.status, parent.result, parent.error) for parent in parents]

    def is_asked_to_stop(self, run: Call) -> bool:
        run.looks = True
        return run.asked is not None or self.is_stopping

    @property
    def max_params(self) -> int:
        return self._queue.max_params

    def room_to_grow(self, run: Call, parents: list[str]) -> int:
        return self.store.room_to_grow(run.lease.seq, parents)
