"""Bad surroundings for a database: strange file systems, no permission, no room, a lock that somebody holds."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import jobs
import pytest
from processes import PATIENCE

from gigq.store import places

NOBODY = 65534
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0

_DROP = """
import os, sys, urllib.parse
import gigq, jobs, gigq.store.hosts
warm = gigq.JobQueue(":memory:")  # what is imported late may be out of reach below
warm.submit(gigq.Job("warm", jobs.nothing))
gigq.Worker(warm).process_one()
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(%d)
    os.setuid(%d)
path = sys.argv[1]
"""


def mounted(monkeypatch: pytest.MonkeyPatch, folder: Path, *lines: str) -> None:
    """Have the mounts read from made-up text: lines of mountinfo, the last ones, or those after an ext4 root."""
    text = folder / "mountinfo"
    text.write_text(mounts_text(*lines), "utf-8")
    monkeypatch.setattr(places, "_MOUNTS", text)


def mounts_text(*lines: str) -> str:
    """The same for a process of its own."""
    root = "25 1 253:0 / / rw,relatime shared:1 - ext4 /dev/root rw"
    return "\n".join([root, *lines, ""])


def mount(point: str | Path, kind: str, source: str = "server:/export") -> str:
    """A line of mountinfo as the kernel spells it."""
    spelled = str(point)
    for character in "\\ \t\n":
        spelled = spelled.replace(character, f"\\{ord(character):03o}")
    return f"60 25 0:52 / {spelled} rw,relatime shared:7 master:2 - {kind} {source} rw,vers=4.2"


@contextlib.contextmanager
def folder_of_nobody() -> Iterator[Path]:
    """A folder that the unprivileged user (us, if we are not root) owns and can reach."""
    folder = Path(tempfile.mkdtemp(prefix="gigq-"))
    try:
        if IS_ROOT:
            os.chown(folder, NOBODY, NOBODY)
        yield folder
    finally:
        for inside in (folder, *folder.rglob("*")):
            if inside.is_dir():
                inside.chmod(0o700)
        shutil.rmtree(folder)


def as_nobody(code: str, path: str | Path) -> str:
    """What a program without privileges prints; ``path`` is the one it is given."""
    done = subprocess.run(
        [sys.executable, "-c", _DROP % (NOBODY, NOBODY) + textwrap.dedent(code), str(path)],
        env=jobs.environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def give_to_nobody(folder: Path) -> None:
    """All files in a folder."""
    if IS_ROOT:
        for inside in folder.iterdir():
            os.chown(inside, NOBODY, NOBODY)


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int = 8, inodes: int = 0) -> Iterator[Path]:
    """A file system of a given size, 0 for as many inodes as one likes; skips the test where none can be mounted."""
    if not IS_ROOT or not sys.platform.startswith("linux"):
        pytest.skip("only root can mount a small file system")
    point = folder / "small"
    point.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,nr_inodes={inodes}", "gigq-test", str(point)],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr!r}")
    try:
        yield point
    finally:
        subprocess.run(["umount", "--lazy", str(point)], check=True)


def room(point: Path, megabytes: int) -> None:
    """Make a :func:`small_disk` larger."""
    subprocess.run(["mount", "-o", f"remount,size={megabytes}m", str(point)], check=True)


def fill(folder: Path) -> Path:
    """Use up all the room of a file system; the file that took it."""
    ballast = folder / "ballast"
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return ballast


def take_inodes(folder: Path, left: int = 0) -> list[Path]:
    """Use up the inodes of a file system but for a few; the files that took them."""
    taken: list[Path] = []
    with contextlib.suppress(OSError):
        while True:
            one = folder / f"ballast-{len(taken)}"
            one.touch(exist_ok=False)
            taken.append(one)
    for _ in range(left):
        taken.pop().unlink()
    return taken


@contextlib.contextmanager
def locked(path: str | Path, how: str = "IMMEDIATE") -> Iterator[None]:
    """Somebody who has never heard of the gate holds the write lock."""
    foreign = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        foreign.execute("PRAGMA busy_timeout = 10000")
        foreign.execute(f"BEGIN {how}")
        yield
        foreign.execute("ROLLBACK")
    finally:
        foreign.close()
