"""The operator's questions and actions as plain data over the store: the front desk behind every window."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from gigq import log
from gigq.clock import to_iso
from gigq.errors import Refused, StoreError, StoreMissing
from gigq.queue import JobQueue
from gigq.status import TERMINAL
from gigq.store import inspection, migrations
from gigq.store.connections import Durability
from gigq.store.workers import is_dead
from gigq.worker.waker import Waker

_ENDS = frozenset(status.value for status in TERMINAL)
_NAMED = 5
"""Jobs that a message about an ambiguous id names."""
_NET = 2.0
"""Seconds between two looks where the bell is heard, in case it was not."""
_WITHOUT_BELL = 0.25
_APART = 0.02
"""Seconds between two looks at least, however often the bell rings."""


# -- opening ---------------------------------------------------------------------------------------------------


def open_existing(path: str, durability: Durability = "full") -> JobQueue | None:
    """The queue of a file, with its tables brought up to date; None where there is no file.

    Raises:
        StoreError: it cannot be used, or its folder does not exist.
    """
    queue = JobQueue(path, initialize=False, durability=durability)
    try:
        queue._store.initialize()
    except StoreMissing:
        file = Path(queue.db_path)
        if file.exists():
            JobQueue(path, durability=durability)  # an older one, or an empty file
        elif file.parent.is_dir():
            return None
        else:
            raise
    return queue


def open_untouched(path: str) -> JobQueue:
    """The queue of a file as it is, which may be an older one.

    Raises:
        StoreMissing: there is no such file.
    """
    queue = JobQueue(path, initialize=False)
    if not Path(queue.db_path).exists():
        raise no_file(queue.db_path)
    return queue


def no_file(path: str) -> StoreMissing:
    """What to say where a queue is needed and there is none."""
    return StoreMissing(
        f"{path}: there is no such file. Name another with --db, or let 'gigq submit' or 'gigq worker' create it."
    )


# -- jobs ------------------------------------------------------------------------------------------------------


def resolve(queue: JobQueue, text: str) -> str | None:
    """The id that a text names: whole, or by a unique beginning or end; None if there is no such job.

    Raises:
        Refused: several ids begin or end with it.
    """
    return _resolve(text, "job", queue._store.matching_ids)


def resolve_workflow(queue: JobQueue, text: str) -> str | None:
    """The same for workflows."""
    return _resolve(text, "workflow", queue._store.matching_workflows)


def _resolve(text: str, what: str, matching: Callable[[str, int], list[str]]) -> str | None:
    text = text.strip()
    try:
        text.encode()
    except UnicodeEncodeError:
        return None
    found = matching(text, _NAMED + 1) if text else []
    if len(found) <= 1:
        return found[0] if found else None
    named = "\n".join(f"  {one}" for one in found[:_NAMED])
    more = "\n  ..." if len(found) > _NAMED else ""
    raise Refused(
        f"{text!r} is not one {what}'s id, several fit:\n{named}{more}\nGive more of it, or its last digits."
    )


def cancel(queue: JobQueue, job_id: str, *, running: bool = False) -> Literal["cancelled", "asked"] | None:
    """Call off a pending job, or ask one that is ``running`` to stop; what was done, None for neither."""
    store = queue._store
    for _ in range(2):  # a run may end, and another be due, between the two questions
        now = queue.clock.now()
        if store.cancel(job_id, now):
            log.cancelled(job_id)
            return "cancelled"
        if running and store.ask_to_stop(job_id, now):
            log.asked_to_stop(job_id)
            return "asked"
    log.not_cancelled(job_id)
    return None


def requeue(queue: JobQueue, job_id: str) -> str | None:
    """Put an ended job back to the start; None, or why that was refused."""
    refusal = queue._store.requeue(job_id, queue.clock.now())
    if refusal is None:
        log.requeued(job_id)
    else:
        log.not_requeued(job_id, refusal)
    return refusal


def wait(
    queue: JobQueue, job_id: str, timeout: float | None, nobody_works: Callable[[], None]
) -> dict[str, Any] | None:
    """Wait for the end of a job: woken by the bell, with a look now and then as the net.

    Args:
        queue: where the job is.
        job_id: its whole id.
        timeout: seconds; None waits as long as it takes.
        nobody_works: called once if no living worker is found meanwhile.

    Returns:
        The job as ``get_status`` has it, ended or, when the time is up, not; None if it is not in the queue (any more).
    """
    store = queue._store
    until = math.inf if timeout is None else time.monotonic() + timeout
    told = False
    with contextlib.closing(_looks(queue, until)) as looks:
        for is_last in looks:
            found = store.result(job_id)
            if found is None:
                return None
            if found[0] in _ENDS or is_last:
                break
            if not told and not _anybody_works(queue):
                told = True
                nobody_works()
    status = queue.get_status(job_id)
    return status if status["exists"] else None


class Output(NamedTuple):
    """A piece of what a run has printed and logged."""

    run: int
    part: int
    """Counts up within a run, with gaps where more was said than is kept."""
    at: str
    """When it reached the database; ISO 8601 in UTC."""
    text: str


def output(
    queue: JobQueue,
    job_id: str,
    run: int | None = None,
    follow: Callable[[], None] | None = None,
) -> Generator[Output, None, None]:
    """What the runs of a job have printed and logged, in order.

    Args:
        queue: where the job is.
        job_id: its whole id.
        run: only this one; 1 is the first.
        follow: go on until the job has ended, or the one run; called once if no living worker is found meanwhile.
    """
    seen = (0, -1) if run is None else (run, -1)
    with contextlib.closing(_until_ended(queue, job_id, run, follow)) as looks:
        for _ in looks:
            while parts := queue._store.output(job_id, *seen):
                for part in parts:
                    if run is not None and part.run != run:
                        return
                    yield Output(part.run, part.part, to_iso(part.at), part.text)
                seen = (parts[-1].run, parts[-1].part)


def _until_ended(
    queue: JobQueue, job_id: str, run: int | None, nobody_works: Callable[[], None] | None
) -> Generator[None, None, None]:
    """Turns up to the one after the end, for which all has been said; only one without ``nobody_works``."""
    if nobody_works is None:
        yield
        return
    told = False
    with contextlib.closing(_looks(queue)) as looks:
        for _ in looks:
            is_over = _has_ended(queue, job_id, run)
            yield
            if is_over:
                return
            if not told and not _anybody_works(queue):
                told = True
                nobody_works()


def _has_ended(queue: JobQueue, job_id: str, run: int | None) -> bool:
    found = queue._store.result(job_id)
    if found is None or found[0] in _ENDS:
        return True
    if run is None:
        return False
    _, executions = queue._store.record(job_id) or ({}, [])
    return any(one["run"] == run and one["status"] != "running" for one in executions)


def _looks(queue: JobQueue, until: float = math.inf) -> Generator[bool, None, None]:
    """Turns of whoever waits for something in a queue: at once, whenever the bell rings, and now and then as the net.

    True for the last one, when the time (monotonic seconds) is up.
    """
    with contextlib.closing(Waker()) as waker:
        heard = _listen(queue, waker)
        while True:
            looked = time.monotonic()
            yield looked >= until
            net = _NET if heard else _WITHOUT_BELL
            waker.sleep(max(0.0, min(net, until - time.monotonic())))
            time.sleep(max(0.0, min(looked + _APART, until) - time.monotonic()))


def _anybody_works(queue: JobQueue) -> bool:
    return any(worker.alive is not False for worker in workers(queue))


def _listen(queue: JobQueue, waker: Waker) -> bool:
    try:
        watch = queue._store.engine.sidecar.watch(waker.wake)
    except StoreError:  # a read-only place has no bell
        return False
    waker.listen(watch, queue._store.engine.changes())
    return True


# -- the database ----------------------------------------------------------------------------------------------


class WorkerSeen(NamedTuple):
    """A worker that has not said good-bye."""

    worker_id: str
    alive: bool | None
    """By its life lock; None where that cannot be asked."""
    pid: int
    host: str
    started_at: str
    running: int
    queues: list[str] | None
    """Those that it serves, ``"*"`` for the others; None for all."""


def workers(queue: JobQueue) -> list[WorkerSeen]:
    """Living workers, and dead ones that nobody has cleaned up after yet."""
    store = queue._store
    seen = []
    for row, started_at, running, queues in inspection.workers(store):
        try:
            alive = not is_dead(row, store.engine.sidecar)
        except StoreError:
            alive = None
        since = to_iso(started_at)
        seen.append(WorkerSeen(row.worker_id, alive, row.pid, row.host, since, running, queues))
    return seen


def info(queue: JobQueue) -> dict[str, Any]:
    """What is in a queue's file; times ISO 8601 in UTC, sizes in bytes."""
    store = queue._store
    first, last = inspection.first_and_last(store)
    room = store.room()
    return {
        "path": queue.db_path,
        "schema_version": inspection.state(store).version,
        "journal_mode": inspection.journal_mode(store),
        "size": file_size(queue.db_path),
        "wal_size": file_size(f"{queue.db_path}-wal"),
        "free_size": room.free * room.page_size,
        "gives_back": room.gives_back,
        "retention": queue.retention(),
        "jobs": queue.stats(),
        "first_created": first and to_iso(first),
        "last_created": last and to_iso(last),
        "workers": [worker._asdict() for worker in workers(queue)],
    }


def file_size(path: str) -> int:
    """Bytes; 0 for no file."""
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def check(queue: JobQueue) -> list[str]:
    """What is wrong inside a queue's file; empty for nothing."""
    return inspection.faults(queue._store)


def backup(queue: JobQueue, target: str, *, force: bool = False) -> int:
    """Copy a queue's file, at one moment, while others go on with it; the bytes of the copy.

    Raises:
        Refused: there is a file already (and not ``force``), or the target is one of the queue's own files.
        StoreError: the queue cannot be read, or the copy not be written.
    """
    file = Path(target).absolute()
    own = {
        Path(f"{os.path.realpath(queue.db_path)}{suffix}")
        for suffix in ("", "-wal", "-shm", "-journal", "-lock")
    }
    if Path(os.path.realpath(file)) in own or (file.exists() and file.samefile(queue.db_path)):
        raise Refused(f"{target}: belongs to the queue itself. Name another file.")
    if file.is_dir():
        raise Refused(f"{target}: is a folder. Name a file in it, such as {file / 'jobs-backup.db'}.")
    exists = f"{target}: there is a file already, and it was left as it is. Name another, or add --force to replace it."
    if file.exists() and not force:
        raise Refused(exists)
    try:
        return inspection.copy(queue._store, file, replace=force)
    except FileExistsError:
        raise Refused(exists) from None
    except OSError as error:
        raise Refused(
            f"{target}: cannot be written: {error.strerror}. Check the folder and its permissions."
        ) from error


def vacuum(path: str, durability: Durability = "full") -> tuple[int, int]:
    """Write a queue's file anew without its free pages; from then on it gives back what is freed. Bytes before and after.

    Raises:
        StoreMissing: there is no such file.
        StoreError: it cannot be written, others are busy for too long, or there is no room for the copy.
    """
    if not Path(path).exists():
        raise no_file(path)
    queue = JobQueue(path, durability=durability)
    try:
        before = file_size(queue.db_path)
        queue._store.compact()
        return before, file_size(queue.db_path)
    finally:
        queue.close()


class Migrated(NamedTuple):
    """What ``migrate`` found and left."""

    before: str
    after: str
    changed: bool


def tables(state: migrations.State) -> str:
    """What is in a file, in words."""
    if state.is_old:
        return "tables of gigq 0.5.1 or older"
    return f"version {state.version}" if state.version else "no tables"


def migrate(path: str, durability: Durability = "full") -> Migrated:
    """Bring a file to the newest version.

    Raises:
        StoreMissing: there is no such file.
        StoreError: it cannot be migrated; nothing was changed.
    """
    queue = open_untouched(path)
    before = inspection.state(queue._store)
    JobQueue(path, durability=durability)
    after = inspection.state(queue._store)
    queue.close()
    return Migrated(tables(before), tables(after), before != after)
