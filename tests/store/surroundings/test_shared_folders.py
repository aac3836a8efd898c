"""FUSE and 9p, which show an ordinary folder to several kernels: a rollback journal, and one host only."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
import threading
from pathlib import Path

import jobs
import pytest
from processes import PATIENCE, wait_until
from surroundings import locked, mount, mounted

from gigq import Job, JobQueue, Worker, close_connections
from gigq.errors import StoreBusy, StoreUnusable, UnknownParent
from gigq.store import hosts

KINDS = ["fuse", "fuse.grpcfuse", "fuseblk", "9p", "virtiofs", "drvfs"]


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Path of a database on a shared folder of host ``one``; it does not exist yet."""
    folder = tmp_path / "shared"
    folder.mkdir()
    mounted(monkeypatch, tmp_path, mount(folder, "9p"))
    be_on(monkeypatch, "one")
    return str(folder / "jobs.db")


def be_on(monkeypatch: pytest.MonkeyPatch, host: str, boot: str = "first boot") -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    monkeypatch.setattr("gigq.ids.boot_id", lambda: boot)
    close_connections()


def place(path: str) -> list[tuple[str, str]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT host, boot FROM place").fetchall()


def journal(path: str) -> str:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_shared_folder_gets_a_rollback_journal_and_that_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    mounted(monkeypatch, tmp_path, mount(tmp_path, kind))
    path = str(tmp_path / "jobs.db")
    with caplog.at_level(logging.WARNING, logger="gigq"):
        for _ in range(3):
            JobQueue(path).submit(Job("j", jobs.nothing))
            close_connections()
        Worker(path).close()
    assert journal(path) == "delete"
    assert not Path(f"{path}-wal").exists()
    said = [record for record in caplog.records if record.name == "gigq.queue"]
    assert len(said) == 1
    assert said[0].levelno == logging.WARNING
    assert path in said[0].getMessage()
    assert kind in said[0].getMessage()
    assert "rollback journal" in said[0].getMessage()


def test_a_local_disk_gets_a_wal_and_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mounted(monkeypatch, tmp_path)
    path = str(tmp_path / "jobs.db")
    with caplog.at_level(logging.WARNING, logger="gigq"):
        JobQueue(path).submit(Job("j", jobs.nothing))
    assert journal(path) == "wal"
    assert place(path) == []
    assert caplog.records == []


def test_work_is_done_on_a_shared_folder_while_others_read(shared: str) -> None:
    queue = JobQueue(shared)
    ids = [queue.submit(Job(f"j{n}", jobs.add, params={"a": n, "b": 1})) for n in range(30)]
    worker = Worker(shared, concurrency=2, polling_interval=0.05)
    errors: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                queue.stats()
                queue.list_jobs(limit=5)
        except BaseException as error:
            errors.append(error)
        finally:
            close_connections()

    readers = [threading.Thread(target=read) for _ in range(2)]
    working = threading.Thread(target=worker.start)
    for thread in (*readers, working):
        thread.start()
    wait_until(lambda: queue.stats()["completed"] == 30, "the jobs are done")
    done.set()
    worker.stop()
    for thread in (*readers, working):
        thread.join(PATIENCE)
    assert errors == []
    assert [queue.get_result(job) for job in ids] == list(range(1, 31))


def test_a_file_in_wal_mode_that_comes_to_a_shared_folder_changes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted(monkeypatch, tmp_path)
    path = str(tmp_path / "jobs.db")
    job = JobQueue(path).submit(Job("j", jobs.nothing))
    close_connections()
    assert journal(path) == "wal"
    mounted(monkeypatch, tmp_path, mount(tmp_path, "9p"))
    assert JobQueue(path).get_status(job)["status"] == "pending"
    assert journal(path) == "delete"


def test_a_commit_waits_for_those_who_are_reading(shared: str) -> None:
    """With a rollback journal a reader keeps the writer from its COMMIT."""
    queue = JobQueue(shared)
    reader = sqlite3.connect(shared, isolation_level=None, check_same_thread=False)
    with contextlib.closing(reader):
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM job").fetchall()
        queue._store.engine.busy_timeout = 0.3
        with pytest.raises(StoreBusy):
            queue.submit(Job("too early", jobs.nothing))
        assert queue._store.engine.connection().in_transaction is False
        queue._store.engine.busy_timeout = PATIENCE
        ending = threading.Timer(0.2, lambda: reader.execute("ROLLBACK"))
        ending.start()
        queue.submit(Job("in time", jobs.nothing))
        ending.join()
    assert [row["name"] for row in queue.list_jobs()] == ["in time"]


def test_a_reader_waits_for_who_is_writing(shared: str) -> None:
    queue = JobQueue(shared)
    queue._store.engine.busy_timeout = 0.2
    with locked(shared, "EXCLUSIVE"):
        for ask in (queue.stats, queue.list_jobs, queue._store.engine.data_version):
            with pytest.raises(StoreBusy, match="held its write lock too long"):
                ask()
    assert queue.stats()["total"] == 0


def test_the_first_write_puts_host_and_boot_into_the_file(shared: str) -> None:
    queue = JobQueue(shared)
    queue.submit(Job("j", jobs.nothing))
    assert place(shared) == [("one", "first boot")]


def test_a_second_host_is_refused_by_name(shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    JobQueue(shared).submit(Job("j", jobs.nothing))
    be_on(monkeypatch, "two", "second boot")
    before = Path(shared).read_bytes()
    for opening in (JobQueue, Worker, lambda path: JobQueue(path, initialize=False).stats()):
        with pytest.raises(StoreUnusable) as refused:
            opening(shared)
        text = str(refused.value)
        assert text.startswith(f"{shared}: lies on a shared folder and belongs to host one")
        assert "this is host two" in text
        assert "PostgreSQL" in text
        assert hosts._FORGET in text
    assert Path(shared).read_bytes() == before


def test_a_second_host_is_refused_though_the_folder_is_its_own_disk(
    shared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine that shares the folder sees an ordinary one; the locks of its guests mean nothing there."""
    JobQueue(shared).submit(Job("j", jobs.nothing))
    mounted(monkeypatch, tmp_path)
    be_on(monkeypatch, "two")
    with pytest.raises(StoreUnusable, match="host one"):
        JobQueue(shared)


def test_the_same_host_goes_on_after_a_restart(shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    job = JobQueue(shared).submit(Job("j", jobs.nothing))
    be_on(monkeypatch, "one", "next boot")
    queue = JobQueue(shared)
    assert queue.get_status(job)["status"] == "pending"
    assert place(shared) == [("one", "first boot")]  # only looked at so far
    queue.submit(Job("k", jobs.nothing))
    assert place(shared) == [("one", "next boot")]


def test_the_way_out_that_is_named_works(shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    job = JobQueue(shared).submit(Job("j", jobs.nothing))
    be_on(monkeypatch, "two")
    with contextlib.closing(sqlite3.connect(shared)) as connection, connection:
        connection.execute(hosts._FORGET)
    queue = JobQueue(shared)
    assert queue.get_status(job)["exists"]
    queue.submit(Job("k", jobs.nothing))
    assert [host for host, _ in place(shared)] == ["two"]


def test_a_copy_on_another_hosts_local_disk_of_a_file_that_was_never_shared_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted(monkeypatch, tmp_path)
    be_on(monkeypatch, "one")
    job = JobQueue(tmp_path / "jobs.db").submit(Job("j", jobs.nothing))
    be_on(monkeypatch, "two")
    shutil.copy(tmp_path / "jobs.db", tmp_path / "copy.db")
    assert JobQueue(tmp_path / "copy.db").get_status(job)["exists"]


def test_a_failed_first_write_leaves_the_name_to_the_next(shared: str) -> None:
    queue = JobQueue(shared)
    with pytest.raises(UnknownParent):
        queue.submit(Job("j", jobs.nothing, dependencies=["nobody"]))
    with locked(shared):
        queue._store.engine.busy_timeout = 0.1
        with pytest.raises(StoreBusy):
            queue.submit(Job("j", jobs.nothing))
    assert place(shared) == []
    queue.submit(Job("k", jobs.nothing))
    assert place(shared) == [("one", "first boot")]
