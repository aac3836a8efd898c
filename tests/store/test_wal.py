"""The WAL stays small, and is copied back only by who has the turn to write."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from clocks import TurnedClock
from stores import Hands, new_job

from gigq import JobQueue
from gigq.newjob import NewJob
from gigq.store import Store, open_file
from gigq.store.connections import connect

MIB = 1024 * 1024


@pytest.fixture
def store(db: str) -> Iterator[Store]:
    opened = open_file(db, "normal", create=True)
    yield opened
    opened.engine.close()


@pytest.fixture
def hands(store: Store, clock: TurnedClock) -> Hands:
    store.initialize()
    return Hands(store, clock)


def large(number: int) -> NewJob:
    job = new_job(f"{number}")
    job.params = '"' + "x" * 900_000 + '"'
    return job


def test_the_wal_stays_small_in_a_long_run(db: str, hands: Hands) -> None:
    largest = 0
    for number in range(90):  # 80 MB
        hands.submit(large(number))
        largest = max(largest, Path(f"{db}-wal").stat().st_size)
    assert 8 * MIB < largest < 64 * MIB


def test_single_submits_keep_the_wal_smaller_still(db: str, hands: Hands) -> None:
    for number in range(1500):
        hands.submit(f"{number}")
    assert MIB < Path(f"{db}-wal").stat().st_size < 6 * MIB


def test_so_do_programs_that_submit_one_job_and_end(db: str, clock: TurnedClock) -> None:
    JobQueue(db)
    with contextlib.closing(connect(db)) as reader:  # keeps the last one to go from folding the WAL
        reader.execute("SELECT count(*) FROM job").fetchone()
        for number in range(700):
            short_lived = open_file(db, "normal", create=True)
            Hands(short_lived, clock).submit(f"{number}")
            short_lived.engine.close()
            del short_lived
    assert MIB < Path(f"{db}-wal").stat().st_size < 6 * MIB


def test_a_wal_that_grew_beside_a_long_reader_shrinks_afterwards(db: str, hands: Hands) -> None:
    with contextlib.closing(sqlite3.connect(db, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM job").fetchone()
        for number in range(50):
            hands.submit(large(number))
        grown = Path(f"{db}-wal").stat().st_size
        assert grown > 40 * MIB
        reader.execute("COMMIT")
    for number in range(50, 55):
        hands.submit(large(number))
    assert Path(f"{db}-wal").stat().st_size < grown
    assert Path(f"{db}-wal").stat().st_size < 40 * MIB


def test_no_connection_checkpoints_outside_of_the_gate(db: str, hands: Hands) -> None:
    """Up to SQLite 3.51.2 a checkpoint that races a writer may corrupt the file."""
    for number in range(20):  # some of them look at the size of the WAL
        hands.submit(f"{number}")
    assert hands.store.engine.connection().execute("PRAGMA wal_autocheckpoint").fetchone()[0] == 0
    with contextlib.closing(connect(db)) as connection:
        assert connection.execute("PRAGMA wal_autocheckpoint").fetchone()[0] == 0
    with pytest.raises(RuntimeError), hands.store.engine.writing():
        raise RuntimeError
    assert hands.store.engine.connection().execute("PRAGMA wal_autocheckpoint").fetchone()[0] == 0
