"""JobStatus, and what each state means."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import jobs
import pytest

from gigq import Job, JobQueue, JobStatus, Worker


def test_the_states_have_the_names_and_values_of_the_reference_in_its_order() -> None:
    assert [(state.name, state.value) for state in JobStatus] == [
        ("PENDING", "pending"),
        ("RUNNING", "running"),
        ("COMPLETED", "completed"),
        ("FAILED", "failed"),
        ("CANCELLED", "cancelled"),
        ("TIMEOUT", "timeout"),
    ]


def test_it_is_an_enum_found_by_value() -> None:
    assert issubclass(JobStatus, Enum)
    assert JobStatus("timeout") is JobStatus.TIMEOUT


def status_of(queue: JobQueue, job_id: str) -> JobStatus:
    return JobStatus(queue.get_status(job_id)["status"])


def test_pending_is_waiting_to_be_executed(queue: JobQueue) -> None:
    assert status_of(queue, queue.submit(Job("one", jobs.nothing))) is JobStatus.PENDING


def test_running_is_being_executed_by_a_worker(db: str, make_worker: Callable[..., Worker]) -> None:
    queue = JobQueue(db)
    job_id = queue.submit(Job("one", jobs.status_of_mine, {"path": db}))
    assert make_worker(db, worker_id="the-worker").process_one()
    seen = queue.get_status(job_id)["result"]
    assert (seen["status"], seen["worker_id"], seen["attempts"]) == ("running", "the-worker", 1)


def test_completed_is_successfully_completed(queue: JobQueue, worker: Worker) -> None:
    job_id = queue.submit(Job("one", jobs.nothing))
    worker.process_one()
    assert status_of(queue, job_id) is JobStatus.COMPLETED


@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_failed_is_failed_after_exhausting_all_attempts(
    queue: JobQueue, worker: Worker, attempts: int
) -> None:
    job_id = queue.submit(Job("one", jobs.fail, max_attempts=attempts))
    for _ in range(attempts):
        assert status_of(queue, job_id) is JobStatus.PENDING
        assert worker.process_one()
    assert status_of(queue, job_id) is JobStatus.FAILED
    assert not worker.process_one()


def test_cancelled_is_cancelled_by_the_user(queue: JobQueue, worker: Worker) -> None:
    job_id = queue.submit(Job("one", jobs.nothing))
    assert queue.cancel(job_id)
    assert status_of(queue, job_id) is JobStatus.CANCELLED
    assert not worker.process_one()


def test_timeout_is_an_execution_that_exceeded_the_timeout(queue: JobQueue, worker: Worker) -> None:
    job_id = queue.submit(Job("one", jobs.sleep, {"seconds": 0.3}, max_attempts=1, timeout=0.05))
    assert worker.process_one()
    assert status_of(queue, job_id) is JobStatus.TIMEOUT
