"""What a process or a disk has run out of, where SQLite only says that a file cannot be opened."""

from __future__ import annotations

import errno
import os

from gigq.errors import StoreError, StoreFull

_DESCRIPTORS = {
    errno.EMFILE: "{}: this process has no file descriptor left ({}). Nothing was stored; close files and connections "
    "that it does not need, or raise its limit ('ulimit -n'), and try again.",
    errno.ENFILE: "{}: this machine has no file descriptor left ({}). Nothing was stored; end programs that hold many "
    "files, or raise the limit (fs.file-max), and try again.",
}
_INODES = (
    "{}: its file system has no inode left for another file. Nothing was stored; delete files there that are not "
    "needed, and try again."
)


def of_descriptors(path: str, error: OSError) -> StoreError | None:
    """What to say if a call failed because no more files may be open."""
    text = _DESCRIPTORS.get(error.errno or 0)
    return StoreError(text.format(path, error.strerror)) if text else None


def behind(path: str, error: OSError | None = None) -> StoreError | None:
    """What is short if a file at or beside a path could not be opened; None if it is something else.

    Args:
        path: of the database.
        error: the one of the call, if it is known; else it is found out now.
    """
    try:
        if error is None:
            os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as found:
        error = found
    if error is not None and (short := of_descriptors(path, error)):
        return short
    if not hasattr(os, "statvfs") or (error is not None and error.errno != errno.ENOSPC):
        return None
    try:
        disk = os.statvfs(os.path.dirname(path) or ".")
    except OSError:
        return None
    if disk.f_files and not disk.f_favail:  # file systems that do not count them say 0 of 0
        return StoreFull(_INODES.format(path))
    if error is not None:
        return StoreFull(
            f"{path}: no space left ({error.strerror}). Nothing was stored; make room and try again."
        )
    return None
