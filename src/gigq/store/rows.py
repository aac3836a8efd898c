"""The rows that travel between store and worker, as arrays in the order of the statements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from gigq.lease import Lease
from gigq.limits import Share
from gigq.queues import Serving
from gigq.status import Decision, JobStatus
from gigq.store.sidecar import Life
from gigq.timing import NO_TIMES, Times


class Settlement(Struct, array_like=True, gc=False):
    """How a run ended, decided and ready to be written."""

    lease: Lease
    status: str
    run: str | None
    started_at: int | None
    ended_at: int
    result: str | None = None
    error: str | None = None
    attempts: int = 0
    crashes: int = 0
    due_at: int | None = None
    held_by: str | None = None
    verdict: str | None = None
    """What the job says of its end, where that is not the ``error`` of its run."""
    backs_off: str | None = None
    """The key of the limit that backs off until ``due_at``; empty for all that the job has."""

    def decide_again(self, change: Callable[[Decision], Decision]) -> None:
        """Let the law think again, of what is only known in the transaction that writes it."""
        what = change(
            Decision(
                JobStatus(self.status),
                self.run,  # type: ignore[arg-type] # the law's own word
                self.attempts,
                self.crashes,
                self.due_at,
                self.held_by,
                self.error,
                self.verdict,
            )
        )
        self.status, self.run, self.error = what.status.value, what.run, what.error
        self.attempts, self.crashes = what.attempts, what.crashes
        self.due_at, self.held_by, self.verdict = what.due_at, what.held_by, what.verdict


class WorkerRow(Struct, array_like=True):
    """A worker that has not said good-bye."""

    number: int
    worker_id: str
    area: int
    pid: int
    birth: str | None
    host: str
    boot: str
    sidecar: str


class NewUnique(Struct, gc=False):
    """What makes a job unique."""

    key: str
    states: str
    """In which it keeps its key, with commas between them."""
    period: int | None
    """Microseconds for which it keeps the key in any."""
    on_conflict: str


class NewJob(Struct, gc=False):
    """A job as it is inserted: what was declared, in the units of the tables.

    Schedules keep such rows as JSON: a field that comes later needs a default.
    """

    id: str
    queue: str
    priority: int
    name: str
    module: str
    function: str
    script: str | None
    dependencies: list[str]
    on_parent_failure: str
    pass_parent_results: int | None
    wants_parents: int | None
    is_async: int | None
    max_attempts: int
    max_crashes: int
    timeout: int | None
    retry_delay: int
    description: str | None
    created_at: int
    params: str
    unique: NewUnique | None = None
    retry: str | None = None
    times: Times = NO_TIMES
    tags: Sequence[str] = ()
    metadata: str | None = None
    limits: list[Share] | None = None
    """What it takes of each of its limits, by key."""


class QueueRow(NamedTuple):
    """A queue, its settings, and what is in it."""

    name: str
    paused_at: int | None
    reason: str | None
    concurrency: int | None
    ageing: int | None
    jobs: dict[str, int]
    """Status -> jobs in it; a status without jobs is absent."""


class Exchanged(NamedTuple):
    """The answer of an exchange."""

    claimed: list[Lease]
    lost: list[Settlement]
    """Late: somebody else had ended these runs; nothing was written but the word superseded."""
    refused: list[Settlement]
    """Could not be written; their jobs have failed with that error instead."""
    more: bool = False
    """Whether there is more to do at once, whatever was claimed."""


class Seat(NamedTuple):
    """A registered worker's place."""

    number: int
    area: int
    life: Life


class Peek(NamedTuple):
    """What an idle worker sees without writing."""

    ready: bool
    next_due: int | None
    unfinished: bool
    next_tick: int | None
    """When a schedule is due."""

    def has_work(self, now: int) -> bool:
        """Whether an exchange would find anything to do."""
        return self.ready or self.is_due(now)

    def is_due(self, now: int) -> bool:
        """Whether an exchange would make anything ready."""
        return self.unfinished or (self.next_due is not None and self.next_due <= now)


class Parent(NamedTuple):
    """A parent as its child sees it."""

    child: int
    id: str
    status: str | None
    """None once it was cleared."""
    result: str | None
    error: str | None


class Who(Protocol):
    """How a process introduces its worker."""

    worker_id: str
    serving: Serving
    pid: int
    birth: str | None
    host: str
    boot: str
