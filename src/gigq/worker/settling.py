"""From an outcome to a settlement: the law decides, here it gets its times and its line in the log."""

from __future__ import annotations

from gigq import log
from gigq.clock import SECOND
from gigq.status import End, JobStatus, settle
from gigq.store.rows import Lease, Settlement

_PENDING = JobStatus.PENDING
_GOOD_STATUS = JobStatus.COMPLETED.value
_GOOD_RUN = "completed"


def returned(lease: Lease, started_at: int | None, ended_at: int, result: str | None) -> Settlement:
    """The settlement of a run that went well; the hot one, so it does not ask the law each time."""
    return Settlement(lease, _GOOD_STATUS, _GOOD_RUN, started_at, ended_at, result, None, 1)


def decide(
    lease: Lease,
    end: End,
    now: int,
    *,
    started_at: int | None,
    ended_at: int | None = None,
    error: str | None = None,
) -> Settlement:
    """The settlement of a run; times in microseconds UTC, ``started_at`` None if it never started."""
    what = settle(end, lease, now, error, lease.module)
    return Settlement(
        lease,
        what.status.value,
        what.run,
        started_at,
        ended_at or now,
        None,
        what.error,
        what.attempts,
        what.crashes,
        what.due_at,
        what.held_by,
    )


def timeout_error(lease: Lease) -> str:
    return f"TimeoutError: ran past its timeout of {(lease.timeout or 0) / SECOND:g} s"


def overdue(lease: Lease, now: int, started_at: int | None, *, thread_goes_on: bool) -> Settlement:
    """A run past its timeout; with ``thread_goes_on`` its retry waits for the thread, at most another timeout."""
    settlement = decide(lease, "timeout", now, started_at=started_at, error=timeout_error(lease))
    if thread_goes_on and settlement.status == _PENDING.value:
        settlement.due_at = now + max(lease.retry_delay, lease.timeout or 0)
    return settlement


def announce(settlement: Settlement, worker_id: str) -> None:
    """The line in the log that a written settlement deserves."""
    lease = settlement.lease
    attempt = lease.attempts + 1
    error = settlement.error or ""
    if settlement.status == "completed":
        if log.worker.isEnabledFor(20):
            seconds = (settlement.ended_at - (settlement.started_at or settlement.ended_at)) / SECOND
            log.completed(lease.id, lease.name, attempt, worker_id, seconds)
    elif settlement.held_by is not None:
        log.held(lease.id, lease.name, worker_id, f"{settlement.held_by} ({error})")
    elif settlement.run == "crashed":
        log.rescued(lease.id, lease.name, attempt, worker_id, error)
    elif settlement.run == "timeout":
        log.timed_out(lease.id, lease.name, attempt, worker_id, (lease.timeout or 0) / SECOND)
    elif settlement.run == "failed" and settlement.status == "pending":
        log.will_retry(lease.id, lease.name, attempt, worker_id, error, lease.retry_delay / SECOND)
    elif settlement.run == "failed":
        log.failed(lease.id, lease.name, attempt, worker_id, error)
