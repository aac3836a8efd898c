"""Idle: a worker with nothing to do, watched from outside for ten seconds."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

from benchmarks import api, child
from benchmarks.plan import OURS, PEER, Contender, Quantity, Sample, Workload
from gigq import Worker

_SETTLE = 2.0
"""Until it is idle: imports, its place at the queue."""


def workloads(*, quick: bool) -> list[Workload]:
    seconds = {"seconds": 5 if quick else 10}
    return [
        Workload(
            "idle",
            f"an idle worker, for {seconds['seconds']} s",
            (
                Quantity("commits", "commits that another connection sees", "", False, reach=0),
                Quantity("files", "files that changed (database, WAL, sidecar)", "", False, reach=0),
                Quantity("written", "bytes written by the process", "B", False, reach=0),
                Quantity("cpu", "of a core", "%", False, reach=0.5),
                Quantity("memory", "resident memory", "MiB", False, reach=35),
            ),
            (
                Contender(OURS, f"{__name__}:watched", seconds, "hears of a new job in a millisecond or so"),
                Contender(
                    PEER,
                    f"{__name__}:watched",
                    seconds,
                    "looks every 5 s, its default",
                    interpreter="peer",
                ),
            ),
        )
    ]


def work(folder: str) -> None:
    """The watched process."""
    Worker(str(Path(folder) / "jobs.db")).start()


def watched(folder: str, seconds: int) -> Sample:
    path = Path(folder) / "jobs.db"
    api.open_queue(str(path))
    process = child.start(f"{__name__}:work", {"folder": folder})
    watcher = sqlite3.connect(path)
    try:
        time.sleep(_SETTLE)
        before = _look(process.pid, path, watcher)
        time.sleep(seconds)
        after = _look(process.pid, path, watcher)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    changed = sum(before[1][name] != after[1].get(name) for name in before[1])
    values = {"commits": float(before[0] != after[0]), "files": float(changed)}
    for key, scale in (("written", 1.0), ("cpu", 100 / seconds)):
        if key in before[2]:
            values[key] = (after[2][key] - before[2][key]) * scale
    if "memory" in after[2]:
        values["memory"] = after[2]["memory"]
    return Sample(values)


def _look(
    pid: int, path: Path, watcher: sqlite3.Connection
) -> tuple[int, dict[str, tuple[int, int]], dict[str, float]]:
    """Data version, file -> (changed when, size), and what the kernel tells of the process."""
    version: int = watcher.execute("PRAGMA data_version").fetchone()[0]
    files = {
        name: (stat.st_mtime_ns, stat.st_size)
        for name in ("jobs.db", "jobs.db-wal", "jobs.db-lock")
        if (file := path.with_name(name)).exists() and (stat := file.stat())
    }
    return version, files, _of_process(pid)


def _of_process(pid: int) -> dict[str, float]:
    """Nothing where there is no /proc."""
    proc = Path(f"/proc/{pid}")
    if not proc.exists():
        return {}
    fields: list[Any] = (proc / "stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    told = {
        "cpu": (int(fields[11]) + int(fields[12])) / ticks,
        "memory": int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20,
    }
    for line in (proc / "io").read_text().splitlines():
        if line.startswith("wchar:"):
            told["written"] = float(line.partition(":")[2])
    return told
