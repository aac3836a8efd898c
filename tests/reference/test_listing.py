"""list_jobs."""

from __future__ import annotations

from typing import Any

import jobs
import pytest

from gigq import Job, JobQueue, JobStatus, Worker


def test_jobs_are_listed_newest_first(queue: JobQueue) -> None:
    ids = [queue.submit(Job(f"job {n}", jobs.nothing, priority=n % 3)) for n in range(7)]
    assert [row["id"] for row in queue.list_jobs()] == ids[::-1]


def test_at_most_100_are_listed_unless_told(queue: JobQueue) -> None:
    queue.submit_many([Job("one", jobs.nothing) for _ in range(120)])
    assert len(queue.list_jobs()) == 100
    assert len(queue.list_jobs(limit=110)) == 110
    assert len(queue.list_jobs(limit=10**6)) == 120


def test_a_limit_of_0_lists_nothing(queue: JobQueue) -> None:
    queue.submit(Job("one", jobs.nothing))
    assert queue.list_jobs(limit=0) == []


@pytest.mark.parametrize("limit", [-1, 1.5, "5", None])
def test_a_limit_that_is_none_is_refused(queue: JobQueue, limit: Any) -> None:
    with pytest.raises(ValueError, match="limit"):
        queue.list_jobs(limit=limit)


def test_jobs_are_filtered_by_status_given_as_text_or_enum(queue: JobQueue, worker: Worker) -> None:
    done = queue.submit(Job("one", jobs.nothing))
    worker.process_one()
    waiting = queue.submit(Job("two", jobs.nothing))
    for completed, pending in (("completed", "pending"), (JobStatus.COMPLETED, JobStatus.PENDING)):
        assert [row["id"] for row in queue.list_jobs(completed)] == [done]
        assert [row["id"] for row in queue.list_jobs(status=pending)] == [waiting]
    assert queue.list_jobs("failed") == []


@pytest.mark.parametrize("status", ["done", "PENDING", "", 5])
def test_an_unknown_status_is_refused_with_the_valid_ones(queue: JobQueue, status: Any) -> None:
    with pytest.raises(ValueError, match="pending, running, completed, failed, cancelled, timeout"):
        queue.list_jobs(status)
