"""Adding jobs: what a submission must satisfy, and how it is written."""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple

from gigq.errors import DependencyCycle, DuplicateJob, UnknownParent
from gigq.status import JobStatus
from gigq.store import graph
from gigq.store.exchange import add_counts
from gigq.store.rows import NewJob
from gigq.store.transaction import Transaction, as_json

_PIECE = 5000
"""Jobs in one statement: bounds the JSON text, not the transaction."""


class Plan(NamedTuple):
    """A submission that is sound in itself."""

    jobs: list[NewJob]
    places: dict[str, int]
    """Id -> place in ``jobs``."""
    outside: list[str]
    """Ids of parents that must be in the queue already."""


def plan(jobs: list[NewJob]) -> Plan:
    """Check what can be checked without the database.

    Raises:
        DuplicateJob: two jobs of the submission have the same id.
        DependencyCycle: jobs wait for each other.
    """
    places = {job.id: place for place, job in enumerate(jobs)}
    if len(places) != len(jobs):
        twice = next(name for name, n in Counter(job.id for job in jobs).items() if n > 1)
        raise DuplicateJob(f"job {twice} is submitted twice at once. Make a new Job for each.")
    outside: dict[str, None] = {}
    backwards = True
    for place, job in enumerate(jobs):
        for parent in job.dependencies:
            at = places.get(parent)
            if at is None:
                outside[parent] = None
            elif at >= place:
                backwards = False
    if not backwards:
        _refuse_cycle(jobs, places)
    return Plan(jobs, places, list(outside))


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


def insert(tx: Transaction, what: Plan, now: int) -> None:
    """Write a submission within the caller's transaction.

    Raises:
        DuplicateJob, UnknownParent: see :mod:`gigq.errors`; the caller rolls back.
    """
    jobs = what.jobs
    _refuse_known(tx, jobs)
    outside = _find(tx, what.outside)
    missing = [parent for parent in what.outside if parent not in outside]
    if missing:
        _refuse_unknown(jobs, missing[0])
    base: int = tx.value("last_seq") + 1
    for start in range(0, len(jobs), _PIECE):
        piece = jobs[start : start + _PIECE]
        tx.run(
            "insert_jobs", jobs=as_json([_row(base + start + i, job) for i, job in enumerate(piece)]), now=now
        )
        tx.run("insert_params", rows=as_json([(base + start + i, job.params) for i, job in enumerate(piece)]))
    _insert_edges(tx, what, base, outside)
    add_counts(tx, Counter((job.queue, JobStatus.PENDING.value) for job in jobs))
    settled_before = [
        base + place
        for place, job in enumerate(jobs)
        if outside and any(parent in outside for parent in job.dependencies)
    ]
    if settled_before:
        tx.run("recount", jobs=as_json(settled_before))
        graph.cancel_doomed(tx, settled_before, now)


def _row(seq: int, job: NewJob) -> tuple[object, ...]:
    parents = len(job.dependencies)
    return (
        seq,
        job.id,
        job.queue,
        job.priority,
        parents,  # all of this submission are open; recount looks at those outside it
        job.name,
        job.module,
        job.function,
        job.script,
        parents,
        job.on_parent_failure,
        job.pass_parent_results,
        job.wants_parents,
        job.max_attempts,
        job.max_crashes,
        job.timeout,
        job.retry_delay,
        job.description,
        job.created_at,
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
    return {ids[place]: seq for place, seq, _ in tx.array("known_ids", list, ids=as_json(ids))}


def _refuse_known(tx: Transaction, jobs: list[NewJob]) -> None:
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
