"""The store: the only place with SQL."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable

from gigq.store.base import Store
from gigq.store.connections import Durability, File, connect, path_of, thread_connection
from gigq.store.sqlite import Sqlite

__all__ = ["Store", "open_file", "open_memory", "open_store"]

_open: weakref.WeakValueDictionary[tuple[str, str, int], Store] = weakref.WeakValueDictionary()
_opening = threading.Lock()


def open_file(path: str, durability: Durability, *, create: bool) -> Store:
    """The store of a database file; the same one for everybody in this process who asks for the same."""
    key = (path, f"{durability} {create}", os.getpid())
    with _opening:
        store = _open.get(key)
        if store is None or store.engine.is_replaced():

            def connection(purpose: str, at: File | None) -> sqlite3.Connection:
                return thread_connection(path, durability, purpose, create=create, at=at)

            store = _open[key] = Store(Sqlite(connection, path, durability), create=create)
        return store


def open_memory() -> Store:
    """A store of its own, in this process's memory."""
    connection = connect(":memory:")
    return Store(Sqlite(lambda _purpose, _at: connection, None, "normal"))


def open_store(get_connection: Callable[[], sqlite3.Connection], durability: Durability = "full") -> Store:
    """The store behind whatever gives connections to it."""
    first = get_connection()
    path = path_of(first)
    if path is None:
        return Store(Sqlite(lambda _purpose, _at: first, None, durability))
    return Store(Sqlite(lambda _purpose, _at: get_connection(), path, durability))
