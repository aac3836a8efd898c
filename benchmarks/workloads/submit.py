"""Submit: one job a call, one durable transaction each; and many jobs in one call."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks import api, exact, jobs
from benchmarks.peers import gigq051
from benchmarks.plan import FLOOR, OURS, PEER, Contender, Quantity, Sample, Workload

_LOSES = {
    "full": "nothing is lost by a crash or a power cut",
    "normal": "nothing is lost by a crash; a power cut may take back the last moments",
}


def workloads(*, quick: bool) -> list[Workload]:
    one = {"full": 600 if quick else 3_000, "normal": 4_000 if quick else 20_000}
    bulk, peers = (50_000, 1_000) if quick else (100_000, 4_000)
    return [*(_one_by_one(durability, count) for durability, count in one.items()), _bulk(bulk, peers)]


def _one_by_one(durability: str, count: int) -> Workload:
    arguments = {"count": count, "durability": durability}
    contenders = [
        Contender(OURS, f"{__name__}:one_by_one", arguments, f"params stored; {_LOSES[durability]}"),
        Contender(FLOOR, f"{__name__}:bare_one_by_one", arguments, f"the same rows; {_LOSES[durability]}"),
    ]
    if durability == "full":
        contenders.append(
            Contender(PEER, f"{__name__}:one_by_one", arguments, gigq051.PROMISE, interpreter="peer")
        )
    return Workload(
        f"submit-{durability}",
        f"submit() one by one, durability={durability!r}; beside it the bare insert",
        (
            Quantity(
                "rate",
                "submitted",
                "jobs/s",
                reach=2_500 if durability == "full" else None,
                of_floor=0.8 if durability == "full" else None,
            ),
        ),
        tuple(contenders),
    )


def _bulk(count: int, peers: int) -> Workload:
    return Workload(
        "submit-bulk",
        "submit_many() of jobs that are made already, and with making them; params encoded",
        (
            Quantity("rate", "submitted", "jobs/s", reach=100_000, of_floor=0.6),
            Quantity("made", "made and submitted", "jobs/s"),
        ),
        (
            Contender(OURS, f"{__name__}:bulk", {"count": count}, _LOSES["full"]),
            Contender(
                FLOOR,
                f"{__name__}:bare_bulk",
                {"count": count},
                "executemany of finished rows, one transaction",
            ),
            Contender(
                "one array",
                f"{__name__}:bare_bulk",
                {"count": count, "array": True},
                "every job alike but its id and params: one JSON array into one statement",
            ),
            Contender(
                PEER,
                f"{__name__}:bulk",
                {"count": peers},
                f"{peers:,} jobs, one by one: it has no bulk call",
                interpreter="peer",
            ),
        ),
    )


def one_by_one(folder: str, count: int, durability: str) -> Sample:
    path = str(Path(folder) / "jobs.db")
    queue = api.open_queue(path, durability)
    made = api.make_jobs(count)
    start = time.perf_counter()
    for job in made:
        queue.submit(job)
    seconds = time.perf_counter() - start
    return Sample({"rate": count / seconds}, _delivered(path, count))


def bulk(folder: str, count: int) -> Sample:
    path = str(Path(folder) / "jobs.db")
    queue = api.open_queue(path)
    begin = time.perf_counter()
    made = api.make_jobs(count)
    start = time.perf_counter()
    api.submit(queue, made)
    end = time.perf_counter()
    values = {"rate": count / (end - start), "made": count / (end - begin)}
    return Sample(values, _delivered(path, count))


def _delivered(path: str, count: int) -> str:
    api.drain(path, count)
    return exact.check(path, count, len(jobs.called))


def bare_one_by_one(folder: str, count: int, durability: str) -> Sample:
    from benchmarks import floor  # see drain.py

    path = str(Path(folder) / "jobs.db")
    connection = floor.connect(path, durability)
    start = time.perf_counter()
    for n in range(count):
        floor.insert_one(connection, n)
    seconds = time.perf_counter() - start
    floor.drain(connection)
    connection.close()
    return Sample({"rate": count / seconds}, exact.check(path, count, len(jobs.called)))


def bare_bulk(folder: str, count: int, *, array: bool = False) -> Sample:
    from benchmarks import floor

    path = str(Path(folder) / "jobs.db")
    connection = floor.connect(path)
    ids, bodies = floor.ids(count), floor.bodies(range(count))
    insert = floor.insert_array if array else floor.insert_many
    start = time.perf_counter()
    insert(connection, ids, bodies)
    seconds = time.perf_counter() - start
    floor.drain(connection)
    connection.close()
    return Sample({"rate": count / seconds}, exact.check(path, count, len(jobs.called)))
