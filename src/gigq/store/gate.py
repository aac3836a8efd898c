"""The gate: whose turn it is to write.

A turnstile of two locks: take 1, take 0, give back 1, work, give back 0. Who waits at 0 owns the next turn, so a
busy loop that has just passed cannot barge in again. SQLite's own busy handler starves writers. It stands twice:
between the threads of a process, and between processes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol

from gigq.store.locks import Locks

_TURN, _TURNSTILE = 0, 1
_KEPT = 1.0
"""Seconds that a turn is kept for who was told that it has come; then the next one gets it."""


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

    def depth(self) -> int:
        """How often this thread has entered and not left."""

    def leave_line(self) -> None:
        """Give up the place that this thread's ``when_free`` kept."""


class ThreadGate:
    """For a store that lives in one process."""

    def __init__(self) -> None:
        # Of the kind that knows its owner: an exception may come between taking one and noting it.
        self._turn = threading.RLock()
        self._turnstile = threading.RLock()
        self._owner: int | None = None
        self._depth = 0

    def acquire(self, timeout: float, when_free: Callable[[], None] | None = None) -> bool:
        me = threading.get_ident()
        if self._owner == me:
            self._depth += 1
            return True
        deadline = time.monotonic() + timeout
        try:
            if not self._turnstile.acquire(timeout=timeout):
                return False
            has_turn = self._turn.acquire(timeout=max(0.0, deadline - time.monotonic()))
            self._turnstile.release()
            if not has_turn:
                return False
            if not self._enter(deadline, when_free):
                self._turn.release()
                return False
            self._owner, self._depth = me, 1
        except BaseException:  # Ctrl-C, at any point
            self._let_go()
            raise
        return True

    def release(self) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
            try:
                self._exit()
            finally:
                self._turn.release()

    def depth(self) -> int:
        """How often this thread has entered and not left."""
        return self._depth if self._owner == threading.get_ident() else 0

    def _let_go(self) -> None:
        """Undo an entry that was interrupted, however far it came."""
        if _is_mine(self._turnstile):
            self._turnstile.release()
        if _is_mine(self._turn):
            self._owner, self._depth = None, 0
            try:
                self._undo()
            finally:
                self._turn.release()

    def _undo(self) -> None:
        pass

    def leave_line(self) -> None:
        pass

    def _enter(self, deadline: float, when_free: Callable[[], None] | None) -> bool:
        return True

    def _exit(self) -> None:
        pass


def _is_mine(lock: Any) -> bool:
    """Whether this thread holds an RLock; threading.Condition asks in the same way."""
    owned: bool = lock._is_owned()
    return owned


class _Place:
    """The place of this process in the line of processes; a helper thread stands there."""

    def __init__(self, locks: Locks) -> None:
        self._locks = locks
        self._guard = threading.Lock()
        self._over = threading.Event()
        self._when_free: Callable[[], None] | None = None
        self.ready = threading.Event()
        """The turn has come."""
        self.owner: int | None = None
        """The thread that wants it."""

    def adopt(self, when_free: Callable[[], None] | None) -> bool:
        """Want it; False if it is over."""
        with self._guard:
            if self._over.is_set():
                return False
            self.owner, self._when_free = threading.get_ident(), when_free
            return True

    def take(self) -> bool:
        """Use the turn that has come; False if it was given back already."""
        with self._guard:
            if self._over.is_set():
                return False
            self._over.set()
            return True

    def is_over(self) -> bool:
        """Whether its turn was used, or given back."""
        return self._over.is_set()

    def give_up(self) -> None:
        """Nobody wants it now; until the turn has come somebody may adopt it."""
        with self._guard:
            self.owner = self._when_free = None
            if self.ready.is_set() and not self._over.is_set():
                self._give_back()

    def stand(self) -> None:
        """Wait in the kernel, which no timeout can interrupt."""
        self._locks.lock(_TURNSTILE, wait=True)
        self._locks.lock(_TURN, wait=True)
        self._locks.unlock(_TURNSTILE)
        with self._guard:
            if self.owner is None:
                self._give_back()
                return
            self.ready.set()
            ring = self._when_free
        if ring is not None:
            ring()
        # Others wait behind this turn: it is not kept for somebody who has nothing to write any more.
        if not self._over.wait(_KEPT):
            self.give_up()

    def _give_back(self) -> None:
        self._locks.unlock(_TURN)
        self._over.set()


class FileGate(ThreadGate):
    """For a store that other processes use too."""

    def __init__(self, locks: Locks) -> None:
        super().__init__()
        self._locks = locks
        self._place: _Place | None = None
        self._line: SimpleQueue[_Place | None] | None = None

    def leave_line(self) -> None:
        # Whoever is between the threads' turnstile and here has taken the place over.
        if self._turn.acquire(blocking=False):
            try:
                if self._place is not None and self._place.owner == threading.get_ident():
                    self._place.give_up()
            finally:
                self._turn.release()

    def _enter(self, deadline: float, when_free: Callable[[], None] | None) -> bool:
        while True:
            # While the helper stands in line, trying beside it would mistake its locks for ours.
            if self._place is None or not self._place.adopt(when_free):
                self._place = None
                if self._try():
                    return True
                self._place = self._stand_in_line(when_free)
            place = self._place
            try:
                has_come = place.ready.wait(max(0.0, deadline - time.monotonic()))
            except BaseException:
                place.give_up()
                raise
            if not has_come:
                if when_free is None:
                    place.give_up()
                return False
            if place.take():
                return True

    def _exit(self) -> None:
        self._locks.unlock(_TURN)

    def _undo(self) -> None:
        if self._place is not None and not self._place.is_over():
            self._place.give_up()  # its turn is the helper's to give back
        else:
            self._locks.unlock(_TURNSTILE)
            self._exit()

    def _try(self) -> bool:
        if not self._locks.lock_two(_TURN):  # both at once, which is as good as one after the other
            return False
        self._locks.unlock(_TURNSTILE)
        return True

    def _stand_in_line(self, when_free: Callable[[], None] | None) -> _Place:
        if self._line is None:
            self._line = SimpleQueue()
            threading.Thread(target=_stand, args=[self._line], name="gigq-gate", daemon=True).start()
        place = _Place(self._locks)
        place.adopt(when_free)
        self._line.put(place)
        return place

    def close(self) -> None:
        if self._place is not None:
            self._place.give_up()
        if self._line is not None:
            self._line.put(None)


def _stand(line: SimpleQueue[_Place | None]) -> None:
    """The helper: it keeps no reference to the gate, which may be forgotten while it waits."""
    while (place := line.get()) is not None:
        try:
            place.stand()
        except (OSError, ValueError):
            return  # the sidecar was closed
        del place
