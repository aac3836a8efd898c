"""Locks between processes that a dead process cannot keep.

On Linux: open-file-description locks on single bytes of one file. POSIX locks would not do: they belong to the
process, so two workers in it would not see each other, and closing any descriptor of the file drops them all.
Elsewhere: one small file per lock, with ``flock`` or, on Windows, ``msvcrt.locking``.
"""

from __future__ import annotations

import errno
import functools
import os
import struct
import sys
from typing import Protocol

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_FLOCK = struct.Struct("hhqqi4x")
_MISSES = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)


class Locks(Protocol):
    """Numbered exclusive locks; all of one instance are held on descriptors of its own."""

    def lock(self, number: int, *, wait: bool) -> bool:
        """Take a lock; with ``wait`` for as long as it takes, and then always True."""

    def lock_two(self, first: int) -> bool:
        """Take a lock and the one after it, or neither; tried, never waited for."""

    def unlock(self, number: int) -> None: ...

    def is_held(self, number: int) -> bool:
        """Whether somebody else holds it; tried, never waited for."""

    def close(self) -> None:
        """Let go of all, unless a forked child keeps the descriptors."""


@functools.lru_cache(maxsize=64)
def _span(kind: int, first: int, count: int = 1) -> bytes:
    """Some bytes of a file, as the kernel wants them told."""
    return _FLOCK.pack(kind, os.SEEK_SET, first, count, 0)


class ByteLocks:
    """Open-file-description locks on bytes of one file."""

    _fd = -1

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def lock(self, number: int, *, wait: bool) -> bool:
        return self._set(_span(fcntl.F_WRLCK, number), wait=wait)

    def lock_two(self, first: int) -> bool:
        return self._set(_span(fcntl.F_WRLCK, first, 2), wait=False)

    def _set(self, span: bytes, *, wait: bool) -> bool:
        try:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, span)
        except OSError as error:
            if not wait and error.errno in _MISSES:
                return False
            raise
        return True

    def unlock(self, number: int) -> None:
        fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _span(fcntl.F_UNLCK, number))

    def is_held(self, number: int) -> bool:
        asked = fcntl.fcntl(self._fd, fcntl.F_OFD_GETLK, _span(fcntl.F_WRLCK, number))
        return bool(_FLOCK.unpack(asked)[0] != fcntl.F_UNLCK)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class FileLocks:
    """One file per lock, ``<path>.<number>``, where bytes cannot be locked per descriptor."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._held: dict[int, int] = {}

    def lock(self, number: int, *, wait: bool) -> bool:
        fd = os.open(f"{self._path}.{number}", os.O_RDWR | os.O_CREAT, 0o600)
        if not _lock_file(fd, wait=wait):
            os.close(fd)
            return False
        self._held[number] = fd
        return True

    def lock_two(self, first: int) -> bool:
        if not self.lock(first, wait=False):
            return False
        try:
            if self.lock(first + 1, wait=False):
                return True
        except BaseException:
            self.unlock(first)
            raise
        self.unlock(first)
        return False

    def unlock(self, number: int) -> None:
        fd = self._held.pop(number, None)
        if fd is not None:
            os.close(fd)

    def is_held(self, number: int) -> bool:
        if self.lock(number, wait=False):
            self.unlock(number)
            return False
        return True

    def close(self) -> None:
        for number in list(self._held):
            self.unlock(number)


def _lock_file(fd: int, *, wait: bool) -> bool:
    if fcntl is not None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True
    return _lock_file_windows(fd, wait=wait)


def _lock_file_windows(fd: int, *, wait: bool) -> bool:
    if sys.platform != "win32":
        raise OSError("this platform has neither fcntl nor msvcrt: gigq cannot lock its files here")
    import msvcrt

    while True:
        try:
            msvcrt.locking(fd, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        except OSError:
            if not wait:
                return False
        else:
            return True


def open_locks(path: str) -> Locks:
    """The best locks this platform has, on or beside the file."""
    return ByteLocks(path) if hasattr(fcntl, "F_OFD_SETLK") else FileLocks(path)
