"""The room that removed jobs leave in the file: how much there is, and giving it back.

SQLite gives pages back one by one only where the file keeps account of them (auto_vacuum), which costs a drain 3 %
[m: 0.973 s of CPU for 50,000 jobs instead of 0.940]: so a file does that only once somebody asks for retention, or
compacts it.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import NamedTuple

from gigq.errors import StoreBusy
from gigq.store.connections import connect
from gigq.store.failures import translate
from gigq.store.verbs import Verbs

_KEPT = 256
"""Free pages that stay for what comes next; and so does a quarter of the file."""
_A_WHILE = 0.01
"""Seconds that one transaction gives back."""
_AT_ONCE = 1024 * 1024
"""Bytes of a file that is compacted in passing [m: 40 ms]."""
_INCREMENTAL = 2


class Room(NamedTuple):
    """What a file takes."""

    pages: int
    free: int
    page_size: int
    auto_vacuum: int

    @property
    def gives_back(self) -> bool:
        """Whether free pages can be given back one by one."""
        return self.auto_vacuum == _INCREMENTAL

    @property
    def too_many(self) -> int:
        """Free pages beyond what is kept."""
        return max(0, self.free - max(_KEPT, self.pages // 4))


class Space(Verbs):
    """The verbs about the size of the file."""

    def room(self) -> Room:
        with self._reading() as tx:
            row = tx.row("space")
            assert row is not None  # noqa: S101 - one row each
            return Room(*row)

    def give_back(self) -> bool:
        """Give back some of the free pages, if there are too many; whether there may be more."""
        if self.engine.path is None:
            return False
        room = self.room()
        if not room.gives_back or not room.too_many:
            return False
        left = room.too_many
        writing = self._writing(ring=False)
        with writing as tx:
            until = time.monotonic() + _A_WHILE
            while left and time.monotonic() < until:
                tx.run("give_back")
                left -= 1
            writing.copy_back = not left  # which is when the file becomes shorter
        return left > 0

    def allow_giving_back(self) -> None:
        """See to it that free pages can be given back, where that takes no time."""
        room = self.room()
        if self.engine.path and not room.gives_back and room.pages * room.page_size <= _AT_ONCE:
            self.compact()

    def compact(self) -> None:
        """Write the file anew without free pages, and let it give back those to come; others wait meanwhile.

        Raises:
            StoreBusy: somebody else is at work for too long.
            StoreFull: there is no room for a second copy of it.
        """
        engine = self.engine
        self.initialize()
        if engine.path is None:
            return
        engine.refuse_orphan()
        gate = engine.sidecar.gate
        if not gate.acquire(engine.busy_timeout):
            raise StoreBusy(f"{engine.name}: others have been writing for too long. Try again.")
        try:
            _compact(engine.path)
        except sqlite3.Error as error:
            raise translate(error, engine.name) from error
        finally:
            gate.release()


def _compact(path: str) -> None:
    """On a connection of its own: the copy that SQLite makes is to lie on a disk and not in memory, as ours keep it."""
    with contextlib.closing(connect(path, create=False)) as connection:
        connection.execute("PRAGMA temp_store = FILE")
        connection.execute(f"PRAGMA auto_vacuum = {_INCREMENTAL}")
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
