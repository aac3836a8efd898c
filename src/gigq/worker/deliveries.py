"""What running jobs have said, on its way to the database: numbered part by part, the oldest dropped, in batches."""

from __future__ import annotations

from collections import deque

from gigq.clock import Clock
from gigq.store.notes import NoteRow
from gigq.worker.calls import Call
from gigq.worker.notes import Note

KEPT = 256 * 1024
"""Characters of output that are kept of a run, about: the newest."""
_ROW = 200
"""What a row counts beside its text."""
_MOST_HELD = 4 * 1024 * 1024
"""Characters that wait for the database, at most."""
EVERY = 200_000_000
"""Nanoseconds between two deliveries that nothing else hurries."""


class _Parts:
    """What was delivered of one run."""

    def __init__(self) -> None:
        self.next = 0
        self.sizes: deque[tuple[int, int]] = deque()
        self.total = 0

    def add(self, size: int) -> tuple[int, int]:
        """Number a part; that number, and the first that is kept."""
        part = self.next
        self.next += 1
        self.sizes.append((part, size))
        self.total += size
        dropped = 0
        while self.total > KEPT and len(self.sizes) > 1:
            self.total -= self.sizes.popleft()[1]
            dropped = self.sizes[0][0]
        return part, dropped


class Deliveries:
    """One worker's."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rows: list[NoteRow] = []
        self._parts: dict[str, _Parts] = {}
        self._next = 0
        self._size = 0

    def add(self, notes: list[tuple[Call, Note]]) -> None:
        """Take in what was said."""
        now = self._clock.now()
        for call, note in notes:
            lease = call.lease
            part = keep_from = 0
            if note.text:
                parts = self._parts.setdefault(lease.lease, _Parts())
                part, keep_from = parts.add(len(note.text))
            self._rows.append(
                NoteRow(lease.seq, lease.runs + 1, now, part, note.text, keep_from, note.progress)
            )
            self._size += _ROW + len(note.text)
        while self._size > _MOST_HELD:  # while the database cannot be written
            self._size -= _ROW + len(self._rows.pop(0).text)

    def seconds_left(self) -> float | None:
        """Until they must be delivered though nothing else is; None if there are none."""
        return max(0.0, (self._next - self._clock.monotonic()) / 1e9) if self._rows else None

    def rows(self) -> list[NoteRow]:
        """All that is to be delivered; :meth:`delivered` says that it was."""
        return self._rows

    def delivered(self, count: int, ended: list[Call]) -> None:
        """The first so many are stored, and some calls are over."""
        if count:
            self._size -= sum(_ROW + len(row.text) for row in self._rows[:count])
            del self._rows[:count]
            self._next = self._clock.monotonic() + EVERY
        if self._parts:
            for call in ended:
                self._parts.pop(call.lease.lease, None)
