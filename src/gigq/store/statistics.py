"""What ANALYZE leaves in a file: the plans here are meant for a queue of any size, and are better without.

Taken of a queue that was nearly empty, statistics make SQLite walk over whole tables for ever after: a claim would
read all params. Nobody here runs ANALYZE, but browsers of databases and other users of the file do.
"""

from __future__ import annotations

import contextlib
import sqlite3

from gigq.errors import StoreError
from gigq.store.connections import connect
from gigq.store.sqlite import Sqlite

_OURS = (
    "('job', 'params', 'execution', 'dependency', 'worker', 'counts', 'unfinished', 'place', "
    "'limit_key', 'limit_line', 'limit_member', 'limit_start', 'admitted', 'holding')"
)


def forget(engine: Sqlite) -> None:
    """Take away those of our tables, if there are any and the file can be written just now."""
    if engine.path is None:
        return
    with engine.reading() as connection:
        if not _tables(connection):
            return
    with contextlib.suppress(StoreError, sqlite3.Error):
        gate = engine.sidecar.gate
        if gate.acquire(0.0):
            try:
                _forget(engine.path)
            finally:
                gate.release()


def _forget(path: str) -> None:
    """On a connection of its own: all others read the schema again, and with it the statistics, when that changes."""
    with contextlib.closing(connect(path, create=False)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for table in _tables(connection):
            connection.execute(f"DELETE FROM {table} WHERE tbl IN {_OURS}")  # noqa: S608 - constants
        connection.execute("CREATE TABLE gigq_statistics (forgotten)")
        connection.execute("DROP TABLE gigq_statistics")
        connection.execute("COMMIT")


def _tables(connection: sqlite3.Connection) -> list[str]:
    """The tables of statistics that say something of ours."""
    found = connection.execute(
        "SELECT name FROM sqlite_schema WHERE name IN ('sqlite_stat1', 'sqlite_stat4')"
    )
    return [
        name
        for (name,) in found.fetchall()
        if connection.execute(f"SELECT 1 FROM {name} WHERE tbl IN {_OURS} LIMIT 1").fetchone()  # noqa: S608
    ]
