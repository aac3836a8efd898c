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
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from gigq import shield
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
from gigq.store import places, shortage
from gigq.store.sidecar import FileSidecar, MemorySidecar, Sidecar

T = TypeVar("T")

Durability = Literal["full", "normal"]
DURABILITIES: tuple[Durability, ...] = ("full", "normal")
_SYNCHRONOUS = {"full": 3, "normal": 1}
"""EXTRA is FULL, and with a rollback journal it also syncs the folder when the journal is deleted, which is its commit."""

OLDEST = (3, 37, 0)
"""STRICT tables came with it."""

BUSY_TIMEOUT = 30.0
_CHECKPOINT_AT = 4096
"""Pages in the WAL that make a commit copy them back [m: 1024 costs a tenth of a drain, 16384 a long pause]."""
_LARGEST_WAL = 32 * 1024 * 1024
"""Bytes to which a WAL that grew beside a long reader is cut."""
_POLL = 0.002
_KEPT_IDLE = 8
"""Connections that a thread keeps to databases of which no queue is left: the next one is made at once."""
_REPLACED = (
    "{}: the database or its sidecar was replaced, renamed or deleted while in use. Nothing was stored; "
    "put the file back, or open the queue anew."
)
_DAMAGED = "{}: is damaged ({}). Run 'gigq db check', and restore a backup."


class Connection(sqlite3.Connection):
    """One that gigq opened and set up."""

    file: tuple[int, int] | None = None
    """Device and inode of the database when it was opened."""

    unchanged: tuple[int, int] | None = None
    """Of one that takes the file for immutable: good as long as :func:`_unchanged` says this."""

    place = ""
    """The real path of the database, under which :data:`_uses` has it."""

    lent = False
    """Given to somebody who may use it when no queue is left."""

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


class _Use:
    """Held by all engines on one file; gone with the last of them."""

    __slots__ = ("__weakref__",)


_uses: weakref.WeakValueDictionary[str, _Use] = weakref.WeakValueDictionary()
_uses_lock = threading.Lock()


def _use(path: str) -> _Use:
    place = os.path.realpath(path)
    with _uses_lock:
        use = _uses.get(place)
        if use is None:
            use = _uses[place] = _Use()
        return use


def _let_go() -> None:
    """Close this thread's oldest connections to what no queue uses; what is lent, its holder can go on with."""
    mine = _mine.connections
    if len(mine) <= _KEPT_IDLE:
        return
    idle = [
        key
        for key, connection in mine.items()
        if connection.place not in _uses and (connection.closed or not connection.in_transaction)
    ]
    for key in idle[: max(0, len(idle) - _KEPT_IDLE)]:
        connection = mine.pop(key)
        if not connection.lent:  # not left to the collector: a connection is part of a cycle
            connection.close()


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
    if (
        connection is None
        or connection.closed
        or connection.file != _file(path)
        or (connection.unchanged and connection.unchanged != _unchanged(path))
    ):
        _let_go()
        connection = _mine.connections[key] = connect(path, durability, create=create)
        connection.place = os.path.realpath(path)
    return connection


def connect(path: str, durability: Durability = "full", *, create: bool = True) -> Connection:
    """A new connection, set up; see :func:`thread_connection` for what it raises."""
    check_library()
    if path != ":memory:":
        _check_place(path, create=create)
    try:
        try:
            return _open(path, path, durability)
        except sqlite3.OperationalError:
            unchanged = _unchanged(path)
            if unchanged is None or os.access(os.path.dirname(path), os.W_OK):
                raise
            # In WAL mode even a reader writes beside the file; where it cannot, and nobody else does, this reads it.
            connection = _open(path, f"{Path(path).as_uri()}?immutable=1", durability)
            connection.unchanged = unchanged
            return connection
    except sqlite3.Error as error:
        raise translate(error, path) from error
    except UnicodeDecodeError as error:  # sqlite3 cannot spell the rubbish that SQLite quotes from the file
        raise StoreUnusable(_DAMAGED.format(path, "its schema is rubbish")) from error


def _open(path: str, name: str, durability: Durability) -> Connection:
    connection = sqlite3.connect(
        name,
        timeout=0.02,
        isolation_level=None,
        check_same_thread=False,
        factory=Connection,
        uri=name != path,
    )
    connection.row_factory = sqlite3.Row
    patiently(lambda: prepare(connection, durability), BUSY_TIMEOUT)
    connection.file = _file(path)
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
    """The settings that every connection which writes must have.

    Raises:
        StoreUnusable: the durability that was asked for is not to be had.
    """
    connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[durability]}")
    if connection.execute("PRAGMA synchronous").fetchone()[0] != _SYNCHRONOUS[durability]:
        raise StoreUnusable(
            f"this SQLite does not accept synchronous = {durability}; gigq promises nothing on it."
        )
    # Up to SQLite 3.51.2 a checkpoint that races a writer can corrupt the file: only under the gate (see Sqlite.commit).
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA journal_size_limit = {_LARGEST_WAL}")


def _check_place(path: str, *, create: bool) -> None:
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise StoreMissing(f"{path}: there is no folder {folder}. Create it, or name another path.")
    if os.path.isdir(path):
        raise StoreUnusable(
            f"{path}: is a folder. Name a file in it, such as {os.path.join(path, 'jobs.db')}."
        )
    _refuse_network(path)
    if not os.access(folder, os.X_OK):
        raise StoreUnusable(f"{path}: no permission to enter its folder. Change the folder's mode or owner.")
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
        raise shortage.behind(path, error) or StoreUnusable(
            f"{path}: cannot be created: {error.strerror}. Check the folder's permissions."
        ) from error


def _refuse_network(path: str) -> None:
    kind = places.file_system(path)
    if places.is_network(kind):
        raise StoreUnusable(
            f"{path}: lies on a network file system ({kind}), where SQLite cannot keep several users apart and "
            "would lose jobs. Use a local disk, or PostgreSQL for several machines."
        )


def _unchanged(path: str) -> tuple[int, int] | None:
    """Time of the last change and size of a file that nobody has open in WAL mode; else None."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return None if os.path.exists(f"{path}-wal") else (stat.st_mtime_ns, stat.st_size)


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
        return StoreUnusable(_DAMAGED.format(path, text))
    if code.startswith("SQLITE_READONLY"):
        return StoreUnusable(
            f"{path}: cannot be written ({text}). Check the mode of the file and its folder."
        )
    if code.startswith("SQLITE_CANTOPEN"):
        return shortage.behind(path) or StoreUnusable(
            f"{path}: cannot be opened ({text}). Check the mode of the file and its folder."
        )
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
        check_library()
        self._get_connection = get_connection
        self.path = path
        self._use = _use(path) if path else None
        self._durability = durability
        self._sidecar: FileSidecar | MemorySidecar | None = None if path else MemorySidecar()
        self._opening = threading.Lock()
        self.busy_timeout = BUSY_TIMEOUT
        self._hurry = threading.local()
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

    def reading(self) -> Session[sqlite3.Connection]:
        """A connection to read with; errors come out translated."""
        return self.session(lambda connection: connection)

    def session(self, use: Callable[[sqlite3.Connection], T]) -> Session[T]:
        """The same, as something that ``use`` makes of the connection."""
        return Session(self, use)

    def writing(
        self, *, use: Callable[[sqlite3.Connection], Any] = lambda connection: connection, **how: Any
    ) -> Writing[Any]:
        """One write transaction; see :class:`Writing`."""
        return Writing(self, use, **how)

    @property
    def patience(self) -> float:
        """Seconds that this thread waits for somebody who holds a lock."""
        seconds: float = getattr(self._hurry, "seconds", self.busy_timeout)
        return seconds

    @contextlib.contextmanager
    def hurried(self, seconds: float) -> Iterator[None]:
        """In this thread nothing within waits longer for its turn: there is other work that must go on."""
        self._hurry.seconds = seconds
        try:
            yield
        finally:
            del self._hurry.seconds

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
        rightly: int = getattr(self._hurry, "held", 0)
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
        if self.file is not None and self.path is not None and _file(self.path) != self.file:
            self.orphaned = (
                True  # to ask for a connection now might put a new file in the place of a moved one
            )
            raise StoreReplaced(_REPLACED.format(self.path))
        connection = self._get_connection(purpose)
        if not isinstance(connection, Connection):  # somebody's own _get_connection
            if self.file is None and self.path is not None:
                _refuse_network(self.path)
            prepare(connection, self._durability)
        if self.file is None and self.path is not None:
            self.file = _file(self.path)
        elif isinstance(connection, Connection) and connection.file != self.file:
            self.orphaned = True  # opened by another thread before, or after, the file was replaced
            raise StoreReplaced(_REPLACED.format(self.path))
        return connection

    def refuse_orphan(self) -> None:
        if self.path is not None and self.is_replaced():
            self.orphaned = True
            raise StoreReplaced(_REPLACED.format(self.path))

    def commit(self, connection: sqlite3.Connection) -> None:
        """COMMIT, and copy the WAL back if it has become large.

        By SQLite itself, which alone knows how much of the file is in use: it writes over it from the start
        [m: 290 us a durable commit; 470 where the file is truncated and grows again]. A failure of that loses nothing.
        """
        if self.path is None:
            connection.execute("COMMIT")
            return
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_AT}")
        try:
            # With a rollback journal it waits for those who are just reading.
            patiently(lambda: connection.execute("COMMIT"), self.patience)
        finally:
            connection.execute("PRAGMA wal_autocheckpoint = 0")


class Session(Generic[T]):
    """A stretch of work on this thread's connection; errors of SQLite come out translated.

    Classes, not generators: an exception that comes while one is entered (Ctrl-C) must find the way back.
    """

    def __init__(self, engine: Sqlite, use: Callable[[sqlite3.Connection], T]) -> None:
        self._engine = engine
        self._use = use
        self._depth = 0

    def __enter__(self) -> T:
        shield.enter()
        try:
            if self._takes_turns:
                self._depth = self._engine.undo_interrupted()
            return self._open()
        except BaseException as error:
            self._close()
            if isinstance(error, sqlite3.Error):
                raise translate(error, self._engine.name) from error
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            self._finish(error)
        except sqlite3.Error as refused:
            raise translate(refused, self._engine.name) from refused
        finally:
            self._close()
        if isinstance(error, sqlite3.Error):
            raise translate(error, self._engine.name) from error

    @property
    def _takes_turns(self) -> bool:
        # One connection for all threads: nobody may read amid another's transaction.
        return self._engine.path is None

    def _open(self) -> T:
        if self._takes_turns:
            self._take_turn(self._engine.busy_timeout, None)
        return self._use(self._engine.connection())

    def _take_turn(self, wait: float, when_free: Callable[[], None] | None) -> None:
        if not self._engine.sidecar.gate.acquire(wait, when_free):
            raise StoreBusy(f"{self._engine.name}: others have been writing for too long. Try again.")

    def _finish(self, error: BaseException | None) -> None:
        pass

    def _close(self) -> None:
        try:
            if self._takes_turns:
                gate = self._engine.sidecar.gate
                while gate.depth() > self._depth:
                    gate.release()
        finally:
            shield.leave()


class Writing(Session[T]):
    """One write transaction: the gate, BEGIN IMMEDIATE, and COMMIT, or ROLLBACK if the block raises.

    Raises:
        StoreBusy: the turn did not come in time. Nothing was written.
        StoreError: as :func:`translate` says. Nothing was written.
    """

    def __init__(
        self,
        engine: Sqlite,
        use: Callable[[sqlite3.Connection], T],
        wait: float | None = None,
        when_free: Callable[[], None] | None = None,
        *,
        ring: bool = True,
        then: Callable[[], None] | None = None,
    ) -> None:
        """Args:
        engine: whose.
        use: what the block gets of the connection.
        wait: seconds to wait for the turn; None is ``busy_timeout``, or what ``hurried`` says.
        when_free: see :meth:`gigq.store.gate.Gate.acquire`.
        ring: ring the bell after the commit.
        then: called after the commit.
        """
        super().__init__(engine, use)
        self._wait = engine.patience if wait is None else wait
        self._when_free = when_free
        self._ring = ring
        self._then = then
        self._connection: sqlite3.Connection | None = None

    @property
    def _takes_turns(self) -> bool:
        return True

    def _open(self) -> T:
        deadline = time.monotonic() + self._wait
        self._take_turn(self._wait, self._when_free)
        connection = self._engine.connection()
        if connection.in_transaction:
            raise StoreError(
                f"{self._engine.name}: this thread's connection is in a transaction. Commit it first."
            )
        self._connection = connection
        # IMMEDIATE: a transaction that reads first and writes later fails at once beside another writer.
        patiently(lambda: connection.execute("BEGIN IMMEDIATE"), deadline - time.monotonic())
        return self._use(connection)

    def _finish(self, error: BaseException | None) -> None:
        if error is not None or self._connection is None:
            return
        self._engine.refuse_orphan()
        self._engine.commit(self._connection)
        self._engine.refuse_orphan()  # it may have gone while COMMIT waited for the disk
        if self._then is not None:
            self._then()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        committed = connection is not None and not connection.in_transaction
        try:
            if connection is not None and connection.in_transaction:
                connection.execute("ROLLBACK")
        finally:
            super()._close()
        if committed and self._ring:
            self._engine.sidecar.ring()


def patiently(action: Callable[[], T], seconds: float) -> T:
    """Do it as soon as somebody who does not use the gate lets go; the wait hears signals."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return action()
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() >= deadline:
                raise
            time.sleep(_POLL)


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
        if sidecar is None or sidecar.closed or sidecar.is_replaced():
            try:
                sidecar = _sidecars[place] = FileSidecar(place)
            except OSError as error:
                raise shortage.behind(path, error) or StoreUnusable(
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
    global _mine, _everyones, _sidecars_lock, _uses_lock
    _mine = _PerThread()
    _everyones = weakref.WeakSet()
    _sidecars.clear()
    _uses_lock = threading.Lock()
    _sidecars_lock = threading.Lock()  # a thread that this process does not have may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
    )
