"""The gate: whose turn it is to write.

A turnstile of two locks: take 1, take 0, give back 1, work, give back 0. Who waits at 0 owns the next turn, so a
busy loop that has just passed cannot barge in again. SQLite's own busy handler starves writers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Protocol

from gigq.store.locks import Locks

_TURN, _TURNSTILE = 0, 1


class Gate(Protocol):
    """Exclusive among all threads and processes of a store; a thread that has it may enter again."""

    def acquire(self, timeout: float, when_free: Callable[[], None] | None = None) -> bool:
        """Wait at most ``timeout`` seconds for the turn.

        Args:
            timeout: seconds.
            when_free: if the time is up, keep the place in line and call this (from a helper thread) when the
                turn has come; the caller then comes back at once.
        """

    def release(self) -> None: ...

    def leave_line(self) -> None:
        """Give up a place that ``when_free`` kept."""


class ThreadGate:
    """For a store that lives in one process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def acquire(self, timeout: float, when_free: Callable[[], None] | None = None) -> bool:
        return self._lock.acquire(timeout=timeout)

    def release(self) -> None:
        self._lock.release()

    def leave_line(self) -> None:
        pass


class _Place:
    """A place in the line of processes, kept by the helper thread."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.ready = threading.Event()
        self.given_up = False
        self.when_free: Callable[[], None] | None = None


class FileGate:
    """For a store that other processes use too."""

    def __init__(self, locks: Locks) -> None:
        self._locks = locks
        self._threads = threading.Lock()
        self._owner: int | None = None
        self._depth = 0
        self._place: _Place | None = None
        self._line: SimpleQueue[_Place | None] | None = None

    def acquire(self, timeout: float, when_free: Callable[[], None] | None = None) -> bool:
        me = threading.get_ident()
        if self._owner == me:
            self._depth += 1
            return True
        deadline = time.monotonic() + timeout
        if not self._threads.acquire(timeout=timeout):
            return False
        try:
            entered = self._enter(deadline, when_free)
        except BaseException:
            self.leave_line()
            self._threads.release()
            raise
        if not entered:
            self._threads.release()
            return False
        self._owner, self._depth = me, 1
        return True

    def release(self) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
            self._locks.unlock(_TURN)
            self._threads.release()

    def leave_line(self) -> None:
        place, self._place = self._place, None
        if place is None:
            return
        with place.guard:
            place.given_up = True
            if place.ready.is_set():
                self._locks.unlock(_TURN)

    def _enter(self, deadline: float, when_free: Callable[[], None] | None) -> bool:
        if self._place is None:
            if self._try():
                return True
            self._place = self._stand_in_line()
        place = self._place
        place.when_free = when_free
        if place.ready.wait(max(0.0, deadline - time.monotonic())):
            self._place = None
            return True
        if when_free is None:
            self.leave_line()
        return False

    def _try(self) -> bool:
        if not self._locks.lock(_TURNSTILE, wait=False):
            return False
        try:
            return self._locks.lock(_TURN, wait=False)
        finally:
            self._locks.unlock(_TURNSTILE)

    def _stand_in_line(self) -> _Place:
        """Let the helper wait in the kernel, which no timeout can interrupt, so that this thread can stop waiting."""
        if self._line is None:
            self._line = SimpleQueue()
            threading.Thread(
                target=_stand, args=(self._locks, self._line), name="gigq-gate", daemon=True
            ).start()
        place = _Place()
        self._line.put(place)
        return place

    def close(self) -> None:
        self.leave_line()
        if self._line is not None:
            self._line.put(None)


def _stand(locks: Locks, line: SimpleQueue[_Place | None]) -> None:
    while (place := line.get()) is not None:
        if place.given_up:
            continue
        try:
            locks.lock(_TURNSTILE, wait=True)
            locks.lock(_TURN, wait=True)
            locks.unlock(_TURNSTILE)
        except OSError:
            return  # the sidecar was closed
        with place.guard:
            if place.given_up:
                locks.unlock(_TURN)
                continue
            place.ready.set()
            ring = place.when_free
        if ring is not None:
            ring()
