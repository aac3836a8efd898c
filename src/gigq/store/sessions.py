"""Stretches of work on a thread's connection: reads, and write transactions under the gate."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from gigq import shield
from gigq.errors import StoreBusy, StoreError
from gigq.store.failures import patiently, translate

if TYPE_CHECKING:
    from gigq.store.gate import Gate
    from gigq.store.sqlite import Sqlite

T = TypeVar("T")

_FEW_ROWS = 32
"""Rows that lie on some ten pages."""


class Session(Generic[T]):
    """A stretch of work on this thread's connection; errors of SQLite come out translated.

    Classes, not generators: an exception that comes while one is entered (Ctrl-C) must find the way back.
    """

    _turns = False
    """Whether it waits for its turn."""

    def __init__(self, engine: Sqlite, use: Callable[[sqlite3.Connection], T]) -> None:
        self._engine = engine
        self._use = use
        self._gate: Gate | None = None
        self._depth = 0

    def __enter__(self) -> T:
        shield.enter()
        try:
            # In memory there is one connection for all threads: nobody may read amid another's transaction.
            if self._turns or self._engine.path is None:
                gate = self._engine.sidecar.gate
                self._depth = self._engine.undo_interrupted()
                self._gate = gate
            return self._open()
        except BaseException as error:
            self._close()
            if isinstance(error, sqlite3.Error):
                raise translate(error, self._engine.name) from error
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                self._finish()
        except sqlite3.Error as refused:
            raise translate(refused, self._engine.name) from refused
        finally:
            self._close()
        if isinstance(error, sqlite3.Error):
            raise translate(error, self._engine.name) from error

    def _open(self) -> T:
        if self._gate is not None:
            self._take_turn(self._gate, self._engine.busy_timeout, None)
        return self._use(self._engine.connection())

    def _take_turn(self, gate: Gate, wait: float, when_free: Callable[[], None] | None) -> None:
        if not gate.acquire(wait, when_free):
            raise StoreBusy(f"{self._engine.name}: others have been writing for too long. Try again.")

    def _finish(self) -> None:
        pass

    def _close(self) -> None:
        try:
            self._leave()
        finally:
            shield.leave()

    def _leave(self) -> None:
        gate = self._gate
        while gate is not None and gate.depth() > self._depth:
            gate.release()


class Writing(Session[T]):
    """One write transaction: the gate, BEGIN IMMEDIATE, and COMMIT, or ROLLBACK if the block raises.

    Raises:
        StoreBusy: the turn did not come in time. Nothing was written.
        StoreError: as :func:`gigq.store.failures.translate` says. Nothing was written.
    """

    _turns = True

    def __init__(
        self,
        engine: Sqlite,
        use: Callable[[sqlite3.Connection], T],
        wait: float | None = None,
        when_free: Callable[[], None] | None = None,
        *,
        ring: bool = True,
        small: bool = False,
        then: Callable[[], None] | None = None,
    ) -> None:
        """Args:
        engine: whose.
        use: what the block gets of the connection.
        wait: seconds to wait for the turn; None is ``busy_timeout``, or what ``hurried`` says.
        when_free: see :meth:`gigq.store.gate.Gate.acquire`.
        ring: ring the bell after the commit.
        small: the values it writes are; if the rows are few too, it ends in a light commit.
        then: called after the commit.
        """
        super().__init__(engine, use)
        self._wait = engine.patience if wait is None else wait
        self._when_free = when_free
        self._ring = ring
        self._small = small
        self.copy_back = False
        """Whether the commit copies the WAL back, however small it is; the block may say so."""
        self._changes = 0
        self._then = then
        self._connection: sqlite3.Connection | None = None

    def _open(self) -> T:
        deadline = time.monotonic() + self._wait
        assert self._gate is not None  # noqa: S101 - whoever writes takes turns
        self._take_turn(self._gate, self._wait, self._when_free)
        connection = self._engine.connection()
        if connection.in_transaction:
            raise StoreError(
                f"{self._engine.name}: this thread's connection is in a transaction. Commit it first."
            )
        self._connection = connection
        self._changes = connection.total_changes
        # IMMEDIATE: a transaction that reads first and writes later fails at once beside another writer.
        patiently(connection.execute, deadline - time.monotonic(), "BEGIN IMMEDIATE")
        return self._use(connection)

    def _finish(self) -> None:
        engine, connection = self._engine, self._connection
        assert connection is not None  # noqa: S101 - opened
        engine.refuse_lost_gate()
        light = self._small and connection.total_changes - self._changes <= _FEW_ROWS
        engine.commit(connection, light=light, copy_back=self.copy_back)
        # Into a file that was moved away all this succeeds: who asked for it must not take it for stored.
        engine.refuse_orphan()
        if self._then is not None:
            self._then()

    def _leave(self) -> None:
        connection, self._connection = self._connection, None
        committed = connection is not None and not connection.in_transaction
        try:
            if connection is not None and not committed:
                connection.execute("ROLLBACK")
        finally:
            super()._leave()
        if committed and self._ring:
            self._engine.sidecar.ring()
