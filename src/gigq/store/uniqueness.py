"""Unique jobs: who has a key, and what a submission, a retry or a requeue does that meets somebody who has it.

A job takes its slot when it is submitted and keeps the entry when its right to it ends (``keeps_slot``): the next one that
wants the key takes it over. So nothing is to be done where a job starts or ends. But a job that becomes pending again
may find that another has taken its slot meanwhile (:func:`regain`).
"""

from __future__ import annotations

from typing import NamedTuple

from gigq.errors import DuplicateJob, InvalidJob
from gigq.newjob import NewJob
from gigq.status import JobStatus
from gigq.store.rows import Parent
from gigq.store.transaction import Transaction, as_json

_PIECE = 5000
"""Keys in one statement."""
_PENDING = JobStatus.PENDING.value
_UPDATES = frozenset({"replace", "debounce"})


class Holder(NamedTuple):
    """The job that took a slot last."""

    key: str
    seq: int
    id: str
    status: str
    keeps: int
    """Whether it still has a right to it."""

    @property
    def is_pending(self) -> bool:
        """Whether it may be given another declaration."""
        return self.status == _PENDING


class Change(NamedTuple):
    """A pending job that is given what another declared."""

    id: str
    key: str
    job: NewJob


class Meeting(NamedTuple):
    """How the unique jobs of a submission fare."""

    new: list[NewJob]
    """What is left to insert."""
    met: dict[str, str]
    """Id of a job that is not submitted -> id of the one that has its key."""
    changes: list[Change]
    """In order."""


def holders_of(tx: Transaction, jobs: list[NewJob], now: int) -> dict[str, Holder]:
    """Who has the keys of a submission."""
    return _holders(tx, [job.unique.key for job in jobs if job.unique is not None], now)


def meet(tx: Transaction, jobs: list[NewJob], holders: dict[str, Holder]) -> Meeting:
    """Decide what becomes of the unique jobs of a submission, and free the keys that nobody has a right to any more.

    A dependency on a job that is not submitted becomes one on the job that has its key.

    Raises:
        DuplicateJob: somebody has the key of a job that wants to hear of it; the caller rolls back.
    """
    wanted = [(job, job.unique) for job in jobs if job.unique is not None]
    takers: dict[str, tuple[str, str]] = {h.key: (h.id, h.status) for h in holders.values() if h.keeps}
    stale: list[int] = []
    meeting = Meeting([], {}, [])
    for job, unique in wanted:
        taker = takers.get(unique.key)
        if taker is None:
            takers[unique.key] = (job.id, _PENDING)
            stale += [holders[unique.key].seq] if unique.key in holders else []
            continue
        taker_id, status = taker
        if unique.on_conflict == "raise":
            raise DuplicateJob(
                f"job {job.name!r} ({job.id}): its unique key {unique.key!r} is taken by job {taker_id}, which is "
                f"{status}. Nothing was submitted."
            )
        if updates(job) and status == _PENDING:
            meeting.changes.append(Change(taker_id, unique.key, job))
        meeting.met[job.id] = taker_id
    if stale:
        tx.run("leave_slots", jobs=as_json(stale))
    meeting.new.extend(job for job in jobs if job.id not in meeting.met)
    if meeting.met:
        _turn_edges(jobs, meeting.met)
    return meeting


def updates(job: NewJob) -> bool:
    """Whether it gives what it declares to a pending job with its key."""
    return job.unique is not None and job.unique.on_conflict in _UPDATES


def _holders(tx: Transaction, keys: list[str], now: int) -> dict[str, Holder]:
    if len(keys) == 1:  # for which JSON would cost most of the time
        row = tx.row("slot_holder", key=keys[0], now=now)
        return {} if row is None else {keys[0]: Holder(keys[0], *row)}
    found: list[Holder] = []
    for start in range(0, len(keys), _PIECE):
        found += tx.array("slot_holders", Holder, keys=as_json(keys[start : start + _PIECE]), now=now)
    return {holder.key: holder for holder in found}


def _turn_edges(jobs: list[NewJob], met: dict[str, str]) -> None:
    for job in jobs:
        if job.dependencies:
            job.dependencies = list(dict.fromkeys(met.get(parent, parent) for parent in job.dependencies))


def columns(job: NewJob, now: int) -> tuple[object, ...]:
    """Its ``unique_columns``; empty for a job that is not unique."""
    unique = job.unique
    if unique is None:
        return ()
    until = None if unique.period is None else now + unique.period
    return unique.key, unique.key, unique.states, until


def redeclare(tx: Transaction, change: Change, kind: tuple[object, ...], now: int) -> int | None:
    """Give a pending job what another declared; it keeps its id, its place in line, its parents and its history.

    Args:
        tx: the transaction in which it was found pending.
        change: which, and what it is given.
        kind: the ``kind_columns`` of that.
        now: microseconds UTC.

    Returns:
        Its number; None if it was cancelled just now, with a parent that had ended badly.

    Raises:
        InvalidJob: it would have to wait for other parents; the caller rolls back.
    """
    job = change.job
    seq: int = tx.value("find", id=change.id)
    parents = {parent.id for parent in tx.array("parents_of", Parent, jobs=as_json([seq]))}
    if parents != set(job.dependencies):
        raise InvalidJob(
            f"job {job.name!r}: dependencies: job {change.id}, which has its unique key {change.key!r}, waits for other "
            "parents, and to replace it does not change them. Cancel that one first. Nothing was submitted."
        )
    listed = as_json([seq])
    tx.run("count_jobs", jobs=listed, sign=-1)
    pending = tx.place("redeclare", (job.name, now, *kind, *columns(job, now), seq)) == 1
    tx.run("count_jobs", jobs=listed, sign=1)
    if not pending:
        return None
    tx.run("redeclare_params", job=seq, body=job.params)
    return seq


def regain(tx: Transaction, jobs: list[int], now: int) -> dict[int, str]:
    """Have jobs that are about to become pending again hold their keys.

    Returns:
        Job -> id of the one that has its key, for those that cannot.
    """
    replaced: dict[int, str] = {}
    coming = frozenset(jobs)
    for seq, key in tx.array("lost_slots", tuple[int, str], jobs=as_json(jobs), now=now):
        holder = _holders(tx, [key], now).get(key)
        if holder is not None and (holder.keeps or holder.seq in coming):
            replaced[seq] = holder.id
            continue
        if holder is not None:
            tx.run("leave_slots", jobs=as_json([holder.seq]))
        tx.run("regain_slot", job=seq)
    return replaced
