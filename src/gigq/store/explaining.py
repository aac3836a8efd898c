"""What is known of why a job is where it is."""

from __future__ import annotations

from typing import Any, NamedTuple

from gigq import codec
from gigq.errors import StoreError
from gigq.ids import sought
from gigq.store.limits import Limits
from gigq.store.rows import WorkerRow
from gigq.store.transaction import decode_array
from gigq.store.workers import is_dead

MANY = 10_000
"""Jobs before one that are counted at most [m: 1 ms]."""
_NAMED = 4
"""Parents that are told of."""


class OpenParent(NamedTuple):
    """A parent that a job waits for."""

    id: str
    name: str
    status: str
    error: str | None


class QueueFacts(NamedTuple):
    """The settings of a queue; times in microseconds."""

    paused_at: int | None = None
    reason: str | None = None
    concurrency: int | None = None
    ageing: int | None = None


class _WorkerRow(WorkerRow, array_like=True):
    queues: list[str] | None = None


class WorkerFacts(NamedTuple):
    """A worker that has not said good-bye."""

    worker_id: str
    number: int
    alive: bool | None
    """None where its life lock cannot be asked."""
    serves: list[str] | None
    """The queues that it names, "*" among them for all others; None for all."""


class Facts(NamedTuple):
    """Of one job, at one moment."""

    job: dict[str, Any]
    """Its row in the tables, times in microseconds UTC, with ``worker_id``, ``cancelled_for_id``, ``asked_to_stop``."""
    progress: tuple[int, float, float | None, str | None, int] | None
    """Run, done, total, message, when."""
    running: int
    """Jobs of its queue that run."""
    open_parents: list[OpenParent]
    """The first few."""
    ahead: int | None
    """Ready jobs that come before it, at most ``MANY``; None if it is not ready itself."""
    queue: QueueFacts
    workers: list[WorkerFacts]
    limits: list[dict[str, Any]]
    """Those of a job that one of them holds; see :meth:`gigq.store.limits.Limits.limits_on`."""


class Explaining(Limits):
    """The verb that tells all of it."""

    def explained(self, job_id: str, now: int) -> Facts | None:
        """None if there is no such job."""
        with self._reading() as tx:
            found = tx.records("explained", id=sought(job_id), limit=_NAMED, most=MANY)
        if not found:
            return None
        [job] = found
        limited = str(job["held_by"]).startswith("limit:")
        workers = decode_array(_WorkerRow, job.pop("workers"))
        progress = codec.decode(job.pop("progress"))
        settings = codec.decode(job.pop("settings"))
        parents = job.pop("open_parents")
        return Facts(
            job=job,
            progress=None if progress is None else tuple(progress),
            running=job.pop("running"),
            open_parents=[] if parents is None else decode_array(OpenParent, parents),
            ahead=job.pop("ahead"),
            queue=QueueFacts(*settings or ()),
            workers=[
                WorkerFacts(row.worker_id, row.number, self._is_alive(row), row.queues) for row in workers
            ],
            limits=self.limits_on(job_id, now) if limited else [],
        )

    def _is_alive(self, row: WorkerRow) -> bool | None:
        try:
            return not is_dead(row, self.engine.sidecar)
        except StoreError:  # a read-only place has no sidecar to ask
            return None
