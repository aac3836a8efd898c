"""Submitting inside the caller's own transaction: there when it is committed, gone with its rollback."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jobs
import pytest
from clocks import TurnedClock
from processes import in_a_thread, wait_until

from gigq import (
    DuplicateJob,
    InvalidJob,
    Job,
    JobQueue,
    StoreBusy,
    StoreError,
    StoreMissing,
    StoreReplaced,
    StoreUnusable,
    Unique,
    UnknownParent,
    Worker,
    Workflow,
    task,
)
from gigq.store import late_bell


@pytest.fixture
def queue(db: str, clock: TurnedClock) -> JobQueue:
    return JobQueue(db, clock=clock)


@pytest.fixture
def mine(queue: JobQueue) -> Iterator[sqlite3.Connection]:
    """A connection of the application's, as Python makes it, with a table of its own."""
    with contextlib.closing(sqlite3.connect(queue.db_path)) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, job TEXT)")
        yield connection


@pytest.fixture
def manual(queue: JobQueue) -> Iterator[sqlite3.Connection]:
    """One that begins no transactions by itself."""
    with contextlib.closing(sqlite3.connect(queue.db_path, isolation_level=None)) as connection:
        yield connection


def one(name: str = "one", **options: Any) -> Job:
    return Job(name, jobs.nothing, **options)


def total(queue: JobQueue) -> int:
    return queue.stats()["total"]


def is_sound(queue: JobQueue) -> bool:
    from gigq.store import inspection

    return inspection.faults(queue._store) == []


# -- committed and rolled back -------------------------------------------------------------------------------------


def test_a_job_is_in_the_queue_when_the_transaction_is_committed(
    queue: JobQueue, mine: sqlite3.Connection, worker: Worker
) -> None:
    mine.execute("INSERT INTO orders (id) VALUES (1)")
    job_id = queue.submit(one(), connection=mine)
    mine.execute("UPDATE orders SET job = ?", (job_id,))
    assert queue.get_status(job_id) == {"exists": False}
    assert total(queue) == 0
    mine.commit()
    assert queue.get_status(job_id)["status"] == "pending"
    assert total(queue) == 1
    assert is_sound(queue)
    assert worker.process_one()
    assert queue.get_status(job_id)["status"] == "completed"


def test_it_is_gone_with_a_rollback(queue: JobQueue, mine: sqlite3.Connection) -> None:
    mine.execute("INSERT INTO orders (id) VALUES (1)")
    job_id = queue.submit(one(), connection=mine)
    mine.rollback()
    assert queue.get_status(job_id) == {"exists": False}
    assert mine.execute("SELECT count(*) FROM orders").fetchone() == (0,)
    assert total(queue) == 0
    assert is_sound(queue)


def test_a_connection_that_begins_by_itself_has_begun(queue: JobQueue, mine: sqlite3.Connection) -> None:
    """As with any statement that writes, the commit is the caller's."""
    with mine:
        queue.submit(one(), connection=mine)
        assert mine.in_transaction
    assert total(queue) == 1
    with contextlib.suppress(ZeroDivisionError), mine:
        queue.submit(one(), connection=mine)
        _ = 1 / 0
    assert not mine.in_transaction
    assert total(queue) == 1


def test_a_connection_without_that_needs_a_begin(queue: JobQueue, manual: sqlite3.Connection) -> None:
    with pytest.raises(InvalidJob, match=r"connection: it is in no transaction.*BEGIN IMMEDIATE"):
        queue.submit(one(), connection=manual)
    assert not manual.in_transaction
    manual.execute("BEGIN")
    queue.submit(one(), connection=manual)
    manual.execute("COMMIT")
    assert total(queue) == 1


def test_the_queues_own_connection_will_do(queue: JobQueue) -> None:
    connection = queue._get_connection()
    connection.execute("BEGIN IMMEDIATE")
    queue.submit(one(), connection=connection)
    connection.execute("ROLLBACK")
    assert total(queue) == 0


def test_many_and_graphs_and_tasks(queue: JobQueue, mine: sqlite3.Connection, worker: Worker) -> None:
    outside = queue.submit(one("outside"))
    workflow = Workflow("w")
    parent = workflow.add_job(one("parent"))
    child = workflow.add_job(one("child", dependencies=[outside]), depends_on=[parent])
    assert workflow.submit_all(queue, connection=mine) == [parent.id, child.id]
    assert queue.submit_many([], connection=mine) == []
    queue.submit(task(jobs.echo).to_job(value=1), connection=mine)
    mine.commit()
    assert is_sound(queue)
    ran = 0
    while worker.process_one():
        ran += 1
    assert ran == 4


def test_a_unique_job_meets_others_there_too(queue: JobQueue, mine: sqlite3.Connection) -> None:
    first = queue.submit(one(unique_key="k"))
    assert queue.submit(one(unique_key="k"), connection=mine) == first
    replacing = one("new", unique=Unique("k", on_conflict="replace"))
    assert queue.submit(replacing, connection=mine) == first
    second = queue.submit(one(unique_key="other"), connection=mine)
    assert queue.submit(one(unique_key="other"), connection=mine) == second
    assert queue.get_status(first)["name"] == "one"
    mine.commit()
    assert queue.get_status(first)["name"] == "new"
    assert total(queue) == 2


# -- what is refused leaves the transaction as it was --------------------------------------------------------------


def test_a_job_that_is_refused_takes_nothing_else_with_it(queue: JobQueue, mine: sqlite3.Connection) -> None:
    known = one()
    queue.submit(known)
    mine.execute("INSERT INTO orders (id) VALUES (1)")
    good = queue.submit(one(), connection=mine)
    with pytest.raises(DuplicateJob, match=known.id):
        queue.submit_many([one(), known], connection=mine)
    with pytest.raises(UnknownParent, match="nowhere"):
        queue.submit(one(dependencies=["nowhere"]), connection=mine)
    keyed = [one(unique_key="k"), one(unique=Unique("k", on_conflict="raise"))]
    with pytest.raises(DuplicateJob, match="'k'"):
        queue.submit_many(keyed, connection=mine)
    mine.commit()
    assert mine.execute("SELECT count(*) FROM orders").fetchone() == (1,)
    assert {row["id"] for row in queue.list_jobs()} == {known.id, good}
    assert is_sound(queue)


def test_a_transaction_that_was_only_begun_for_it_is_ended(queue: JobQueue, mine: sqlite3.Connection) -> None:
    with pytest.raises(UnknownParent):
        queue.submit(one(dependencies=["nowhere"]), connection=mine)
    assert not mine.in_transaction
    queue.submit(one())


def test_a_connection_to_another_file_is_refused_and_both_are_named(queue: JobQueue, tmp_path: Path) -> None:
    other = str(tmp_path / "other.db")
    with contextlib.closing(sqlite3.connect(other)) as connection:
        with pytest.raises(
            InvalidJob, match=rf"connection: it is to {other}, and the queue is {queue.db_path}"
        ):
            queue.submit(one(), connection=connection)
        connection.execute("ATTACH ? AS q", (queue.db_path,))
        with pytest.raises(InvalidJob, match=other):
            queue.submit(one(), connection=connection)
    with (
        contextlib.closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(InvalidJob, match="a database in memory"),
    ):
        queue.submit(one(), connection=connection)
    assert total(queue) == 0


def test_the_same_file_by_another_name_is_the_same(queue: JobQueue, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(queue.db_path)
    with contextlib.closing(sqlite3.connect(link)) as connection, connection:
        queue.submit(one(), connection=connection)
    assert total(queue) == 1


def test_a_queue_in_memory_has_no_transactions_of_the_callers() -> None:
    queue = JobQueue(":memory:")
    with pytest.raises(InvalidJob, match="connection: a queue in memory"):
        queue.submit(one(), connection=queue._get_connection())


@pytest.mark.parametrize("what", ["jobs.db", 5, object()])
def test_what_is_no_connection_is_refused(queue: JobQueue, what: Any) -> None:
    with pytest.raises(InvalidJob, match=r"connection: a sqlite3\.Connection is needed"):
        queue.submit(one(), connection=what)


def test_a_closed_connection_and_one_of_another_thread_are_refused(
    queue: JobQueue, mine: sqlite3.Connection
) -> None:
    caught: list[BaseException] = []

    def submit() -> None:
        try:
            queue.submit(one(), connection=mine)
        except StoreError as error:
            caught.append(error)

    thread = threading.Thread(target=submit)
    thread.start()
    thread.join(10)
    assert "thread" in str(caught[0])
    mine.close()
    with pytest.raises(StoreError, match="closed"):
        queue.submit(one(), connection=mine)


def test_a_connection_that_cannot_write_says_so(queue: JobQueue, db: str) -> None:
    with (
        contextlib.closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as connection,
        pytest.raises(StoreUnusable, match="cannot be written"),
    ):
        queue.submit(one(), connection=connection)


def test_a_temporary_table_that_hides_ours_is_refused_and_one_that_counts_is_not(
    queue: JobQueue, mine: sqlite3.Connection
) -> None:
    mine.execute("CREATE TEMP TABLE numbered (id INTEGER PRIMARY KEY AUTOINCREMENT)")
    mine.execute("INSERT INTO numbered (id) VALUES (1000)")
    many = [one(), one()]
    queue.submit_many(many, connection=mine)
    mine.execute("CREATE TEMP TABLE params (x)")
    with pytest.raises(StoreUnusable, match="'params'"):
        queue.submit(one(), connection=mine)
    mine.commit()
    assert total(queue) == 2
    assert is_sound(queue)
    seqs = mine.execute("SELECT seq FROM job ORDER BY seq").fetchall()
    assert seqs == [(1,), (2,)]


def test_tables_that_the_transaction_cannot_see_are_not_made_in_it(db: str, mine: sqlite3.Connection) -> None:
    other = JobQueue(db, initialize=False)
    mine.execute("PRAGMA user_version = 1")
    with pytest.raises(StoreMissing, match="before the transaction begins"):
        other.submit(one(), connection=mine)


def test_a_file_that_was_moved_away_is_noticed(queue: JobQueue, mine: sqlite3.Connection, db: str) -> None:
    queue.stats()
    Path(db).rename(f"{db}.moved")
    JobQueue(db)
    with contextlib.closing(sqlite3.connect(db)) as connection, pytest.raises(StoreReplaced):
        queue.submit(one(), connection=connection)


# -- beside others -------------------------------------------------------------------------------------------------


def test_others_wait_for_the_end_of_the_transaction(queue: JobQueue, mine: sqlite3.Connection) -> None:
    queue.submit(one("mine"), connection=mine)
    done: list[str] = []
    thread = threading.Thread(target=lambda: done.append(queue.submit(one("theirs"))))
    thread.start()
    queue._store.engine.busy_timeout = 60
    queue.submit(
        one("mine too"), connection=mine
    )  # while they have the turn, and wait for the lock that it holds
    assert not done
    mine.commit()
    thread.join(60)
    assert len(done) == 1
    assert [row["name"] for row in queue.list_jobs()] == ["theirs", "mine too", "mine"]


def test_it_waits_for_others_in_turn(
    queue: JobQueue, mine: sqlite3.Connection, manual: sqlite3.Connection
) -> None:
    manual.execute("BEGIN IMMEDIATE")
    submitted = threading.Event()
    queue._store.engine.busy_timeout = 60
    with contextlib.closing(sqlite3.connect(queue.db_path, check_same_thread=False)) as connection:

        def submit() -> None:
            queue.submit(one(), connection=connection)
            connection.commit()
            submitted.set()

        thread = threading.Thread(target=submit)
        thread.start()
        assert not submitted.wait(0.05)
        manual.execute("COMMIT")
        thread.join(60)
    assert submitted.is_set()


@pytest.mark.parametrize("begun", [True, False])
def test_a_lock_that_is_not_to_be_had_is_a_clear_error(
    queue: JobQueue, mine: sqlite3.Connection, manual: sqlite3.Connection, begun: bool
) -> None:
    manual.execute("BEGIN IMMEDIATE")
    queue._store.engine.busy_timeout = 0.05
    if begun:
        mine.execute("BEGIN")
    with pytest.raises(StoreBusy, match=r"write lock"):
        queue.submit(one(), connection=mine)
    assert mine.in_transaction == begun
    assert mine.execute("PRAGMA busy_timeout").fetchone() == (5000,), "the caller's own patience is as before"
    manual.execute("ROLLBACK")
    queue.submit(one(), connection=mine)


def test_a_transaction_that_has_read_before_others_wrote_is_told_what_to_do(
    queue: JobQueue, manual: sqlite3.Connection
) -> None:
    manual.execute("BEGIN")
    manual.execute("SELECT * FROM job").fetchall()
    queue.submit(one("theirs"))
    with pytest.raises(StoreBusy, match=r"has read before somebody else wrote.*BEGIN IMMEDIATE"):
        queue.submit(one(), connection=manual)
    manual.execute("ROLLBACK")
    assert total(queue) == 1


# -- what it leaves alone, and what it does not --------------------------------------------------------------------


def test_the_settings_of_the_connection_stay_but_for_checkpoints(
    queue: JobQueue, mine: sqlite3.Connection
) -> None:
    mine.row_factory = lambda cursor, row: {
        column[0]: value for column, value in zip(cursor.description, row, strict=True)
    }
    mine.text_factory = bytes
    parent = queue.submit(one("parent"))
    queue.submit(one(dependencies=[parent], unique_key="k"), connection=mine)
    queue.submit_many([one(unique_key="k"), one(unique_key="l")], connection=mine)
    mine.commit()
    assert mine.text_factory is bytes
    assert mine.execute("SELECT 'x' AS y").fetchone() == {"y": b"x"}
    assert mine.execute("PRAGMA wal_autocheckpoint").fetchone() == {"wal_autocheckpoint": 0}
    assert total(queue) == 3


def test_an_idle_worker_hears_of_it(db: str, mine: sqlite3.Connection, make_worker: Any) -> None:
    """The worker looks by itself every 1,000 seconds: it is the bell that wakes it."""
    queue = JobQueue(db)
    worker = make_worker(db, polling_interval=1000)
    thread = in_a_thread(worker)
    first = queue.submit(one())
    wait_until(lambda: queue.get_status(first)["status"] == "completed", "the worker is at work")
    second = queue.submit(one(), connection=mine)
    mine.commit()
    wait_until(lambda: queue.get_status(second)["status"] == "completed", "the bell was heard")
    worker.stop()
    thread.join(60)


def test_nobody_waits_for_what_was_rolled_back(
    queue: JobQueue, mine: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late_bell, "_PATIENCE", 0.01)
    monkeypatch.setattr(late_bell, "_LINGERS", 0.01)
    bell = late_bell._LateBell()
    monkeypatch.setattr(late_bell, "_bell", bell)
    for _ in range(2):
        queue.submit(one(), connection=mine)
        assert bell._watching
        mine.rollback()
        wait_until(lambda: not bell._watching, "the thread has ended")
        assert not bell._expected


def test_a_connection_in_autocommit_mode_needs_a_begin_too(queue: JobQueue) -> None:
    """As ``autocommit=True`` makes it in Python 3.12, where ``isolation_level`` says nothing."""

    class Autocommit(sqlite3.Connection):
        autocommit = True

    with contextlib.closing(sqlite3.connect(queue.db_path, factory=Autocommit)) as connection:
        with pytest.raises(InvalidJob, match="in no transaction"):
            queue.submit(one(), connection=connection)
        connection.execute("BEGIN IMMEDIATE")
        queue.submit(one(), connection=connection)
        connection.commit()
    assert total(queue) == 1
