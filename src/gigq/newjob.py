"""A job on its way into the tables: from whoever submits it, a running job in a child process included, to the store."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from gigq.limits import Share
from gigq.timing import NO_TIMES, Times

MOST_ADDED = 2000
"""Jobs that one run may add: they are written in the transaction that completes it."""
MOST_ADDED_BYTES = 4 * 1024 * 1024
"""Bytes of their params."""
MOST_EDGES = 10_000
"""Jobs that one run adds, times the jobs that wait for it: so many edges that transaction writes at most."""


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

    Schedules and maps keep such rows as JSON: a field that comes later needs a default.
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
