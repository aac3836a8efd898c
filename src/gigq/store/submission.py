"""Adding jobs: what a submission must satisfy, and how it is written."""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple

from gigq.errors import DependencyCycle, DuplicateJob, UnknownParent
from gigq.ids import sought
from gigq.newjob import NewJob
from gigq.status import JobStatus
from gigq.store import admission, claiming, graph, labels, uniqueness
from gigq.store.counting import add_counts
from gigq.store.transaction import Transaction, as_json
from gigq.timing import NO_TIMES

_PIECE = 5000
"""Jobs in one statement: bounds the JSON text, not the transaction."""
_BYTES = 16 * 1024 * 1024
"""Of params in one statement."""
_SMALL = 4096
"""Bytes of params that are hardly more than a page."""


class Plan(NamedTuple):
    """A submission that is sound in itself."""

    jobs: list[NewJob]
    places: dict[str, int]
    """Id -> place in ``jobs``."""
    outside: list[str]
    """Ids of parents that must be in the queue already."""
    is_keyed: bool = False
    """Whether any of the jobs is unique."""

    @property
    def is_small(self) -> bool:
        """Whether its values are."""
        return len(self.jobs) == 1 and len(self.jobs[0].params) <= _SMALL


def plan(jobs: list[NewJob]) -> Plan:
    """Check what can be checked without the database.

    Raises:
        DuplicateJob: two jobs of the submission have the same id.
        DependencyCycle: jobs wait for each other.
    """
    if len(jobs) == 1 and not jobs[0].dependencies:
        return Plan(jobs, {jobs[0].id: 0}, [], jobs[0].unique is not None)
    places = {job.id: place for place, job in enumerate(jobs)}
    if len(places) != len(jobs):
        twice = next(name for name, n in Counter(job.id for job in jobs).items() if n > 1)
        raise DuplicateJob(f"job {twice} is submitted twice at once. Make a new Job for each.")
    outside: dict[str, None] = {}
    backwards, keyed = True, False
    for place, job in enumerate(jobs):
        keyed = keyed or job.unique is not None
        for parent in job.dependencies:
            at = places.get(parent)
            if at is None:
                outside[parent] = None
            elif at >= place:
                backwards = False
    if not backwards:
        _refuse_cycle(jobs, places)
    return Plan(jobs, places, list(outside), keyed)


def _refuse_cycle(jobs: list[NewJob], places: dict[str, int]) -> None:
    """Take away what waits for nobody, again and again; what is left waits for itself."""
    left = [sum(parent in places for parent in set(job.dependencies)) for job in jobs]
    children: list[list[int]] = [[] for _ in jobs]
    for place, job in enumerate(jobs):
        for parent in set(job.dependencies):
            if parent in places:
                children[places[parent]].append(place)
    free = deque(place for place, n in enumerate(left) if n == 0)
    while free:
        for child in children[free.popleft()]:
            left[child] -= 1
            if left[child] == 0:
                free.append(child)
    stuck = [f"{jobs[place].name} {jobs[place].id}" for place, n in enumerate(left) if n > 0]
    if stuck:
        shown = ", ".join(stuck[:5]) + (f" and {len(stuck) - 5} more" if len(stuck) > 5 else "")
        raise DependencyCycle(
            f"these jobs wait for each other, or for one that does: {shown}. Nothing was submitted."
        )


def insert(tx: Transaction, what: Plan, now: int) -> dict[str, str]:
    """Write a submission within the caller's transaction.

    Returns:
        Id of a job that is not submitted -> id of the one that has its unique key.

    Raises:
        UnknownParent, DuplicateJob, DependencyCycle, InvalidJob: the caller rolls back.
        StoreError: an id is in the queue already, perhaps (see :func:`refuse_known`).
    """
    if not what.is_keyed:
        _insert(tx, what, now)
        return {}
    holders = uniqueness.holders_of(tx, what.jobs, now)
    # A job that can never start must not keep its key, though no worker has looked.
    if any(holder.is_pending for holder in holders.values()) and claiming.expire_any(tx, now):
        holders = uniqueness.holders_of(tx, what.jobs, now)
    meeting = uniqueness.meet(tx, what.jobs, holders)
    if meeting.met:
        what = plan(meeting.new)
    if what.jobs:
        _insert(tx, what, now)
    for change in meeting.changes:
        seq = uniqueness.redeclare(tx, change, _one_kind(change.job), now)
        if seq is not None:
            admission.enter_anew(tx, change.job, seq)
            labels.replace(tx, seq, change.job)
    return meeting.met


def _insert(tx: Transaction, what: Plan, now: int) -> None:
    jobs = what.jobs
    outside = _find(tx, what.outside)
    if len(outside) < len(what.outside):
        _refuse_unknown(jobs, next(parent for parent in what.outside if parent not in outside))
    base = _insert_one(tx, jobs[0], now) if len(jobs) == 1 else _insert_many(tx, what, now)
    labels.insert(tx, base, jobs)
    if any(job.limits is not None for job in jobs):
        admission.enter(tx, jobs, base)
    if not any(job.dependencies for job in jobs):
        return
    _insert_edges(tx, what, base, outside)
    settled_before = [
        base + place
        for place, job in enumerate(jobs)
        if outside and any(parent in outside for parent in job.dependencies)
    ]
    if settled_before:
        tx.run("recount", jobs=as_json(settled_before))
        graph.cancel_doomed(tx, settled_before, now)


def _insert_one(tx: Transaction, job: NewJob, now: int) -> int:
    """Each statement bound by place, none through JSON; the job's number."""
    values = (*_one_kind(job), len(job.dependencies), job.id, job.name, job.created_at, now)
    if job.unique is None:
        seq = tx.add("insert_job", values)
    else:
        seq = tx.add("insert_unique_job", values + uniqueness.columns(job, now))
    tx.add("insert_job_params", (seq, job.params))
    tx.add("count_job", (job.queue,))
    return seq


def _insert_many(tx: Transaction, what: Plan, now: int) -> int:
    """In order; the number of the first."""
    jobs = what.jobs
    base: int = tx.value("last_seq") + 1
    for start in range(0, len(jobs), _PIECE):
        piece = jobs[start : start + _PIECE]
        kinds: dict[tuple[object, ...], int] = {}
        rows: list[tuple[object, ...]] = [
            (job.id, job.name, job.created_at, kinds.setdefault(_kind(job), len(kinds))) for job in piece
        ]
        if what.is_keyed:
            rows = [row + uniqueness.columns(job, now) for row, job in zip(rows, piece, strict=True)]
        statement = "insert_unique_jobs" if what.is_keyed else "insert_jobs"
        tx.run(statement, base=base + start, jobs=as_json(rows), kinds=as_json(list(kinds)), now=now)
        _insert_params(tx, base + start, [job.params for job in piece])
    add_counts(tx, Counter((job.queue, JobStatus.PENDING.value) for job in jobs))
    return base


def _insert_params(tx: Transaction, base: int, bodies: list[str]) -> None:
    start = total = 0
    for place, body in enumerate(bodies):
        total += len(body)
        if total > _BYTES and place > start:
            tx.run("insert_params", base=base + start, bodies=as_json(bodies[start:place]))
            start, total = place, len(body)
    tx.run("insert_params", base=base + start, bodies=as_json(bodies[start:]))


def _one_kind(job: NewJob) -> tuple[object, ...]:
    """The ``kind_columns`` of a job, to be bound by place."""
    *kind, _ = _kind(job)
    return *kind, *job.times


def _kind(job: NewJob) -> tuple[object, ...]:
    """What many jobs of a submission have in common, in the order of ``kind_columns``, the times as one."""
    return (
        job.queue,
        job.priority,
        job.module,
        job.function,
        job.script,
        job.on_parent_failure,
        job.pass_parent_results,
        job.wants_parents,
        job.max_attempts,
        job.max_crashes,
        job.timeout,
        job.retry_delay,
        job.description,
        len(job.dependencies),
        job.is_async,
        job.retry,
        None if job.times is NO_TIMES else job.times,
    )


def _insert_edges(tx: Transaction, what: Plan, base: int, outside: dict[str, int]) -> None:
    edges = [
        (base + place, position, outside[parent] if parent in outside else base + what.places[parent])
        for place, job in enumerate(what.jobs)
        for position, parent in enumerate(job.dependencies)
    ]
    for start in range(0, len(edges), 2 * _PIECE):
        tx.run("insert_edges", rows=as_json(edges[start : start + 2 * _PIECE]))


def _find(tx: Transaction, ids: list[str]) -> dict[str, int]:
    """Id -> number of those that are in the queue."""
    if not ids:
        return {}
    return {
        ids[place]: seq for place, seq, _ in tx.array("known_ids", list, ids=as_json(list(map(sought, ids))))
    }


def refuse_known(tx: Transaction, jobs: list[NewJob]) -> None:
    """DuplicateJob, if an id is in the queue already. Asked when the insert was refused, not before every one."""
    for start in range(0, len(jobs), _PIECE):
        known = _find(tx, [job.id for job in jobs[start : start + _PIECE]])
        if known:
            raise DuplicateJob(
                f"job {next(iter(known))} is in the queue already. Make a new Job to run it again, or requeue it."
            )


def _refuse_unknown(jobs: list[NewJob], parent: str) -> None:
    child = next(job for job in jobs if parent in job.dependencies)
    raise UnknownParent(
        f"job {child.name!r} ({child.id}) depends on {parent}, which is not in the queue: never submitted, or cleared. "
        "Submit the parent first, or both in one workflow. Nothing was submitted."
    )
