"""What an operator asks a store: is it sound, what is in it, who works on it; and a copy of it.

Each check is one statement, so that it sees one moment even while others write.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import NamedTuple

from gigq.errors import StoreError, StoreUnusable
from gigq.store import migrations
from gigq.store.base import Store
from gigq.store.failures import translate
from gigq.store.migrations import State
from gigq.store.rows import WorkerRow
from gigq.store.transaction import Transaction, decode_array

_SHOWN = 20
"""Jobs that a finding names, at most."""


class Seen(NamedTuple):
    """A worker that has not said good-bye, alive or not."""

    row: WorkerRow
    started_at: int
    running: int
    queues: list[str] | None
    """Those that it serves, ``"*"`` for the others; None for all."""


class Held(NamedTuple):
    """Pending jobs that something keeps."""

    held_by: str
    jobs: int
    since: int | None
    error: str | None


def state(store: Store) -> State:
    """Which tables are in the file; nothing is created or migrated.

    Raises:
        StoreMissing, StoreUnusable, StoreVersion: as on opening.
    """
    with store.engine.reading() as connection:
        return migrations.look(connection, store.engine.name)


def journal_mode(store: Store) -> str:
    """``wal``, ``delete``, ..."""
    with store.engine.reading() as connection:
        return str(Transaction(connection, store.engine.busy_timeout).value("journal_mode"))


def first_and_last(store: Store) -> tuple[int | None, int | None]:
    """When the first and the last of the jobs were created, microseconds UTC."""
    with store._reading() as tx:
        row = tx.row("first_and_last")
        assert row is not None  # noqa: S101 - a SELECT without FROM has one row
        return row[0], row[1]


def workers(store: Store) -> list[Seen]:
    """Those that have not said good-bye, in the order in which they came."""
    with store._reading() as tx:
        found = tx.records("worker_list")
    return [
        Seen(
            WorkerRow(**{field: row[field] for field in WorkerRow.__struct_fields__}),
            row["started_at"],
            row["running"],
            None if row["queues"] is None else decode_array(str, row["queues"]),
        )
        for row in found
    ]


def held(store: Store, limit: int) -> list[Held]:
    """What keeps pending jobs, most first."""
    with store._reading() as tx:
        return [Held(**row) for row in tx.records("held", limit=limit)]


def overdue(store: Store, now: int, grace: int) -> int:
    """How many runs should have been settled by now; times in microseconds."""
    with store._reading() as tx:
        return int(tx.value("overdue", now=now, grace=grace))


def faults(store: Store) -> list[str]:
    """What is wrong inside: damage that SQLite finds, and rows of ours that contradict each other.

    Raises:
        StoreError: the database cannot be read at all now.
    """
    found: list[str] = []
    try:
        with store._reading() as tx:
            damage = [str(line) for line in tx.column("integrity")]
            found += [f"damaged: {line}" for line in damage if line != "ok"]
            found += [
                f"queue {row['queue']!r}: {row['noted']} {row['status']} jobs counted, there are {row['really']}"
                for row in tx.records("wrong_counts")
            ]
            for name, what in (
                ("wrong_parents_left", "is noted to wait for {noted} parents, it waits for {really}"),
                ("wrong_runs", "has {noted} runs, its history {really}"),
                ("without_params", "has no parameters stored, so no worker can claim it"),
                (
                    "without_slot",
                    "is {status} without its unique key {key!r}, so that another may have it too",
                ),
            ):
                rows = tx.records(name, limit=_SHOWN + 1)
                found += [f"job {row['id']} {what.format(**row)}" for row in rows[:_SHOWN]]
                if len(rows) > _SHOWN:
                    found.append(f"more such jobs ({name})")
    except StoreUnusable as error:  # a page so broken that a statement failed on it
        found.append(str(error))
    return found


def copy(store: Store, target: Path, *, replace: bool) -> int:
    """Write a copy of the database as it is at one moment; writers go on meanwhile.

    The file appears whole or not at all, readable by its owner only.

    Returns:
        Its bytes.

    Raises:
        FileExistsError: there is a file already, and ``replace`` is False.
        OSError: the folder of the target cannot be written.
        StoreError: the database cannot be read, or the copy not be written.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with store.engine.reading() as connection:
            _copy(connection, part)
        if not replace:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        part.replace(target)
        _make_durable(target.parent)
        return target.stat().st_size
    finally:
        for leftover in (part, Path(f"{part}-journal")):
            leftover.unlink(missing_ok=True)


def _copy(source: sqlite3.Connection, part: Path) -> None:
    """Through SQLite only: to open the file itself would drop this process's locks on it."""
    try:
        with contextlib.closing(sqlite3.connect(part)) as target:
            target.execute("PRAGMA synchronous = FULL")
            source.backup(target)
    except sqlite3.Error as error:
        problem = translate(error, str(part))
        raise StoreError(f"the copy failed: {problem}") from error


def _make_durable(folder: Path) -> None:
    with contextlib.suppress(OSError):  # Windows opens no folders
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
