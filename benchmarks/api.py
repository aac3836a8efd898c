"""The public API as both versions have it: the lines that the workloads share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from benchmarks import jobs
from gigq import Job, JobQueue, Worker

_LOOK_EVERY = 0.02


def open_queue(path: str, durability: str = "full") -> JobQueue:
    if durability == "full":  # the default, and all that gigq 0.5.1 has
        return JobQueue(path)
    return JobQueue(path, durability="normal")


def make_jobs(count: int, function: Callable[..., Any] = jobs.tick) -> list[Job]:
    return [Job(name="tick", function=function, params={"n": n}) for n in range(count)]


def submit(queue: JobQueue, made: list[Job]) -> None:
    """In one go where there is one."""
    if hasattr(queue, "submit_many"):
        queue.submit_many(made)
    else:
        for job in made:
            queue.submit(job)


def drain(
    path: str, count: int, threads: int = 1, at_end: Callable[[], None] | None = None, **options: Any
) -> float:
    """Seconds from starting a worker until ``count`` jobs are completed; the worker has stopped then."""
    worker = Worker(path, concurrency=threads, polling_interval=1, **options)
    ended: list[float] = []
    over = threading.Event()

    def watch() -> None:
        try:
            wait_until_completed(path, count)
            ended.append(time.perf_counter())
        finally:
            if at_end is not None:
                at_end()
            worker.stop()
            while not over.wait(_LOOK_EVERY):  # all may have been done before the worker began
                worker.stop()

    watcher = threading.Thread(target=watch, daemon=True)
    start = time.perf_counter()
    watcher.start()
    try:
        worker.start()
    finally:
        over.set()
    watcher.join()
    return ended[0] - start


def wait_until_completed(path: str, count: int, seconds: float = 600) -> None:
    """Look every 20 ms.

    Raises:
        TimeoutError: too few are after so many seconds.
    """
    queue = JobQueue(path)
    deadline = time.monotonic() + seconds
    while (done := queue.stats()["completed"]) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{done:,} of {count:,} jobs were done after {seconds:.0f} s")
        time.sleep(_LOOK_EVERY)
    queue.close()
