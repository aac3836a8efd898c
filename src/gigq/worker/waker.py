"""What a worker's loop sleeps on: its own threads, signals, and the bell of the store."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable

from gigq.store.watch import Watch

_SHORTEST, _LONGEST = 0.002, 0.05
"""Seconds between two looks at the store where no bell is heard: short after an event, longer and longer at rest."""


class Waker:
    """Wakes one sleeping thread from any other, from a signal handler, or from another process."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        try:
            self._selector = selectors.DefaultSelector()
        except OSError:
            self._read.close()
            self._write.close()
            raise
        self._selector.register(self._read, selectors.EVENT_READ)
        self._watch: Watch | None = None
        self._rang = False
        self._has_changed: Callable[[], bool] | None = None
        self._pause = _SHORTEST

    def listen(self, watch: Watch, has_changed: Callable[[], bool]) -> None:
        """Wake for the bell too; where it is not heard, when the store ``has_changed``."""
        self._watch = watch
        if watch.polls:
            self._has_changed = has_changed
        if watch.fd is not None:
            self._selector.register(watch.fd, selectors.EVENT_READ)

    def watch(self, fd: int) -> None:
        """Wake when a descriptor becomes readable, until :meth:`close`; whoever owns it reads it."""
        self._selector.register(fd, selectors.EVENT_READ)

    def wake(self) -> None:
        """Safe in any thread, and in a signal handler."""
        with contextlib.suppress(OSError):  # full: it will wake anyway
            self._write.send(b"!")

    def ring(self) -> None:
        """Wake as the bell: that of a store in memory has no descriptor to be heard on."""
        self._rang = True
        self.wake()

    def sleep(self, seconds: float) -> bool:
        """Until woken, at most so long; whether the bell rang."""
        if self._has_changed is None:
            return self._doze(seconds)[1]
        until = time.monotonic() + seconds
        while True:
            left = until - time.monotonic()
            woken, rang = self._doze(max(0.0, min(self._pause, left)))
            rang = rang or self._has_changed()
            if woken or rang or left <= self._pause:
                self._pause = _SHORTEST if woken or rang else self._pause
                return rang
            self._pause = min(2 * self._pause, _LONGEST)

    def _doze(self, seconds: float) -> tuple[bool, bool]:
        """Whether it was woken, and whether by the bell."""
        rang = False
        try:
            events = self._selector.select(seconds)
        except (OSError, InterruptedError):
            return True, False
        for key, _ in events:
            if key.fileobj is self._read:
                with contextlib.suppress(BlockingIOError):
                    self._read.recv(4096)
            elif self._watch is not None and key.fd == self._watch.fd:
                self._watch.drain()
                rang = True
        if self._rang:
            self._rang, rang = False, True
        return bool(events), rang

    def close(self) -> None:
        self._selector.close()
        self._read.close()
        self._write.close()
        if self._watch is not None:
            self._watch.close()
            self._watch = None
