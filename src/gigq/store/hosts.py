"""One host at a time: a file on a folder that is shared into this machine says which host works on it.

FUSE and 9p show one folder to several kernels, and the locks of one mean nothing to another.
"""

from __future__ import annotations

import os

from gigq import ids, log
from gigq.errors import StoreUnusable
from gigq.store import places
from gigq.store.sqlite import Sqlite
from gigq.store.transaction import Transaction

_FORGET = "DELETE FROM place"

_told: set[str] = set()
"""Paths of which this process has said that they lie on a shared folder."""


def check(engine: Sqlite) -> bool:
    """Look who works on a file, wherever it lies for us; whether this host has still to put its name down.

    Raises:
        StoreUnusable: another host does.
    """
    if engine.path is None:
        return False
    shared = is_shared(engine.path)
    with engine.reading() as connection:
        noted = Transaction(connection, engine.busy_timeout).row("place")
    if noted is None:
        return shared
    host, boot = noted
    here = _name()
    if host != here:
        raise StoreUnusable(
            f"{engine.path}: lies on a shared folder and belongs to host {host}; this is host {here}, and two hosts "
            f"on it would damage it. Work on one of them only, or use PostgreSQL. If {host} is gone for good (a container "
            f"needs a fixed host name), run on the file: {_FORGET}"
        )
    return shared and boot != ids.boot_id()


def take(tx: Transaction) -> None:
    """Put this host's name down; another boot of it is the same host."""
    tx.run("take_place", host=_name(), boot=ids.boot_id())


def _name() -> str:
    import socket  # slow to import, and seldom needed

    return socket.gethostname()


def is_shared(path: str) -> bool:
    """Whether a path lies on a shared folder; said once."""
    kind = places.file_system(path)
    if not places.is_shared_folder(kind):
        return False
    if path not in _told:
        _told.add(path)
        log.shared_folder(path, kind)
    return True


def choose_journal(engine: Sqlite) -> None:
    """WAL, but on a shared folder, where its shared memory would not be safe: a rollback journal.

    A file that was made elsewhere and came to a shared folder changes over.
    """
    if engine.path is None:
        return
    wanted = "delete" if is_shared(engine.path) else "wal"
    with engine.reading() as connection:
        found = Transaction(connection, engine.busy_timeout).value("journal_mode")
    if found != wanted:
        engine.set_journal(wanted)


def leave_wal(engine: Sqlite) -> None:
    """Change over a file that is in WAL mode and lies on a shared folder now, where it can be written."""
    if engine.path is not None and is_shared(engine.path) and os.access(engine.path, os.W_OK):
        choose_journal(engine)
