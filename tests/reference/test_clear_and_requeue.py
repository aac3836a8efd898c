"""clear_completed and requeue_job."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jobs
import pytest
from clocks import TurnedClock

from gigq import Job, JobQueue, Worker, Workflow
from gigq.clock import to_iso


def ended(queue: JobQueue, worker: Worker, function: Any = jobs.nothing, **options: Any) -> str:
    """A job that has run once."""
    job_id = queue.submit(Job("one", function, max_attempts=1, **options))
    assert worker.process_one()
    return job_id


def cancelled(queue: JobQueue) -> str:
    job_id = queue.submit(Job("one", jobs.nothing))
    assert queue.cancel(job_id)
    return job_id


def exists(queue: JobQueue, job_id: str) -> bool:
    return bool(queue.get_status(job_id)["exists"])


# -- clear_completed -------------------------------------------------------------------------------------------


def test_completed_and_cancelled_jobs_are_removed_and_counted(queue: JobQueue, worker: Worker) -> None:
    gone = [ended(queue, worker), ended(queue, worker), cancelled(queue)]
    failed = ended(queue, worker, jobs.fail)
    pending = queue.submit(Job("pending", jobs.nothing))
    assert queue.clear_completed() == 3
    assert not any(exists(queue, job_id) for job_id in gone)
    assert exists(queue, failed)
    assert exists(queue, pending)
    assert queue.stats()["total"] == 2


def test_clearing_an_empty_queue_clears_nothing(queue: JobQueue) -> None:
    assert queue.clear_completed() == 0


def test_history_and_params_go_with_their_job(queue: JobQueue, worker: Worker) -> None:
    ended(queue, worker, jobs.echo, params={"value": 1})
    assert queue.clear_completed() == 1
    connection = queue._get_connection()
    for table in ("jobs", "job_executions", "params", "dependency"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0


def test_only_what_completed_before_a_moment_is_cleared(
    queue: JobQueue, worker: Worker, clock: TurnedClock
) -> None:
    old, old_cancelled = ended(queue, worker), cancelled(queue)
    clock.turn(10)
    moment = to_iso(clock.now())
    new, new_cancelled = ended(queue, worker), cancelled(queue)
    assert queue.clear_completed(moment) == 2
    assert [exists(queue, one) for one in (old, old_cancelled, new, new_cancelled)] == [
        False,
        False,
        True,
        True,
    ]
    assert queue.clear_completed(before_timestamp=to_iso(clock.now() + 1)) == 2


def test_it_goes_by_the_time_of_completion_and_not_of_creation(
    queue: JobQueue, worker: Worker, clock: TurnedClock
) -> None:
    job = Job("one", jobs.nothing)
    job.created_at = "2001-01-01T00:00:00Z"
    queue.submit(job)
    clock.turn(10)
    worker.process_one()
    assert queue.clear_completed(to_iso(clock.now() - 1)) == 0
    assert exists(queue, job.id)


@pytest.fixture
def far_east() -> Iterator[timedelta]:
    """A zone ten hours ahead of UTC, whatever machine this is."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "AEST-10"
    time.tzset()
    yield timedelta(hours=10)
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def test_a_timestamp_without_offset_is_local_time(
    queue: JobQueue, worker: Worker, clock: TurnedClock, far_east: timedelta
) -> None:
    ended(queue, worker)
    utc = datetime.fromtimestamp(clock.now() / 1e6, UTC).replace(tzinfo=None)
    local = utc + far_east
    assert queue.clear_completed((local - timedelta(seconds=1)).isoformat()) == 0
    assert queue.clear_completed((local + timedelta(seconds=1)).isoformat()) == 1


def test_any_offset_will_do(queue: JobQueue, worker: Worker, clock: TurnedClock) -> None:
    ended(queue, worker)
    moment = datetime.fromtimestamp(clock.now() / 1e6, UTC)
    for offset in (-5, 9):
        from datetime import timezone

        elsewhere = moment.astimezone(timezone(timedelta(hours=offset)))
        assert queue.clear_completed(elsewhere.isoformat()) == 0
    assert queue.clear_completed((elsewhere + timedelta(seconds=1)).isoformat()) == 1


@pytest.mark.parametrize("moment", ["yesterday", "", 5, 12.5])
def test_what_is_not_a_timestamp_is_refused(queue: JobQueue, worker: Worker, moment: Any) -> None:
    ended(queue, worker)
    with pytest.raises(ValueError, match="before_timestamp"):
        queue.clear_completed(moment)
    assert queue.stats()["total"] == 1


def test_what_a_live_child_depends_on_is_spared(queue: JobQueue, worker: Worker) -> None:
    workflow = Workflow("w")
    parent = workflow.add_job(Job("parent", jobs.echo, {"value": 7}))
    child = workflow.add_job(Job("child", jobs.merge), depends_on=[parent])
    workflow.submit_all(queue)
    assert worker.process_one()
    assert queue.clear_completed() == 0
    assert worker.process_one()
    assert queue.get_result(child.id) == [7]
    assert queue.clear_completed() == 2


# -- requeue_job -----------------------------------------------------------------------------------------------


def test_a_failed_job_is_reset_to_pending_for_another_attempt(queue: JobQueue, worker: Worker) -> None:
    job_id = queue.submit(Job("one", jobs.fail, max_attempts=2))
    for _ in range(2):
        worker.process_one()
    assert queue.get_status(job_id)["status"] == "failed"
    assert queue.requeue_job(job_id) is True
    record = queue.get_status(job_id)
    assert (record["status"], record["attempts"]) == ("pending", 0)
    for _ in range(2):
        assert worker.process_one()
    assert (queue.get_status(job_id)["status"], queue.get_status(job_id)["attempts"]) == ("failed", 2)


def test_everything_that_told_of_its_end_is_reset(
    queue: JobQueue, worker: Worker, clock: TurnedClock
) -> None:
    job_id = ended(queue, worker, jobs.fail, retry_delay=60)
    clock.turn(1)
    queue.requeue_job(job_id)
    record = queue.get_status(job_id)
    reset = ("error", "result", "started_at", "completed_at", "retry_after", "worker_id", "held_by")
    assert {key: record[key] for key in reset} == dict.fromkeys(reset)
    assert (record["attempts"], record["crashes"]) == (0, 0)
    assert record["updated_at"] == to_iso(clock.now())


def test_it_can_run_at_once(queue: JobQueue, worker: Worker, tmp_path: Any) -> None:
    job_id = ended(
        queue, worker, jobs.fail_until, params={"path": str(tmp_path / "calls"), "times": 1}, retry_delay=3600
    )
    queue.requeue_job(job_id)
    assert worker.process_one()
    assert queue.get_result(job_id) == 2


def test_its_history_stays(queue: JobQueue, worker: Worker) -> None:
    job_id = ended(queue, worker, jobs.fail)
    queue.requeue_job(job_id)
    worker.process_one()
    assert [execution["status"] for execution in queue.get_status(job_id)["executions"]] == [
        "failed",
        "failed",
    ]


def test_a_timed_out_job_can_be_requeued(queue: JobQueue, worker: Worker) -> None:
    job_id = ended(queue, worker, jobs.sleep, params={"seconds": 0.2}, timeout=0.05)
    assert queue.get_status(job_id)["status"] == "timeout"
    assert queue.requeue_job(job_id) is True


def test_a_cancelled_job_can_be_requeued(queue: JobQueue, worker: Worker) -> None:
    job_id = cancelled(queue)
    assert queue.requeue_job(job_id) is True
    assert worker.process_one()
    assert queue.get_status(job_id)["status"] == "completed"


def test_a_pending_a_running_a_completed_and_an_unknown_job_cannot(queue: JobQueue, worker: Worker) -> None:
    completed = ended(queue, worker)
    running = queue.submit(Job("running", jobs.nothing))
    worker._claim_job()
    pending = queue.submit(Job("pending", jobs.nothing))
    for job_id in (completed, running, pending, "no such id"):
        before = queue.get_status(job_id)
        assert queue.requeue_job(job_id) is False
        assert queue.get_status(job_id) == before


def test_not_while_a_parent_that_ended_badly_keeps_it_cancelled(
    queue: JobQueue, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    workflow = Workflow("w")
    parent = workflow.add_job(Job("parent", jobs.fail, max_attempts=1))
    child = workflow.add_job(Job("child", jobs.nothing), depends_on=[parent])
    workflow.submit_all(queue)
    worker.process_one()
    assert queue.get_status(child.id)["status"] == "cancelled"
    assert queue.requeue_job(child.id) is False
    assert parent.id in caplog.text
    assert queue.requeue_job(parent.id) is True
    assert queue.get_status(child.id)["status"] == "pending"
