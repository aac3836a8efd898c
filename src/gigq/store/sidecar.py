"""The sidecar: one small file beside the database, ``<database>-lock``.

==============  ============================================================================================
lock 0, 1       the gate (see gate.py)
lock 16 + a     the life of the worker in area a, on a descriptor of its own: free means dead
bytes 8 to 16   the bell: written after a commit that others may wait for; every waiter watches the file
from 64 KiB     start marks, an area of 64 KiB a worker: per slot the run and the monotonic clock of its start,
                written through mmap, so that whoever rescues a dead worker charges only what was really running
==============  ============================================================================================
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import struct
import tempfile
import threading
import weakref
from collections.abc import Callable
from typing import Protocol

from gigq.errors import StoreFull
from gigq.marks import AREA, Mark, Marks, Place
from gigq.store import shortage
from gigq.store.gate import FileGate, Gate, ThreadGate
from gigq.store.locks import Locks, open_locks
from gigq.store.watch import Watch

_LIFE = 16
_BELL = 8
_RING = struct.Struct("<II")


class Life(Protocol):
    """A worker's life lock, held until closed or until its process ends."""

    def close(self) -> None: ...


class Sidecar(Protocol):
    """What a store needs beside its database."""

    @property
    def gate(self) -> Gate: ...
    @property
    def identity(self) -> str:
        """Device and inode: which sidecar this is."""

    def live(self, area: int) -> Life | None:
        """Take the life lock of an area; None if somebody has it."""

    def is_alive(self, area: int) -> bool: ...
    def marks(self, area: int) -> Marks: ...
    def share(self, area: int) -> Marks:
        """The same, where other processes can write them."""

    def read_marks(self, area: int) -> dict[bytes, Mark]: ...
    def ring(self) -> None: ...
    def watch(self, ring: Callable[[], None]) -> Watch: ...
    def is_replaced(self) -> bool: ...


class FileSidecar:
    """The real one."""

    _fd = -1

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._file = _file(os.fstat(self._fd))
        self.identity = "{}:{}".format(*self._file)
        self._locks = open_locks(path)
        self.gate = FileGate(self._locks)
        self._pid = os.getpid() & 0xFFFFFFFF  # a forked process opens one of its own
        self._rings = 0
        _open_sidecars.add(self)

    @property
    def closed(self) -> bool:
        """As it is in a process forked from the one that opened it."""
        return self._fd < 0

    def live(self, area: int) -> Life | None:
        try:
            locks = open_locks(self._path)
        except OSError as error:
            if short := shortage.of_descriptors(self._path, error):
                raise short from error
            raise
        if not locks.lock(_LIFE + area, wait=False):
            locks.close()
            return None
        _open_lives.add(locks)
        return locks

    def is_alive(self, area: int) -> bool:
        return self._locks.is_held(_LIFE + area)

    def marks(self, area: int) -> Marks:
        offset = AREA * (area + 1)
        try:
            _reserve(self._fd, offset, AREA)
            return Marks(mmap.mmap(self._fd, AREA, offset=offset), Place(self._path, offset))
        except OSError as error:
            raise shortage.of_descriptors(self._path, error) or StoreFull(
                f"{self._path}: no room for a worker's start marks: {error.strerror}."
            ) from error

    def share(self, area: int) -> Marks:
        return self.marks(area)

    def read_marks(self, area: int) -> dict[bytes, Mark]:
        found = _read_at(self._fd, AREA, AREA * (area + 1))
        return Marks(bytearray(found.ljust(AREA, b"\0"))).read()

    def ring(self) -> None:
        self._rings = (self._rings + 1) & 0xFFFFFFFF
        # What it tells of is committed: on a full disk who waits looks by itself.
        with contextlib.suppress(OSError):
            _write_at(self._fd, _RING.pack(self._pid, self._rings), _BELL)

    def watch(self, ring: Callable[[], None]) -> Watch:
        return Watch(self._path)

    def is_replaced(self) -> bool:
        """Whether the path now names another file, or none: locks on this one protect nothing."""
        try:
            return _file(os.stat(self._path)) != self._file
        except OSError:
            return True

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            self.gate.close()
            self.let_go()

    def let_go(self) -> None:
        """Close the descriptors and nothing else: in a forked child the gate, as it stood, is the parent's."""
        if self._fd >= 0:
            self._locks.close()
            os.close(self._fd)
            self._fd = -1


class MemorySidecar:
    """For a store that lives in one process."""

    identity = "memory"
    closed = False

    def __init__(self) -> None:
        self.gate: Gate = ThreadGate()
        self._alive: set[int] = set()
        self._areas: dict[int, Marks] = {}
        self._watches: set[Callable[[], None]] = set()
        self._guard = threading.Lock()

    def live(self, area: int) -> Life | None:
        if area in self._alive:
            return None
        self._alive.add(area)
        return _MemoryLife(self._alive, area)

    def is_alive(self, area: int) -> bool:
        return area in self._alive

    def marks(self, area: int) -> Marks:
        return self._areas.setdefault(area, Marks(bytearray(AREA)))

    def share(self, area: int) -> Marks:
        fd, path = tempfile.mkstemp(prefix="gigq-marks-")
        weakref.finalize(self, os.unlink, path)
        os.truncate(fd, AREA)
        marks = self._areas[area] = Marks(mmap.mmap(fd, AREA), Place(path, 0))
        os.close(fd)
        return marks

    def read_marks(self, area: int) -> dict[bytes, Mark]:
        return self.marks(area).read()

    def ring(self) -> None:
        with self._guard:
            watches = list(self._watches)
        for ring in watches:
            ring()

    def watch(self, ring: Callable[[], None]) -> Watch:
        with self._guard:
            self._watches.add(ring)
        return Watch(None, on_close=lambda: self._watches.discard(ring))

    def is_replaced(self) -> bool:
        return False


class _MemoryLife:
    def __init__(self, alive: set[int], area: int) -> None:
        self._end = weakref.finalize(self, alive.discard, area)

    def close(self) -> None:
        self._end()


def _reserve(fd: int, offset: int, size: int) -> None:
    """Have room in a file, never making it shorter: other processes do the same at this moment.

    With real blocks where that can be had: a disk that is full is an error then, and not a SIGBUS at the first mark.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(fd, offset, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
        else:
            return
    if os.fstat(fd).st_size < offset + size:
        _write_at(fd, b"\0", offset + size - 1)


def _write_at(fd: int, data: bytes, offset: int) -> None:
    if hasattr(os, "pwrite"):
        os.pwrite(fd, data, offset)
    else:  # Windows
        os.lseek(fd, offset, os.SEEK_SET)
        os.write(fd, data)


def _read_at(fd: int, size: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(fd, size, offset)
    os.lseek(fd, offset, os.SEEK_SET)  # Windows
    return os.read(fd, size)


def _file(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_dev, stat.st_ino


_open_sidecars: weakref.WeakSet[FileSidecar] = weakref.WeakSet()
_open_lives: weakref.WeakSet[Locks] = weakref.WeakSet()


def _after_fork() -> None:
    # A forked child that kept these descriptors would keep a dead parent's locks.
    for life in _open_lives:
        life.close()
    for sidecar in _open_sidecars:
        sidecar.let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
