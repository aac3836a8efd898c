"""Watching the bell: a descriptor that becomes readable when somebody has rung.

inotify on Linux, through libc since the standard library has no call for it; elsewhere there is no descriptor, and
who waits looks at the database now and then instead.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys
from collections.abc import Callable

_IN_MODIFY = 0x2
_IN_NONBLOCK = 0o4000
_IN_CLOEXEC = 0o2000000


class Watch:
    """A waiter's ear on the bell."""

    def __init__(self, path: str | None, on_close: Callable[[], None] | None = None) -> None:
        self._on_close = on_close
        self.fd: int | None = _inotify(path) if path is not None else None
        self.polls = path is not None and self.fd is None
        """Whether nothing will be heard, so that the waiter has to look by itself."""

    def drain(self) -> None:
        """Forget the rings heard so far."""
        if self.fd is not None:
            with contextlib.suppress(BlockingIOError):
                while len(os.read(self.fd, 4096)) == 4096:
                    pass

    def close(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None
        if self._on_close is not None:
            self._on_close()


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
