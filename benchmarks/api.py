"""The public API as both versions have it: the lines that the workloads share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from benchmarks import jobs
from gigq import Job, JobQueue, Worker

_LOOK_EVERY = 0.02


def open_queue(path: str, durability: str = "full") -> JobQueue:
    if durability == "full":  # the default, and all that gigq 0.5.1 has
        return JobQueue(path)
    return JobQueue(path, durability="normal")


def make_jobs(count: int) -> list[Job]:
    return [Job(name="tick", function=jobs.tick, params={"n": n}) for n in range(count)]


def submit(queue: JobQueue, made: list[Job]) -> None:
    """In one go where there is one."""
    if hasattr(queue, "submit_many"):
        queue.submit_many(made)
    else:
        for job in made:
            queue.submit(job)


def drain(path: str, count: int, threads: int = 1, at_end: Callable[[], None] | None = None) -> float:
    """Seconds from starting a worker until ``count`` jobs are completed; the worker has stopped then."""
    worker = Worker(path, concurrency=threads, polling_interval=1)
    ended: list[float] = []

    def watch() -> None:
        queue = JobQueue(path)
        while queue.stats()["completed"] < count:
            time.sleep(_LOOK_EVERY)
        ended.append(time.perf_counter())
        if at_end is not None:
            at_end()
        worker.stop()
        queue.close()

    watcher = threading.Thread(target=watch, daemon=True)
    start = time.perf_counter()
    watcher.start()
    worker.start()
    watcher.join()
    return ended[0] - start
