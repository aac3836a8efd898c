"""Where a database may lie: its folder, its permissions, and what kind of file system holds it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from gigq.errors import StoreMissing, StoreUnusable
from gigq.store import shortage

NETWORK = frozenset(
    {"nfs", "nfs3", "nfs4", "cifs", "smb3", "smbfs", "smb2", "ncpfs", "afs", "ceph", "lustre", "gpfs"}
)
"""WAL needs shared memory and locks between all users of a file; none of these gives both across hosts."""

SHARED_FOLDERS = frozenset({"9p", "virtiofs", "vboxsf", "drvfs"})
"""How Docker Desktop, WSL and many sandboxes show an ordinary folder; FUSE likewise."""

_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")
"""How mountinfo spells what would break its lines: space, tab, newline, backslash."""


def file_system(path: str) -> str:
    """The type of the file system that holds a path, ``""`` where nobody tells."""
    if path.startswith("\\\\"):
        return "cifs"
    try:
        lines = _MOUNTS.read_text("utf-8", "surrogateescape").split("\n")
    except OSError:
        return ""
    folder = os.path.realpath(path)
    best, kind = "", ""
    for line in lines:
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        if len(fields) < 5:
            continue
        point = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4])
        inside = folder == point or folder.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, right.split(" ")[0]
    return kind


def is_network(kind: str) -> bool:
    return kind in NETWORK


def is_shared_folder(kind: str) -> bool:
    return kind in SHARED_FOLDERS or kind == "fuse" or kind.startswith("fuse.") or kind == "fuseblk"


def check(path: str, *, create: bool) -> None:
    """Whether a database can be at a path; made there, empty and for its owner alone, if there is none.

    Raises:
        StoreMissing: there is no such file, and ``create`` is False, or its folder does not exist.
        StoreUnusable: the path cannot be a database.
    """
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise StoreMissing(f"{path}: there is no folder {folder}. Create it, or name another path.")
    if os.path.isdir(path):
        raise StoreUnusable(
            f"{path}: is a folder. Name a file in it, such as {os.path.join(path, 'jobs.db')}."
        )
    refuse_network(path)
    if not os.access(folder, os.X_OK):
        raise StoreUnusable(f"{path}: no permission to enter its folder. Change the folder's mode or owner.")
    if os.path.exists(path):
        if not os.access(path, os.R_OK):
            raise StoreUnusable(f"{path}: no permission to read it. Change its mode or owner.")
        return
    if not create:
        raise StoreMissing(f"{path}: there is no such file, and initialize=False does not create one.")
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise shortage.behind(path, error) or StoreUnusable(
            f"{path}: cannot be created: {error.strerror}. Check the folder's permissions."
        ) from error


def refuse_network(path: str) -> None:
    """StoreUnusable where a path lies on a network file system."""
    kind = file_system(path)
    if is_network(kind):
        raise StoreUnusable(
            f"{path}: lies on a network file system ({kind}), where SQLite cannot keep several users apart and "
            "would lose jobs. Use a local disk, or PostgreSQL for several machines."
        )
