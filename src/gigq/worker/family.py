"""A process and everything it has started: found through /proc, and ended together.

A process group would not do: a descendant that calls setsid() leaves it. Every descendant of a child carries the
child's token in its environment, wherever it has gone since; those that have scrubbed it are found by their parents.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

TOKEN = "GIGQ_CHILD"  # noqa: S105 - the name of a variable
"""The environment variable by which a child's descendants are known."""

_PROC = Path("/proc")


def descendants(pid: int) -> dict[int, str]:
    """What a process has started, and they, and so on: pid -> birth. Empty where there is no /proc."""
    children: dict[int, list[int]] = {}
    births: dict[int, str] = {}
    for other in _pids():
        stat = _stat(other)
        if stat is not None:
            parent, births[other] = stat
            children.setdefault(parent, []).append(other)
    found: dict[int, str] = {}
    to_see = [pid]
    while to_see:
        for child in children.get(to_see.pop(), ()):
            found[child] = births[child]
            to_see.append(child)
    return found


def marked(token: str) -> dict[int, str]:
    """Those whose environment carries a token: pid -> birth."""
    wanted = f"{TOKEN}={token}".encode()
    found = {}
    for pid in _pids():
        with contextlib.suppress(OSError):
            if wanted in (_PROC / str(pid) / "environ").read_bytes().split(b"\0"):
                stat = _stat(pid)
                if stat is not None:
                    found[pid] = stat[1]
    return found


def end(pid: int | None, token: str, known: dict[int, str] | None = None) -> None:
    """Kill a process and all its descendants, again and again until none is found; itself last, so they keep a parent.

    Args:
        pid: the process; None if it has ended.
        token: that of its environment.
        known: descendants seen before.
    """
    ours = os.getpid()
    for _ in range(100):  # a family that grows faster than it is killed will not do so a hundred times
        family = {**(known or {}), **marked(token), **(descendants(pid) if pid is not None else {})}
        living = [one for one, birth in family.items() if one not in (pid, ours) and is_same(one, birth)]
        for one in living:
            _kill(one)
        if not living:
            break
    if pid is not None:
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)  # its group: all there is where there is no /proc
        _kill(pid)


def kill_all(known: dict[int, str]) -> bool:
    """Kill those that were seen; whether any of them still lived."""
    living = [one for one, birth in known.items() if is_same(one, birth)]
    for one in living:
        _kill(one)
    return bool(living)


def is_same(pid: int, birth: str) -> bool:
    """Whether a process lives and is the one that was seen: pids are used again."""
    stat = _stat(pid)
    return stat is not None and stat[1] == birth


def memory(pid: int) -> int | None:
    """Bytes of memory that a process has resident; None where that cannot be asked."""
    try:
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def oom_kills() -> int:
    """How often the kernel has ended a process of this control group for want of memory; 0 where it does not tell."""
    for place in _memory_files():
        with contextlib.suppress(OSError, ValueError):
            for line in place.read_text().splitlines():
                key, _, number = line.partition(" ")
                if key == "oom_kill":
                    return int(number)
    return 0


def _memory_files() -> list[Path]:
    """Of version 2 of control groups, and of version 1."""
    group = Path("/sys/fs/cgroup")
    found = [group / "memory.events", group / "memory" / "memory.oom_control"]
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if not kinds:
                found.insert(0, group / path.lstrip("/") / "memory.events")
            elif "memory" in kinds.split(","):
                found.insert(0, group / "memory" / path.lstrip("/") / "memory.oom_control")
    return found


def _pids() -> list[int]:
    try:
        return [int(place.name) for place in _PROC.iterdir() if place.name.isdecimal()]
    except OSError:
        return []


def _stat(pid: int) -> tuple[int, str] | None:
    """Parent and birth of a process; None if it is gone, or dead and only waits for its parent to hear of it."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, UnicodeDecodeError):
        return None
    return None if fields[0] in "ZX" else (int(fields[1]), fields[19])


def _kill(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)
