"""The worker's one transaction: settle what is finished, tell the children, promote what is due, claim what is next."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from gigq import ids
from gigq.errors import GigQError, StoreError
from gigq.status import JobStatus
from gigq.store import graph
from gigq.store.rows import Lease, Settlement
from gigq.store.transaction import Transaction, as_json

_COMPLETED = JobStatus.COMPLETED.value
_RUNNING = JobStatus.RUNNING.value
_PENDING = JobStatus.PENDING.value


class LostLease(GigQError):
    """A settlement of a run that is no longer the newest of its job."""


class Claim(NamedTuple):
    """What a worker wants next."""

    worker: int
    want: int
    queue: str = "default"


def settle(tx: Transaction, settlements: list[Settlement], now: int) -> None:
    """Write how runs ended, each under its lease.

    Raises:
        LostLease: one of them is not the newest run of its job; the caller rolls back.
    """
    completed = [one for one in settlements if one.status == _COMPLETED]
    others = [one for one in settlements if one.status != _COMPLETED]
    if completed:
        _settle_completed(tx, completed, now)
    if others:
        _settle_others(tx, others, now)
    _record(tx, settlements)
    _count(tx, settlements)
    graph.ended(tx, [one.lease.seq for one in completed], now, all_completed=True)
    graph.ended(tx, [one.lease.seq for one in others if one.status != _PENDING], now)


def settle_one_by_one(
    tx: Transaction, settlements: list[Settlement], now: int, *, late: bool
) -> tuple[list[Settlement], list[Settlement]]:
    """Write those that can be written, each in a savepoint.

    Returns:
        Those whose lease was lost (with ``late`` marked superseded), and those that failed with the error of writing.
    """
    lost, refused = [], []
    for one in settlements:
        try:
            with tx.savepoint():
                settle(tx, [one], now)
        except LostLease:
            lost.append(one)
            if late:
                tx.run("supersede", job=one.lease.seq, execution=one.lease.execution_id)
        except StoreError as error:
            refused.append(one)
            failed = Settlement(
                one.lease, JobStatus.FAILED.value, "failed", one.started_at, one.ended_at, attempts=1
            )
            failed.error = f"its end could not be stored: {error}"
            settle(tx, [failed], now)
    return lost, refused


def _settle_completed(tx: Transaction, settlements: list[Settlement], now: int) -> None:
    outcomes = as_json(
        [
            (one.lease.seq, one.lease.execution_id, one.result, one.started_at, one.ended_at)
            for one in settlements
        ]
    )
    if tx.run("settle_completed", outcomes=outcomes, now=now) != len(settlements):
        raise LostLease


def _settle_others(tx: Transaction, settlements: list[Settlement], now: int) -> None:
    outcomes = as_json(
        [
            (
                one.lease.seq,
                one.lease.execution_id,
                one.status,
                one.attempts,
                one.crashes,
                int(one.run is not None),
                one.due_at,
                one.held_by,
                one.started_at,
                None if one.status == _PENDING else one.ended_at,
                one.error,
            )
            for one in settlements
        ]
    )
    if tx.run("settle_ended", outcomes=outcomes, now=now) != len(settlements):
        raise LostLease


def _record(tx: Transaction, settlements: list[Settlement]) -> None:
    runs = [
        (
            one.lease.seq,
            one.lease.runs + 1,
            one.lease.execution_id,
            one.run,
            one.started_at,
            one.ended_at,
            one.error,
            one.lease.worker,
        )
        for one in settlements
        if one.run is not None
    ]
    if runs:
        tx.run("record_runs", runs=as_json(runs))


def _count(tx: Transaction, settlements: list[Settlement]) -> None:
    differences: Counter[tuple[str, str]] = Counter((one.lease.queue, one.status) for one in settlements)
    for one in settlements:
        differences[one.lease.queue, _RUNNING] -= 1
    add_counts(tx, differences)


def add_counts(tx: Transaction, differences: Counter[tuple[str, str]]) -> None:
    """Keep ``counts`` true: (queue, status) -> how many more."""
    tx.run(
        "add_counts",
        differences=as_json([(queue, status, n) for (queue, status), n in differences.items() if n]),
    )


def claim(tx: Transaction, what: Claim, now: int) -> list[Lease]:
    """Put the best ready jobs of a queue under a lease."""
    leases = tx.array("claim_choose", Lease, queue=what.queue, want=what.want)
    if not leases:
        return leases
    token = ids.lease_token()
    jobs = as_json([lease.seq for lease in leases])
    tx.run("claim_take", token=token, worker=what.worker, now=now, jobs=jobs)
    for lease in leases:
        lease.execution_id = f"{token}-{lease.seq}"
        lease.worker = what.worker
        lease.claimed_at = now
    add_counts(tx, Counter({(what.queue, _PENDING): -len(leases), (what.queue, _RUNNING): len(leases)}))
    return leases
