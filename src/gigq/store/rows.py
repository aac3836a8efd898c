"""The rows that travel between store and worker, as arrays in the order of the statements."""

from __future__ import annotations

from msgspec import Struct

from gigq.lease import Lease


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


class NewJob(Struct, gc=False):
    """A job as it is inserted: what was declared, in the units of the tables."""

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
