"""Footprint: a worker with nothing to do, and its child processes, watched from outside for some seconds."""

from __future__ import annotations

import os
import signal
import sqlite3
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks import api, child
from benchmarks.peers import gigq051
from benchmarks.plan import OURS, PEER, Contender, Quantity, Sample, Workload
from gigq import Worker

_SETTLE = 2.0
"""Until it is idle: imports, its place at the queue."""


def workloads(*, quick: bool) -> list[Workload]:
    seconds = {"seconds": 4 if quick else 10}
    return [
        Workload(
            "footprint-idle",
            f"an idle worker, for {seconds['seconds']} s",
            (
                Quantity("commits", "commits that another connection sees", "", False, reach=0),
                Quantity("files", "files that changed (database, WAL, sidecar)", "", False, reach=0),
                Quantity("written", "bytes written by the process", "B", False, reach=0),
                Quantity("cpu", "of a core", "%", False, reach=0.5),
                Quantity("memory", "resident memory", "MiB", False, reach=35),
                Quantity("child", "resident memory of each child process", "MiB", False),
            ),
            (
                Contender(OURS, f"{__name__}:watched", seconds, "hears of a new job in a millisecond or so"),
                Contender(
                    "gigq, 2 processes",
                    f"{__name__}:watched",
                    {**seconds, "executor": "process", "concurrency": 2},
                    "the parent; its children beside it",
                    needs="executor",
                ),
                Contender(
                    PEER,
                    f"{__name__}:watched",
                    seconds,
                    "looks every 5 s, its default",
                    peer=gigq051.PEER,
                ),
            ),
            most_runs=1 if quick else 3,
        )
    ]


def work(folder: str, **options: Any) -> None:
    """The watched process."""
    Worker(str(Path(folder) / "jobs.db"), **options).start()


def watched(folder: str, seconds: int, settle: float = _SETTLE, **options: Any) -> Sample:
    path = Path(folder) / "jobs.db"
    api.open_queue(str(path))
    process = child.start(f"{__name__}:work", {"folder": folder, **options})
    watcher = sqlite3.connect(path)
    try:
        time.sleep(settle)
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
    values |= {key: after[2][key] for key in ("memory", "child") if key in after[2]}
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
    """Of it and its children, together but for the memory. Nothing where there is no /proc."""
    if not Path(f"/proc/{pid}").exists():
        return {}
    children = _descendants(pid)
    told = {"cpu": 0.0, "written": 0.0, "memory": _memory(pid)}
    for one in (pid, *children):
        proc = Path(f"/proc/{one}")
        fields: list[Any] = (proc / "stat").read_text().rpartition(")")[2].split()
        told["cpu"] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        for line in (proc / "io").read_text().splitlines():
            if line.startswith("wchar:"):
                told["written"] += float(line.partition(":")[2])
    if children:
        told["child"] = statistics.mean(_memory(child) for child in children)
    return told


def _descendants(pid: int) -> list[int]:
    """Children, and theirs."""
    lists = Path(f"/proc/{pid}").glob("task/*/children")
    children = [int(child) for file in lists for child in file.read_text().split()]
    return [*children, *(deeper for child in children for deeper in _descendants(child))]


def _memory(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
