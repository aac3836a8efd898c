"""The law: the states of a job, the moves between them, and the one decision about retries.

Everything else reads it: SQL guards are spelled from ``TRANSITIONS``, and the worker, the timeout path and the
rescue of a dead worker's jobs all ask :func:`settle`.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal, NamedTuple, Protocol


class JobStatus(Enum):
    """Enum representing the possible states of a job."""

    PENDING = "pending"
    """Waiting: ready to be claimed, or kept from it by a parent, a time or a hold."""
    RUNNING = "running"
    """Claimed by a worker under a lease."""
    COMPLETED = "completed"
    """Its function returned and the result is stored."""
    FAILED = "failed"
    """It raised on its last attempt, or may not be tried again."""
    CANCELLED = "cancelled"
    """Called off before it ran, with a parent that ended badly, or not started before it expired."""
    TIMEOUT = "timeout"
    """Its last attempt ran past its timeout, or it was not done by its deadline."""


ENDED_BADLY = frozenset({JobStatus.FAILED, JobStatus.TIMEOUT, JobStatus.CANCELLED})
TERMINAL = ENDED_BADLY | {JobStatus.COMPLETED}
CLEARABLE = frozenset({JobStatus.COMPLETED, JobStatus.CANCELLED})

Move = Literal["claim", "settle", "cancel", "expire", "hold_expires", "requeue", "give_way"]

TRANSITIONS: dict[Move, tuple[frozenset[JobStatus], frozenset[JobStatus]]] = {
    "claim": (frozenset({JobStatus.PENDING}), frozenset({JobStatus.RUNNING})),
    "settle": (frozenset({JobStatus.RUNNING}), TERMINAL | {JobStatus.PENDING}),
    "cancel": (frozenset({JobStatus.PENDING}), frozenset({JobStatus.CANCELLED})),
    "expire": (frozenset({JobStatus.PENDING}), frozenset({JobStatus.CANCELLED, JobStatus.TIMEOUT})),
    "hold_expires": (frozenset({JobStatus.PENDING}), frozenset({JobStatus.FAILED})),
    "requeue": (ENDED_BADLY, frozenset({JobStatus.PENDING})),
    "give_way": (ENDED_BADLY, frozenset({JobStatus.CANCELLED})),
}
"""Move -> (states it may start from, states it may lead to). ``give_way`` is a requeue that meets another job with the
same unique key."""

OnParentFailure = Literal["cancel", "run", "wait"]
PARENT_POLICIES: tuple[OnParentFailure, ...] = ("cancel", "run", "wait")

MAX_CRASHES = 3

End = Literal[
    "returned",
    "unstorable",
    "raised",
    "fatal",
    "snoozed",
    "timeout",
    "cancelled",
    "died",
    "stopped",
    "unstarted",
    "hindered",
    "unavailable",
]
"""How a run ended, seen from outside: the left column of the table in the contract.

``fatal``: it raised what is not to be tried again. ``hindered``: what its function needs could not be read, so that it
has not begun."""

NOT_BEGUN = frozenset[End]({"unstarted", "hindered", "unavailable"})
_HINDERED = 2_000_000
"""Microseconds until a hindered job is tried again."""
CANCELLED = "cancelled while it ran"
REPLACED = "replaced by {}"
"""Why a job was cancelled whose unique key another one has."""

RunStatus = Literal[
    "completed", "failed", "snoozed", "timeout", "cancelled", "crashed", "released", "superseded"
]


class Facts(Protocol):
    """What the decision needs to know of a job; durations in microseconds."""

    @property
    def attempts(self) -> int: ...
    @property
    def crashes(self) -> int: ...
    @property
    def max_attempts(self) -> int: ...
    @property
    def max_crashes(self) -> int: ...
    @property
    def retry_delay(self) -> int: ...
    @property
    def deadline_at(self) -> int | None:
        """Microseconds UTC."""


class Decision(NamedTuple):
    """What becomes of a job whose run ended."""

    status: JobStatus
    run: RunStatus | None
    """The word in the history; None when the function was never started."""
    attempts: int = 0
    crashes: int = 0
    due_at: int | None = None
    held_by: str | None = None
    error: str | None = None
    verdict: str | None = None
    """What the job says of its end, where that is not the ``error`` of its run."""


def settle(
    end: End, job: Facts, now: int, error: str | None = None, module: str = "", delay: int | None = None
) -> Decision:
    """Decide retry or end, in one place for every way a run can end; :func:`heed_stop` and
    :func:`give_way` have the last word.

    Args:
        end: how the run ended.
        job: its counters before this run was charged.
        now: microseconds UTC, the base of the delay.
        error: what the history and the job will say.
        module: for ``unavailable``: the module that is missing in this worker.
        delay: microseconds until another run, where a policy or the run itself says so; None is for the job's
            ``retry_delay`` after an error, a timeout or a snooze, and for at once where it did not start.
    """
    again = job.retry_delay if delay is None else delay
    match end:
        case "returned":
            return Decision(JobStatus.COMPLETED, "completed", attempts=1)
        case "unstorable" | "fatal":
            return Decision(JobStatus.FAILED, "failed", attempts=1, error=error)
        case "raised" | "timeout":
            final, run = _CHARGED[end]
            if job.attempts + 1 >= job.max_attempts:
                return Decision(final, run, attempts=1, error=error)
            due_at = _in(again, now)
            if job.deadline_at is not None and (due_at or now) >= job.deadline_at:
                return Decision(final, run, attempts=1, error=_too_late(error))
            return Decision(JobStatus.PENDING, run, attempts=1, due_at=due_at, error=error)
        case "snoozed":
            return Decision(JobStatus.PENDING, "snoozed", due_at=_in(again, now), error=error)
        case "cancelled":
            return Decision(JobStatus.CANCELLED, "cancelled", attempts=1, error=error)
        case "died":
            return _died(job, error)
        case "stopped":
            if job.max_attempts == 1:
                return Decision(JobStatus.FAILED, "released", error=_once(error))
            return Decision(JobStatus.PENDING, "released", error=error)
        case "unstarted":
            return Decision(JobStatus.PENDING, None, due_at=_in(delay or 0, now))
        case "hindered":
            return Decision(JobStatus.PENDING, None, due_at=now + _HINDERED)
        case "unavailable":
            return Decision(JobStatus.PENDING, None, held_by=f"import:{module}", error=error)


_CHARGED: dict[str, tuple[JobStatus, RunStatus]] = {
    "raised": (JobStatus.FAILED, "failed"),
    "timeout": (JobStatus.TIMEOUT, "timeout"),
}


def heed_stop(decision: Decision) -> Decision:
    """What becomes of a job whose run was asked to stop: in whatever way that run ended, it does not run again."""
    if decision.status is not JobStatus.PENDING:
        return decision
    error = f"{CANCELLED} ({decision.error})" if decision.error else CANCELLED
    return decision._replace(status=JobStatus.CANCELLED, due_at=None, held_by=None, error=error)


def give_way(decision: Decision, other: str) -> Decision:
    """What becomes of a job that was to run again while another, of this id, has its unique key."""
    return decision._replace(
        status=JobStatus.CANCELLED, due_at=None, held_by=None, verdict=REPLACED.format(other)
    )


def _in(delay: int, now: int) -> int | None:
    return now + delay if delay else None


def _died(job: Facts, error: str | None) -> Decision:
    if job.max_attempts == 1:
        return Decision(JobStatus.FAILED, "crashed", crashes=1, error=_once(error))
    if job.crashes + 1 >= job.max_crashes:
        reason = f"{error or 'died while it ran'}; gave up after {job.crashes + 1} crashes (max_crashes)"
        return Decision(JobStatus.FAILED, "crashed", crashes=1, error=reason)
    return Decision(JobStatus.PENDING, "crashed", crashes=1, error=error)


def _too_late(error: str | None) -> str:
    return f"{error or 'it failed'}\n\nNot tried again: its deadline would be over."


def _once(reason: str | None) -> str:
    told = "died while it ran; not started again because max_attempts=1"
    return f"{told} ({reason})" if reason else told
