"""Contract, Opening: who creates and migrates, what is a new database, and what durability that has."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import jobs
import processes
import pytest
from stores import LEGACY

from gigq import Job, JobQueue, Worker, close_connections
from gigq.errors import InvalidJob, StoreMissing
from gigq.store.connections import Durability

CALLS: list[Callable[[JobQueue], object]] = [
    JobQueue.stats,
    JobQueue.list_jobs,
    lambda queue: queue.get_status("nobody"),
    lambda queue: queue.submit(Job("j", jobs.nothing)),
    lambda queue: queue.clear_completed(),
    lambda queue: Worker(queue).process_one(),
]


@pytest.mark.parametrize("call", CALLS, ids=["stats", "list", "status", "submit", "clear", "work"])
def test_without_initialize_a_missing_file_is_named_and_not_created(
    tmp_path: Path, call: Callable[[JobQueue], object]
) -> None:
    path = tmp_path / "jobs.db"
    queue = JobQueue(path, initialize=False)
    for _ in range(2):
        with pytest.raises(StoreMissing) as refused:
            call(queue)
        assert str(refused.value).startswith(f"{path}: there is no such file")
        assert "initialize=False" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", CALLS, ids=["stats", "list", "status", "submit", "clear", "work"])
@pytest.mark.parametrize("fixture", [None, "gigq-0.5.1-empty.db"], ids=["empty", "older"])
def test_without_initialize_an_empty_or_older_file_is_named_and_left_as_it_was(
    tmp_path: Path, fixture: str | None, call: Callable[[JobQueue], object]
) -> None:
    path = tmp_path / "jobs.db"
    if fixture:
        shutil.copyfile(LEGACY / fixture, path)
    else:
        path.touch()
    before = path.read_bytes()
    queue = JobQueue(path, initialize=False)
    for _ in range(2):
        with pytest.raises(StoreMissing) as refused:
            call(queue)
        wanted = "a queue of an older gigq" if fixture else "no queue"
        assert str(refused.value).startswith(f"{path}: holds {wanted}")
        assert "neither creates nor migrates" in str(refused.value)
        assert "gigq db migrate" in str(refused.value)
    close_connections()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_without_initialize_an_existing_queue_works(db: str) -> None:
    JobQueue(db)
    queue = JobQueue(db, initialize=False)
    job = queue.submit(Job("j", jobs.nothing))
    assert queue.get_status(job)["status"] == "pending"


def test_a_queue_without_initialize_works_once_somebody_has_made_the_file(db: str) -> None:
    queue = JobQueue(db, initialize=False)
    with pytest.raises(StoreMissing):
        queue.stats()
    JobQueue(db)
    assert queue.stats()["total"] == 0


def test_a_worker_initialises_as_a_queue_does(db: str) -> None:
    worker = Worker(db)
    assert worker.process_one() is False
    worker.close()
    assert JobQueue(db, initialize=False).stats()["total"] == 0


def test_a_worker_migrates_as_a_queue_does(db: str) -> None:
    shutil.copyfile(LEGACY / "gigq-0.5.1-empty.db", db)
    Worker(db).close()
    assert JobQueue(db, initialize=False).stats()["total"] == 0


def test_an_empty_file_is_a_new_database(tmp_path: Path) -> None:
    fd, path = tempfile.mkstemp(suffix=".db", dir=tmp_path)
    os.close(fd)
    queue = JobQueue(path)
    job = queue.submit(Job("j", jobs.add, params={"a": 1, "b": 2}))
    worker = Worker(path)
    assert worker.process_one() is True
    worker.close()
    assert queue.get_result(job) == 3


def test_a_sidecar_without_its_database_is_used_again(tmp_path: Path) -> None:
    path, sidecar = tmp_path / "jobs.db", tmp_path / "jobs.db-lock"
    queue = JobQueue(path)
    queue.submit(Job("gone", jobs.nothing))
    worker = Worker(path)
    assert worker.process_one()
    worker.close()
    close_connections()
    queue._store.engine.close()
    inode = sidecar.stat().st_ino
    path.unlink()
    again = JobQueue(path)
    job = again.submit(Job("j", jobs.add, params={"a": 1, "b": 2}))
    worker = Worker(path)
    assert worker.process_one()
    worker.close()
    assert again.get_result(job) == 3
    assert [shown["name"] for shown in again.list_jobs()] == ["j"]
    assert sidecar.stat().st_ino == inode


def test_what_a_killed_process_left_beside_a_deleted_database_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    code = """
    import os, sys, jobs
    from gigq import Job, JobQueue
    JobQueue(sys.argv[1]).submit(Job("gone", jobs.nothing))
    os._exit(0)
    """
    processes.run_code(code, str(path), cwd=tmp_path)
    assert (tmp_path / "jobs.db-wal").exists()
    path.unlink()
    queue = JobQueue(path)
    assert queue.stats()["total"] == 0
    queue.submit(Job("j", jobs.nothing))
    assert [shown["name"] for shown in queue.list_jobs()] == ["j"]


@pytest.mark.parametrize(("durability", "value"), [("full", 3), ("normal", 1)])
def test_durability_is_what_sqlite_says_it_is(db: str, durability: Durability, value: int) -> None:
    queue = JobQueue(db, durability=durability)
    worker = Worker(db, durability=durability)
    for connection in (
        queue._get_connection(),
        worker._get_connection(),
        queue._store.engine.connection(),
        worker._queue._store.engine.connection(),
    ):
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == value
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    worker.close()


def test_full_durability_is_the_default_and_each_has_its_own(db: str) -> None:
    normal, full = JobQueue(db, durability="normal"), JobQueue(db)
    assert full._get_connection().execute("PRAGMA synchronous").fetchone()[0] == 3
    assert normal._get_connection().execute("PRAGMA synchronous").fetchone()[0] == 1
    assert Worker(db)._get_connection().execute("PRAGMA synchronous").fetchone()[0] == 3


@pytest.mark.parametrize("opening", [JobQueue, Worker])
@pytest.mark.parametrize("durability", ["off", "FULL", "", None, 2])
def test_an_unknown_durability_is_refused_before_there_is_a_file(
    tmp_path: Path, opening: Callable[..., object], durability: object
) -> None:
    with pytest.raises(InvalidJob, match="durability: 'full' or 'normal'"):
        opening(tmp_path / "jobs.db", durability=durability)
    assert list(tmp_path.iterdir()) == []


def test_only_the_owner_may_read_what_gigq_creates(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        queue = JobQueue(tmp_path / "jobs.db")
        queue.submit(Job("j", jobs.nothing))
        made = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert made == dict.fromkeys(["jobs.db", "jobs.db-wal", "jobs.db-shm", "jobs.db-lock"], 0o600)


def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    path.touch()
    path.chmod(0o640)
    JobQueue(path).submit(Job("j", jobs.nothing))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


_CREATE = """
import os, sys, jobs
from gigq import Job, JobQueue, Worker
JobQueue(":memory:").stats()
children = []
for number in range(16):
    start, end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(end)
        os.read(start, 1)  # until all are let go at once
        try:
            (JobQueue if number % 2 else Worker)(sys.argv[1])
            JobQueue(sys.argv[1]).submit(Job(f"j{number}", "jobs.nothing"))
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            os._exit(1)
        os._exit(0)
    os.close(start)
    children.append((child, end))
for _, end in children:
    os.close(end)
print(sum(os.waitpid(child, 0)[1] != 0 for child, _ in children))
"""


@pytest.mark.parametrize("before", ["missing", "empty", "older"])
def test_sixteen_processes_that_create_the_same_file_at_once_all_succeed(db: str, before: str) -> None:
    if before == "empty":
        Path(db).touch()
    elif before == "older":
        shutil.copyfile(LEGACY / "gigq-0.5.1-empty.db", db)
    said = processes.run_code(_CREATE, db, cwd=Path(db).parent)
    assert said.split() == ["0"], said
    assert sorted(job["name"] for job in JobQueue(db).list_jobs()) == sorted(f"j{n}" for n in range(16))
    with contextlib.closing(sqlite3.connect(db)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
