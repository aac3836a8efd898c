"""Timeouts: the watchdog of process_one, late returns, and _check_for_timeouts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import jobs
import pytest
from clocks import TurnedClock
from processes import begun, wait_until, waiting

from gigq import Job, JobQueue, Worker

MakeWorker = Callable[..., Worker]


def runs(queue: JobQueue, job_id: str) -> list[str]:
    """How its runs ended."""
    return [run["status"] for run in queue.get_status(job_id)["executions"]]


def test_it_settles_overdue_runs_first(
    queue: JobQueue, worker: Worker, make_worker: MakeWorker, clock: TurnedClock
) -> None:
    job_id = queue.submit(Job("one", jobs.nothing, timeout=60))
    assert worker._claim_job() is not None
    clock.turn(59)
    other = make_worker(queue)
    assert other.process_one() is False
    clock.turn(2)
    assert other.process_one() is True
    record = queue.get_status(job_id)
    assert [run["status"] for run in record["executions"]] == ["timeout", "completed"]
    assert (record["status"], record["attempts"]) == ("completed", 2)


def process_in_a_thread(worker: Worker) -> threading.Thread:
    thread = threading.Thread(target=worker.process_one, daemon=True)
    thread.start()
    return thread


def test_a_watchdog_settles_it_as_timeout_while_it_still_runs_and_its_late_return_is_refused(
    queue: JobQueue, worker: Worker, go: Path
) -> None:
    job_id = queue.submit(Job("one", jobs.wait_for, {"path": str(go)}, timeout=0.05, max_attempts=1))
    thread = process_in_a_thread(worker)
    wait_until(lambda: queue.get_status(job_id)["status"] == "timeout", "the watchdog settles it")
    before = queue.get_status(job_id)
    assert before["error"].startswith("TimeoutError")
    assert "0.05" in before["error"]
    go.touch()
    thread.join()
    after = queue.get_status(job_id)
    assert (after["status"], after["result"], after["attempts"]) == ("timeout", None, 1)


def test_the_retry_of_a_timed_out_function_waits_until_its_thread_has_ended(
    queue: JobQueue, worker: Worker, make_worker: MakeWorker, go: Path
) -> None:
    """The clock of the queue stands still, so that no other moment comes."""
    job_id = queue.submit(Job("one", jobs.wait_for, {"path": str(go)}, timeout=0.05))
    thread = process_in_a_thread(worker)
    wait_until(lambda: runs(queue, job_id) == ["timeout"], "the watchdog settles it")
    assert queue.get_status(job_id)["retry_after"] is not None
    assert make_worker(queue).process_one() is False
    go.touch()
    thread.join()
    assert queue.get_status(job_id)["retry_after"] is None
    assert worker.process_one()
    assert runs(queue, job_id) == ["timeout", "completed"]


def test_it_waits_at_most_another_timeout(
    queue: JobQueue, worker: Worker, make_worker: MakeWorker, go: Path, clock: TurnedClock
) -> None:
    job_id = queue.submit(Job("one", jobs.wait_for, {"path": str(go)}, timeout=0.05))
    thread = process_in_a_thread(worker)
    wait_until(lambda: runs(queue, job_id) == ["timeout"], "the watchdog settles it")
    clock.turn(0.051)
    other = make_worker(queue)
    second = process_in_a_thread(other)
    wait_until(lambda: queue.get_status(job_id)["attempts"] == 2, "the second attempt starts")
    assert thread.is_alive()
    go.touch()
    thread.join()
    second.join()
    assert queue.get_status(job_id)["attempts"] == 2


def test_without_a_timeout_a_job_takes_as_long_as_it_takes(queue: JobQueue, worker: Worker) -> None:
    job_id = queue.submit(Job("one", jobs.sleep, {"seconds": 0.05}, timeout=None))
    assert worker.process_one()
    assert queue.get_result(job_id) == 0.05


# -- check for timeouts ----------------------------------------------------------------------------------------


def test_check_for_timeouts_marks_overdue_jobs_and_counts_them(
    queue: JobQueue, worker: Worker, make_worker: MakeWorker, clock: TurnedClock
) -> None:
    final = queue.submit(Job("final", jobs.nothing, timeout=60, max_attempts=1))
    again = queue.submit(Job("again", jobs.nothing, timeout=60))
    unlimited = queue.submit(Job("unlimited", jobs.nothing, timeout=None))
    for _ in range(3):
        assert worker._claim_job() is not None
    other = make_worker(queue)
    clock.turn(60)
    assert other._check_for_timeouts() == 0
    clock.turn(1)
    assert other._check_for_timeouts() == 2
    assert other._check_for_timeouts() == 0
    statuses = {job_id: queue.get_status(job_id)["status"] for job_id in (final, again, unlimited)}
    assert statuses == {final: "timeout", again: "pending", unlimited: "running"}


def test_a_run_that_another_worker_has_settled_is_superseded_when_it_reports(
    queue: JobQueue,
    worker: Worker,
    make_worker: MakeWorker,
    clock: TurnedClock,
    go: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job_id = queue.submit(waiting(go, timeout=60, max_attempts=1))
    thread = process_in_a_thread(worker)
    wait_until(lambda: begun(go), "the job runs")
    clock.turn(61)
    assert make_worker(queue)._check_for_timeouts() == 1
    assert runs(queue, job_id) == ["timeout"]
    go.touch()
    thread.join()
    record = queue.get_status(job_id)
    assert (record["status"], record["result"], record["attempts"]) == ("timeout", None, 1)
    assert runs(queue, job_id) == ["superseded"]
    assert "Lease lost" in caplog.text
