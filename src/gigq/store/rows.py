"""The rows that travel between store and worker, as arrays in the order of the statements."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from msgspec import Struct

from gigq.lease import Lease
from gigq.newjob import NewJob
from gigq.queues import Serving
from gigq.status import Decision, JobStatus
from gigq.store.sidecar import Life


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
    grown: list[NewJob] | None = None
    """Jobs that the run has added to its graph; only with one that completed."""

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


class NewWorkflow(NamedTuple):
    """A workflow as it is stored with its jobs."""

    id: str
    name: str
    created_at: int
    at_end: int
    """How many of its jobs, the last ones, run when all others have ended."""


class WorkflowRow(NamedTuple):
    """A workflow that is in the queue."""

    number: int
    id: str
    name: str
    created_at: int


class Outcome(NamedTuple):
    """What became of a job of a workflow."""

    seq: int
    id: str
    name: str
    module: str
    function: str
    status: str
    result: str | None
    error: str | None


class NodeRow(NamedTuple):
    """A job of a workflow, as far as it is drawn."""

    seq: int
    id: str
    name: str
    status: str
    module: str
    function: str


class SpanRow(NamedTuple):
    """Jobs of a workflow that are numbered one after the other."""

    first: int
    last: int
    at_end: int
    """Whether they run when all others have ended."""


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
