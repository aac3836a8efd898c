"""Huey on SQLite: its consumer with one thread, and one transaction for each job taken and each result stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import jobs
from benchmarks.peers.measuring import stopwatch, wait_until
from benchmarks.peers.peer import Peer, Taken

_DRAIN = "result kept, no history; a job is deleted when it is taken: a crash loses what runs"
_SETTINGS = "WAL, its default, 1 thread"


def _peer(name: str, fsync: bool, submit: str) -> Peer:
    return Peer(
        name=name,
        module=__name__,
        environment="huey-3.5.4",
        requires=("huey==3.5.4",),
        submit=submit,
        drain=_DRAIN if fsync else f"{_DRAIN}; a power cut may lose all",
        settings=_SETTINGS if fsync else f"{_SETTINGS}, fsync=False",
        durable=fsync,
        singly=600 if fsync else 2_000,
        drained=600 if fsync else 5_000,
        arguments={"fsync": fsync},
    )


PEERS = (
    _peer("Huey 3.5, fsync", True, "synchronous=FULL: nothing is lost by a crash or a power cut"),
    _peer("Huey 3.5", False, "synchronous=OFF: a power cut may lose all, or damage the file"),
)


def submit_and_drain(folder: str, count: int, *, bulk: bool, fsync: bool) -> Taken:
    import huey as library

    if bulk:
        raise ValueError("Huey has no bulk call")
    queue: Any = library.SqliteHuey(filename=str(Path(folder) / "huey.db"), fsync=fsync)
    task = queue.task()(jobs.tick)
    with stopwatch() as submitting:
        for n in range(count):
            task(n)
    consumer = queue.create_consumer(workers=1, periodic=False, initial_delay=0.001)
    with stopwatch() as draining:
        consumer.start()
        wait_until(lambda: len(jobs.called) >= count and not queue.pending_count())
    consumer.stop(graceful=True)
    return Taken(submitting.seconds, draining.seconds, jobs.called)
