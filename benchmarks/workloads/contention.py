"""Contention: processes that submit flat out beside workers that drain, all on one file."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks import api, child, exact, jobs
from benchmarks.peers import gigq051
from benchmarks.plan import FLOOR, OURS, PEER, Contender, Quantity, Sample, Workload
from gigq import Job, JobQueue, Worker

_SUBMITTERS, _WORKERS = 16, 4
_SIZE = {"submitters": _SUBMITTERS, "workers": _WORKERS, "head_start": 3.0}
"""The head start is the seconds until all processes have imported what they need."""


def workloads(*, quick: bool) -> list[Workload]:
    arguments = {"seconds": 4 if quick else 60, **_SIZE}
    return [
        Workload(
            "contention",
            f"{_SUBMITTERS} processes submit flat out, {_WORKERS} workers drain, {arguments['seconds']} s",
            (
                Quantity(
                    "errors", "errors, 'database is locked' and others", "", False, reach=0, compared=False
                ),
                Quantity("fairness", "slowest submitter of the mean", "times", reach=0.8, compared=False),
                Quantity("rate", "submitted in all", "jobs/s"),
                Quantity("p50", "wait of a submit, half of them", "ms", higher_is_better=False),
                Quantity("p99", "99 of 100", "ms", higher_is_better=False, reach=60),
                Quantity("longest", "the longest", "ms", higher_is_better=False),
                Quantity("rest", "drained when the submitters stopped", "%", compared=False),
            ),
            (
                Contender(OURS, f"{__name__}:through_api", arguments, "FULL, a transaction each"),
                Contender(
                    FLOOR,
                    f"{__name__}:bare",
                    arguments,
                    "FULL, a transaction each, SQLite's own busy handler",
                ),
                Contender(
                    PEER,
                    f"{__name__}:through_api",
                    {"seconds": 4, "drain": False, **_SIZE},
                    "4 s, not drained to the end: that would take hours",
                    peer=gigq051.PEER,
                ),
            ),
            most_runs=1 if quick else None,
        )
    ]


# -- the processes -----------------------------------------------------------------------------------------------


def submit(folder: str, who: int, begin: float, seconds: float) -> dict[str, Any]:
    """One submitter: how long each of its calls took, and what went wrong."""
    queue = api.open_queue(str(Path(folder) / "jobs.db"))
    return _flat_out(
        lambda n: queue.submit(Job(name="tick", function=jobs.tick, params={"n": n})), who, begin, seconds
    )


def bare_submit(folder: str, who: int, begin: float, seconds: float) -> dict[str, Any]:
    from benchmarks import floor

    connection = floor.connect(str(Path(folder) / "jobs.db"))
    return _flat_out(lambda n: floor.insert_one(connection, n=n), who, begin, seconds)


def _flat_out(call: Any, who: int, begin: float, seconds: float) -> dict[str, Any]:
    waits: list[float] = []
    errors: list[str] = []
    time.sleep(max(0.0, begin - time.time()))
    end = time.perf_counter() + seconds
    n = who * 1_000_000
    while (start := time.perf_counter()) < end:
        try:
            call(n)
        except Exception as error:  # noqa: BLE001 - counting them is what this is for
            errors.append(f"{type(error).__name__}: {error}"[:200])
        else:
            waits.append(time.perf_counter() - start)
        n += 1
    return {"waits": waits, "errors": errors}


def work(folder: str) -> list[int]:
    Worker(str(Path(folder) / "jobs.db"), polling_interval=1).start()
    return jobs.called


def bare_work(folder: str) -> list[int]:
    from benchmarks import floor

    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    connection = floor.connect(str(Path(folder) / "jobs.db"))
    floor.drain(connection, is_over=lambda: bool(stopped))
    return jobs.called


# -- the whole ---------------------------------------------------------------------------------------------------


def through_api(folder: str, seconds: int, *, drain: bool = True, **size: Any) -> Sample:
    api.open_queue(str(Path(folder) / "jobs.db"))
    return _together(folder, seconds, "submit", "work", drain=drain, **size)


def bare(folder: str, seconds: int, **size: Any) -> Sample:
    from benchmarks import floor

    floor.connect(str(Path(folder) / "jobs.db")).close()
    return _together(folder, seconds, "bare_submit", "bare_work", drain=True, **size)


def _together(
    folder: str,
    seconds: int,
    submitter: str,
    worker: str,
    *,
    drain: bool,
    submitters: int,
    workers: int,
    head_start: float,
) -> Sample:
    path = str(Path(folder) / "jobs.db")
    begin = time.time() + head_start
    working = [child.start(f"{__name__}:{worker}", {"folder": folder}) for _ in range(workers)]
    submitting = [
        child.start(
            f"{__name__}:{submitter}", {"folder": folder, "who": who, "begin": begin, "seconds": seconds}
        )
        for who in range(submitters)
    ]
    answers = [child.answer(process) for process in submitting]
    counts = [len(answer["waits"]) for answer in answers]
    errors = [error for answer in answers for error in answer["errors"]]
    done = _completed(path)
    if drain:
        api.wait_until_completed(path, sum(counts))
    called, complaints = _stop(working)
    errors += complaints
    waits = sorted(wait * 1e3 for answer in answers for wait in answer["waits"])
    values = {
        "errors": float(len(errors)),
        "fairness": min(counts) / statistics.mean(counts),
        "rate": sum(counts) / seconds,
        "p50": waits[len(waits) // 2],
        "p99": waits[len(waits) * 99 // 100],
        "longest": waits[-1],
        "rest": 100 * done / sum(counts),
    }
    told = exact.check(path, sum(counts), called) if drain else None
    return Sample(values, told if not errors else f"{told}; the first error: {errors[0]}")


def _completed(path: str) -> int:
    return JobQueue(path).stats()["completed"]


def _stop(workers: list[subprocess.Popen[str]]) -> tuple[int, list[str]]:
    """Calls that the workers made, and what they complained of."""
    called, complaints = 0, []
    for process in workers:
        os.kill(process.pid, signal.SIGTERM)
    for process in workers:
        try:
            called += len(child.answer(process, timeout=60))
        except child.SampleFailed as error:
            complaints.append(str(error)[-300:])
    return called, complaints
