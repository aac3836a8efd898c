"""Every operation against every status, on every kind of store: what the table allows happens, and nothing else."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

import jobs
import pytest
from clocks import TurnedClock

from gigq import DuplicateJob, Job, JobQueue, JobStatus
from gigq.clock import SECOND
from gigq.lease import Lease
from gigq.status import CLEARABLE, TRANSITIONS, End, Move
from gigq.store.claiming import Claim
from gigq.worker import settling

ENDS: tuple[End, ...] = typing.get_args(End)
STATUSES = list(JobStatus)
REACHED_BY: dict[JobStatus, End] = {
    JobStatus.COMPLETED: "returned",
    JobStatus.FAILED: "raised",
    JobStatus.TIMEOUT: "timeout",
}


class Case:
    """One job, brought into a status; the clock has moved since."""

    def __init__(self, queue: JobQueue, clock: TurnedClock, status: JobStatus) -> None:
        self.queue = queue
        self.store = queue._store
        self.clock = clock
        self.job = Job("one", jobs.nothing, max_attempts=1)
        self.id = queue.submit(self.job)
        self.lease = self._bring(status)
        assert self.record["status"] == status.value
        clock.turn(1)
        self.before = self.record

    def _bring(self, status: JobStatus) -> Lease | None:
        """The last lease, if there was one."""
        if status is JobStatus.PENDING:
            return None
        lease = self.claim()
        assert lease is not None
        if status is JobStatus.CANCELLED:
            self.settle(lease, "unstarted")
            assert self.queue.cancel(self.id)
        elif status in REACHED_BY:
            assert self.settle(lease, REACHED_BY[status])
        return lease

    @property
    def record(self) -> dict[str, Any]:
        return self.queue.get_status(self.id)

    def claim(self) -> Lease | None:
        claimed = self.store.exchange([], Claim(1, 10), self.clock.now()).claimed
        return claimed[0] if claimed else None

    def settle(self, lease: Lease, end: End) -> bool:
        now = self.clock.now()
        settlement = settling.decide(lease, end, now, started_at=now, error="why")
        return not self.store.exchange([settlement], None, now).lost

    def stale_lease(self) -> Lease:
        """The last lease of the job; for one that never had any, one that somebody made up."""
        if self.lease is not None:
            return self.lease
        other = JobQueue(":memory:", clock=self.clock)
        other.submit(Job("one", jobs.nothing))
        claimed = other._store.exchange([], Claim(1, 1), self.clock.now()).claimed[0]
        claimed.id = self.id
        return claimed

    def hold(self) -> None:
        """Mark it as held since long ago, whatever its status."""
        self.mark("held_by = 'import:nowhere', held_since = 0")

    def mark(self, columns: str) -> None:
        with self.store.engine.writing() as connection:
            connection.execute(f"UPDATE job SET {columns}")
        self.before = self.record


def _cancel(case: Case) -> bool:
    return case.queue.cancel(case.id)


def _claim(case: Case) -> bool:
    return case.claim() is not None


def _requeue(case: Case) -> bool:
    return case.queue.requeue_job(case.id)


def _give_way(case: Case) -> bool:
    """A requeue, while another job has its unique key."""
    case.queue.submit(Job("other", jobs.nothing, unique_key="key"))
    with case.store.engine.writing() as connection:
        connection.execute(
            "UPDATE job SET unique_key = 'key', unique_states = 'pending,running' WHERE id = ?", (case.id,)
        )
    case.before = case.record
    assert not case.queue.requeue_job(case.id)
    return case.record != case.before


def _expire(case: Case) -> bool:
    return _is_over(case, "expires_at = 1, deadline_at = 2", JobStatus.CANCELLED)


def _miss_deadline(case: Case) -> bool:
    return _is_over(case, "expires_at = 2, deadline_at = 1", JobStatus.TIMEOUT)


def _is_over(case: Case, times: str, status: JobStatus) -> bool:
    """Mark it as over since long ago, whatever its status."""
    case.mark(f"{times}, ends_at = 1")
    case.store.expire(case.clock.now())
    happened = case.record != case.before
    assert not happened or case.record["status"] == status.value
    return happened


def _hold_expires(case: Case) -> bool:
    case.hold()
    case.store.fail_held(SECOND, case.clock.now())
    return case.record != case.before


MOVES: list[tuple[Move, Callable[[Case], bool]]] = [
    ("claim", _claim),
    ("cancel", _cancel),
    ("requeue", _requeue),
    ("expire", _expire),
    ("expire", _miss_deadline),
    ("hold_expires", _hold_expires),
    ("give_way", _give_way),
]


@pytest.fixture
def case(queue: JobQueue, clock: TurnedClock, status: JobStatus) -> Case:
    return Case(queue, clock, status)


def counts_are_true(queue: JobQueue) -> bool:
    """Whether the kept counts are those of the rows."""
    listed = queue.list_jobs()
    truth = {state.value: sum(row["status"] == state.value for row in listed) for state in JobStatus}
    return queue.stats() == {**truth, "total": len(listed)}


def test_every_move_of_the_law_is_tried_here() -> None:
    assert {*(move for move, _ in MOVES), "settle"} == set(TRANSITIONS)


@pytest.mark.parametrize("status", STATUSES, ids=lambda status: status.value)
@pytest.mark.parametrize(("move", "make"), MOVES, ids=lambda of: getattr(of, "__name__", of))
def test_a_move_happens_where_the_law_allows_it_and_nowhere_else(
    case: Case, status: JobStatus, move: Move, make: Callable[[Case], bool]
) -> None:
    sources, targets = TRANSITIONS[move]
    happened = make(case)
    assert happened == (status in sources)
    if happened:
        assert JobStatus(case.record["status"]) in targets
    else:
        assert case.record == case.before
    assert counts_are_true(case.queue)


@pytest.mark.parametrize("status", STATUSES, ids=lambda status: status.value)
@pytest.mark.parametrize("end", ENDS)
def test_only_a_running_job_can_be_settled_and_only_under_its_lease(
    case: Case, status: JobStatus, end: End
) -> None:
    sources, targets = TRANSITIONS["settle"]
    settled = case.settle(case.stale_lease(), end)
    assert settled == (status in sources)
    if settled:
        assert JobStatus(case.record["status"]) in targets
    else:
        changed = {key for key, value in case.record.items() if value != case.before[key]}
        assert changed <= {"executions"}  # where a late run is marked superseded
    assert counts_are_true(case.queue)


@pytest.mark.parametrize("status", [JobStatus.RUNNING])
@pytest.mark.parametrize("end", ENDS)
def test_the_lease_before_the_newest_settles_nothing(case: Case, end: End) -> None:
    assert case.lease is not None
    case.settle(case.lease, "unstarted")
    assert case.claim() is not None
    running = case.record
    assert not case.settle(case.lease, end)
    assert case.record == running


@pytest.mark.parametrize("status", [JobStatus.RUNNING])
@pytest.mark.parametrize("first", ENDS)
@pytest.mark.parametrize("second", ENDS)
def test_a_lease_settles_once(case: Case, first: End, second: End) -> None:
    assert case.lease is not None
    assert case.settle(case.lease, first)
    settled = case.record
    assert not case.settle(case.lease, second)
    assert {**case.record, "executions": []} == {**settled, "executions": []}


@pytest.mark.parametrize("status", STATUSES, ids=lambda status: status.value)
def test_only_completed_and_cancelled_jobs_are_cleared(case: Case, status: JobStatus) -> None:
    cleared = case.queue.clear_completed()
    assert cleared == int(status in CLEARABLE)
    assert case.record == ({"exists": False} if cleared else case.before)
    assert counts_are_true(case.queue)


@pytest.mark.parametrize("status", STATUSES, ids=lambda status: status.value)
def test_a_job_cannot_be_submitted_twice(case: Case) -> None:
    with pytest.raises(DuplicateJob, match=case.id):
        case.queue.submit(case.job)
    assert case.record == case.before
    assert counts_are_true(case.queue)


@pytest.mark.parametrize("status", STATUSES, ids=lambda status: status.value)
def test_another_job_leaves_it_alone(case: Case) -> None:
    case.queue.submit(Job("two", jobs.nothing))
    assert case.record == case.before
    assert counts_are_true(case.queue)
