"""SQLite: connections, transactions under the gate, durability, and what its errors mean.

Only the standard library's ``sqlite3``: two SQLite libraries in one process would drop each other's locks. For the
same reason nothing here, or elsewhere, ever opens the database file by itself.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Literal

from gigq.errors import (
    GigQError,
    StoreBusy,
    StoreError,
    StoreFull,
    StoreMissing,
    StoreReplaced,
    StoreUnusable,
    StoreVersion,
)
from gigq.store import places
from gigq.store.sidecar import FileSidecar, MemorySidecar, Sidecar

Durability = Literal["full", "normal"]
DURABILITIES: tuple[Durability, ...] = ("full", "normal")

OLDEST = (3, 37, 0)
"""STRICT tables came with it."""

BUSY_TIMEOUT = 30.0
_CHECKPOINT_AT = 16 * 1024 * 1024
"""Bytes of WAL that make a writer copy it back [m: 4 MiB costs a tenth of a drain, 64 MiB a long pause]."""
_POLL = 0.002
_REPLACED = (
    "{}: the database or its sidecar was replaced, renamed or deleted while in use. Nothing was stored; "
    "put the file back, or open the queue anew."
)


class Connection(sqlite3.Connection):
    """One that gigq opened and set up."""

    file: tuple[int, int] | None = None
    """Device and inode of the database when it was opened."""

    closed = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _everyones.add(self)

    def close(self) -> None:
        self.closed = True
        super().close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()


class _PerThread(threading.local):
    def __init__(self) -> None:
        self.connections: dict[tuple[str, str], Connection] = {}


_mine = _PerThread()
_everyones: weakref.WeakSet[Connection] = weakref.WeakSet()
_kept_over_fork: list[list[Connection]] = []


def close_connections() -> None:
    """
    Close all SQLite connections for the current thread.

    What needs one afterwards opens it anew.
    """
    for connection in _mine.connections.values():
        connection.close()
    _mine.connections.clear()


def close_connection(path: str) -> None:
    """Close this thread's connections to one database."""
    for key in [key for key in _mine.connections if key[0] == path]:
        _mine.connections.pop(key).close()


def thread_connection(
    path: str, durability: Durability, purpose: str = "", *, create: bool = True
) -> Connection:
    """This thread's connection to a database, opened at the first call.

    Raises:
        StoreMissing: there is no such file, and ``create`` is False, or its folder does not exist.
        StoreUnusable: the path cannot be a database.
    """
    key = (path, f"{durability} {purpose}")
    connection = _mine.connections.get(key)
    if connection is None or connection.closed or connection.file != _file(path):
        connection = _mine.connections[key] = connect(path, durability, create=create)
    return connection


def connect(path: str, durability: Durability = "full", *, create: bool = True) -> Connection:
    """A new connection, set up; see :func:`thread_connection` for what it raises."""
    check_library()
    if path != ":memory:":
        _check_place(path, create=create)
    try:
        connection = sqlite3.connect(
            path, timeout=0.02, isolation_level=None, check_same_thread=False, factory=Connection
        )
        connection.row_factory = sqlite3.Row
        prepare(connection, durability)
        connection.file = _file(path)
    except sqlite3.Error as error:
        raise translate(error, path) from error
    return connection


def check_library() -> None:
    """StoreVersion where SQLite is too old for the tables."""
    if sqlite3.sqlite_version_info < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise StoreVersion(
            f"gigq needs SQLite {wanted} or newer; this Python has {sqlite3.sqlite_version}. "
            "Use a Python that is built with a newer one."
        )


def prepare(connection: sqlite3.Connection, durability: Durability) -> None:
    """The settings that every connection which writes must have."""
    connection.execute(f"PRAGMA synchronous = {durability}")
    # Up to SQLite 3.51.2 a checkpoint that races a writer can corrupt the file: only under the gate.
    connection.execute("PRAGMA wal_autocheckpoint = 0")


def _check_place(path: str, *, create: bool) -> None:
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise StoreMissing(f"{path}: there is no folder {folder}. Create it, or name another path.")
    if os.path.isdir(path):
        raise StoreUnusable(
            f"{path}: is a folder. Name a file in it, such as {os.path.join(path, 'jobs.db')}."
        )
    kind = places.file_system(path)
    if places.is_network(kind):
        raise StoreUnusable(
            f"{path}: lies on a network file system ({kind}), where SQLite cannot keep several users apart and "
            "would lose jobs. Use a local disk, or PostgreSQL for several machines."
        )
    if os.path.exists(path):
        if not os.access(path, os.R_OK):
            raise StoreUnusable(f"{path}: no permission to read it. Change its mode or owner.")
        return
    if not create:
        raise StoreMissing(f"{path}: there is no such file, and initialize=False does not create one.")
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise StoreUnusable(
            f"{path}: cannot be created: {error.strerror}. Check the folder's permissions."
        ) from error


def _file(path: str) -> tuple[int, int] | None:
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def translate(error: sqlite3.Error, path: str) -> GigQError:
    """What an error of SQLite means, and the way out."""
    text = str(error)
    code = getattr(error, "sqlite_errorname", None) or ""
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreBusy(f"{path}: another program has held its write lock too long. End it, or try again.")
    if code.startswith("SQLITE_FULL"):
        return StoreFull(f"{path}: no space left ({text}). Nothing was stored; make room and try again.")
    if code.startswith("SQLITE_NOTADB"):
        return StoreUnusable(f"{path}: is not a SQLite database. It was left as it is; name another file.")
    if code.startswith("SQLITE_CORRUPT"):
        return StoreUnusable(f"{path}: is damaged ({text}). Run 'gigq db check', and restore a backup.")
    if code.startswith("SQLITE_READONLY"):
        return StoreUnusable(
            f"{path}: cannot be written ({text}). Check the mode of the file and its folder."
        )
    if code.startswith("SQLITE_CANTOPEN"):
        return StoreUnusable(f"{path}: cannot be opened ({text}). Check the mode of the file and its folder.")
    if code.startswith("SQLITE_IOERR"):
        return StoreFull(
            f"{path}: the disk refused ({text}, {code}). Check the disk and its free space, then try again."
        )
    return StoreError(f"{path}: {text}")


class Sqlite:
    """The engine under a store: one database, reached through whatever gives connections to it."""

    def __init__(
        self,
        get_connection: Callable[[str], sqlite3.Connection],
        path: str | None,
        durability: Durability,
    ) -> None:
        self._get_connection = get_connection
        self.path = path
        self._durability = durability
        self._sidecar: FileSidecar | MemorySidecar | None = None if path else MemorySidecar()
        self._opening = threading.Lock()
        self.busy_timeout = BUSY_TIMEOUT
        self.file: tuple[int, int] | None = None
        """Device and inode of the database at the first use; another one at the path is not ours."""
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

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection to read with; errors come out translated."""
        if self.path is None:  # one connection for all threads: nobody may read amid another's transaction
            self.sidecar.gate.acquire(self.busy_timeout)
        try:
            yield self.connection()
        except sqlite3.Error as error:
            raise translate(error, self.name) from error
        finally:
            if self.path is None:
                self.sidecar.gate.release()

    @contextlib.contextmanager
    def writing(
        self, wait: float | None = None, when_free: Callable[[], None] | None = None, *, ring: bool = True
    ) -> Iterator[sqlite3.Connection]:
        """One write transaction: the gate, BEGIN IMMEDIATE, and COMMIT, or ROLLBACK if the block raises.

        Args:
            wait: seconds to wait for the turn; None is ``busy_timeout``.
            when_free: see :meth:`gigq.store.gate.Gate.acquire`.
            ring: ring the bell after the commit.

        Raises:
            StoreBusy: the turn did not come in time. Nothing was written.
            StoreError: as :func:`translate` says. Nothing was written.
        """
        deadline = time.monotonic() + (self.busy_timeout if wait is None else wait)
        gate = self.sidecar.gate
        if not gate.acquire(max(0.0, deadline - time.monotonic()), when_free):
            raise StoreBusy(f"{self.name}: others have been writing for too long. Try again.")
        try:
            connection = self.connection()
            # IMMEDIATE: a transaction that reads first and writes later fails at once beside another writer.
            _patiently(connection, "BEGIN IMMEDIATE", deadline)
            try:
                yield connection
                self._refuse_orphan()
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            self._keep_wal_small(connection)
        except sqlite3.Error as error:
            raise translate(error, self.name) from error
        finally:
            gate.release()
        if ring:
            self.sidecar.ring()

    def set_journal(self, mode: str) -> None:
        """Choose between WAL and a rollback journal; under the gate, since nobody else may use the file meanwhile."""
        deadline = time.monotonic() + self.busy_timeout
        gate = self.sidecar.gate
        if not gate.acquire(self.busy_timeout):
            raise StoreBusy(f"{self.name}: others have been writing for too long. Try again.")
        try:
            _patiently(self.connection(), f"PRAGMA journal_mode = {mode}", deadline)
        except sqlite3.Error as error:
            raise translate(error, self.name) from error
        finally:
            gate.release()

    def data_version(self) -> int:
        """Changes whenever another connection has committed."""
        with self.reading() as connection:
            version: int = connection.execute("PRAGMA data_version").fetchone()[0]
            return version

    def is_replaced(self) -> bool:
        """Whether the database, or its sidecar, is no longer the file that was opened."""
        if self.path is None:
            return False
        gone = self.file is not None and _file(self.path) != self.file
        return gone or (self._sidecar is not None and self._sidecar.is_replaced())

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
        connection = self._get_connection(purpose)
        if not isinstance(connection, Connection):  # somebody's own _get_connection
            prepare(connection, self._durability)
        if self.file is None and self.path is not None:
            self.file = _file(self.path)
        elif isinstance(connection, Connection) and connection.file != self.file:
            self.orphaned = True  # opened by another thread before, or after, the file was replaced
            raise StoreReplaced(_REPLACED.format(self.path))
        return connection

    def _refuse_orphan(self) -> None:
        if self.path is not None and self.is_replaced():
            self.orphaned = True
            raise StoreReplaced(_REPLACED.format(self.path))

    def _keep_wal_small(self, connection: sqlite3.Connection) -> None:
        if self.path is None:
            return
        try:
            if os.stat(f"{self.path}-wal").st_size < _CHECKPOINT_AT:
                return
        except OSError:
            return
        # A failed checkpoint loses nothing: what was committed is in the WAL.
        with contextlib.suppress(sqlite3.Error):
            connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()


def _patiently(connection: sqlite3.Connection, statement: str, deadline: float) -> None:
    """Execute it as soon as somebody who does not use the gate lets go; the wait hears signals."""
    while True:
        try:
            connection.execute(statement).fetchone()
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() >= deadline:
                raise
            time.sleep(_POLL)
        else:
            return


def _is_busy(error: sqlite3.Error) -> bool:
    name = getattr(error, "sqlite_errorname", None) or ""
    return name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


_sidecars: weakref.WeakValueDictionary[str, FileSidecar] = weakref.WeakValueDictionary()
_sidecars_lock = threading.Lock()


def _open_sidecar(path: str) -> FileSidecar:
    """One per file and process: its locks tell processes apart, and a mutex the threads."""
    place = f"{os.path.realpath(path)}-lock"
    with _sidecars_lock:
        sidecar = _sidecars.get(place)
        if sidecar is None or sidecar.is_replaced():
            try:
                sidecar = _sidecars[place] = FileSidecar(place)
            except OSError as error:
                raise StoreUnusable(
                    f"{path}: its sidecar {place} cannot be opened: {error.strerror}. "
                    "gigq needs to write beside the database."
                ) from error
        return sidecar


def path_of(connection: sqlite3.Connection) -> str | None:
    """The file behind a connection; None for one in memory."""
    file = next(row[2] for row in connection.execute("PRAGMA database_list") if row[1] == "main")
    return file or None


# Connections must not be used across a fork, nor even closed: that would drop the parent's locks. The child keeps
# every one of them, those of threads that it does not have included, and opens its own.
def _before_fork() -> None:
    _kept_over_fork.append(list(_everyones))


def _after_fork_in_parent() -> None:
    _kept_over_fork.pop()


def _after_fork_in_child() -> None:
    global _mine, _everyones
    _mine = _PerThread()
    _everyones = weakref.WeakSet()
    _sidecars.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
    )
