"""Subclasses of Job, JobQueue and Worker, as the reference shows them."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jobs
import pytest
from extensions import (
    ConnectionsOfItsOwn,
    CountingWorker,
    DataProcessingJob,
    SubstitutingWorker,
    TracingQueue,
)
from processes import wait_until

from gigq import Job, JobQueue, JobStatus, Worker, Workflow

Employ = Callable[..., Any]
"""As in conftest.py."""


def copy(input_file: str, output_file: str) -> int:
    return Path(output_file).write_text(Path(input_file).read_text())


# -- custom job types ------------------------------------------------------------------------------------------


def test_a_subclass_of_job_is_submitted_and_run_as_any_other(
    queue: JobQueue, worker: Worker, tmp_path: Path
) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_text("data")
    job = DataProcessingJob("copy", copy, str(source), str(target), priority=3, timeout=60)
    assert (job.input_file, job.output_file) == (str(source), str(target))
    assert (job.priority, job.timeout) == (3, 60)
    queue.submit(job)
    assert worker.process_one()
    assert target.read_text() == "data"
    assert queue.get_result(job.id) == 4


def test_a_subclass_of_job_works_in_a_workflow(queue: JobQueue, worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("data")
    workflow = Workflow("w")
    first = workflow.add_job(DataProcessingJob("one", copy, str(tmp_path / "a"), str(tmp_path / "b")))
    workflow.add_job(
        DataProcessingJob("two", copy, str(tmp_path / "b"), str(tmp_path / "c")), depends_on=[first]
    )
    workflow.submit_all(queue)
    while worker.process_one():
        pass
    assert (tmp_path / "c").read_text() == "data"


# -- custom queue persistence ----------------------------------------------------------------------------------


@pytest.fixture(params=[ConnectionsOfItsOwn, TracingQueue])
def own_queue(request: pytest.FixtureRequest, db: str) -> JobQueue:
    """A queue whose class overrides _get_connection and _initialize_db, and does not call super().__init__()."""
    queue: JobQueue = request.param(db)
    return queue


def test_a_subclass_of_queue_does_everything_that_a_queue_does(own_queue: JobQueue, employ: Employ) -> None:
    workflow = Workflow("w")
    parent = workflow.add_job(Job("parent", jobs.echo, {"value": 2}))
    child = workflow.add_job(Job("child", jobs.merge), depends_on=[parent])
    workflow.submit_all(own_queue)
    failing = own_queue.submit(Job("failing", jobs.fail, max_attempts=1))
    worker = employ(Worker, own_queue)
    while worker.process_one():
        pass
    assert own_queue.get_result(child.id) == [2]
    assert own_queue.get_status(failing)["status"] == "failed"
    assert own_queue.requeue_job(failing)
    assert own_queue.cancel(failing)
    assert [row["id"] for row in own_queue.list_jobs("cancelled")] == [failing]
    assert own_queue.stats()["total"] == 3
    assert own_queue.clear_completed() == 3


def test_a_subclass_of_queue_works_with_a_worker_that_starts(own_queue: JobQueue, employ: Employ) -> None:
    ids = own_queue.submit_many([Job("one", jobs.echo, {"value": n}) for n in range(20)])
    worker = employ(Worker, own_queue, concurrency=2)
    thread = threading.Thread(target=worker.start, daemon=True)
    thread.start()
    wait_until(lambda: own_queue.stats()["completed"] == 20, "all jobs are done")
    worker.stop()
    thread.join(60)
    assert [own_queue.get_result(job_id) for job_id in ids] == list(range(20))


def test_what_a_subclass_of_queue_wrote_is_an_ordinary_queue(
    own_queue: JobQueue, db: str, employ: Employ
) -> None:
    job_id = own_queue.submit(Job("one", jobs.nothing))
    ordinary = JobQueue(db)
    assert ordinary.get_status(job_id)["status"] == "pending"
    assert employ(Worker, db).process_one()
    assert own_queue.get_status(job_id)["status"] == "completed"


def test_the_tables_of_a_subclass_are_its_own(own_queue: JobQueue, db: str) -> None:
    own_queue.submit(Job("one", jobs.nothing))
    tables = own_queue._get_connection().execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    assert "audit" in {row[0] for row in tables}


def test_the_connections_are_those_that_the_subclass_gives(db: str) -> None:
    own = ConnectionsOfItsOwn(db)
    before = own.connected
    own.submit(Job("one", jobs.nothing))
    assert own.connected > before
    tracing = TracingQueue(db)
    tracing.statements.clear()
    tracing.submit(Job("two", jobs.nothing))
    assert any(statement.startswith("INSERT INTO job ") for statement in tracing.statements)


def test_what_a_subclass_submitted_is_as_durable_as_anything(own_queue: JobQueue) -> None:
    own_queue.submit(Job("one", jobs.nothing))
    with own_queue._store.engine.writing() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 3  # EXTRA


def test_a_subclass_may_keep_its_queue_in_memory(employ: Employ) -> None:
    class InMemory(JobQueue):
        def __init__(self) -> None:
            self.connection = sqlite3.connect(":memory:", check_same_thread=False)
            self._initialize_db()

        def _get_connection(self) -> sqlite3.Connection:
            return self.connection

    queue = InMemory()
    job_id = queue.submit(Job("one", jobs.echo, {"value": 1}))
    assert employ(Worker, queue).process_one()
    assert queue.get_result(job_id) == 1


def test_it_shows_itself_though_nothing_was_set(own_queue: JobQueue) -> None:
    assert type(own_queue).__name__ in repr(own_queue)
    own_queue.close()
    assert own_queue.stats()["total"] == 0


# -- internal methods of the worker ----------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["process_one", "start"])
def test_an_overridden_complete_job_is_called_for_every_final_end(
    db: str, by: str, tmp_path: Path, employ: Employ
) -> None:
    queue = JobQueue(db)
    queue.submit_many(
        [
            Job("good", jobs.nothing),
            Job("bad", jobs.fail, max_attempts=2),
            Job("slow", jobs.fail_until, {"path": str(tmp_path / "calls"), "times": 1}),
            Job("unstorable", jobs.unstorable),
        ]
    )
    worker = employ(CountingWorker, db, polling_interval=0.05)
    if by == "process_one":
        while worker.process_one():
            pass
    else:
        queue.submit(Job("stop", jobs.stop_the_worker, priority=-1))
        jobs.STOPPED_BY_JOBS.append(worker)
        worker.start()
        worker.completed[JobStatus.COMPLETED] -= 1
    assert worker.completed == {JobStatus.COMPLETED: 2, JobStatus.FAILED: 2}
    assert queue.stats()["failed"] == 2


def test_an_overridden_import_function_decides_what_is_run(db: str, employ: Employ) -> None:
    queue = JobQueue(db)
    substituted = queue.submit(Job("own", "not.a.module.function", {"x": 4}))
    ordinary = queue.submit(Job("ordinary", jobs.add, {"a": 1, "b": 2}))
    worker = employ(SubstitutingWorker, db)
    worker.functions = {"not.a.module.function": lambda x: x * x}
    assert worker.process_one()
    assert worker.process_one()
    assert (queue.get_result(substituted), queue.get_result(ordinary)) == (16, 3)


def test_import_function_imports_a_function_from_a_module(db: str, employ: Employ) -> None:
    assert employ(Worker, db)._import_function("jobs", "add") is jobs.add


@pytest.mark.parametrize(
    ("status", "result", "error", "shown"),
    [
        (JobStatus.COMPLETED, {"a": [1]}, None, {"status": "completed", "result": {"a": [1]}, "error": None}),
        (JobStatus.COMPLETED, None, None, {"status": "completed", "result": None, "error": None}),
        (JobStatus.FAILED, None, "why", {"status": "failed", "result": None, "error": "why"}),
        (JobStatus.TIMEOUT, None, "why", {"status": "timeout", "result": None, "error": "why"}),
    ],
)
def test_complete_job_marks_a_job_as_completed_or_failed(
    queue: JobQueue,
    worker: Worker,
    status: JobStatus,
    result: Any,
    error: str | None,
    shown: dict[str, Any],
) -> None:
    """It writes the final status that it is given: attempts that are left change nothing."""
    job_id = queue.submit(Job("one", jobs.nothing, max_attempts=5))
    claimed = worker._claim_job()
    assert claimed is not None
    worker._complete_job(job_id, claimed["execution_id"], status, result=result, error=error)
    record = queue.get_status(job_id)
    assert {key: record[key] for key in shown} == shown
    assert record["attempts"] == 1


def test_complete_job_of_a_run_that_is_not_the_newest_writes_nothing(queue: JobQueue, worker: Worker) -> None:
    job_id = queue.submit(Job("one", jobs.nothing))
    first = worker._claim_job()
    assert first is not None
    worker._complete_job(job_id, first["execution_id"], JobStatus.FAILED, error="first")
    queue.requeue_job(job_id)
    second = worker._claim_job()
    assert second is not None
    before = queue.get_status(job_id)
    worker._complete_job(job_id, first["execution_id"], JobStatus.COMPLETED, result="late")
    worker._complete_job(job_id, "no such execution", JobStatus.COMPLETED, result="late")
    worker._complete_job("no such job", second["execution_id"], JobStatus.COMPLETED, result="late")
    assert queue.get_status(job_id) == before


def test_the_connection_of_a_worker_is_that_of_its_queue(queue: JobQueue, worker: Worker) -> None:
    queue.submit(Job("one", jobs.nothing))
    (count,) = worker._get_connection().execute("SELECT count(*) FROM jobs").fetchone()
    assert count == 1
