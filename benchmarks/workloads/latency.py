"""Latency: submitted in one process, started in another, at a steady rate on a queue that is idle otherwise.

An open loop: a submitter that is late does not wait for anybody, and the lateness that it caused itself counts.
"""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import api, child, exact, jobs
from benchmarks.peers import gigq051
from benchmarks.plan import FLOOR, OURS, PEER, Contender, Quantity, Sample, Workload
from gigq import Job, Worker

_RATE = 100
"""Jobs a second."""
_WARM_UP = 20
"""Jobs whose latency is that of imports, and does not count."""
_HEAD_START = 1.5


def workloads(*, quick: bool) -> list[Workload]:
    seconds = {"seconds": 3 if quick else 20}
    return [
        Workload(
            "latency",
            f"submit() in one process -> the function starts in another; {_RATE} jobs/s for {seconds['seconds']} s",
            (
                Quantity("p50", "half of them within", "ms", higher_is_better=False, reach=2),
                Quantity("p99", "99 of 100 within", "ms", higher_is_better=False, reach=10),
                Quantity("longest", "the longest", "ms", higher_is_better=False),
            ),
            (
                Contender(
                    OURS, f"{__name__}:through_api", seconds, "FULL; the bell; results and history kept"
                ),
                Contender(
                    "gigq, process",
                    f"{__name__}:through_api",
                    {**seconds, "executor": "process"},
                    "the same, in a child process",
                    needs="executor",
                ),
                Contender(FLOOR, f"{__name__}:bare", seconds, "FULL; the bare loop looks every 0.5 ms"),
                Contender(
                    PEER,
                    f"{__name__}:through_api",
                    {**seconds, "polling_interval": 0.05},
                    "looks every 50 ms, 100 times as often as by default; FULL",
                    peer=gigq051.PEER,
                ),
            ),
            most_runs=1 if quick else None,
        )
    ]


# -- the processes -----------------------------------------------------------------------------------------------


def work(folder: str, **options: object) -> None:
    Worker(str(Path(folder) / "jobs.db"), **options).start()  # type: ignore[arg-type]


def bare_work(folder: str) -> None:
    from benchmarks import floor

    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    connection = floor.connect(str(Path(folder) / "jobs.db"))
    floor.drain(connection, is_over=lambda: bool(stopped), call=jobs.started, nap=0.0005)


# -- the whole ---------------------------------------------------------------------------------------------------


def through_api(folder: str, seconds: float, head_start: float = _HEAD_START, **options: object) -> Sample:
    queue = api.open_queue(str(Path(folder) / "jobs.db"))
    return _together(
        folder,
        "work",
        options,
        seconds,
        head_start,
        lambda sent: queue.submit(Job(name="started", function=jobs.started, params={"sent": sent})),
    )


def bare(folder: str, seconds: float, head_start: float = _HEAD_START) -> Sample:
    from benchmarks import floor

    connection = floor.connect(str(Path(folder) / "jobs.db"))
    return _together(
        folder, "bare_work", {}, seconds, head_start, lambda sent: floor.insert_one(connection, sent=sent)
    )


def _together(
    folder: str,
    worker: str,
    options: dict[str, object],
    seconds: float,
    head_start: float,
    submit: Callable[[int], object],
) -> Sample:
    path = str(Path(folder) / "jobs.db")
    process = child.start(f"{__name__}:{worker}", {"folder": folder, **options})
    time.sleep(head_start)
    count = _WARM_UP + int(_RATE * seconds)
    _submit_steadily(count, submit)
    api.wait_until_completed(path, count, seconds=60)
    process.send_signal(signal.SIGTERM)
    child.answer(process, timeout=60)
    waits = sorted(_waits(path)[_WARM_UP:])
    values = {"p50": waits[len(waits) // 2], "p99": waits[len(waits) * 99 // 100], "longest": waits[-1]}
    return Sample(values, exact.check(path, count))


def _submit_steadily(count: int, submit: Callable[[int], object]) -> None:
    begin = time.monotonic_ns()
    ready = begin
    for n in range(count):
        meant = begin + n * 1_000_000_000 // _RATE
        time.sleep(max(0, meant - time.monotonic_ns()) / 1e9)
        # Whoever oversleeps is not the queue's fault; whoever was still busy with the last one is.
        submit(meant if ready > meant else time.monotonic_ns())
        ready = time.monotonic_ns()


def _waits(path: str) -> list[float]:
    """Milliseconds, in the order of submission: every job returned when it was sent and when it started."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT result FROM jobs").fetchall()
    connection.close()
    moments = sorted(json.loads(result) for (result,) in rows)
    return [(started - sent) / 1e6 for sent, started in moments]
