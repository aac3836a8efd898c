"""The bell for transactions of others: rung when what they wrote can be seen, for nobody tells when they commit.

One thread for all stores of the process, there only while something is expected, and a second longer.
"""

from __future__ import annotations

import os
import threading
import time
from typing import NamedTuple, Protocol

from gigq.errors import GigQError

_SHORTEST, _LONGEST = 0.001, 0.05
"""Seconds between two looks."""
_LINGERS = 1.0
_PATIENCE = 60.0
"""Seconds. A transaction that is open for longer keeps all writers out; workers see its jobs when they look by themselves."""


class Watched(Protocol):
    """A store, as far as the bell goes."""

    def is_stored(self, job_id: str, at: int) -> bool:
        """Whether others can see what was written of a job at a moment."""

    def ring(self) -> None: ...


class _Expected(NamedTuple):
    store: Watched
    job_id: str
    at: int
    until: float

    def is_over(self) -> bool:
        """Rings, when it can be seen."""
        try:
            if self.store.is_stored(self.job_id, self.at):
                self.store.ring()
                return True
        except GigQError:  # whoever waits for the bell will see why
            return True
        return time.monotonic() > self.until


class _LateBell:
    def __init__(self) -> None:
        self._news = threading.Condition()
        self._expected: list[_Expected] = []
        self._watching = False

    def expect(self, one: _Expected) -> None:
        with self._news:
            self._expected.append(one)
            if not self._watching:
                threading.Thread(target=self._watch, name="gigq-late-bell", daemon=True).start()
                self._watching = True
            self._news.notify()

    def _watch(self) -> None:
        pause = _SHORTEST
        while True:
            with self._news:
                if self._news.wait(pause if self._expected else _LINGERS):
                    pause = _SHORTEST
                elif not self._expected:
                    self._watching = False
                    return
                expected = self._expected[:]
            over = [one for one in expected if one.is_over()]
            with self._news:
                self._expected = [one for one in self._expected if one not in over]
            pause = min(2 * pause, _LONGEST)


_bell = _LateBell()


def expect(store: Watched, job_id: str, at: int) -> None:
    """Have the bell rung when a job that was written at a moment, microseconds UTC, can be seen."""
    _bell.expect(_Expected(store, job_id, at, time.monotonic() + _PATIENCE))


def _after_fork() -> None:
    global _bell
    _bell = _LateBell()  # the thread is not here, and may have held the lock


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
