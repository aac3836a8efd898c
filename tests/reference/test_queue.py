"""JobQueue: submitting, cancelling, and asking for one job."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import jobs
import pytest

from gigq import (
    DuplicateJob,
    InvalidJob,
    InvalidValue,
    Job,
    JobQueue,
    JobStatus,
    UnknownParent,
    Worker,
    close_connections,
)


def example_function() -> dict[str, int]:
    return {"answer": 42}


def test_the_example_of_the_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    queue = JobQueue("jobs.db")

    job = Job(name="example", function=example_function)
    job_id = queue.submit(job)

    status = queue.get_status(job_id)
    assert f"Job status: {status['status']}" == "Job status: pending"

    assert queue.get_result(job_id) is None

    pending_jobs = queue.list_jobs(status="pending")
    assert [pending["id"] for pending in pending_jobs] == [job_id]

    assert queue.cancel(job_id)
    assert queue.get_status(job_id)["status"] == "cancelled"


# -- submit ----------------------------------------------------------------------------------------------------


def test_submit_returns_the_id_of_the_job(queue: JobQueue) -> None:
    job = Job("one", jobs.nothing)
    assert queue.submit(job) == job.id


def test_submit_many_returns_the_ids_in_order(queue: JobQueue) -> None:
    many = [Job(f"job {n}", jobs.nothing) for n in range(10)]
    assert queue.submit_many(iter(many)) == [job.id for job in many]
    assert queue.stats()["pending"] == 10


def test_submit_many_of_nothing_is_nothing(queue: JobQueue) -> None:
    assert queue.submit_many([]) == []


def test_submit_many_takes_all_or_none(queue: JobQueue) -> None:
    known = Job("known", jobs.nothing)
    queue.submit(known)
    with pytest.raises(DuplicateJob, match=known.id):
        queue.submit_many([Job("new", jobs.nothing), known])
    assert queue.stats()["total"] == 1


def test_what_is_not_a_job_is_refused_with_the_way_out(queue: JobQueue) -> None:
    with pytest.raises(InvalidJob, match=r"Job is needed, not function; a @task has \.submit"):
        queue.submit(example_function)  # type: ignore[arg-type]


def test_params_that_cannot_be_stored_are_refused_with_the_path_and_the_job(queue: JobQueue) -> None:
    with pytest.raises(InvalidValue, match=r"job 'report': params\['rows'\]\[3\]\['when'\]: "):
        queue.submit(Job("report", jobs.echo, {"rows": [1, 2, 3, {"when": object()}]}))
    assert queue.stats()["total"] == 0


def test_params_above_the_limit_are_refused_with_the_alternative(queue: JobQueue) -> None:
    with pytest.raises(InvalidValue, match=r"limit of 1,000,000.*file"):
        queue.submit(Job("report", jobs.echo, {"value": "x" * 1_000_000}))
    queue.submit(Job("report", jobs.echo, {"value": "x" * 999_000}))


def test_the_params_are_those_of_the_moment_of_submitting(queue: JobQueue) -> None:
    job = Job("one", jobs.echo, {"value": [1]})
    queue.submit(job)
    job.params["value"].append(2)
    assert queue.get_status(job.id)["params"] == {"value": [1]}


# -- cancel ----------------------------------------------------------------------------------------------------


def test_cancel_is_true_for_a_pending_job_and_false_the_second_time(queue: JobQueue) -> None:
    job_id = queue.submit(Job("one", jobs.nothing))
    assert queue.cancel(job_id) is True
    assert queue.cancel(job_id) is False


def test_cancel_is_false_for_a_running_job(queue: JobQueue, worker: Worker) -> None:
    job_id = queue.submit(Job("one", jobs.nothing))
    assert worker._claim_job() is not None
    assert queue.cancel(job_id) is False
    assert queue.get_status(job_id)["status"] == "running"


@pytest.mark.parametrize("function", [jobs.nothing, jobs.fail])
def test_cancel_is_false_for_a_job_that_ended(queue: JobQueue, worker: Worker, function: Any) -> None:
    job_id = queue.submit(Job("one", function, max_attempts=1))
    worker.process_one()
    assert queue.cancel(job_id) is False


def test_cancel_is_false_for_an_unknown_job(queue: JobQueue) -> None:
    assert queue.cancel("no such id") is False


# -- get_result ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1, "text", [1, [2]], {"a": {"b": None}}, True, 0, "", [], 1.5])
def test_get_result_is_the_deserialized_result(queue: JobQueue, worker: Worker, value: Any) -> None:
    job_id = queue.submit(Job("one", jobs.echo, {"value": value}))
    worker.process_one()
    assert queue.get_result(job_id) == value


def test_get_result_is_none_until_it_is_completed(queue: JobQueue, worker: Worker) -> None:
    job_id = queue.submit(Job("one", jobs.fail, max_attempts=1))
    assert queue.get_result(job_id) is None
    worker.process_one()
    assert queue.get_result(job_id) is None


def test_get_result_is_none_where_no_result_was_stored(queue: JobQueue, worker: Worker) -> None:
    job_id = queue.submit(Job("one", jobs.nothing))
    worker.process_one()
    assert queue.get_status(job_id)["status"] == "completed"
    assert queue.get_result(job_id) is None


def test_get_result_of_an_unknown_job_is_a_key_error(queue: JobQueue) -> None:
    with pytest.raises(KeyError, match="no such id"):
        queue.get_result("no such id")


# -- ids that nothing can have -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "job_id", ["", "\x00", "a\x00b", "\ud800", "a\udcffb", "job-?", "\U0010ffff"], ids=ascii
)
def test_an_id_that_cannot_be_is_an_unknown_one(queue: JobQueue, worker: Worker, job_id: str) -> None:
    for likely in ("job-", "?", "a?b", "\ufffd"):  # what a careless replacement would find
        job = Job("one", jobs.fail, max_attempts=1)
        job.id = likely
        queue.submit(job)
    assert worker.process_one()
    before = queue.list_jobs()
    assert queue.get_status(job_id) == {"exists": False}
    with pytest.raises(KeyError):
        queue.get_result(job_id)
    assert queue.cancel(job_id) is False
    assert queue.requeue_job(job_id) is False
    worker._complete_job(job_id, job_id, JobStatus.COMPLETED)
    assert queue.list_jobs() == before


@pytest.mark.parametrize("job_id", ["\ud800", "a\x00b"], ids=ascii)
def test_a_parent_that_cannot_be_is_an_unknown_one(queue: JobQueue, job_id: str) -> None:
    with pytest.raises(UnknownParent):
        queue.submit(Job("one", jobs.nothing, dependencies=[job_id]))
    assert queue.stats()["total"] == 0


# -- stats -----------------------------------------------------------------------------------------------------


def test_stats_of_an_empty_queue_have_every_key(queue: JobQueue) -> None:
    assert queue.stats() == {
        "pending": 0,
        "running": 0,
        "completed": 0,
        "failed": 0,
        "cancelled": 0,
        "timeout": 0,
        "total": 0,
    }


def test_stats_have_the_order_of_the_enum_and_then_the_total(queue: JobQueue) -> None:
    order = ["pending", "running", "completed", "failed", "cancelled", "timeout", "total"]
    assert list(queue.stats()) == order


def test_stats_count_the_jobs_in_each_status(queue: JobQueue, worker: Worker) -> None:
    queue.submit(Job("completed", jobs.nothing, priority=9))
    queue.submit(Job("failed", jobs.fail, max_attempts=1, priority=8))
    queue.submit(Job("timeout", jobs.sleep, {"seconds": 0.2}, timeout=0.05, max_attempts=1, priority=7))
    for _ in range(3):
        assert worker.process_one()
    queue.submit(Job("running", jobs.nothing))
    assert worker._claim_job() is not None
    queue.cancel(queue.submit(Job("cancelled", jobs.nothing)))
    queue.submit(Job("pending", jobs.nothing))
    counts = dict.fromkeys(("pending", "running", "completed", "failed", "cancelled", "timeout"), 1)
    assert queue.stats() == {**counts, "total": 6}


# -- the object ------------------------------------------------------------------------------------------------


def test_its_path_is_absolute_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    queue = JobQueue("sub.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert queue.db_path == str(tmp_path / "sub.db")
    queue.submit(Job("one", jobs.nothing))
    assert JobQueue(tmp_path / "sub.db").stats()["total"] == 1


def test_a_path_object_is_a_path(tmp_path: Path) -> None:
    queue = JobQueue(tmp_path / "jobs.db")
    assert queue.db_path == str(tmp_path / "jobs.db")


@pytest.mark.parametrize("path", ["", b"jobs.db", 5, None])
def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises((InvalidJob, TypeError)):
        JobQueue(path)


def test_it_is_usable_after_close(queue: JobQueue) -> None:
    job_id = queue.submit(Job("one", jobs.nothing))
    queue.close()
    queue.close()
    assert queue.get_status(job_id)["exists"]
    assert queue.cancel(job_id)


def test_it_is_usable_after_close_connections(db: str, make_worker: Any) -> None:
    queue, worker = JobQueue(db), make_worker(db)
    job_id = queue.submit(Job("one", jobs.nothing))
    close_connections()
    assert worker.process_one()
    close_connections()
    assert queue.get_status(job_id)["status"] == "completed"


def test_close_connections_closes_those_of_this_thread(db: str) -> None:
    connection = JobQueue(db)._get_connection()
    close_connections()
    with pytest.raises(sqlite3.ProgrammingError):
        connection.execute("SELECT 1")


def test_it_may_be_shared_by_threads(queue: JobQueue) -> None:
    ids: list[str] = []

    def submit() -> None:
        ids.extend(queue.submit(Job("one", jobs.nothing)) for _ in range(25))
        queue.close()

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 100
    assert {row["id"] for row in queue.list_jobs(limit=200)} == set(ids)


def test_a_second_one_on_the_same_path_opens_nothing(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes it cheap: no connection, no statement."""
    first = JobQueue(db)
    monkeypatch.setattr(sqlite3, "connect", lambda *_, **__: pytest.fail("connected"))
    for _ in range(3):
        assert JobQueue(db).stats() == first.stats()
