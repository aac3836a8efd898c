"""Connections: one a thread and purpose, set up alike, and never across a fork.

Only the standard library's ``sqlite3``: two SQLite libraries in one process would drop each other's locks. For the
same reason nothing here, or elsewhere, ever opens the database file by itself.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from pathlib import Path
from typing import Any, Literal

from gigq.errors import StoreUnusable, StoreVersion
from gigq.store import places
from gigq.store.failures import DAMAGED, patiently, translate

File = tuple[int, int]
"""Device and inode, which name a file wherever it lies."""

Durability = Literal["full", "normal"]
_SYNCHRONOUS = {"full": 3, "normal": 1}
"""EXTRA is FULL, and with a rollback journal it also syncs the folder when the journal is deleted, which is its commit."""

OLDEST = (3, 37, 0)
"""STRICT tables came with it."""

BUSY_TIMEOUT = 30.0
_LARGEST_WAL = 32 * 1024 * 1024
"""Bytes to which a WAL that grew beside a long reader is cut."""
_KEPT_IDLE = 8
"""Connections that a thread keeps to databases of which no queue is left: the next one is made at once."""


class Connection(sqlite3.Connection):
    """One that gigq opened and set up."""

    file: File | None = None
    """The database when it was opened."""

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
        self.connections: dict[tuple[str, str, str], Connection] = {}


_mine = _PerThread()
_everyones: weakref.WeakSet[Connection] = weakref.WeakSet()
_kept_over_fork: list[list[Connection]] = []


class Use:
    """Held by all engines on one file; gone with the last of them."""

    __slots__ = ("__weakref__",)


_uses: weakref.WeakValueDictionary[str, Use] = weakref.WeakValueDictionary()
_uses_lock = threading.Lock()


def use(path: str) -> Use:
    """To be held for as long as a database is in use."""
    place = os.path.realpath(path)
    with _uses_lock:
        found = _uses.get(place)
        if found is None:
            found = _uses[place] = Use()
        return found


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
    path: str, durability: Durability, purpose: str = "", *, create: bool = True, at: File | None = None
) -> Connection:
    """This thread's connection to a database, opened at the first call.

    Args:
        path: of the database.
        durability: as :func:`prepare` sets it.
        purpose: tells connections of one thread apart.
        create: whether to make a file where there is none.
        at: what :func:`file_at` has just said of the path, for a caller who has asked.

    Raises:
        StoreMissing: there is no such file, and ``create`` is False, or its folder does not exist.
        StoreUnusable: the path cannot be a database.
    """
    key = (path, durability, purpose)
    connection = _mine.connections.get(key)
    if (
        connection is None
        or connection.closed
        or connection.file != (at or file_at(path))
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
        places.check(path, create=create)
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
        raise StoreUnusable(DAMAGED.format(path, "its schema is rubbish")) from error


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
    connection.file = file_at(path)
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
    # An UPDATE ... FROM gathers its rows first, a claim's worth: no file is needed for that [m: 6 % of a drain's CPU].
    connection.execute("PRAGMA temp_store = MEMORY")


def _unchanged(path: str) -> tuple[int, int] | None:
    """Time of the last change and size of a file that nobody has open in WAL mode; else None."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return None if os.path.exists(f"{path}-wal") else (stat.st_mtime_ns, stat.st_size)


def file_at(path: str) -> File | None:
    """What is at a path; None for nothing."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


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
    global _mine, _everyones, _uses_lock
    _mine = _PerThread()
    _everyones = weakref.WeakSet()
    _uses_lock = threading.Lock()  # a thread that this process does not have may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
    )
