"""Drain: jobs that wait already, from the start of a worker until the last one is completed."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from benchmarks import api, exact, jobs
from benchmarks.peers import gigq051
from benchmarks.plan import FLOOR, OURS, PEER, Contender, Quantity, Sample, Workload
from gigq import Job

_OURS = "no-op that returns its parameter; results and history kept; FULL: survives a crash and a power cut"
_BARE = "the same rows, FULL; no API, threads, timeouts or signals"


def workloads(*, quick: bool) -> list[Workload]:
    many, few = (30_000, 1_000) if quick else (100_000, 2_000)
    return [
        *(_plain(threads, many, few) for threads in (1, 4)),
        Workload(
            "drain-spin",
            "drain with two threads, one of which runs a job that spins in pure Python",
            (Quantity("rate", "settled", "jobs/s", reach=5_000),),
            (
                Contender(OURS, f"{__name__}:beside_a_spinning_job", {"count": many // 3}, _OURS),
                Contender(FLOOR, f"{__name__}:bare_beside_a_spinning_thread", {"count": many // 3}, _BARE),
                Contender(
                    PEER,
                    f"{__name__}:beside_a_spinning_job",
                    {"count": few // 20},
                    gigq051.PROMISE,
                    interpreter="peer",
                ),
            ),
        ),
    ]


def _plain(threads: int, many: int, few: int) -> Workload:
    return Workload(
        f"drain-{threads}",
        f"drain, threads executor, concurrency={threads}",
        (Quantity("rate", "drained", "jobs/s", reach=30_000, of_floor=0.3),),
        (
            Contender(OURS, f"{__name__}:plain", {"count": many, "threads": threads}, _OURS),
            Contender(FLOOR, f"{__name__}:bare", {"count": many}, _BARE),
            Contender(
                PEER,
                f"{__name__}:plain",
                {"count": few, "threads": threads},
                f"{few:,} waiting; {gigq051.PROMISE}",
                interpreter="peer",
            ),
        ),
    )


def plain(folder: str, count: int, threads: int) -> Sample:
    path = str(Path(folder) / "jobs.db")
    api.submit(api.open_queue(path), api.make_jobs(count))
    seconds = api.drain(path, count, threads)
    return Sample({"rate": count / seconds}, exact.check(path, count, len(jobs.called)))


def beside_a_spinning_job(folder: str, count: int) -> Sample:
    path = str(Path(folder) / "jobs.db")
    queue = api.open_queue(path)
    queue.submit(Job(name="spin", function=jobs.spin, priority=1))
    api.submit(queue, api.make_jobs(count))
    seconds = api.drain(path, count, threads=2, at_end=jobs.stop_spinning)
    return Sample({"rate": count / seconds}, exact.check(path, count + 1, len(jobs.called) + 1))


def bare(folder: str, count: int) -> Sample:
    from benchmarks import floor  # here, since gigq 0.5.1's environment has not what it needs

    path = str(Path(folder) / "jobs.db")
    connection = floor.connect(path)
    floor.insert_array(connection, floor.ids(count), floor.bodies(range(count)))
    start = time.perf_counter()
    floor.drain(connection)
    seconds = time.perf_counter() - start
    connection.close()
    return Sample({"rate": count / seconds}, exact.check(path, count, len(jobs.called)))


def bare_beside_a_spinning_thread(folder: str, count: int) -> Sample:
    threading.Thread(target=jobs.spin, daemon=True).start()
    try:
        return bare(folder, count)
    finally:
        jobs.stop_spinning()
