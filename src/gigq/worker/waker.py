"""What a worker's loop sleeps on: its own threads, signals, and the bell of the store."""

from __future__ import annotations

import contextlib
import selectors
import socket

from gigq.store.watch import Watch


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

    def listen(self, watch: Watch) -> None:
        """Wake for the bell too."""
        self._watch = watch
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
        rang = False
        try:
            events = self._selector.select(seconds)
        except (OSError, InterruptedError):
            return False
        for key, _ in events:
            if key.fileobj is self._read:
                with contextlib.suppress(BlockingIOError):
                    self._read.recv(4096)
            elif self._watch is not None and key.fd == self._watch.fd:
                self._watch.drain()
                rang = True
        if self._rang:
            self._rang, rang = False, True
        return rang

    def close(self) -> None:
        self._selector.close()
        self._read.close()
        self._write.close()
        if self._watch is not None:
            self._watch.close()
            self._watch = None
