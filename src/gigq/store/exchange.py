"""The first half of the worker's one transaction: settle what is finished, tell the children, keep the counts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from gigq.errors import GigQError, InvalidJob, StoreError
from gigq.status import Decision, JobStatus, give_way, heed_stop
from gigq.store import admission, graph, history, membership, uniqueness
from gigq.store.claiming import Claimed
from gigq.store.counting import Differences, add_counts
from gigq.store.rows import Settlement
from gigq.store.transaction import Transaction, as_json

_COMPLETED = JobStatus.COMPLETED.value
_RUNNING = JobStatus.RUNNING.value
_PENDING = JobStatus.PENDING.value

_SMALL = 4096
"""Bytes of results that are hardly more than a page."""


class LostLease(GigQError):
    """A settlement of a run that is no longer the newest of its job."""


class Batch:
    """Settlements as they travel into the statements; encoded before the gate is taken, so that nobody waits for it."""

    def __init__(self, settlements: list[Settlement]) -> None:
        self.completed = [one for one in settlements if one.status == _COMPLETED]
        self.completed_seqs = [one.lease.seq for one in self.completed]
        self.limited = [one for one in settlements if one.lease.line is not None]
        self.grown = [one for one in self.completed if one.grown]
        self.badly: list[Settlement] = []
        self.again: list[Settlement] = []
        if len(self.completed) != len(settlements):
            self.badly = [one for one in settlements if one.status not in (_COMPLETED, _PENDING)]
            self.again = [one for one in settlements if one.status == _PENDING]
        self.outcomes = as_json(
            [
                (one.lease.seq, one.lease.execution_id, one.result, one.started_at, one.ended_at)
                for one in self.completed
            ]
        )
        self.differences = self.count()

    @property
    def is_small(self) -> bool:
        """Whether its values are; an error may be long."""
        return not (self.badly or self.again or self.grown) and len(self.outcomes) <= _SMALL

    def leaving(self) -> dict[str, int]:
        """Queue -> how many of its runs have ended here, while ``counts`` still holds them."""
        return {queue: -n for (queue, status), n in self.differences.items() if status == _RUNNING and n < 0}

    def count(self) -> Differences:
        """What the settlements change in ``counts``."""
        found: Differences = {}
        queues = [one.lease.queue for one in self.completed]
        for queue in set(queues):
            _note(found, queue, _RUNNING, _COMPLETED, queues.count(queue))
        for one in self.badly + self.again:
            _note(found, one.lease.queue, _RUNNING, one.status, 1)
        return found


def _note(differences: Differences, queue: str, left: str, entered: str, n: int) -> None:
    differences[queue, left] = differences.get((queue, left), 0) - n
    differences[queue, entered] = differences.get((queue, entered), 0) + n


def settle(tx: Transaction, batch: Batch, now: int) -> None:
    """Write how runs ended, each under its lease; the caller counts them.

    Raises:
        LostLease: one of them is not the newest run of its job; the caller rolls back.
        InvalidJob: what one of them has added cannot be accepted; the same.
    """
    completed = as_json(batch.completed_seqs)
    if batch.again:
        _heed_stops(tx, batch)
        _heed_keys(tx, batch, now)
    if batch.completed:
        if tx.run("settle_completed", outcomes=batch.outcomes, now=now) != len(batch.completed):
            raise LostLease
        tx.run("record_completed", jobs=completed)
    if batch.badly:
        _settle_others(tx, batch.badly, now)
    graph.ended(tx, batch.completed_seqs, [one.lease.seq for one in batch.badly], now)
    for one in batch.grown:
        membership.grow(tx, one, now)
    if batch.again:  # after the news of their parents: they look at their edges themselves
        _settle_others(tx, batch.again, now)
    if batch.limited:
        admission.let_go(tx, batch.limited)


def _heed_stops(tx: Transaction, batch: Batch) -> None:
    """Let the law hear of runs that were asked to stop, which may have ended in another way before they were told."""
    asked = frozenset(tx.column("stop_requests"))
    if asked:
        _decide_again(batch, [(one, heed_stop) for one in batch.again if one.lease.execution_id in asked])


def _heed_keys(tx: Transaction, batch: Batch, now: int) -> None:
    """And of jobs whose unique key another one has taken while they ran."""
    others = uniqueness.regain(tx, [one.lease.seq for one in batch.again], now)
    if others:
        late = [one for one in batch.again if one.lease.seq in others]
        _decide_again(batch, [(one, partial(give_way, other=others[one.lease.seq])) for one in late])


def _decide_again(batch: Batch, those: list[tuple[Settlement, Callable[[Decision], Decision]]]) -> None:
    """Settle as ended what was to run again."""
    for one, law in those:
        one.decide_again(law)
        batch.badly.append(one)
    if those:
        batch.again = [one for one in batch.again if one.status == _PENDING]
        batch.differences = batch.count()


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
            stands = _settle_alone(tx, one, now)
        except (StoreError, InvalidJob) as error:
            if isinstance(error, StoreError) and type(error) is not StoreError:
                raise  # the disk, the lock: no single outcome is to blame
            failed = Settlement(
                one.lease, JobStatus.FAILED.value, "failed", one.started_at, one.ended_at, attempts=1
            )
            failed.error = f"its end could not be stored: {error}"
            stands = _settle_alone(tx, failed, now)
            if stands:
                refused.append(one)
        if not stands:
            lost.append(one)
            if late:
                tx.run("supersede", job=one.lease.seq, execution=one.lease.execution_id)
    return lost, refused


def _settle_alone(tx: Transaction, settlement: Settlement, now: int) -> bool:
    """False if its lease was lost."""
    try:
        with tx.savepoint():
            batch = Batch([settlement])
            settle(tx, batch, now)
            add_counts(tx, batch.differences)
    except LostLease:
        return False
    return True


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
                one.verdict or one.error,
            )
            for one in settlements
        ]
    )
    if tx.run("settle_ended", outcomes=outcomes, now=now) != len(settlements):
        raise LostLease
    history.record(tx, settlements)


def count(tx: Transaction, settled: Batch | None, claimed: Claimed | None) -> None:
    """Keep ``counts`` true, in one statement for both."""
    differences = dict(settled.differences) if settled is not None else {}
    if claimed is not None:
        for queue, n in claimed.queues.items():
            _note(differences, queue, _PENDING, _RUNNING, n)
    add_counts(tx, differences)
