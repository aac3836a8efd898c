"""Where a database may lie: what kind of file system holds a path."""

from __future__ import annotations

import os
import re
from pathlib import Path

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
