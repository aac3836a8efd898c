"""Drain: jobs that wait already, from the start of a worker until the last one is completed."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import api, child, exact, jobs
from benchmarks.peers import gigq051
from benchmarks.peers.peer import Peer
from benchmarks.plan import FLOOR, OURS, PEER, Contender, Quantity, Sample, Workload
from benchmarks.workloads import others
from gigq import Job

_OURS = "no-op that returns its parameter; results and history kept; FULL: survives a crash and a power cut"
_BARE = "the same rows, FULL; no API, threads, processes, timeouts or signals"
_SIZED = "returns its parameter; results and history kept; FULL"
_HEAD_START = 2.0
"""Seconds until processes have imported what they need."""


def workloads(*, quick: bool, peers: Sequence[Peer]) -> list[Workload]:
    many, few = (30_000, 800) if quick else (100_000, 2_000)
    bare = Contender(FLOOR, f"{__name__}:bare", {"count": many}, _BARE)
    return [
        Workload(
            "drain-thread",
            "drain of no-ops, worker with the threads executor, concurrency=1; beside it the peers as they are fast",
            (Quantity("rate", "drained", "jobs/s", reach=60_000, of_floor=0.5),),
            (
                _ours(OURS, many),
                Contender(
                    "gigq, 2 workers",
                    f"{__name__}:two_workers",
                    {"count": many},
                    f"two processes, a worker each; {_OURS}",
                ),
                bare,
                _peer("plain", {"count": few, "threads": 1}, f"{few:,} waiting"),
                *others.drain(peers, quick=quick),
            ),
        ),
        Workload(
            "drain-thread-4",
            "the same, concurrency=4",
            (Quantity("rate", "drained", "jobs/s", reach=60_000, of_floor=0.5),),
            (
                _ours(OURS, many, threads=4),
                bare,
                _peer("plain", {"count": few // 4, "threads": 4}, f"{few // 4:,} waiting"),
            ),
        ),
        _spin(many // 3, few // 40),
        *(
            Workload(
                f"drain-process-{processes}",
                f"drain of no-ops, worker with the processes executor, {processes} "
                f"{'process' if processes == 1 else 'processes'}",
                (Quantity("rate", "drained", "jobs/s", reach=60_000, of_floor=0.5),),
                (_ours(OURS, many, threads=processes, executor="process"), bare),
            )
            for processes in (1, 2)
        ),
        Workload(
            "drain-async",
            "drain of coroutines that never wait: 100 slots in the loop of one process; each by itself in a thread",
            (Quantity("rate", "drained", "jobs/s", reach=40_000),),
            (
                _ours(OURS, many, executor="process", async_slots=100, function="tick_async"),
                _ours("gigq, thread", many // 10, function="tick_async"),
                bare,
            ),
        ),
        *(
            _sized(size, reach, count if quick else count * 4)
            for size, reach, count in ((2_000, 35_000, 10_000), (20_000, 10_000, 3_000))
        ),
    ]


def _ours(who: str, count: int, **arguments: Any) -> Contender:
    return Contender(
        who,
        f"{__name__}:plain",
        {"count": count, **arguments},
        _SIZED if "size" in arguments else _OURS,
        needs="async_slots" if "async_slots" in arguments else "executor" if "executor" in arguments else "",
    )


def _peer(function: str, arguments: dict[str, Any], said: str) -> Contender:
    promise = f"{said}; {gigq051.PROMISE}"
    return Contender(PEER, f"{__name__}:{function}", arguments, promise, peer=gigq051.PEER)


def _spin(many: int, few: int) -> Workload:
    return Workload(
        "drain-spin",
        "drain with two threads, one of which runs a job that spins in pure Python",
        (Quantity("rate", "settled", "jobs/s", reach=5_000),),
        (
            Contender(OURS, f"{__name__}:beside_a_spinning_job", {"count": many}, _OURS),
            Contender(FLOOR, f"{__name__}:bare_beside_a_spinning_thread", {"count": many}, _BARE),
            _peer("beside_a_spinning_job", {"count": few}, f"{few:,} waiting"),
        ),
    )


def _sized(size: int, reach: float, count: int) -> Workload:
    arguments = {"count": count, "size": size}
    return Workload(
        f"drain-{size // 1000}k",
        f"drain with {size:,} bytes of params and {size:,} of result",
        (Quantity("rate", "drained", "jobs/s", reach=reach),),
        (
            _ours(OURS, count, threads=2, size=size, executor="process"),
            _ours("gigq, thread", count, size=size),
            Contender(FLOOR, f"{__name__}:bare", arguments, _BARE),
        ),
    )


# -- the samples -------------------------------------------------------------------------------------------------


def plain(
    folder: str, count: int, threads: int = 1, function: str = "tick", size: int = 0, **options: Any
) -> Sample:
    path = str(Path(folder) / "jobs.db")
    queue = api.open_queue(path)
    if size:
        queue.submit_many(Job("echo", jobs.echo, {"text": _text(n, size)}) for n in range(count))
    else:
        api.submit(queue, api.make_jobs(count, getattr(jobs, function)))
    seconds = api.drain(path, count, threads, **options)
    counted = not size and "executor" not in options  # elsewhere the calls are in other processes
    return Sample({"rate": count / seconds}, exact.check(path, count, len(jobs.called) if counted else None))


def two_workers(folder: str, count: int, head_start: float = _HEAD_START) -> Sample:
    path = str(Path(folder) / "jobs.db")
    api.submit(api.open_queue(path), api.make_jobs(count))
    begin = time.time() + head_start
    arguments = {"folder": folder, "count": count, "begin": begin}
    workers = [child.start(f"{__name__}:work", arguments) for _ in range(2)]
    api.wait_until_completed(path, count)
    seconds = time.time() - begin
    called = [child.answer(process, timeout=60) for process in workers]
    told = exact.check(path, count, sum(called))
    return Sample({"rate": count / seconds}, f"{told}; the slower worker's part {min(called) / count:.2f}")


def work(folder: str, count: int, begin: float) -> int:
    """A worker in a process of its own, until all is done: how many calls it made."""
    time.sleep(max(0.0, begin - time.time()))
    api.drain(str(Path(folder) / "jobs.db"), count)
    return len(jobs.called)


def beside_a_spinning_job(folder: str, count: int) -> Sample:
    path = str(Path(folder) / "jobs.db")
    queue = api.open_queue(path)
    queue.submit(Job(name="spin", function=jobs.spin, priority=1))
    api.submit(queue, api.make_jobs(count))
    seconds = api.drain(path, count, threads=2, at_end=jobs.stop_spinning)
    return Sample({"rate": count / seconds}, exact.check(path, count + 1, len(jobs.called) + 1))


def bare(folder: str, count: int, size: int = 0) -> Sample:
    from benchmarks import floor  # here, since gigq 0.5.1's environment has not what it needs

    path = str(Path(folder) / "jobs.db")
    connection = floor.connect(path)
    bodies = floor.texts(partial(_text, size=size), count) if size else floor.bodies(range(count))
    floor.insert_array(connection, floor.ids(count), bodies, piece=200 if size else 5000)
    start = time.perf_counter()
    floor.drain(connection, call=jobs.echo if size else jobs.tick)
    seconds = time.perf_counter() - start
    connection.close()
    return Sample({"rate": count / seconds}, exact.check(path, count, None if size else len(jobs.called)))


def bare_beside_a_spinning_thread(folder: str, count: int) -> Sample:
    threading.Thread(target=jobs.spin, daemon=True).start()
    try:
        return bare(folder, count)
    finally:
        jobs.stop_spinning()


def _text(n: int, size: int) -> str:
    return f"{n:<{size}d}"
