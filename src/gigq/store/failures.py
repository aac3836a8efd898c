"""What errors of SQLite mean, and waiting out the one that passes: somebody else's lock."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from gigq.errors import GigQError, StoreBusy, StoreError, StoreFull, StoreUnusable
from gigq.store import shortage

P = ParamSpec("P")
T = TypeVar("T")

_POLL = 0.002
DAMAGED = "{}: is damaged ({}). Run 'gigq db check', and restore a backup."


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
        return StoreUnusable(DAMAGED.format(path, text))
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


def patiently(action: Callable[P, T], seconds: float, *args: P.args, **named: P.kwargs) -> T:
    """Do it as soon as somebody who does not use the gate lets go; the wait hears signals."""
    deadline: float | None = None
    while True:
        try:
            return action(*args, **named)
        except sqlite3.OperationalError as error:
            now = time.monotonic()
            deadline = now + seconds if deadline is None else deadline
            if not is_busy(error) or now >= deadline:
                raise
            time.sleep(_POLL)


def is_busy(error: sqlite3.Error) -> bool:
    name = getattr(error, "sqlite_errorname", None) or ""
    return name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
