"""Somebody who does not know the gate holds the write lock for long."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from pathlib import Path

import jobs
import processes
import pytest
from processes import PATIENCE, wait_until
from surroundings import locked

from gigq import Job, JobQueue, Worker
from gigq.errors import StoreBusy
from gigq.store.connections import BUSY_TIMEOUT


def test_a_submit_waits_for_busy_timeout_and_then_says_why(db: str) -> None:
    queue = JobQueue(db)
    queue._store.engine.busy_timeout = 0.3
    with locked(db):
        began = time.monotonic()
        with pytest.raises(StoreBusy) as refused:
            queue.submit(Job("j", jobs.nothing))
        assert time.monotonic() - began >= 0.3
    assert str(refused.value).startswith(f"{db}: another program has held its write lock too long")
    assert "End it, or try again" in str(refused.value)
    assert queue.stats()["total"] == 0
    queue.submit(Job("j", jobs.nothing))
    assert queue.stats()["total"] == 1


def test_busy_timeout_is_30_seconds(db: str) -> None:
    assert BUSY_TIMEOUT == 30
    assert JobQueue(db)._store.engine.busy_timeout == 30


def test_a_submit_that_is_patient_enough_succeeds(db: str) -> None:
    queue = JobQueue(db)
    submitted = threading.Event()

    def submit() -> None:
        queue.submit(Job("j", jobs.nothing))
        submitted.set()

    with locked(db):
        thread = threading.Thread(target=submit)
        thread.start()
        assert not submitted.wait(0.2)
    assert submitted.wait(PATIENCE)
    thread.join()


def test_every_write_says_why_and_changes_nothing(db: str) -> None:
    queue = JobQueue(db)
    job = queue.submit(Job("j", jobs.nothing))
    worker = Worker(db)
    queue._store.engine.busy_timeout = 0.05
    with locked(db):
        for write in (
            lambda: queue.cancel(job),
            lambda: queue.submit_many([Job("k", jobs.nothing), Job("l", jobs.nothing)]),
            worker.process_one,
        ):
            with pytest.raises(StoreBusy):
                write()
    assert queue.get_status(job)["status"] == "pending"
    assert queue.stats()["total"] == 1


def test_reads_go_on(db: str) -> None:
    queue = JobQueue(db)
    job = queue.submit(Job("j", jobs.nothing))
    queue._store.engine.busy_timeout = 0.0
    with locked(db, "EXCLUSIVE"):
        assert queue.get_status(job)["status"] == "pending"
        assert queue.stats()["pending"] == 1
        assert [shown["id"] for shown in queue.list_jobs()] == [job]
        assert queue.get_result(job) is None
        queue.close()
        assert JobQueue(db, initialize=False).stats()["pending"] == 1


_WORK = """
import sys
from gigq import Worker
Worker(sys.argv[1], polling_interval=0.1).start()
print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_worker_hears_a_signal_at_once(db: str, tmp_path: Path, number: int) -> None:
    queue = JobQueue(db)
    job = queue.submit(Job("j", jobs.nothing))
    process = processes.start(_WORK, db, cwd=tmp_path)
    try:
        wait_until(lambda: queue.get_status(job)["status"] == "completed", "the worker works")
        with locked(db):
            began = time.monotonic()
            process.send_signal(number)
            out, err = process.communicate(timeout=PATIENCE)
            assert time.monotonic() - began < BUSY_TIMEOUT / 2
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, out.strip()) == (0, "ended"), err


def test_a_worker_that_wants_to_claim_hears_a_signal_at_once(db: str, tmp_path: Path) -> None:
    queue = JobQueue(db)
    job = queue.submit(Job("j", jobs.nothing))
    process = processes.start(_WORK, db, cwd=tmp_path)
    go = tmp_path / "go"
    try:
        wait_until(lambda: queue.get_status(job)["status"] == "completed", "the worker works")
        running = queue.submit(Job("r", jobs.wait_for, params={"path": str(go)}))
        wait_until(lambda: queue.get_status(running)["status"] == "running", "it is busy")
        waiting = queue.submit(Job("w", jobs.nothing))
        with locked(db):
            go.touch()  # its end cannot be written, and the next cannot be claimed
            process.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)  # it goes on waiting: what it knows is not to be lost
        process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert queue.get_status(running)["status"] == "completed"
    assert queue.get_status(waiting)["status"] == "pending"


def test_a_worker_settles_a_timeout_when_the_lock_is_gone_and_never_gives_up(db: str, tmp_path: Path) -> None:
    queue = JobQueue(db)
    go = tmp_path / "go"
    job = queue.submit(Job("j", jobs.wait_for, params={"path": str(go)}, timeout=0.3, max_attempts=1))
    worker = Worker(db, polling_interval=0.1)
    ended: list[BaseException | None] = []

    def work() -> None:
        try:
            worker.start()
            ended.append(None)
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        wait_until(lambda: queue.get_status(job)["status"] == "running", "the job runs")
        loop = worker._loop
        assert loop is not None
        with locked(db):
            wait_until(lambda: not loop._executor.running(), "the overdue run was given up though locked")
            assert queue.get_status(job)["status"] == "running"
            assert ended == []
        wait_until(lambda: queue.get_status(job)["status"] == "timeout", "the timeout is stored")
        after = queue.submit(Job("after", jobs.add, params={"a": 1, "b": 2}))
        wait_until(lambda: queue.get_status(after)["status"] == "completed", "the worker goes on")
    finally:
        go.touch()
        worker.stop()
        thread.join(PATIENCE)
    assert ended == [None]


def test_an_exclusive_lock_on_a_file_with_a_rollback_journal_does_not_end_a_worker(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There even reads wait."""
    monkeypatch.setattr("gigq.store.places.file_system", lambda _: "9p")
    queue = JobQueue(db)
    worker = Worker(db, polling_interval=0.05)
    thread = threading.Thread(target=worker.start)
    thread.start()
    try:
        first = queue.submit(Job("first", jobs.nothing))
        wait_until(lambda: queue.get_status(first)["status"] == "completed", "the worker works")
        with locked(db, "EXCLUSIVE"):
            thread.join(1.5)  # several looks, and one turn of the housekeeping
            assert thread.is_alive()
        job = queue.submit(Job("j", jobs.nothing))
        wait_until(lambda: queue.get_status(job)["status"] == "completed", "the worker goes on")
        with locked(db, "EXCLUSIVE"):
            began = time.monotonic()
            worker.stop()
            thread.join(PATIENCE)
            assert time.monotonic() - began < BUSY_TIMEOUT / 2
    finally:
        worker.stop()
        thread.join(PATIENCE)
    assert not thread.is_alive()
