"""Watching the bell: a descriptor that becomes readable when somebody has rung.

inotify on Linux, through libc since the standard library has no call for it; kqueue on macOS and the BSDs. Elsewhere
there is no descriptor, and who waits looks at the database now and then instead.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import select
import sys
from collections.abc import Callable
from typing import Any

_IN_MODIFY = 0x2
_IN_NONBLOCK = 0o4000
_IN_CLOEXEC = 0o2000000


class Watch:
    """A waiter's ear on the bell."""

    def __init__(self, path: str | None, on_close: Callable[[], None] | None = None) -> None:
        self._on_close = on_close
        self._kqueue = _Kqueue(path) if path is not None and hasattr(select, "kqueue") else None
        self.fd: int | None = None
        if self._kqueue is not None:
            self.fd = self._kqueue.fileno()
        elif path is not None:
            self.fd = _inotify(path)
        self.polls = path is not None and self.fd is None
        """Whether nothing will be heard, so that the waiter has to look by itself."""

    def drain(self) -> None:
        """Forget the rings heard so far."""
        if self._kqueue is not None:
            self._kqueue.drain()
        elif self.fd is not None:
            with contextlib.suppress(BlockingIOError):
                while len(os.read(self.fd, 4096)) == 4096:
                    pass

    def close(self) -> None:
        if self._kqueue is not None:
            self._kqueue.close()
        elif self.fd is not None:
            os.close(self.fd)
        self.fd = None
        if self._on_close is not None:
            self._on_close()


class _Kqueue:
    """Hears writes to a file, where the kernel has kqueue."""

    def __init__(self, path: str) -> None:
        kernel: Any = select  # it is there on few systems, so type checkers of the others do not know it
        self._file = os.open(path, os.O_RDONLY)
        self._queue = kernel.kqueue()
        event = kernel.kevent(
            self._file, kernel.KQ_FILTER_VNODE, kernel.KQ_EV_ADD | kernel.KQ_EV_CLEAR, kernel.KQ_NOTE_WRITE
        )
        self._queue.control([event], 0)

    def fileno(self) -> int:
        number: int = self._queue.fileno()
        return number

    def drain(self) -> None:
        self._queue.control(None, 16, 0)

    def close(self) -> None:
        self._queue.close()
        os.close(self._file)


@functools.cache
def _libc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.inotify_init1, libc.inotify_add_watch  # noqa: B018 - asks whether they are there
    except (OSError, AttributeError):
        return None
    return libc


def _inotify(path: str) -> int | None:
    libc = _libc()
    if libc is None:
        return None
    fd: int = libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
    if fd < 0:
        return None
    if libc.inotify_add_watch(fd, os.fsencode(path), _IN_MODIFY) < 0:
        os.close(fd)
        return None
    return fd
