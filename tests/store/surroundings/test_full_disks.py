"""A full disk: reads go on, submits say so, workers hold what they know and go on by themselves when there is room."""

from __future__ import annotations

import contextlib
import select
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jobs
import processes
import pytest
from processes import PATIENCE, wait_until
from surroundings import fill, room, small_disk, take_inodes

from gigq import Job, JobQueue, Worker, close_connections
from gigq.errors import StoreFull
from gigq.store import connections
from gigq.store.connections import Connection, Durability

LARGE = "x" * 100_000


class Limit:
    """How large the databases of this process may become."""

    def __init__(self) -> None:
        self.pages = 2**30
        self._connections: list[sqlite3.Connection] = []

    def of(self, connection: sqlite3.Connection) -> None:
        self._connections.append(connection)
        connection.execute(f"PRAGMA max_page_count = {self.pages}").fetchone()

    def set(self, pages: int) -> None:
        """For every connection there is, and for those that come; never below what is in the file."""
        self.pages = pages
        for connection in self._connections:
            with contextlib.suppress(sqlite3.ProgrammingError):  # closed
                connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()

    def close(self) -> None:
        """No room for another page."""
        self.set(1)

    def open(self) -> None:
        self.set(2**30)


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Limit:
    made = Limit()
    real = connections.prepare

    def prepare(connection: sqlite3.Connection, durability: Durability) -> None:
        real(connection, durability)
        if isinstance(connection, Connection):
            made.of(connection)

    monkeypatch.setattr(connections, "prepare", prepare)
    return made


def runs(log: str) -> list[int]:
    """The jobs that ran, in that order."""
    return [int(line) for line in Path(log).read_text().splitlines()] if Path(log).exists() else []


@contextlib.contextmanager
def working(path: str, limit: Limit, concurrency: int) -> Iterator[Worker]:
    """A worker in a thread, until the end of the block."""
    worker = Worker(path, polling_interval=0.1, concurrency=concurrency)
    thread = threading.Thread(target=worker.start)
    thread.start()
    try:
        yield worker
    finally:
        limit.open()
        worker.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_a_submit_into_a_full_database_says_so_and_stores_nothing(db: str, limit: Limit) -> None:
    queue = JobQueue(db)
    job = queue.submit(Job("j", jobs.nothing))
    limit.close()
    with pytest.raises(StoreFull) as refused:
        queue.submit_many([Job(f"large {n}", jobs.echo, params={"value": LARGE}) for n in range(10)])
    assert str(refused.value).startswith(f"{db}: no space left")
    assert "Nothing was stored" in str(refused.value)
    assert "make room" in str(refused.value)
    assert [shown["name"] for shown in queue.list_jobs()] == ["j"]
    assert queue.stats()["total"] == 1
    assert queue.get_status(job)["status"] == "pending"
    assert not queue._store.engine.connection().in_transaction
    limit.open()
    queue.submit(Job("large", jobs.echo, params={"value": LARGE}))
    assert queue.stats()["total"] == 2


def test_a_worker_holds_what_it_knows_and_goes_on_when_there_is_room(
    db: str, limit: Limit, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    log, go = str(tmp_path / "runs"), tmp_path / "go"
    queue = JobQueue(db)
    ids = []
    for n in range(12):
        params = {"path": log, "text": str(n), "value": LARGE, "after": str(go) if n >= 3 else None}
        ids.append(queue.submit(Job(f"j{n}", jobs.append_and_return, params=params)))
    with working(db, limit, concurrency=2) as worker:
        wait_until(lambda: len(runs(log)) == 5 and queue.stats()["completed"] == 3, "two wait")
        loop = worker._loop
        assert loop is not None
        limit.close()
        go.touch()
        wait_until(lambda: "no space left" in capfd.readouterr().err, "the worker has noticed")
        claimed = queue.stats()["running"]
        assert queue.stats()["completed"] == 3
        assert len(queue.list_jobs()) == 12
        wait_until(lambda: not loop._executor.running(), "what was claimed has run")
        assert queue.stats()["running"] == claimed  # it claims no more
        assert len(runs(log)) <= 3 + claimed  # so what it holds is bounded
        with pytest.raises(StoreFull):
            queue.submit(Job("large", jobs.echo, params={"value": LARGE}))
        assert worker.running
        limit.open()
        wait_until(lambda: queue.stats()["completed"] == 12, "all is done")
    assert sorted(runs(log)) == list(range(12))
    for job in ids:
        shown = queue.get_status(job)
        assert shown["result"] == LARGE
        assert [run["status"] for run in shown["executions"]] == ["completed"]
    said = [record for record in caplog.records if "claiming pauses" in record.getMessage()]
    assert said
    assert db in said[0].getMessage()


def test_a_worker_that_is_told_to_stop_waits_for_room_to_store_what_it_knows(db: str, limit: Limit) -> None:
    queue = JobQueue(db)
    job = queue.submit(Job("j", jobs.echo, params={"value": LARGE}))
    worker = Worker(db, polling_interval=0.1)
    real = worker._desk.runner().run
    ran = threading.Event()

    def run(*what: Any) -> Any:
        outcome = real(*what)
        limit.close()
        ran.set()
        return outcome

    worker._desk.runner().run = run  # type: ignore[method-assign, assignment]
    thread = threading.Thread(target=worker.start)
    thread.start()
    assert ran.wait(PATIENCE)
    worker.stop()
    thread.join(0.5)
    assert thread.is_alive()
    assert queue.get_status(job)["status"] == "running"
    limit.open()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert queue.get_result(job) == LARGE


_WORK = """
import sys
from gigq import Worker
Worker(sys.argv[1], polling_interval=0.1, concurrency=2).start()
"""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path) as point:
        yield point


def _submit_until_full(queue: JobQueue, submit: Callable[[int], str]) -> list[str]:
    """What was acknowledged."""
    acknowledged: list[str] = []
    for n in range(1000):
        try:
            acknowledged.append(submit(n))
        except StoreFull as error:
            if queue.db_path not in str(error):
                raise
            return acknowledged
    raise AssertionError("the disk takes it all")


def test_on_a_disk_that_is_full_nothing_is_lost_and_nothing_runs_twice(small: Path, tmp_path: Path) -> None:
    path, log = small / "jobs.db", str(tmp_path / "runs")
    queue = JobQueue(path)
    first = queue.submit(Job("first", jobs.append_and_return, params={"path": log, "text": "-1", "value": 1}))
    process = processes.start(_WORK, str(path), cwd=tmp_path)
    said_on = process.stderr
    assert said_on is not None
    try:
        wait_until(lambda: queue.get_status(first)["status"] == "completed", "the worker works")
        go = tmp_path / "go"
        # Both slots are taken, so that no result is stored while there is room: all of them are to find none.
        queue.submit_many([Job("held", jobs.wait_for, params={"path": str(go)}) for _ in range(2)])
        wait_until(lambda: queue.stats()["running"] == 2, "two jobs run")

        def submit(n: int) -> str:
            params = {"path": log, "text": str(n), "value": LARGE}
            return queue.submit(Job(f"j{n}", jobs.append_and_return, params=params))

        acknowledged = _submit_until_full(queue, submit)
        ballast = fill(small)
        assert acknowledged
        with pytest.raises(StoreFull):
            submit(-2)
        go.touch()  # their ends, and those of the others
        for _ in range(20):  # reads go on, also on a new connection
            assert queue.stats()["total"] == len(acknowledged) + 3
            assert len(queue.list_jobs(limit=5)) == 5
            queue.close()
        wait_until(lambda: select.select([said_on], [], [], 0)[0], "the worker says why it waits")
        assert process.poll() is None
        ballast.unlink()
        room(small, 64)
        wait_until(
            lambda: queue.stats()["completed"] == len(acknowledged) + 3, "the worker goes on by itself"
        )
    finally:
        process.terminate()
        said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 0, said
    assert said.startswith(f"gigq: {path}: "), "the worker has not noticed anything"
    assert sorted(runs(log)) == [-1, *range(len(acknowledged))]
    for job in acknowledged:
        shown = queue.get_status(job)
        assert (shown["status"], shown["result"]) == ("completed", LARGE)
        assert len(shown["executions"]) == 1
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


# -- inodes -------------------------------------------------------------------------------------------------------


@pytest.fixture
def few(tmp_path: Path) -> Iterator[Path]:
    """A disk with room and hardly an inode."""
    with small_disk(tmp_path, inodes=20) as point:
        yield point
        close_connections()


def assert_no_inode(path: Path, refused: pytest.ExceptionInfo[StoreFull]) -> None:
    assert str(refused.value).startswith(f"{path}")
    assert "no inode left" in str(refused.value)
    assert "Nothing was stored; delete files" in str(refused.value)


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("left", range(5))
def test_without_inodes_a_queue_says_so_and_works_later(few: Path, exists: bool, left: int) -> None:
    path, before = few / "jobs.db", 0
    if exists:
        queue = JobQueue(path)
        queue.submit(Job("before", jobs.nothing))
        queue.close()
        close_connections()
        before = 1
    taken = take_inodes(few, left)
    if left < (
        2 if exists else 4
    ):  # the -wal (a journal before it) and the -shm; the database and its sidecar
        with pytest.raises(StoreFull) as refused:
            JobQueue(path).submit(Job("between", jobs.nothing))
        assert_no_inode(path, refused)
    else:
        JobQueue(path).submit(Job("between", jobs.nothing))
        before += 1
    for ballast in taken:
        ballast.unlink()
    JobQueue(path).submit(Job("after", jobs.nothing))
    assert JobQueue(path).stats()["pending"] == before + 1


def test_who_is_at_work_needs_no_new_inode(few: Path, make_worker: Callable[..., Worker]) -> None:
    path = few / "jobs.db"
    queue = JobQueue(path)
    worker = make_worker(queue)
    queue.submit(Job("first", jobs.nothing))
    assert worker.process_one()
    taken = take_inodes(few)
    for n in range(20):
        queue.submit(Job(f"j{n}", jobs.echo, params={"value": LARGE[:20_000]}))
    while worker.process_one():
        pass
    assert queue.stats()["completed"] == 21
    for ballast in taken:
        ballast.unlink()
