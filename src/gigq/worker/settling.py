"""From an outcome to a settlement: the law decides, here it gets its times and its line in the log."""

from __future__ import annotations

from gigq import log, retry
from gigq.clock import SECOND, to_iso
from gigq.lease import Lease
from gigq.status import CANCELLED, NOT_BEGUN, End, JobStatus, settle
from gigq.store.rows import Settlement
from gigq.worker.calls import Call

_GOOD_STATUS = JobStatus.COMPLETED.value
_GOOD_RUN = "completed"


def returned(lease: Lease, started_at: int | None, ended_at: int, result: str | None) -> Settlement:
    """The settlement of a run that went well; the hot one, so it does not ask the law each time."""
    return Settlement(lease, _GOOD_STATUS, _GOOD_RUN, started_at, ended_at, result, None, 1)


def of(call: Call, offset: int) -> Settlement:
    """The settlement of a call that has ended; ``offset`` makes microseconds UTC of monotonic ones."""
    lease = call.lease
    ended_at = call.ended // 1000 + offset
    started_at = call.started // 1000 + offset if call.started else None
    end, error, delay = call.end, call.error, call.delay
    if call.asked is not None and (end := _asked(call)) == call.asked:
        error, delay = _why_asked(call), after_timeout(lease) if end == "timeout" else None
    if end == "returned":
        settlement = returned(lease, started_at, ended_at, call.result)
        if call.grown is not None:
            settlement.grown = call.grown
        return settlement
    if end in NOT_BEGUN:
        started_at = None
    settlement = decide(lease, end, ended_at, started_at=started_at, error=error, delay=delay)
    if end == "snoozed":
        settlement.backs_off = call.backs_off
    return settlement


def _asked(call: Call) -> End:
    """How a call ended that was asked to stop.

    What it returned after a cancel is its result. Past its timeout it is too late, unless it had ended before.
    """
    end = call.end
    if end in NOT_BEGUN or end == "stopped" or call.asked is None:
        return end
    if end in ("returned", "unstorable"):
        timeout = call.lease.timeout
        late = call.asked == "timeout" and timeout is not None
        return "timeout" if late and call.ended - call.started > (timeout or 0) * 1000 else end
    return call.asked


def _why_asked(call: Call) -> str | None:
    """What the error says of a call that has stopped because it was asked to."""
    if call.asked == "cancelled":
        return CANCELLED
    if call.asked != "timeout":
        return call.error
    # Where the function was: the traceback of the exception that asked it.
    _, _, traceback = (call.error or "").partition("\n\n")
    told = timeout_error(call.lease)
    return f"{told}\n\n{traceback}" if traceback.startswith("Traceback") else told


def decide(
    lease: Lease,
    end: End,
    now: int,
    *,
    started_at: int | None,
    ended_at: int | None = None,
    error: str | None = None,
    delay: int | None = None,
) -> Settlement:
    """The settlement of a run; times in microseconds UTC, ``started_at`` None if it never started."""
    what = settle(end, lease, now, error, lease.module, delay)
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
    """What a run is told that took too long."""
    by = (lease.claimed_at or 0) + (lease.timeout or 0)
    if lease.deadline_at is not None and by >= lease.deadline_at:
        return f"TimeoutError: ran past its deadline of {to_iso(lease.deadline_at)}"
    return f"TimeoutError: ran past its timeout of {(lease.timeout or 0) / SECOND:g} s"


def after_timeout(lease: Lease) -> int:
    """Microseconds until another attempt after one that ran past its timeout: no function is left to be asked."""
    delay = retry.unasked(lease.retry, lease.attempts + 1)
    return lease.retry_delay if delay is None else delay


def overdue(lease: Lease, now: int, started_at: int | None, *, thread_goes_on: bool) -> Settlement:
    """A run past its timeout; with ``thread_goes_on`` its retry waits for the thread, at most another timeout."""
    delay = max(after_timeout(lease), (lease.timeout or 0) * thread_goes_on)
    return decide(lease, "timeout", now, started_at=started_at, error=timeout_error(lease), delay=delay)


def announce(settlement: Settlement, worker_id: str) -> None:
    """The line in the log that a written settlement deserves."""
    lease = settlement.lease
    attempt = lease.attempts + 1
    error = settlement.error or ""
    if settlement.status == "completed":
        if log.worker.isEnabledFor(20):
            seconds = (settlement.ended_at - (settlement.started_at or settlement.ended_at)) / SECOND
            log.completed(lease.id, lease.name, attempt, worker_id, seconds)
    elif settlement.verdict is not None:
        log.not_repeated(lease.id, lease.name, attempt, worker_id, settlement.verdict, error)
    elif settlement.held_by is not None:
        log.held(lease.id, lease.name, worker_id, f"{settlement.held_by} ({error})")
    elif settlement.run == "crashed":
        told = log.failed if settlement.status == "failed" else log.rescued
        told(lease.id, lease.name, attempt, worker_id, error)
    elif settlement.run == "cancelled":
        log.cancelled_run(lease.id, lease.name, attempt, worker_id)
    elif settlement.run == "timeout":
        log.timed_out(lease.id, lease.name, attempt, worker_id, (lease.timeout or 0) / SECOND)
    elif settlement.run == "failed" and settlement.status == "pending":
        log.will_retry(lease.id, lease.name, attempt, worker_id, error, _delay(settlement))
    elif settlement.run == "snoozed":
        log.snoozed(lease.id, lease.name, attempt, worker_id, _delay(settlement))
    elif settlement.run == "failed":
        log.failed(lease.id, lease.name, attempt, worker_id, error)


def _delay(settlement: Settlement) -> float:
    """Seconds until another run."""
    return ((settlement.due_at or settlement.ended_at) - settlement.ended_at) / SECOND
