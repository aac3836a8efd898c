"""Keys and lines of limits that no job needs any more: forgotten, so that a key for each customer does not add up."""

from __future__ import annotations

from gigq.clock import SECOND, Clock
from gigq.store import Store

_EVERY = 60 * SECOND * 1000
"""Nanoseconds between two looks at some of them."""


class Tidying:
    """Walks over them, some at a time; any worker can do it again safely."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._next = clock.monotonic() + _EVERY
        self._line = self._key = 0
        """Where to go on."""

    def run(self) -> None:
        """Look at the next ones, now and then."""
        if self._clock.monotonic() >= self._next:
            self._next = self._clock.monotonic() + _EVERY
            self._line, self._key = self._store.tidy_limits(self._line, self._key, self._clock.now())
