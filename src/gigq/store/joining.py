"""Somebody's own transaction, on a connection of their own, that a verb becomes a part of.

They commit it, or roll it back. What gigq's own writes owe to the gate is therefore divided: the turn is waited for here,
and given back as soon as SQLite's write lock is held, which keeps everybody else out until they have ended it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from gigq import shield
from gigq.errors import InvalidJob, StoreBusy, StoreMissing, StoreUnusable
from gigq.store import migrations
from gigq.store.connections import file_at, path_of
from gigq.store.failures import is_busy, patiently, translate
from gigq.store.sqlite import Sqlite
from gigq.store.statements import load
from gigq.store.transaction import Transaction

_BEGIN = "BEGIN IMMEDIATE"
_IMPLICIT = -1
"""``Connection.autocommit`` (Python 3.12) where ``isolation_level`` decides, as it always does before."""


class _Plain:
    """Of a connection what a transaction asks for; it answers in plain rows, whatever its owner has set."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, text: str, values: Any = (), /) -> sqlite3.Cursor:
        cursor = sqlite3.Connection.cursor(self._connection)
        cursor.row_factory = None
        return cursor.execute(text, values)


class Joining:
    """The tables on somebody's connection, within their transaction; if the block raises, that is as it was before.

    A connection on which Python begins transactions by itself, as it does by default, is put into one if it is in none;
    that stays open, as after any other statement that writes.

    Raises:
        InvalidJob: the connection is none, or to another file, or there is no transaction to be part of.
        StoreMissing: the transaction sees no tables, or older ones.
        StoreBusy: the write lock is not to be had.
        StoreError: as :func:`gigq.store.failures.translate` says.
    """

    def __init__(self, engine: Sqlite, connection: sqlite3.Connection) -> None:
        if not isinstance(connection, sqlite3.Connection):
            raise InvalidJob(f"connection: a sqlite3.Connection is needed, not {type(connection).__name__}")
        self._engine = engine
        self._connection = connection
        self._plain = cast(sqlite3.Connection, _Plain(connection))
        self._text_factory: Any = None
        self._began = False

    def __enter__(self) -> Transaction:
        shield.enter()
        try:
            self._text_factory = self._connection.text_factory
            self._connection.text_factory = str
            return self._open()
        except BaseException as error:
            self._close(undo=True)
            if isinstance(error, sqlite3.Error):
                raise translate(error, self._engine.name) from error
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._close(undo=error is not None)
        if isinstance(error, sqlite3.Error):
            raise translate(error, self._engine.name) from error

    def _close(self, *, undo: bool) -> None:
        try:
            if self._text_factory is not None:
                self._connection.text_factory = self._text_factory
            if undo and self._began and self._connection.in_transaction:
                self._plain.execute("ROLLBACK")
        finally:
            shield.leave()

    def _open(self) -> Transaction:
        engine, plain = self._engine, self._plain
        self._refuse_other_file()
        with self._impatient():
            self._lock()
        engine.refuse_orphan()
        # Up to SQLite 3.51.2 a checkpoint that races a writer can corrupt the file: their commit makes none.
        plain.execute("PRAGMA wal_autocheckpoint = 0")
        tx = Transaction(plain)
        if (taken := tx.value("shadowed")) is not None:
            raise StoreUnusable(
                f"{engine.name}: your connection has a temporary table {taken!r}, which hides gigq's own. Rename it."
            )
        if migrations.look(plain, engine.name).version != migrations.NEWEST:
            raise StoreMissing(
                f"{engine.name}: holds no queue of this gigq that your transaction could see. Make the JobQueue, or run "
                "'gigq db migrate', before the transaction begins."
            )
        return tx

    def _refuse_other_file(self) -> None:
        ours, theirs = self._engine.path, path_of(self._plain)
        if ours is None:
            raise InvalidJob(
                "connection: a queue in memory has one connection for everybody, so that no transaction on it is your own. "
                "Use a file, or submit without connection="
            )
        if theirs is None or file_at(theirs) != file_at(ours):
            raise InvalidJob(
                f"connection: it is to {theirs or 'a database in memory'}, and the queue is {ours}. One transaction needs "
                "both in one file."
            )

    @contextmanager
    def _impatient(self) -> Iterator[None]:
        """SQLite's own waiting hears no signal, and has no order."""
        before = self._plain.execute("PRAGMA busy_timeout").fetchone()[0]
        self._plain.execute("PRAGMA busy_timeout = 0")
        try:
            yield
        finally:
            self._plain.execute(f"PRAGMA busy_timeout = {before}")

    def _lock(self) -> None:
        """Hold SQLite's write lock, so that what is read from here on stays true."""
        connection = self._connection
        if connection.in_transaction:
            # It may hold the lock, while whoever has the turn waits for that: do not stand in line.
            try:
                self._plain.execute(load()["lock"])
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
            else:
                return
            self._take(load()["lock"])
        else:
            if (
                getattr(connection, "autocommit", _IMPLICIT) != _IMPLICIT
                or connection.isolation_level is None
            ):
                raise InvalidJob(
                    "connection: it is in no transaction, and begins none by itself, so there is nothing that the job could "
                    f"be part of. Execute {_BEGIN} first, or submit without connection="
                )
            self._take(_BEGIN)
            self._began = True

    def _take(self, text: str) -> None:
        """In turn with gigq's own writers."""
        engine, gate = self._engine, self._engine.sidecar.gate
        deadline = time.monotonic() + engine.patience
        depth = gate.depth()
        try:
            if not gate.acquire(engine.patience):
                raise StoreBusy(f"{engine.name}: others have been writing for too long. Try again.")
            patiently(self._execute_now, deadline - time.monotonic(), text)
        finally:
            while gate.depth() > depth:
                gate.release()

    def _execute_now(self, text: str) -> None:
        try:
            self._plain.execute(text)
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorname", "") == "SQLITE_BUSY_SNAPSHOT":
                raise StoreBusy(
                    f"{self._engine.name}: your transaction has read before somebody else wrote, so SQLite does not let it "
                    f"write any more. Roll it back, and begin it with {_BEGIN}."
                ) from error
            raise
