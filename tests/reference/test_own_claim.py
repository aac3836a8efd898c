"""PrioritizedWorker: a worker whose _claim_job speaks its own SQL, by narrowing or by the whole of gigq 0.5.1."""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jobs
import pytest
from clocks import TurnedClock
from extensions import NarrowingWorker, PrioritizedWorker
from processes import start, wait_until

from gigq import Job, JobQueue, Worker, Workflow

Employ = Callable[..., Any]
KINDS = pytest.mark.parametrize("kind", [PrioritizedWorker, NarrowingWorker], ids=["full", "narrowing"])
Kind = type[Worker]


def high(name: str = "high", function: Callable[..., Any] = jobs.nothing, **options: Any) -> Job:
    return Job(name, function, **{"priority": 60, **options})


def drain(worker: Worker) -> int:
    count = 0
    while worker.process_one():
        count += 1
    return count


@KINDS
def test_it_processes_only_high_priority_jobs_in_their_order(
    queue: JobQueue, employ: Employ, kind: Kind, tmp_path: Path
) -> None:
    order = tmp_path / "order"
    for priority in (51, 50, 99, 0, 60, 99):
        queue.submit(Job("one", jobs.append, {"path": str(order), "text": str(priority)}, priority=priority))
    assert drain(employ(kind, queue)) == 4
    assert order.read_text().split() == ["99", "99", "60", "51"]
    assert queue.stats()["pending"] == 2
    assert drain(employ(Worker, queue)) == 2


@KINDS
def test_its_jobs_end_as_those_of_any_worker(queue: JobQueue, employ: Employ, kind: Kind) -> None:
    good = queue.submit(high("good", jobs.add, params={"a": 1, "b": 2}))
    bad = queue.submit(high("bad", jobs.fail, max_attempts=2))
    assert drain(employ(kind, queue, worker_id="prioritized")) == 3
    record = queue.get_status(good)
    assert (record["status"], record["result"], record["attempts"]) == ("completed", 3, 1)
    assert record["worker_id"] is None
    (run,) = record["executions"]
    assert (run["status"], run["worker_id"]) == ("completed", "prioritized")
    record = queue.get_status(bad)
    assert (record["status"], record["attempts"]) == ("failed", 2)
    assert [run["status"] for run in record["executions"]] == ["failed", "failed"]
    assert queue.stats() == {**dict.fromkeys(queue.stats(), 0), "completed": 1, "failed": 1, "total": 2}


def test_the_execution_is_the_one_that_the_subclass_named(queue: JobQueue, employ: Employ) -> None:
    job_id = queue.submit(high())
    worker = employ(PrioritizedWorker, queue)
    worker._get_connection()
    gate = queue._store.engine.sidecar.gate  # what process_one holds around the claim
    assert gate.acquire(60)
    claimed = worker._claim_job()
    gate.release()
    assert claimed is not None
    uuid.UUID(claimed["execution_id"])
    assert (claimed["id"], claimed["status"], claimed["attempts"]) == (job_id, "running", 1)
    assert (claimed["params"], claimed["dependencies"]) == ({}, [])
    (run,) = queue.get_status(job_id)["executions"]
    assert (run["id"], run["status"]) == (claimed["execution_id"], "running")


@KINDS
def test_while_it_runs_its_worker_is_told(db: str, employ: Employ, kind: Kind) -> None:
    queue = JobQueue(db)
    job_id = queue.submit(high("look", jobs.status_of_mine, params={"path": db}))
    assert drain(employ(kind, db, worker_id="prioritized")) == 1
    seen = queue.get_status(job_id)["result"]
    assert (seen["status"], seen["worker_id"], seen["attempts"]) == ("running", "prioritized", 1)


@KINDS
def test_what_is_not_ready_is_invisible_to_it(
    queue: JobQueue, employ: Employ, kind: Kind, clock: TurnedClock
) -> None:
    """Blocked by a parent that is not its own to run; waiting for its retry; held for want of a module."""
    workflow = Workflow("w")
    parent = workflow.add_job(Job("parent", jobs.nothing))
    blocked = workflow.add_job(high("blocked"), depends_on=[parent])
    workflow.submit_all(queue)
    later = queue.submit(high("later", jobs.fail, max_attempts=2, retry_delay=60))
    held = queue.submit(high("held", "no_such_module_here.f"))  # type: ignore[arg-type]
    worker = employ(kind, queue)
    assert drain(worker) == 2
    for job_id in (blocked.id, later, held):
        assert queue.get_status(job_id)["status"] == "pending"
    assert drain(employ(Worker, queue)) == 2  # the parent, and its child
    assert queue.get_status(blocked.id)["status"] == "completed"
    clock.turn(59)
    assert drain(worker) == 0
    clock.turn(2)
    assert drain(worker) == 1
    assert queue.get_status(later)["status"] == "failed"


@KINDS
def test_it_releases_the_children_of_what_it_completes(queue: JobQueue, employ: Employ, kind: Kind) -> None:
    workflow = Workflow("w")
    parent = workflow.add_job(high("parent", jobs.echo, params={"value": 5}))
    child = workflow.add_job(high("child", jobs.merge), depends_on=[parent])
    workflow.submit_all(queue)
    assert drain(employ(kind, queue)) == 2
    assert queue.get_result(child.id) == [5]


@KINDS
def test_its_jobs_time_out(queue: JobQueue, employ: Employ, kind: Kind) -> None:
    final = queue.submit(high("final", jobs.sleep, params={"seconds": 0.2}, timeout=0.05, max_attempts=1))
    assert drain(employ(kind, queue)) == 1
    record = queue.get_status(final)
    assert (record["status"], record["attempts"]) == ("timeout", 1)


@KINDS
def test_another_worker_settles_its_overdue_runs(db: str, employ: Employ, kind: Kind, tmp_path: Path) -> None:
    queue = JobQueue(db)
    job_id = queue.submit(high("dies", jobs.die_once, params={"path": str(tmp_path / "died")}))
    dead = start(PROCESS_ONE.format(kind=kind.__name__), db, cwd=tmp_path)
    dead.communicate(timeout=60)
    assert dead.returncode == 7
    assert drain(employ(Worker, db)) == 1
    record = queue.get_status(job_id)
    assert (record["status"], record["crashes"], record["attempts"]) == ("completed", 1, 1)


@KINDS
@pytest.mark.parametrize("concurrency", [1, 3])
def test_it_starts_and_stops(queue: JobQueue, employ: Employ, kind: Kind, concurrency: int) -> None:
    queue.submit_many([high() for _ in range(20)])
    low = queue.submit(Job("low", jobs.nothing))
    worker = employ(kind, queue, concurrency=concurrency, polling_interval=0.05)
    thread = threading.Thread(target=worker.start, daemon=True)
    thread.start()
    wait_until(lambda: queue.stats()["completed"] == 20, "all high ones are done")
    queue.submit(high("another"))
    wait_until(lambda: queue.stats()["completed"] == 21, "a later one is done")
    worker.stop()
    thread.join(60)
    assert not thread.is_alive()
    assert queue.get_status(low)["status"] == "pending"
    assert queue.stats()["running"] == 0


PROCESS_ONE = """
import sys
from extensions import {kind}
worker = {kind}(sys.argv[1])
while worker.process_one():
    pass
"""


@KINDS
def test_two_in_two_processes_never_run_one_job_twice(db: str, kind: Kind, tmp_path: Path) -> None:
    queue, ledger = JobQueue(db), tmp_path / "ledger"
    ids = queue.submit_many(
        [high("one", jobs.append_my_id, params={"path": str(ledger)}) for _ in range(150)]
    )
    processes = [start(PROCESS_ONE.format(kind=kind.__name__), db, cwd=tmp_path) for _ in range(2)]
    for process in processes:
        _out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert Counter(ledger.read_text().split()) == Counter(ids)
    assert queue.stats()["completed"] == 150
    executions = [run for job_id in ids for run in queue.get_status(job_id)["executions"]]
    assert len({run["id"] for run in executions}) == 150


def test_it_works_beside_ordinary_workers_without_running_a_job_twice(
    db: str, employ: Employ, tmp_path: Path
) -> None:
    queue, ledger = JobQueue(db), tmp_path / "ledger"
    ids = queue.submit_many(
        [high("one", jobs.append_my_id, params={"path": str(ledger)}) for _ in range(100)]
    )
    workers = [employ(kind, db) for kind in (PrioritizedWorker, Worker, NarrowingWorker)]
    threads = [threading.Thread(target=drain, args=[worker], daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert Counter(ledger.read_text().split()) == Counter(ids)


# -- what its connection lets it do ----------------------------------------------------------------------------


class Meddling(Worker):
    """Tries what is not a claim."""

    sql = ""

    def _claim_job(self) -> dict[str, Any] | None:
        conn = self._get_connection()
        conn.execute("BEGIN EXCLUSIVE TRANSACTION")
        try:
            conn.execute(self.sql)
        finally:
            conn.rollback()
        return None


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE jobs SET priority = 9",
        "UPDATE jobs SET status = 'completed'",
        "UPDATE jobs SET status = 'running' WHERE status = 'completed'",
        "DELETE FROM jobs",
        "UPDATE job_executions SET status = 'completed'",
    ],
)
def test_it_may_claim_and_nothing_else(queue: JobQueue, employ: Employ, sql: str) -> None:
    queue.submit(Job("done", jobs.nothing))
    assert employ(Worker, queue).process_one()
    queue.submit(Job("pending", jobs.nothing))
    before = queue.list_jobs()
    meddling = employ(Meddling, queue)
    meddling.sql = sql
    with pytest.raises(sqlite3.Error):
        meddling.process_one()
    assert queue.list_jobs() == before


def test_a_claim_that_was_rolled_back_never_was(queue: JobQueue, employ: Employ) -> None:
    queue.submit(high())
    meddling = employ(Meddling, queue)
    meddling.sql = "UPDATE jobs SET status = 'running'"
    assert meddling.process_one() is False
    assert queue.stats()["pending"] == 1
    assert drain(employ(PrioritizedWorker, queue)) == 1


def test_what_others_read_is_not_narrowed(queue: JobQueue, employ: Employ) -> None:
    """The views that hide what is not ready are for its claims alone."""
    workflow = Workflow("w")
    parent = workflow.add_job(Job("parent", jobs.nothing))
    workflow.add_job(high("blocked"), depends_on=[parent])
    workflow.submit_all(queue)
    assert drain(employ(PrioritizedWorker, queue)) == 0
    assert len(queue.list_jobs()) == 2
    (count,) = queue._get_connection().execute("SELECT count(*) FROM jobs").fetchone()
    assert count == 2


class Forgetful(Worker):
    """Finds nothing, and leaves its transaction open."""

    def _claim_job(self) -> dict[str, Any] | None:
        self._get_connection().execute("BEGIN EXCLUSIVE TRANSACTION")
        return None


def test_a_transaction_that_a_claim_leaves_open_shuts_nobody_out(queue: JobQueue, employ: Employ) -> None:
    assert employ(Forgetful, queue).process_one() is False
    queue.submit(high())
    assert drain(employ(PrioritizedWorker, queue)) == 1
