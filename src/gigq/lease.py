"""The lease of a run: what travels from the store to a worker, and from there to its children."""

from __future__ import annotations

from msgspec import Struct

START_WITHIN = 200_000
"""Microseconds after its claim in which a run with limits starts, or not at all: a rate counts it until the last moment
at which it can have started."""


class Lease(Struct, array_like=True, gc=False):
    """A claimed run: the job's facts, and the lease under which it may be settled."""

    seq: int
    id: str
    queue: str
    execution_id: str | None
    name: str
    module: str
    function: str
    script: str | None
    priority: int
    attempts: int
    crashes: int
    runs: int
    max_attempts: int
    max_crashes: int
    timeout: int | None
    retry_delay: int
    parents: int
    pass_parent_results: int | None
    wants_parents: int | None
    worker: int | None
    claimed_at: int | None
    is_async: int | None
    """Whether its function is a coroutine function, as far as that was known at submit."""
    retry: str | None
    """Its policy as it is stored; see gigq.retry."""
    deadline_at: int | None
    """Its ``timeout`` reaches no further."""
    tick: int | None
    """Of the schedule that made the job, if one did."""
    line: int | None
    """Names its limits; None for a job without any."""
    params: str | None
    """None where they are large: read when the job starts."""

    @property
    def lease(self) -> str:
        """The execution id, which every claimed run has."""
        assert self.execution_id is not None  # noqa: S101 - set by every claim
        return self.execution_id
