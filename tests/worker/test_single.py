"""Single jobs, and workers with seams of their own, beside a database that is not to be had just now."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jobs import append_and_return, environment, nothing, wait_for
from processes import wait_until

from gigq import Job, JobQueue, StoreBusy, StoreReplaced, Worker


class WithASeam(Worker):
    """Overrides a seam, and so works one job per transaction."""

    def _import_function(self, module_name: str, function_name: str) -> Callable[..., Any]:
        return super()._import_function(module_name, function_name)


@contextlib.contextmanager
def locked(db: str) -> Iterator[None]:
    """The write lock, held by somebody who does not stand in line."""
    with contextlib.closing(sqlite3.connect(db, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_a_result_that_could_not_be_written_is_kept_and_its_job_does_not_run_again(
    db: str, tmp_path: Path
) -> None:
    queue, ledger, ready = JobQueue(db), tmp_path / "ledger", tmp_path / "ready"
    job_id = queue.submit(
        Job(
            "precious",
            append_and_return,
            params={"path": str(ledger), "text": "ran", "value": 42, "after": str(ready)},
        )
    )
    worker = Worker(db)
    worker._queue._store.engine.busy_timeout = 0.2
    raised: list[BaseException] = []

    def process() -> None:
        try:
            worker.process_one()
        except StoreBusy as error:
            raised.append(error)

    thread = threading.Thread(target=process)
    thread.start()
    wait_until(lambda: queue.stats()["running"] == 1, "the job runs")
    with locked(db):
        ready.touch()
        thread.join(60)
    assert raised, "who called is told"
    assert not worker.process_one(), "the end is written first, and there is nothing more to do"
    assert queue.get_result(job_id) == 42
    assert ledger.read_text().splitlines() == ["ran"]
    worker.close()


def test_a_worker_with_seams_waits_for_a_locked_database(db: str, tmp_path: Path) -> None:
    queue, until = JobQueue(db), tmp_path / "until"
    job_id = queue.submit(Job("waits", wait_for, params={"path": str(until)}))
    worker = WithASeam(db, polling_interval=0.05)
    worker._queue._store.engine.busy_timeout = 0.1
    thread = threading.Thread(target=worker.start)
    thread.start()
    wait_until(lambda: queue.stats()["running"] == 1, "the job runs")
    with locked(db):
        until.touch()
        assert not threading.Event().wait(0.5)
        assert thread.is_alive()
    wait_until(lambda: queue.get_status(job_id)["status"] == "completed", "the held end is written")
    worker.stop()
    thread.join(60)
    assert [run["status"] for run in queue.get_status(job_id)["executions"]] == ["completed"]


def test_a_worker_with_seams_stops_with_an_error_when_its_database_is_gone(db: str) -> None:
    worker = WithASeam(db, polling_interval=0.05)
    raised: list[BaseException] = []

    def start() -> None:
        try:
            worker.start()
        except StoreReplaced as error:
            raised.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    wait_until(lambda: worker.running, "it works")
    Path(db).rename(f"{db}-moved")
    thread.join(60)
    assert not thread.is_alive()
    assert len(raised) == 1


SUBMITTER = """
import sys
from gigq import Job, JobQueue
def process():
    return "the submitter's"
print(JobQueue(sys.argv[1]).submit(Job("job", process)))
"""
WORKER = """
import sys
from gigq import Worker
def process():
    return "the worker's own"
class Mine(Worker):
    def _import_function(self, module_name, function_name):
        return super()._import_function(module_name, function_name)
Mine(sys.argv[1]).process_one()
"""
CLEARS = """
import sys
from gigq import Job, JobQueue, Worker
def process():
    return 1
queue = JobQueue(sys.argv[1])
print(queue.clear_completed())
print(queue.submit(Job("job", process)))
"""


def run(folder: Path, name: str, text: str, db: str) -> list[str]:
    (folder / name).write_text(text)
    done = subprocess.run(
        [sys.executable, name, db], cwd=folder, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_an_overridden_import_does_not_find_its_own_script_for_anothers(db: str, tmp_path: Path) -> None:
    (job_id,) = run(tmp_path, "submitter.py", SUBMITTER, db)
    run(tmp_path, "worker.py", WORKER, db)
    assert JobQueue(db).get_result(job_id) == "the submitter's"


def test_a_script_that_clears_before_it_submits_clears_nothing_when_a_worker_loads_it(
    db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = JobQueue(db)
    kept = queue.submit(Job("kept", nothing))
    worker = Worker(db)
    _, job_id = run(tmp_path, "clears.py", CLEARS, db)
    monkeypatch.setattr(sys, "argv", ["worker", db])
    assert worker.process_one()
    assert worker.process_one()
    assert queue.get_result(job_id) == 1
    assert queue.get_status(kept)["status"] == "completed", "it was completed before the script was loaded"
    worker.close()
