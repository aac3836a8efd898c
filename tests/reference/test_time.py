"""Time: UTC with offset outside, one injected clock, and a wall clock that may jump."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jobs
import pytest
from clocks import TurnedClock
from processes import begun, wait_until, waiting

from gigq import Job, JobQueue, Worker
from gigq.clock import SECOND, to_iso

DAY = 24 * 3600
MakeWorker = Callable[..., Worker]


class JumpingClock(TurnedClock):
    """Its wall clock can be set; its monotonic time knows nothing of that."""

    def set_by(self, seconds: float) -> None:
        self._now += round(seconds * SECOND)


@pytest.fixture
def clock() -> JumpingClock:
    return JumpingClock()


def test_every_moment_is_told_in_utc_with_its_offset(db: str, make_worker: MakeWorker) -> None:
    queue = JobQueue(db)
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    job_id = queue.submit(Job("one", jobs.fail, max_attempts=2, retry_delay=3600))
    assert make_worker(db).process_one()
    record = queue.get_status(job_id)
    (run,) = record["executions"]
    for told in (record["created_at"], record["updated_at"], record["started_at"], run["completed_at"]):
        moment = datetime.fromisoformat(told)
        assert moment.utcoffset() == timedelta(0)
        assert before <= moment <= datetime.now(UTC)
    retry = datetime.fromisoformat(record["retry_after"]) - before
    assert timedelta(seconds=3600) <= retry <= timedelta(seconds=3600) + (datetime.now(UTC) - before)


def test_the_clock_of_a_queue_is_the_one_it_was_given(db: str, clock: JumpingClock) -> None:
    queue = JobQueue(db, clock=clock)
    job_id = queue.submit(Job("one", jobs.nothing))
    assert queue.get_status(job_id)["updated_at"] == to_iso(clock.now())
    clock.turn(5)
    queue.cancel(job_id)
    assert queue.get_status(job_id)["completed_at"] == to_iso(clock.now())


def test_the_clock_of_a_worker_is_the_one_it_was_given(
    db: str, make_worker: MakeWorker, clock: JumpingClock
) -> None:
    queue = JobQueue(db)
    job_id = queue.submit(Job("one", jobs.nothing))
    assert make_worker(db, clock=clock).process_one()
    record = queue.get_status(job_id)
    assert record["started_at"] == record["completed_at"] == to_iso(clock.now())


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_a_jump_of_the_wall_clock_ends_no_run(
    queue: JobQueue, make_worker: MakeWorker, clock: JumpingClock, go: Path, jump: int
) -> None:
    job_id = queue.submit(waiting(go, timeout=3600))
    thread = threading.Thread(target=make_worker(queue).process_one, daemon=True)
    thread.start()
    wait_until(lambda: begun(go), "the job runs")
    clock.set_by(jump)
    other = make_worker(queue)
    assert other._check_for_timeouts() == 0
    assert other.process_one() is False
    assert queue.get_status(job_id)["status"] == "running"
    go.touch()
    thread.join(60)
    record = queue.get_status(job_id)
    assert (record["status"], record["attempts"]) == ("completed", 1)
    assert record["completed_at"] == to_iso(clock.now())


def test_monotonic_time_ends_a_run_that_is_overdue(
    queue: JobQueue, make_worker: MakeWorker, clock: JumpingClock, go: Path
) -> None:
    job_id = queue.submit(waiting(go, timeout=3600, max_attempts=1))
    thread = threading.Thread(target=make_worker(queue).process_one, daemon=True)
    thread.start()
    wait_until(lambda: begun(go), "the job runs")
    clock.set_by(-DAY)
    clock.turn(3601)
    assert make_worker(queue)._check_for_timeouts() == 1
    assert queue.get_status(job_id)["status"] == "timeout"
    go.touch()
    thread.join(60)


def test_jobs_are_claimed_in_the_order_of_submission_though_the_clock_goes_back(
    queue: JobQueue, worker: Worker, clock: JumpingClock
) -> None:
    ids = []
    for _ in range(4):
        ids.append(queue.submit(Job("one", jobs.nothing)))
        clock.set_by(-60)
    claimed = [worker._claim_job() for _ in ids]
    assert [one and one["id"] for one in claimed] == ids
    assert [row["id"] for row in queue.list_jobs()] == ids[::-1]
