"""The views jobs and job_executions, and the dict of _claim_job: the names that gigq 0.5.1 had."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable

import jobs
import pytest

from gigq import Job, JobQueue, Worker, Workflow

JOBS = [
    "id",
    "name",
    "function_name",
    "function_module",
    "params",
    "priority",
    "dependencies",
    "max_attempts",
    "timeout",
    "description",
    "status",
    "created_at",
    "updated_at",
    "attempts",
    "result",
    "error",
    "started_at",
    "completed_at",
    "worker_id",
    "pass_parent_results",
    "retry_delay",
    "retry_after",
]
EXECUTIONS = ["id", "job_id", "worker_id", "status", "started_at", "completed_at", "result", "error"]


def columns(queue: JobQueue, view: str) -> list[str]:
    return [column[0] for column in queue._get_connection().execute(f"SELECT * FROM {view}").description]


def rows(queue: JobQueue, sql: str) -> list[sqlite3.Row]:
    return queue._get_connection().execute(sql).fetchall()


@pytest.mark.parametrize(("view", "names"), [("jobs", JOBS), ("job_executions", EXECUTIONS)])
def test_the_columns_of_0_5_1_come_first_in_its_order(queue: JobQueue, view: str, names: list[str]) -> None:
    assert columns(queue, view)[: len(names)] == names


def test_rows_can_be_read_by_name_and_by_place(queue: JobQueue) -> None:
    job_id = queue.submit(Job("one", jobs.nothing))
    (row,) = rows(queue, "SELECT * FROM jobs")
    assert row["id"] == row[0] == job_id
    assert dict(row)["status"] == "pending"


def test_a_job_is_shown_as_gigq_0_5_1_stored_it(queue: JobQueue, worker: Worker) -> None:
    workflow = Workflow("w")
    parent = workflow.add_job(Job("parent", jobs.echo, {"value": "é"}, priority=3))
    child = workflow.add_job(Job("child", jobs.merge), depends_on=[parent])
    workflow.submit_all(queue)
    worker.process_one()
    first, second = rows(queue, "SELECT * FROM jobs ORDER BY created_at")
    assert (first["status"], first["priority"], first["attempts"]) == ("completed", 3, 1)
    assert json.loads(first["params"]) == {"value": "é"}
    assert json.loads(first["result"]) == "é"
    assert first["dependencies"] == "[]"
    assert json.loads(second["dependencies"]) == [parent.id]
    assert (second["id"], second["result"], second["timeout"]) == (child.id, None, 300)
    record = queue.get_status(parent.id)
    assert {name: first[name] for name in ("created_at", "started_at", "completed_at")} == {
        name: record[name] for name in ("created_at", "started_at", "completed_at")
    }


def test_the_runs_are_shown_the_one_under_way_included(queue: JobQueue, worker: Worker) -> None:
    job_id = queue.submit(Job("one", jobs.fail))
    worker.process_one()
    claimed = worker._claim_job()
    assert claimed is not None
    failed, running = rows(
        queue, f"SELECT * FROM job_executions WHERE job_id = '{job_id}' ORDER BY started_at"
    )
    assert (failed["status"], running["status"]) == ("failed", "running")
    assert failed["error"].startswith("ValueError: it broke")
    assert running["id"] == claimed["execution_id"]
    assert failed["worker_id"] == running["worker_id"] == worker.worker_id


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE jobs SET priority = 9",
        "DELETE FROM jobs",
        "INSERT INTO jobs (id, name, status) VALUES ('x', 'x', 'pending')",
        "UPDATE job_executions SET status = 'completed'",
        "DELETE FROM job_executions",
        "INSERT INTO job_executions (id, job_id) VALUES ('x', 'x')",
        "CREATE INDEX mine ON jobs (priority)",
        "ALTER TABLE jobs ADD COLUMN mine TEXT",
    ],
)
def test_they_are_read_and_not_written(queue: JobQueue, sql: str) -> None:
    queue.submit(Job("one", jobs.nothing))
    with pytest.raises(sqlite3.OperationalError):
        queue._get_connection().execute(sql)


# -- the dict of _claim_job ------------------------------------------------------------------------------------


def test_a_claim_gives_the_job_under_the_names_of_the_table_and_its_execution(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    workflow = Workflow("w")
    parent = workflow.add_job(Job("parent", jobs.nothing))
    child = workflow.add_job(
        Job("child", jobs.echo, {"value": [1]}, pass_parent_results=False), depends_on=[parent]
    )
    workflow.submit_all(queue)
    worker = make_worker(queue, worker_id="the-worker")
    worker.process_one()
    claimed = worker._claim_job()
    assert claimed is not None
    assert set(JOBS) | {"execution_id"} <= set(claimed)
    assert not {"exists", "executions"} & set(claimed)
    assert (claimed["id"], claimed["params"], claimed["dependencies"]) == (
        child.id,
        {"value": [1]},
        [parent.id],
    )
    assert (claimed["status"], claimed["worker_id"], claimed["attempts"]) == ("running", "the-worker", 1)
    assert (claimed["pass_parent_results"], claimed["timeout"], claimed["retry_delay"]) == (False, 300, 0)
    (execution,) = queue.get_status(child.id)["executions"]
    assert execution["id"] == claimed["execution_id"]


def test_a_claim_of_nothing_is_none(worker: Worker) -> None:
    assert worker._claim_job() is None


def test_a_claim_takes_the_highest_priority_first_and_then_the_oldest(
    queue: JobQueue, worker: Worker
) -> None:
    wanted = [queue.submit(Job("one", jobs.nothing, priority=priority)) for priority in (0, 5, -1, 5, 2)]
    order = [1, 3, 4, 0, 2]
    claimed = [worker._claim_job() for _ in order]
    assert [one and one["id"] for one in claimed] == [wanted[place] for place in order]


def test_two_claims_of_a_job_have_execution_ids_of_their_own(queue: JobQueue, worker: Worker) -> None:
    queue.submit(Job("one", jobs.nothing))
    first = worker._claim_job()
    assert first is not None
    assert worker._claim_job() is None
    from gigq import JobStatus

    worker._complete_job(first["id"], first["execution_id"], JobStatus.FAILED)
    queue.requeue_job(first["id"])
    second = worker._claim_job()
    assert second is not None
    assert second["execution_id"] != first["execution_id"]
