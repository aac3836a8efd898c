"""Start marks: which runs of a worker have really started, and when, told through shared memory.

Whoever runs a job writes its mark; whoever rescues a dead worker, or looks after a child, reads it. The memory is a
piece of a file, so it outlives the writer.
"""

from __future__ import annotations

import contextlib
import mmap
import struct
from pathlib import Path
from typing import NamedTuple

AREA = 128 * 1024
"""Bytes of one worker's marks."""
_MARK = struct.Struct("<16sqq")
_END = struct.Struct("<q")
SLOTS = AREA // _MARK.size
"""Runs that one worker can have under way or waiting."""


class Place(NamedTuple):
    """Where another process finds the same marks."""

    path: str
    offset: int


class Mark(NamedTuple):
    """What is known of a run from its mark."""

    started: int
    """Monotonic nanoseconds."""
    is_over: bool
    """Whether its function had ended."""


class Marks:
    """The start marks of one worker."""

    def __init__(self, area: mmap.mmap | bytearray, place: Place | None = None) -> None:
        self._area = area
        self.place = place
        """None where only this process can see them."""

    def write(self, slot: int, key: bytes, started: int) -> None:
        """Note that a run has started.

        Args:
            slot: 0 to SLOTS - 1, not shared by two runs at once.
            key: ids.mark_key of its execution id.
            started: monotonic nanoseconds.
        """
        _MARK.pack_into(self._area, slot * _MARK.size, key, started, 0)

    def finish(self, slot: int, key: bytes) -> None:
        """Note that a run's function is over, though its end is not stored yet."""
        start = slot * _MARK.size
        if (
            self._area[start : start + len(key)] == key
        ):  # a late thread may come when its slot is another run's
            _END.pack_into(self._area, start + _MARK.size - _END.size, 1)

    def of(self, slot: int, key: bytes) -> Mark | None:
        """The mark of one run; None if it has not started."""
        found, started, over = _MARK.unpack_from(self._area, slot * _MARK.size)
        return Mark(started, bool(over)) if started and found == key else None

    def read(self) -> dict[bytes, Mark]:
        """Every mark that was ever written and not overwritten."""
        return {
            key: Mark(started, bool(over))
            for key, started, over in _MARK.iter_unpack(bytes(self._area))
            if started
        }

    def forget(self) -> None:
        """Write to memory of this process from now on: in a copy that was forked, whose runs are not the original's."""
        self._area = bytearray(AREA)

    def close(self) -> None:
        if isinstance(self._area, mmap.mmap):
            with contextlib.suppress(BufferError):
                self._area.close()


def open_marks(place: Place) -> Marks:
    """The marks of another process; OSError if they are not there."""
    with Path(place.path).open("r+b") as file:
        return Marks(mmap.mmap(file.fileno(), AREA, offset=place.offset), place)
