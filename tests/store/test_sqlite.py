"""Connections: one a thread; durability as asked for; transactions that stand or fall as a whole."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from clocks import TurnedClock
from processes import PATIENCE
from stores import Hands, assert_sound, new_job

from gigq import JobQueue, close_connections
from gigq.errors import InvalidJob, StoreUnusable
from gigq.store import Store, open_file, open_memory, open_store
from gigq.store.connections import Durability, close_connection, connect, path_of, prepare, thread_connection

T = TypeVar("T")


@pytest.fixture
def store(db: str) -> Iterator[Store]:
    opened = open_file(db, "normal", create=True)
    yield opened
    opened.engine.close()


@pytest.fixture
def hands(store: Store, clock: TurnedClock) -> Hands:
    store.initialize()
    return Hands(store, clock)


def in_a_thread(action: Callable[[], T]) -> T:
    results: list[T] = []

    def run() -> None:
        results.append(action())
        close_connections()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(PATIENCE)
    return results[0]


# -- durability --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("durability", "synchronous"), [("full", 3), ("normal", 1)])
def test_the_durability_that_was_asked_for_is_the_one_in_force(
    db: str, durability: Durability, synchronous: int
) -> None:
    queue = JobQueue(db, durability=durability)
    assert queue._get_connection().execute("PRAGMA synchronous").fetchone()[0] == synchronous
    with queue._store.engine.writing() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == synchronous
    assert (
        in_a_thread(lambda: queue._get_connection().execute("PRAGMA synchronous").fetchone()[0])
        == synchronous
    )


def test_full_is_the_default(db: str) -> None:
    assert JobQueue(db)._get_connection().execute("PRAGMA synchronous").fetchone()[0] == 3


def test_two_durabilities_of_one_file_do_not_mix(db: str) -> None:
    full, normal = JobQueue(db), JobQueue(db, durability="normal")
    found = [
        queue._get_connection().execute("PRAGMA synchronous").fetchone()[0] for queue in (full, normal, full)
    ]
    assert found == [3, 1, 3]


def test_an_unknown_durability_is_refused(db: str) -> None:
    with pytest.raises(InvalidJob, match="durability: 'full' or 'normal', not 'off'"):
        JobQueue(db, durability="off")  # type: ignore[arg-type]
    assert not Path(db).exists()


def test_a_durability_that_is_not_to_be_had_is_refused() -> None:
    class Deaf(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            return super().execute("SELECT 1" if sql.startswith("PRAGMA synchronous =") else sql, *values)

    with contextlib.closing(sqlite3.connect(":memory:", factory=Deaf)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        sqlite3.Connection.execute(connection, "PRAGMA synchronous = OFF")
        with pytest.raises(StoreUnusable, match="does not accept synchronous = full"):
            prepare(connection, "full")


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_all_files_are_their_owners_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        queue = JobQueue(tmp_path / "jobs.db")
        with queue._store.engine.writing() as connection:
            connection.execute("CREATE TABLE mine (a)")
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("jobs.db", "jobs.db-wal", "jobs.db-shm", "jobs.db-lock"), 0o600)


def test_the_mode_of_a_file_that_is_there_is_kept(db: str) -> None:
    Path(db).touch(0o640)
    JobQueue(db)
    assert Path(db).stat().st_mode & 0o777 == 0o640


# -- one a thread ------------------------------------------------------------------------------------------------


def test_a_thread_has_one_connection_and_no_other_thread_has_it(db: str) -> None:
    mine = thread_connection(db, "full")
    assert thread_connection(db, "full") is mine
    assert in_a_thread(lambda: thread_connection(db, "full") is mine) is False


def test_closing_is_for_this_thread_and_the_next_call_opens_anew(db: str) -> None:
    queue = JobQueue(db)
    mine = queue._get_connection()
    in_a_thread(queue.close)
    mine.execute("SELECT 1")
    queue.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        mine.execute("SELECT 1")
    assert queue.stats()["total"] == 0
    close_connections()
    assert queue.stats()["total"] == 0


def test_closing_one_queue_leaves_the_others(tmp_path: Path) -> None:
    first, second = JobQueue(tmp_path / "a.db"), JobQueue(tmp_path / "b.db")
    connection = second._get_connection()
    first.close()
    connection.execute("SELECT 1")
    close_connection(second.db_path)
    with pytest.raises(sqlite3.ProgrammingError):
        connection.execute("SELECT 1")


def test_a_connection_that_somebody_closed_is_replaced(db: str) -> None:
    queue = JobQueue(db)
    queue._get_connection().close()
    assert queue.stats()["total"] == 0


def test_queues_of_one_file_share_what_they_have(db: str) -> None:
    first, second = JobQueue(db), JobQueue(db)
    assert first._store is second._store
    assert first._get_connection() is second._get_connection()
    assert JobQueue(db, durability="normal")._store is not first._store
    assert JobQueue(db, durability="normal")._store.engine.sidecar is first._store.engine.sidecar


def test_a_queue_in_memory_is_one_for_all_threads_and_no_other_queue(clock: TurnedClock) -> None:
    store, other = open_memory(), open_memory()
    hands = Hands(store, clock)

    def submit_many(name: str) -> None:
        for number in range(50):
            hands.submit(f"{name}{number}")

    threads = [threading.Thread(target=submit_many, args=[name]) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert hands.store.stats() == {"pending": 200}
    assert other.stats() == {}
    assert_sound(hands)


def test_a_store_is_made_of_whatever_gives_connections(db: str, clock: TurnedClock) -> None:
    given: list[sqlite3.Connection] = []

    def give() -> sqlite3.Connection:
        given.append(sqlite3.connect(db))
        return given[-1]

    store = open_store(give)
    hands = Hands(store, clock)
    hands.submit("a", new_job("b", ["a"]))
    hands.run_all()
    assert hands.statuses() == {"a": "completed", "b": "completed"}
    assert len(given) > 2
    for connection in given:
        connection.close()


def test_the_path_behind_a_connection_is_found(db: str) -> None:
    with contextlib.closing(connect(db)) as connection:
        assert path_of(connection) == db
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        assert path_of(connection) is None


def test_the_data_version_moves_when_others_commit(hands: Hands) -> None:
    engine = hands.store.engine
    before = engine.data_version()
    assert engine.data_version() == before
    in_a_thread(lambda: hands.submit("a"))
    assert engine.data_version() != before


# -- transactions ------------------------------------------------------------------------------------------------


def test_a_transaction_that_fails_leaves_nothing(hands: Hands) -> None:
    def fail() -> None:
        with hands.store.engine.writing() as connection:
            connection.execute("CREATE TABLE mine (a)")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert hands.sql("SELECT name FROM sqlite_master WHERE name = 'mine'") == []
    hands.submit("a")


def test_readers_never_wait_for_a_writer(hands: Hands) -> None:
    hands.submit("a")
    with hands.store.engine.writing() as connection:
        connection.execute("UPDATE job SET priority = 5")
        assert in_a_thread(hands.store.stats) == {"pending": 1}
        assert in_a_thread(lambda: hands.job("a")["priority"]) == 0


def test_a_reader_leaves_no_statement_open(hands: Hands) -> None:
    """An unfinished SELECT would keep the WAL from being used anew."""
    hands.submit(*[f"{number}" for number in range(50)])
    hands.store.peek()
    hands.listed(None, 5)
    hands.store.record("1")
    hands.store.stats()
    hands.store.result("1")
    with contextlib.closing(connect(hands.store.engine.name)) as other:
        busy, _, _ = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert busy == 0
