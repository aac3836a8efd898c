"""Worker.start and stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import jobs
import pytest
from processes import begun, in_a_thread, wait_until, waiting

from gigq import GigQError, Job, JobQueue, Worker

MakeWorker = Callable[..., Worker]
BARRIER = threading.Barrier(4)


def meet() -> None:
    BARRIER.wait(60)


@pytest.fixture(params=["file", "memory"])
def queue(request: pytest.FixtureRequest, db: str) -> JobQueue:
    """With the clock of the machine: the loop needs one that moves."""
    return JobQueue(db if request.param == "file" else ":memory:")


def test_start_processes_jobs_continuously_until_stopped(queue: JobQueue, make_worker: MakeWorker) -> None:
    worker = make_worker(queue)
    thread = in_a_thread(worker)
    for _ in range(3):
        job_id = queue.submit(Job("one", jobs.echo, {"value": 1}))
        wait_until(lambda job_id=job_id: queue.get_result(job_id) == 1, "the job is done")  # type: ignore[misc]
    assert thread.is_alive()
    worker.stop()
    thread.join(60)
    assert not thread.is_alive()
    assert worker.running is False


def test_a_new_job_wakes_an_idle_worker_long_before_its_polling_interval(
    db: str, make_worker: MakeWorker
) -> None:
    queue, worker = JobQueue(db), make_worker(db, polling_interval=3600)
    thread = in_a_thread(worker)
    job_id = queue.submit(Job("one", jobs.echo, {"value": 1}))
    wait_until(lambda: queue.get_result(job_id) == 1, "the job is done")
    worker.stop()
    thread.join(60)


def test_stop_completes_the_current_job_first(queue: JobQueue, make_worker: MakeWorker, go: Path) -> None:
    job_id = queue.submit(waiting(go))
    worker = make_worker(queue)
    thread = in_a_thread(worker)
    wait_until(lambda: begun(go), "the job runs")
    worker.stop()
    thread.join(0.2)
    assert thread.is_alive()
    go.touch()
    thread.join(60)
    assert queue.get_status(job_id)["status"] == "completed"


def test_stop_gives_back_what_has_not_started(queue: JobQueue, make_worker: MakeWorker, go: Path) -> None:
    """Short jobs first, so that the worker claims ahead."""
    queue.submit_many([Job("short", jobs.nothing) for _ in range(50)])
    blocking = queue.submit(waiting(go))
    behind = queue.submit_many([Job("behind", jobs.nothing) for _ in range(50)])
    worker = make_worker(queue)
    thread = in_a_thread(worker)
    wait_until(lambda: begun(go), "the blocking job runs")
    worker.stop()
    wait_until(lambda: queue.stats()["running"] == 1, "the others are given back")
    go.touch()
    thread.join(60)
    assert queue.get_status(blocking)["status"] == "completed"
    for job_id in behind:
        record = queue.get_status(job_id)
        assert (record["status"], record["attempts"], record["executions"]) == ("pending", 0, [])


def test_concurrency_is_how_many_jobs_run_at_once(queue: JobQueue, make_worker: MakeWorker) -> None:
    queue.submit_many([Job("one", meet) for _ in range(8)])  # four must meet for any to end
    worker = make_worker(queue, concurrency=4)
    thread = in_a_thread(worker)
    wait_until(lambda: queue.stats()["completed"] == 8, "all have met")
    worker.stop()
    thread.join(60)


def test_a_stopped_worker_can_start_again(queue: JobQueue, make_worker: MakeWorker) -> None:
    worker = make_worker(queue)
    for n in range(1, 3):
        queue.submit(Job("stop", jobs.stop_the_worker))
        jobs.STOPPED_BY_JOBS.append(worker)
        worker.start()
        assert queue.stats()["completed"] == n


def test_a_running_worker_cannot_start_again(queue: JobQueue, make_worker: MakeWorker) -> None:
    worker = make_worker(queue)
    thread = in_a_thread(worker)
    with pytest.raises(GigQError, match="running already"):
        worker.start()
    worker.stop()
    thread.join(60)


def test_stop_of_a_worker_that_does_not_run_does_nothing(queue: JobQueue, make_worker: MakeWorker) -> None:
    worker = make_worker(queue)
    worker.stop()
    queue.submit(Job("one", jobs.nothing))
    assert worker.process_one()
