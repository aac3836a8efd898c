"""How verbs speak to a connection: named statements, JSON arrays in and out."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

import msgspec

from gigq.errors import StoreError
from gigq.store.failures import patiently, translate
from gigq.store.statements import load

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode


def as_json(values: Any) -> str:
    """The one JSON array in which a list travels into a statement.

    Raises:
        StoreError: a text in it is not Unicode.
    """
    try:
        return _encode(values).decode()
    except UnicodeError as error:
        raise StoreError(f"cannot be stored: {error}") from error


@functools.cache
def _decoder(kind: Any) -> Callable[[str], Any]:
    return msgspec.json.Decoder(list[kind]).decode


def decode_array(kind: type[T], text: str) -> list[T]:
    """The rows of a JSON array."""
    rows: list[T] = _decoder(cast(Any, kind))(text)
    return rows


class Transaction:
    """A connection, spoken to in named statements."""

    def __init__(self, connection: sqlite3.Connection, patience: float = 0.0) -> None:
        """Args:
        connection: open, and inside a write transaction or not.
        patience: seconds to try a read again that meets a lock (a file that is not in WAL mode).
        """
        self._execute = connection.execute
        self._texts = load()
        self._patience = patience

    def run(self, name: str, /, **values: Any) -> int:
        """Execute; the number of rows changed."""
        return self._execute(self._texts[name], values).rowcount

    def add(self, name: str, values: Sequence[Any]) -> int:
        """Insert one row, bound by place (by name it takes longer: 27 us instead of 18 for 19 values); its number."""
        number = self._execute(self._texts[name], values).lastrowid
        assert number is not None  # noqa: S101 - just inserted
        return number

    def place(self, name: str, values: Sequence[Any]) -> int:
        """Execute, bound by place; the number of rows changed."""
        return self._execute(self._texts[name], values).rowcount

    def value(self, name: str, /, **values: Any) -> Any:
        """The first column of the first row; None if there is no row."""
        row = self.row(name, **values)
        return None if row is None else row[0]

    def row(self, name: str, /, **values: Any) -> Sequence[Any] | None:
        found = self._read(name, values)[1]
        return found[0] if found else None

    def records(self, name: str, /, **values: Any) -> list[dict[str, Any]]:
        """All rows by column name."""
        columns, rows = self._read(name, values)
        names = [column[0] for column in columns or ()]
        return [dict(zip(names, row, strict=True)) for row in rows]

    def array(self, name: str, kind: type[T], /, **values: Any) -> list[T]:
        """The rows of a statement that answers in one JSON array."""
        return decode_array(kind, self.value(name, **values))

    def column(self, name: str, /, **values: Any) -> list[Any]:
        return [row[0] for row in self._read(name, values)[1]]

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """What the block wrote stands only if it ends well; errors of the database come out translated."""
        self._execute("SAVEPOINT one")
        try:
            yield
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):  # a full disk ends the whole transaction by itself
                self._execute("ROLLBACK TO one")
                self._execute("RELEASE one")
            if isinstance(error, sqlite3.Error):
                raise translate(error, "the database") from error
            raise
        self._execute("RELEASE one")

    def _read(self, name: str, values: dict[str, Any]) -> tuple[Any, list[Sequence[Any]]]:
        """``Cursor.description``, and all rows."""
        return patiently(self._read_now, self._patience, name, values)

    def _read_now(self, name: str, values: dict[str, Any]) -> tuple[Any, list[Sequence[Any]]]:
        cursor = self._execute(self._texts[name], values)
        return cursor.description, cursor.fetchall()
