"""SQLite: the engine under a store. Which file it works on, whose turn it is, and how a commit is made."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar

from gigq.errors import StoreBusy, StoreError, StoreReplaced, StoreUnusable
from gigq.store import connections, places, shortage
from gigq.store.connections import BUSY_TIMEOUT, Connection, Durability, File, check_library, file_at, prepare
from gigq.store.failures import patiently, translate
from gigq.store.sessions import Session, Writing
from gigq.store.sidecar import FileSidecar, MemorySidecar, Sidecar

T = TypeVar("T")

_CHECKPOINT_AT = 4096
"""Pages in the WAL that make a commit copy them back [m: 1024 costs a tenth of a drain, 16384 a long pause]."""
_LIGHT_CHECKPOINT_AT = 1000
"""The same for commits of a few pages, which are mostly the same ones, so that copying them back costs little, while
a WAL that grows makes them wait for the file system [m: 402 us a submit; 487 until it has grown to 4096]."""
_LOOK_EVERY = 16
"""Light commits: two statements more than COMMIT itself [m: 5 us]."""
_REPLACED = (
    "{}: the database or its sidecar was replaced, renamed or deleted while in use. Nothing was stored; "
    "put the file back, or open the queue anew."
)


class _Hurry(threading.local):
    """What one thread is about; class attributes, since a missing one takes five times as long to ask for."""

    seconds: float | None = None
    """How long it waits for its turn, where that is not the engine's patience."""
    held = 0
    """How often it holds the gate for somebody's own SQL."""


class Sqlite:
    """The engine under a store: one database, reached through whatever gives connections to it."""

    def __init__(
        self,
        get_connection: Callable[[str, File | None], sqlite3.Connection],
        path: str | None,
        durability: Durability,
    ) -> None:
        """Args:
        get_connection: gives this thread's connection for a purpose; told which file the path names, if that is known.
        path: of the database; None for one in memory.
        durability: as :func:`gigq.store.connections.prepare` sets it.
        """
        check_library()
        self._get_connection = get_connection
        self.path = path
        self._in_use = connections.use(path) if path else None
        self._durability = durability
        self._sidecar: FileSidecar | MemorySidecar | None = None if path else MemorySidecar()
        self._opening = threading.Lock()
        self.busy_timeout = BUSY_TIMEOUT
        self._hurry = _Hurry()
        self._light = 0
        """Light commits so far."""
        self.file: File | None = None
        """The database at the first use; another one at the path is not ours."""
        self.orphaned = False
        """Whether that was noticed: this engine will not write again."""

    @property
    def name(self) -> str:
        return self.path or ":memory:"

    @property
    def sidecar(self) -> Sidecar:
        """Opened at the first write, so that a read-only file can be read."""
        if self._sidecar is None or self._sidecar.closed:
            with self._opening:
                if self._sidecar is None or self._sidecar.closed:
                    assert self.path is not None  # noqa: S101 - a memory store has one from the start
                    self._sidecar = _open_sidecar(self.path)
        return self._sidecar

    def reading(self) -> Session[sqlite3.Connection]:
        """A connection to read with; errors come out translated."""
        return self.session(lambda connection: connection)

    def session(self, use: Callable[[sqlite3.Connection], T]) -> Session[T]:
        """The same, as something that ``use`` makes of the connection."""
        return Session(self, use)

    def writing(
        self, *, use: Callable[[sqlite3.Connection], Any] = lambda connection: connection, **how: Any
    ) -> Writing[Any]:
        """One write transaction; see :class:`gigq.store.sessions.Writing`."""
        return Writing(self, use, **how)

    @property
    def patience(self) -> float:
        """Seconds that this thread waits for somebody who holds a lock."""
        seconds = self._hurry.seconds
        return self.busy_timeout if seconds is None else seconds

    @contextlib.contextmanager
    def hurried(self, seconds: float) -> Iterator[None]:
        """In this thread nothing within waits longer for its turn: there is other work that must go on."""
        self._hurry.seconds = seconds
        try:
            yield
        finally:
            self._hurry.seconds = None

    @contextlib.contextmanager
    def holding_turn(self) -> Iterator[bool]:
        """The turn to write for somebody's own SQL; whether it came in time. What is written within may enter again."""
        gate = self.sidecar.gate
        if not gate.acquire(self.busy_timeout):
            yield False
            return
        self._hurry.held = gate.depth()
        try:
            yield True
        finally:
            self._hurry.held = 0
            gate.release()

    def undo_interrupted(self) -> int:
        """Undo what an interruption (Ctrl-C between two instructions) left of this thread's last stretch of work.

        Returns:
            How often this thread holds the gate rightly.
        """
        gate = self.sidecar.gate
        rightly = self._hurry.held
        if gate.depth() > rightly:
            connection = self.connection()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            while gate.depth() > rightly:
                gate.release()
        return rightly

    def set_journal(self, mode: str) -> None:
        """Choose between WAL and a rollback journal; under the gate, since nobody else may use the file meanwhile."""
        gate = self.sidecar.gate
        if not gate.acquire(self.busy_timeout):
            raise StoreBusy(f"{self.name}: others have been writing for too long. Try again.")
        try:
            connection = self.connection()
            patiently(
                lambda: connection.execute(f"PRAGMA journal_mode = {mode}").fetchone(), self.busy_timeout
            )
        except sqlite3.Error as error:
            raise translate(error, self.name) from error
        finally:
            gate.release()

    def data_version(self) -> int:
        """Changes whenever another connection has committed."""
        with self.reading() as connection:
            row = patiently(lambda: connection.execute("PRAGMA data_version").fetchone(), self.patience)
            version: int = row[0]
            return version

    def changes(self) -> Callable[[], bool]:
        """Tells, each time this thread calls it, whether another connection has committed since the last time, or now."""
        seen = -1
        with contextlib.suppress(StoreError):
            seen = self.data_version()

        def has_changed() -> bool:
            nonlocal seen
            before = seen
            try:
                seen = self.data_version()
            except StoreError:
                return True  # whoever looks will see why
            return seen != before

        return has_changed

    def is_replaced(self) -> bool:
        """Whether the database, or its sidecar, is no longer the file that was opened."""
        if self.path is None:
            return False
        gone = self.file is not None and file_at(self.path) != self.file
        return gone or (self._sidecar is not None and self._sidecar.is_replaced())

    @property
    def serves_any_thread(self) -> bool:
        """Whether each thread gets a connection of its own that was opened here."""
        return self.path is not None and isinstance(self.connection(), Connection)

    def leave_thread(self) -> None:
        """Let go of what this thread holds: its place in line, and its connections."""
        self.sidecar.gate.leave_line()
        if self.path is not None:
            connections.close_connection(self.path)

    def close(self) -> None:
        """Let go of what this process holds beside its connections."""
        sidecar, self._sidecar = self._sidecar, None
        if isinstance(sidecar, FileSidecar):
            sidecar.close()

    def connection(self, purpose: str = "") -> sqlite3.Connection:
        """This thread's connection for a purpose, set up for writing.

        Raises:
            StoreReplaced: it belongs to another file than the one this engine has worked on.
        """
        if self.file is not None:
            self.refuse_orphan()  # to ask for a connection now might put a new file in the place of a moved one
        connection = self._get_connection(purpose, self.file)
        if not isinstance(connection, Connection):  # somebody's own _get_connection
            if self.file is None and self.path is not None:
                places.refuse_network(self.path)
            prepare(connection, self._durability)
        if self.file is None and self.path is not None:
            self.file = file_at(self.path)
        elif isinstance(connection, Connection) and connection.file != self.file:
            self._refuse()  # opened by another thread before, or after, the file was replaced
        return connection

    def refuse_orphan(self) -> None:
        """StoreReplaced where the path names another file than this engine works on, or none."""
        if self.path is not None and self.file is not None and file_at(self.path) != self.file:
            self._refuse()

    def refuse_lost_gate(self) -> None:
        """StoreReplaced where the path of the sidecar names another file: who opens it now does not wait for us."""
        if self._sidecar is not None and self._sidecar.is_replaced():
            self._refuse()

    def _refuse(self) -> NoReturn:
        self.orphaned = True
        raise StoreReplaced(_REPLACED.format(self.path))

    def commit(self, connection: sqlite3.Connection, *, light: bool = False, copy_back: bool = False) -> None:
        """COMMIT, and copy the WAL back if it has become large; one that is light looks at that now and then.

        By SQLite itself, which alone knows how much of the file is in use: it writes over it from the start
        [m: 290 us a durable commit; 470 where the file is truncated and grows again]. A failure of that loses nothing.
        """
        looks = self.path is not None
        if light:
            # The first one does: there are programs that submit one job and end, beside others that only read.
            looks = looks and self._light % _LOOK_EVERY == 0
            self._light += 1  # under the gate
        if not looks:
            patiently(connection.execute, self.patience, "COMMIT")
            return
        pages = 1 if copy_back else _LIGHT_CHECKPOINT_AT if light else _CHECKPOINT_AT
        connection.execute(f"PRAGMA wal_autocheckpoint = {pages}")
        try:
            # With a rollback journal it waits for those who are just reading.
            patiently(connection.execute, self.patience, "COMMIT")
        finally:
            connection.execute("PRAGMA wal_autocheckpoint = 0")


_sidecars: weakref.WeakValueDictionary[str, FileSidecar] = weakref.WeakValueDictionary()
_sidecars_lock = threading.Lock()


def _open_sidecar(path: str) -> FileSidecar:
    """One per file and process: its locks tell processes apart, and a mutex the threads."""
    place = f"{os.path.realpath(path)}-lock"
    with _sidecars_lock:
        sidecar = _sidecars.get(place)
        if sidecar is None or sidecar.closed or sidecar.is_replaced():
            try:
                sidecar = _sidecars[place] = FileSidecar(place)
            except OSError as error:
                raise shortage.behind(path, error) or StoreUnusable(
                    f"{path}: its sidecar {place} cannot be opened: {error.strerror}. "
                    "gigq needs to write beside the database."
                ) from error
        return sidecar


def _after_fork() -> None:
    global _sidecars_lock
    _sidecars.clear()
    _sidecars_lock = threading.Lock()  # a thread that this process does not have may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
