"""Verbs: what all verbs of the store stand on; one verb is one transaction (of bounded size, but for submitting).

A verb binds values and returns plain rows. It never sleeps, logs or decides policy; the moment is always given.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from gigq.store import hosts, migrations
from gigq.store.sessions import Session, Writing
from gigq.store.sqlite import Sqlite
from gigq.store.transaction import Transaction

PIECE = 2000
"""Rows that one transaction may touch beyond its own jobs."""


class Verbs:
    """The tables of a queue, opened at the first use."""

    def __init__(self, engine: Sqlite, *, create: bool = True) -> None:
        self.engine = engine
        self._create = create
        self._ready = False
        self._new_host = False
        """Whether the first write has to note which host works on the file."""

    # -- opening ---------------------------------------------------------------------------------------------

    def initialize(self) -> None:
        """Create or migrate the tables, once.

        Raises:
            StoreMissing: there are none, or older ones, and this store was opened not to create.
            StoreVersion: they are newer than this gigq.
            StoreUnusable: another host works on the file.
        """
        if not self._ready:
            migrations.ensure(self.engine, create=self._create)
            self._new_host = hosts.check(self.engine)
            self._ready = True

    def _reading(self) -> Session[Transaction]:
        self.initialize()
        patience = self.engine.patience
        return self.engine.session(lambda connection: Transaction(connection, patience))

    def _writing(self, **how: Any) -> Writing[Transaction]:
        self.initialize()
        then = self._committed if self._new_host else None
        return Writing(self.engine, self._begun, then=then, **how)

    def _begun(self, connection: sqlite3.Connection) -> Transaction:
        tx = Transaction(connection)
        if self._new_host:
            hosts.take(tx)
        return tx

    def _committed(self) -> None:
        self._new_host = False
