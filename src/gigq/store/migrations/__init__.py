"""Numbered, additive changes of the tables; all that a file lacks are one transaction together with the last number.

The number is ``PRAGMA user_version``, and ``PRAGMA application_id`` says that the file is ours. The views are no part
of any: they are made anew from ``views.sql`` after each migration.
"""

from __future__ import annotations

import re
import sqlite3
from importlib import resources
from typing import NamedTuple

from gigq.errors import StoreMissing, StoreUnusable, StoreVersion
from gigq.store import hosts, statistics
from gigq.store.failures import patiently
from gigq.store.migrations import legacy
from gigq.store.sqlite import Sqlite

APPLICATION_ID = 0x47694751
"""``GiGQ`` in ASCII."""

NUMBERED: tuple[str, ...] = (
    "0001_core.sql",
    "0002_execution.sql",
    "0003_queues.sql",
    "0004_retries.sql",
    "0005_schedules.sql",
    "0006_uniqueness.sql",
    "0007_tags.sql",
    "0008_workflows.sql",
    "0009_limits.sql",
)
NEWEST = int(NUMBERED[-1][:4])
VIEWS = "views.sql"
_CREATES = re.compile(r"CREATE (?:UNIQUE )?(?:TABLE|VIEW|INDEX|TRIGGER)(?: IF NOT EXISTS)? (\w+)")


class State(NamedTuple):
    """What is in a file."""

    version: int
    """0 for no tables of ours."""
    is_old: bool
    """Made by gigq 0.1 to 0.5.1."""


def ensure(engine: Sqlite, *, create: bool) -> None:
    """Bring the tables of a store to the newest version.

    Raises:
        StoreMissing: they are missing or older, and ``create`` is False.
        StoreVersion: they are newer than this gigq.
        StoreUnusable: the file belongs to another application.
    """
    with engine.reading() as connection:
        state = patiently(lambda: look(connection, engine.name), engine.busy_timeout)
    if state.version == NEWEST:
        hosts.leave_wal(engine)
        if create:
            statistics.forget(engine)
        return
    if not create:
        wanted = "a queue of an older gigq" if state.is_old or state.version else "no queue"
        raise StoreMissing(
            f"{engine.name}: holds {wanted}, and initialize=False neither creates nor migrates. "
            "Run 'gigq db migrate', or open it with initialize=True once."
        )
    hosts.choose_journal(engine)
    with engine.writing() as connection:
        state = look(connection, engine.name)
        if state.version == NEWEST:  # somebody else was faster
            return
        if state.is_old:
            legacy.set_aside(connection)
        if state.version == 0:
            _refuse_taken_names(connection, engine.name)
        for name in [name for name in NUMBERED if int(name[:4]) > state.version] + [VIEWS]:
            for statement in _statements(name):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {NEWEST}")
        if state.is_old:
            legacy.take_over(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def look(connection: sqlite3.Connection, name: str) -> State:
    """What is in a file.

    Raises:
        StoreVersion: it is newer than this gigq.
        StoreUnusable: it belongs to another application.
    """
    application, version = (
        connection.execute(f"PRAGMA {pragma}").fetchone()[0] for pragma in ("application_id", "user_version")
    )
    if application == APPLICATION_ID:
        if version > NEWEST:
            raise StoreVersion(
                f"{name}: its tables are of version {version}, this gigq knows up to {NEWEST}. "
                "Upgrade gigq ('pip install --upgrade gigq'); nothing was changed."
            )
        return State(version, is_old=False)
    # An application that numbers its own tables would take our number for one of its own.
    for pragma, number in (("application_id", application), ("user_version", version)):
        if number != 0:
            raise StoreUnusable(
                f"{name}: is a database of another application ({pragma} {number}). Name another file."
            )
    return State(0, is_old=legacy.is_old(connection))


def _refuse_taken_names(connection: sqlite3.Connection, name: str) -> None:
    """StoreUnusable where somebody has tables of the names of ours; to live beside others is fine."""
    statements = [statement for name in (*NUMBERED, VIEWS) for statement in _statements(name)]
    ours = {match[1] for statement in statements if (match := _CREATES.match(statement))}
    theirs = {row[0] for row in connection.execute("SELECT name FROM sqlite_master").fetchall()}
    if taken := sorted(ours & theirs):
        raise StoreUnusable(
            f"{name}: has a table {taken[0]!r} of another application. Name another file; nothing was changed."
        )


def _statements(name: str) -> list[str]:
    """One by one: executescript() would commit the open transaction."""
    text = resources.files(__package__).joinpath(name).read_text("utf-8")
    found, open_part = [], ""
    for part in re.sub(r"--.*", "", text).split(";\n"):
        open_part += part
        if sqlite3.complete_statement(f"{open_part};"):  # a trigger has such ends within
            found.append(open_part.strip())
            open_part = ""
        else:
            open_part += ";\n"
    return [statement for statement in found if statement]
