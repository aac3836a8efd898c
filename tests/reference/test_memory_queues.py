"""Queues in memory: each a store of its own, for all threads of this process."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import jobs
import pytest
from processes import wait_until

from gigq import InvalidJob, Job, JobQueue, Worker, Workflow, close_connections


@pytest.fixture
def queue() -> JobQueue:
    return JobQueue(":memory:")


def test_each_is_a_store_of_its_own(queue: JobQueue) -> None:
    other = JobQueue(":memory:")
    job_id = queue.submit(Job("one", jobs.nothing))
    assert queue.get_status(job_id)["exists"]
    assert other.get_status(job_id) == {"exists": False}
    assert (queue.db_path, other.stats()["total"]) == (":memory:", 0)


def test_it_makes_no_file(queue: JobQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    JobQueue(":memory:").submit(Job("one", jobs.nothing))
    assert list(tmp_path.iterdir()) == []


def test_a_worker_takes_the_queue_in_place_of_a_path(queue: JobQueue, employ: Any) -> None:
    job_id = queue.submit(Job("one", jobs.add, {"a": 1, "b": 2}))
    worker = employ(Worker, queue)
    assert worker.db_path == ":memory:"
    assert worker.process_one()
    assert queue.get_result(job_id) == 3


def test_a_worker_takes_a_queue_on_a_file_too(db: str, employ: Any) -> None:
    queue = JobQueue(db)
    queue.submit(Job("one", jobs.nothing))
    worker = employ(Worker, queue)
    assert (worker.db_path, worker.process_one()) == (db, True)


def test_a_worker_on_the_bare_name_is_refused_and_told_what_to_do() -> None:
    with pytest.raises(InvalidJob, match=r'queue = JobQueue\(":memory:"\); Worker\(queue\)'):
        Worker(":memory:")


def test_it_is_usable_from_all_threads_at_once(queue: JobQueue, employ: Any) -> None:
    workers = [employ(Worker, queue) for _ in range(2)]

    def submit() -> None:
        for n in range(30):
            queue.submit(Job("one", jobs.echo, {"value": n}))
            queue.stats()
            queue.list_jobs(limit=5)

    def work(worker: Worker) -> None:
        while queue.stats()["completed"] < 90:
            worker.process_one()

    threads = [threading.Thread(target=submit, daemon=True) for _ in range(3)]
    threads += [threading.Thread(target=work, args=[worker], daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    counts = queue.stats()
    assert (counts["completed"], counts["total"]) == (90, 90)
    assert all(len(queue.get_status(row["id"])["executions"]) == 1 for row in queue.list_jobs())


def test_a_worker_that_starts_is_woken_by_a_submit(queue: JobQueue, employ: Any) -> None:
    worker = employ(Worker, queue, polling_interval=3600, concurrency=2)
    thread = threading.Thread(target=worker.start, daemon=True)
    thread.start()
    for _ in range(3):
        job_id = queue.submit(Job("one", jobs.echo, {"value": 1}))
        wait_until(lambda job_id=job_id: queue.get_result(job_id) == 1, "the job is done")  # type: ignore[misc]
    worker.stop()
    thread.join(60)


def test_workflows_retries_and_requeues_work_as_on_a_file(
    queue: JobQueue, employ: Any, tmp_path: Path
) -> None:
    workflow = Workflow("w")
    parent = workflow.add_job(Job("parent", jobs.fail_until, {"path": str(tmp_path / "calls"), "times": 1}))
    child = workflow.add_job(Job("child", jobs.merge), depends_on=[parent])
    workflow.submit_all(queue)
    worker = employ(Worker, queue)
    while worker.process_one():
        pass
    assert queue.get_result(child.id) == [2]


def test_closing_connections_loses_nothing(queue: JobQueue) -> None:
    job_id = queue.submit(Job("one", jobs.nothing))
    queue.close()
    close_connections()
    thread = threading.Thread(target=queue.close)
    thread.start()
    thread.join()
    assert queue.get_status(job_id)["exists"]


def test_a_function_may_use_the_queue_it_came_from(queue: JobQueue, employ: Any) -> None:
    QUEUES.append(queue)
    queue.submit(Job("first", submit_another))
    worker = employ(Worker, queue)
    assert worker.process_one()
    assert worker.process_one()
    assert queue.stats()["completed"] == 2


QUEUES: list[JobQueue] = []


def submit_another() -> str:
    return QUEUES[-1].submit(Job("second", jobs.nothing))
