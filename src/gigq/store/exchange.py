"""The worker's one transaction: settle what is finished, tell the children, promote what is due, claim what is next."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from gigq import ids
from gigq.errors import GigQError, StoreError
from gigq.lease import Lease
from gigq.status import JobStatus, heed_stop
from gigq.store import admission, graph
from gigq.store.rows import Settlement
from gigq.store.transaction import Transaction, as_json, decode_array

_COMPLETED = JobStatus.COMPLETED.value
_RUNNING = JobStatus.RUNNING.value
_PENDING = JobStatus.PENDING.value

_SMALL = 4096
"""Bytes of results that are hardly more than a page."""


class LostLease(GigQError):
    """A settlement of a run that is no longer the newest of its job."""


Differences = dict[tuple[str, str], int]
"""(queue, status) -> how many more."""


class Claim(NamedTuple):
    """What a worker wants next."""

    worker: int
    want: int
    queue: str = "default"
    without: Collection[tuple[str, str, str | None]] = ()
    """Functions (module, name, script) that it has tried to import in vain."""
    want_async: int | None = None
    """How many coroutine functions beside ``want`` plain ones; None makes no difference between them."""
    coroutines: Collection[tuple[str, str]] = ()
    """Functions (module, name) that this worker has found to be coroutine functions."""

    @property
    def wants(self) -> bool:
        """Whether it wants anything."""
        return self.want > 0 or bool(self.want_async)


class Batch:
    """Settlements as they travel into the statements; encoded before the gate is taken, so that nobody waits for it."""

    def __init__(self, settlements: list[Settlement]) -> None:
        self.completed = [one for one in settlements if one.status == _COMPLETED]
        self.completed_seqs = [one.lease.seq for one in self.completed]
        self.limited = [one for one in settlements if one.lease.line is not None]
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
        return not self.badly and not self.again and len(self.outcomes) <= _SMALL

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
    """
    completed = as_json(batch.completed_seqs)
    if batch.again:
        _heed_stops(tx, batch)
    if batch.completed:
        if tx.run("settle_completed", outcomes=batch.outcomes, now=now) != len(batch.completed):
            raise LostLease
        tx.run("record_completed", jobs=completed)
    if batch.badly:
        _settle_others(tx, batch.badly, now)
    graph.ended(tx, batch.completed_seqs, [one.lease.seq for one in batch.badly], now)
    if batch.again:  # after the news of their parents: they look at their edges themselves
        _settle_others(tx, batch.again, now)
    if batch.limited:
        admission.let_go(tx, batch.limited)


def _heed_stops(tx: Transaction, batch: Batch) -> None:
    """Let the law hear of runs that were asked to stop, which may have ended in another way before they were told."""
    asked = frozenset(tx.column("stop_requests"))
    if not asked:
        return
    for one in batch.again:
        if one.lease.execution_id in asked:
            one.decide_again(heed_stop)
            batch.badly.append(one)
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
        except StoreError as error:
            if type(error) is not StoreError:  # the disk, the lock: no single outcome is to blame
                raise
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
                one.error,
            )
            for one in settlements
        ]
    )
    if tx.run("settle_ended", outcomes=outcomes, now=now) != len(settlements):
        raise LostLease
    _record(tx, settlements)


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


def count(tx: Transaction, settled: Batch | None, claimed: Claimed | None) -> None:
    """Keep ``counts`` true, in one statement for both."""
    differences = dict(settled.differences) if settled is not None else {}
    if claimed is not None:
        _note(differences, claimed.queue, _PENDING, _RUNNING, claimed.taken)
    add_counts(tx, differences)


def add_counts(tx: Transaction, differences: Differences) -> None:
    """Keep ``counts`` true."""
    changes = [(queue, status, n) for (queue, status), n in differences.items() if n]
    if changes:
        tx.run("add_counts", differences=as_json(changes))


class Claimed(NamedTuple):
    """What a claim took, to be read when the gate is open again."""

    leases: str | list[Lease]
    queue: str
    taken: int
    put_back: int = 0
    """Ready jobs that met a limit which had no room for them."""

    def read(self) -> list[Lease]:
        return self.leases if isinstance(self.leases, list) else decode_array(Lease, self.leases)


_FURTHER = 128
"""Ready jobs that are looked at beyond those that are wanted, to find some of either kind."""
_FURTHEST = 4000
"""Ready jobs that are looked at to find some of one kind behind those of the other [m: 1 ms]."""


_PUT_BACK = 2000
"""Ready jobs that one claim finds no room for, at most, before it leaves the rest to the next."""


class _Chosen(NamedTuple):
    """Ready jobs that a claim may take."""

    leases: str | list[Lease]
    jobs: str
    """Their numbers."""
    n: int
    line: int | None
    """One that some of them would stand in; None if none of them has limits."""


def claim(tx: Transaction, what: Claim, now: int) -> Claimed | None:
    """Put the best ready jobs of a queue under a lease; the caller counts them."""
    token = ids.lease_token()
    put_back = 0
    while True:
        chosen = _choose(tx, what, token, now)
        if chosen.line is not None:
            chosen, back = _within_limits(tx, chosen, now)
            put_back += back
            if not chosen.n and back and put_back < _PUT_BACK:
                continue  # others may be behind them
        break
    if chosen.n:
        tx.run("claim_take", token=token, worker=what.worker, now=now, jobs=chosen.jobs)
    elif not put_back:
        return None
    return Claimed(chosen.leases, what.queue, chosen.n, put_back)


def _within_limits(tx: Transaction, chosen: _Chosen, now: int) -> tuple[_Chosen, int]:
    """Those that their limits have room for, and how many were put back."""
    leases = chosen.leases if isinstance(chosen.leases, list) else decode_array(Lease, chosen.leases)
    found = admission.check(tx, leases, now)
    if len(found) == len(leases):
        return chosen, 0
    return _listed(found), len(leases) - len(found)


def _listed(leases: list[Lease]) -> _Chosen:
    lines = [lease.line for lease in leases if lease.line is not None]
    return _Chosen(leases, as_json([lease.seq for lease in leases]), len(leases), max(lines, default=None))


def _choose(tx: Transaction, what: Claim, token: str, now: int) -> _Chosen:
    """The best ready jobs that there is room for."""
    if what.want_async is None:
        return _choose_any(tx, what, what.want, token, now)
    if not what.want or not what.want_async:
        return _choose_kind(tx, what, token, now)
    ready = _choose_any(tx, what, max(what.want, what.want_async) + _FURTHER, token, now)
    assert isinstance(ready.leases, str)  # noqa: S101 - as the statement gives them
    return _listed(_of_each_kind(decode_array(Lease, ready.leases), what, what.want_async))


def _choose_any(tx: Transaction, what: Claim, most: int, token: str, now: int) -> _Chosen:
    values = {"queue": what.queue, "want": most, "token": token, "worker": what.worker, "now": now}
    if what.without:
        row = tx.row("claim_choose_without", without=as_json(list(what.without)), **values)
    else:
        row = tx.row("claim_choose", **values)
    assert row is not None  # noqa: S101 - an aggregate has one row
    return _Chosen(*row)


def _choose_kind(tx: Transaction, what: Claim, token: str, now: int) -> _Chosen:
    """Of the only kind that there is room for."""
    row = tx.row(
        "claim_choose_kind",
        queue=what.queue,
        want=what.want or what.want_async,
        kind=int(not what.want),
        most=_FURTHEST,
        coroutines=as_json(list(what.coroutines)),
        without=as_json(list(what.without)),
        token=token,
        worker=what.worker,
        now=now,
    )
    assert row is not None  # noqa: S101 - an aggregate has one row
    return _Chosen(*row)


def _of_each_kind(ready: list[Lease], what: Claim, want_async: int) -> list[Lease]:
    """The first ones that there is room for."""
    left = [what.want, want_async]
    chosen = []
    for lease in ready:
        kind = lease.is_async
        if kind is None:
            kind = (lease.module, lease.function) in what.coroutines
        if left[kind] > 0:
            left[kind] -= 1
            chosen.append(lease)
    return chosen
