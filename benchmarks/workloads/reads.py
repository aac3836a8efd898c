"""Reads: stats() and list_jobs() of every status, with a million jobs in the file."""

from __future__ import annotations

import sqlite3
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import api
from benchmarks.peers import gigq051, seeds051
from benchmarks.plan import FLOOR, OURS, PEER, Contender, Quantity, Sample, Workload
from gigq import JobQueue, JobStatus

SPREAD = {
    "failed": 50_000,
    "cancelled": 30_000,
    "timeout": 19_990,
    "running": 10,
    "pending": 300_000,
    "completed": 600_000,
}
"""A million, the rare ones oldest: looking from the newest backwards takes longest."""
_LIMIT = 100


def workloads(*, quick: bool) -> list[Workload]:
    times = {"times": 20 if quick else 50}
    return [
        Workload(
            "reads",
            f"stats() and list_jobs(limit={_LIMIT}) with {sum(SPREAD.values()):,} jobs of every status",
            (
                Quantity("stats", "stats()", "ms", higher_is_better=False, reach=5),
                Quantity("list", "list_jobs()", "ms", higher_is_better=False, reach=5),
                Quantity("worst", "list_jobs(status), the slowest status", "ms", False, reach=5),
            ),
            (
                Contender(OURS, f"{__name__}:ours", times, "exact counts, whole rows, values decoded"),
                Contender(FLOOR, f"{__name__}:bare", times, "count by GROUP BY; bare rows, nothing decoded"),
                Contender(
                    PEER,
                    f"{__name__}:peer",
                    {"times": 3},
                    gigq051.PROMISE,
                    peer=gigq051.PEER,
                ),
            ),
            most_runs=1 if quick else None,
        )
    ]


def ours(folder: str, times: int, part: float = 1) -> Sample:
    from benchmarks import seeds

    spread = _spread(part)
    name = f"{sum(spread.values())}.db"
    path = seeds.shared(folder, name, lambda new: seeds.of_every_status(new, spread))
    return _through_api(path, times, spread)


def peer(folder: str, times: int) -> Sample:
    path = str(Path(folder).parent / "million-051.db")
    if not Path(path).exists():
        JobQueue(path)
        seeds051.of_every_status(path, SPREAD)
    return _through_api(path, times, SPREAD)


def _spread(part: float) -> dict[str, int]:
    return {status: max(1, int(count * part)) for status, count in SPREAD.items()}


def _through_api(path: str, times: int, spread: dict[str, int]) -> Sample:
    queue = api.open_queue(path)
    if queue.stats() != {**spread, "total": sum(spread.values())}:
        raise AssertionError(f"stats() is wrong: {queue.stats()}")
    worst = 0.0
    for status in JobStatus:
        found = queue.list_jobs(status, _LIMIT)
        if len(found) != min(_LIMIT, spread[status.value]) or {job["status"] for job in found} != {
            status.value
        }:
            raise AssertionError(f"list_jobs({status}) is wrong")
        worst = max(worst, _milliseconds(partial(queue.list_jobs, status, _LIMIT), times))
    return Sample(
        {
            "stats": _milliseconds(queue.stats, times),
            "list": _milliseconds(partial(queue.list_jobs, limit=_LIMIT), times),
            "worst": worst,
        },
        "counts and lists are right",
    )


def bare(folder: str, times: int, part: float = 1) -> Sample:
    from benchmarks import seeds

    spread = _spread(part)
    name = f"{sum(spread.values())}.db"
    path = seeds.shared(folder, name, lambda new: seeds.of_every_status(new, spread))
    connection = sqlite3.connect(path)

    def count() -> None:
        connection.execute("SELECT status, count(*) FROM job GROUP BY status").fetchall()

    def rows(where: str = "") -> None:
        sql = f"SELECT j.*, p.body FROM job AS j JOIN params AS p USING (seq) {where} ORDER BY seq DESC LIMIT {_LIMIT}"
        connection.execute(sql).fetchall()

    worst = max(_milliseconds(partial(rows, f"WHERE status = '{status}'"), times) for status in spread)
    values = {"stats": _milliseconds(count, times), "list": _milliseconds(rows, times), "worst": worst}
    connection.close()
    return Sample(values)


def _milliseconds(call: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append((time.perf_counter() - start) * 1e3)
    return statistics.median(taken)
