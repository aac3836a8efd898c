"""The doctor: looks a queue and its surroundings over, changes nothing, and says what to do."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from gigq import __version__, admin
from gigq.clock import SECOND, to_iso
from gigq.errors import GigQError
from gigq.queue import JobQueue
from gigq.status import JobStatus
from gigq.store import inspection, migrations, places
from gigq.store.connections import OLDEST

Level = Literal["ok", "warn", "bad"]

_WAL_LARGE = 64 * 1024 * 1024
"""Four times of what makes a writer copy the WAL back: somebody keeps it from being emptied."""
_SPACE_LITTLE = 200 * 1024 * 1024
_SPACE_NONE = 16 * 1024 * 1024
_OVERDUE = 15 * SECOND
"""Microseconds beyond its timeout after which a run should long have been settled by some worker."""
_HELD_SHOWN = 20
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})


class Finding(NamedTuple):
    """One thing that was looked at."""

    level: Level
    subject: str
    text: str
    remedy: str = ""
    """What to do, when it is not ok."""


def examine(path: str) -> list[Finding]:
    """Everything worth knowing when something seems wrong; never raises for what it finds."""
    return [*_versions(sqlite3.sqlite_version_info), *_file(path)]


def has_wal_bug(version: tuple[int, ...]) -> bool:
    """Whether a checkpoint of this SQLite that races a writer can corrupt the file.

    3.7.0 to 3.51.2; mended in 3.51.3 and, for those who stay on older lines, in 3.50.7 and 3.44.6.
    """
    if version[:2] in ((3, 50), (3, 44)):
        return version < (3, 50, 7) if version[1] == 50 else version < (3, 44, 6)
    return (3, 7, 0) <= version < (3, 51, 3)


def _versions(sqlite: tuple[int, ...]) -> Iterator[Finding]:
    yield Finding("ok", "gigq", f"{__version__}, tables of version {migrations.NEWEST}")
    yield Finding("ok", "Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    spelled = ".".join(map(str, sqlite))
    if sqlite < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        yield Finding(
            "bad", "SQLite", f"{spelled} is too old", f"use a Python built with SQLite {oldest} or newer"
        )
    elif has_wal_bug(sqlite):
        yield Finding(
            "ok",
            "SQLite",
            f"{spelled} has the WAL-reset bug (mended in 3.51.3, 3.50.7 and 3.44.6); gigq avoids it by copying the "
            "WAL back only while nobody else may write",
        )
    else:
        yield Finding("ok", "SQLite", f"{spelled}, without the WAL-reset bug")


def _file(path: str) -> Iterator[Finding]:
    file = Path(path).absolute()
    yield from _place(file)
    if not file.exists():
        if file.parent.is_dir():
            yield Finding(
                "warn", "file", f"{file}: there is none yet", "'gigq submit' or 'gigq worker' creates it"
            )
        else:
            yield Finding(
                "bad", "file", f"{file}: there is no folder {file.parent}", "create it, or name another --db"
            )
        return
    yield from _permissions(file)
    try:
        queue = admin.open_untouched(str(file))
        with contextlib.closing(queue):
            yield from _tables(queue)
    except GigQError as error:
        yield Finding("bad", "database", str(error), "name another file with --db, or restore a backup")


def _place(file: Path) -> Iterator[Finding]:
    kind = places.file_system(str(file)) or "unknown"
    if places.is_network(kind):
        yield Finding(
            "bad",
            "file system",
            f"{kind} is a network share, where jobs would be lost",
            "move the file to a local disk",
        )
    elif places.is_shared_folder(kind):
        yield Finding(
            "ok", "file system", f"{kind}, a shared folder: safe with a rollback journal, for one host only"
        )
    elif kind in _IN_MEMORY:
        yield Finding(
            "warn", "file system", f"{kind} is memory: a restart loses the queue", "use a disk for real jobs"
        )
    else:
        yield Finding("ok", "file system", f"{kind}, local")
    if file.parent.is_dir():
        free, wal = shutil.disk_usage(file.parent).free, admin.file_size(f"{file}-wal")
        text = f"{free // 2**20:,} MiB free"
        if free < _SPACE_NONE + wal:
            yield Finding("bad", "disk", text, "make room: jobs cannot be stored much longer")
        elif free < _SPACE_LITTLE + wal:
            yield Finding("warn", "disk", text, "make room, or clear finished jobs with 'gigq clear'")
        else:
            yield Finding("ok", "disk", text)


def _permissions(file: Path) -> Iterator[Finding]:
    mode = stat.S_IMODE(file.stat().st_mode)
    if not os.access(file, os.R_OK):
        yield Finding(
            "bad", "permissions", "you may not read the file", f"chmod u+rw {file}, or ask its owner"
        )
    elif not os.access(file, os.W_OK) or not os.access(file.parent, os.W_OK):
        yield Finding(
            "warn",
            "permissions",
            "you may read the file but not write it, or beside it",
            f"chmod u+rw {file}",
        )
    elif mode & stat.S_IWOTH:
        yield Finding(
            "bad",
            "permissions",
            f"{mode:o}: everybody may write it, and so run code as your workers",
            f"chmod 600 {file}",
        )
    elif mode & stat.S_IROTH:
        yield Finding("warn", "permissions", f"{mode:o}: everybody may read your jobs", f"chmod 600 {file}")
    else:
        yield Finding("ok", "permissions", f"{mode:o}")


def _tables(queue: JobQueue) -> Iterator[Finding]:
    found = inspection.state(queue._store)
    if found.is_old or found.version < migrations.NEWEST:
        yield Finding(
            "warn", "tables", admin.tables(found), "any command migrates them; 'gigq db migrate' only that"
        )
        return
    wal = admin.file_size(f"{queue.db_path}-wal")
    size = f"{admin.file_size(queue.db_path) / 2**20:,.1f} MiB and {wal / 2**20:,.1f} MiB of WAL"
    yield Finding(
        "ok", "tables", f"{admin.tables(found)}, {size}, journal {inspection.journal_mode(queue._store)}"
    )
    if wal > _WAL_LARGE:
        yield Finding(
            "warn",
            "WAL",
            f"{wal // 2**20:,} MiB",
            "some program keeps an old read open: end it, and the next write shrinks it",
        )
    yield from _work(queue)
    yield from _held(queue)


def _work(queue: JobQueue) -> Iterator[Finding]:
    seen = admin.workers(queue)
    counts = queue.stats()
    pending, running = counts[JobStatus.PENDING.value], counts[JobStatus.RUNNING.value]
    for worker in seen:
        who = f"{worker.worker_id} (pid {worker.pid} on {worker.host}, {worker.running} running)"
        if worker.alive is False:
            yield Finding("warn", "worker", f"{who} died", "the next worker rescues its jobs: 'gigq worker'")
        else:
            yield Finding(
                "ok", "worker", who if worker.alive else f"{who}; whether it lives cannot be asked here"
            )
    if not any(worker.alive is not False for worker in seen):
        remedy = "start one: 'gigq worker'"
        if pending or running:
            yield Finding(
                "warn", "workers", f"none is alive (pending jobs: {pending:,}, running: {running:,})", remedy
            )
        else:
            yield Finding("ok", "workers", "none is alive, and nothing is to do")
    late = inspection.overdue(queue._store, queue.clock.now(), _OVERDUE)
    text = f"{pending:,} pending, {running:,} running, {counts['total']:,} in all"
    if late:
        yield Finding(
            "warn",
            "jobs",
            f"{text}; {late:,} past their timeout",
            "a living worker settles them: 'gigq worker'",
        )
    else:
        yield Finding("ok", "jobs", text)


def _held(queue: JobQueue) -> Iterator[Finding]:
    for held in inspection.held(queue._store, _HELD_SHOWN):
        kind, _, module = held.held_by.partition(":")
        since = f" since {to_iso(held.since)}" if held.since else ""
        if kind == "import" and module == "__main__":
            yield Finding(
                "warn",
                "held",
                f"waiting{since} for a worker that has their script, or where they were typed: {_jobs(held.jobs)}",
                "'gigq list' names them, and 'gigq status' says which",
            )
        elif kind == "import":
            yield Finding(
                "warn",
                "held",
                f"waiting{since} for a worker that can import {module}: {_jobs(held.jobs)}",
                "start 'gigq worker' in the folder that has it, or fix its name and submit them again",
            )
        else:
            yield Finding(
                "warn", "held", f"held by {held.held_by}{since}: {_jobs(held.jobs)}", "see 'gigq status'"
            )


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count:,} jobs"
