"""Submit: one job a call, one durable transaction each; from many threads; and many jobs in one call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import api, exact, jobs
from benchmarks.peers import gigq051
from benchmarks.peers.peer import Peer
from benchmarks.plan import FLOOR, OURS, PEER, Contender, Quantity, Sample, Workload
from benchmarks.workloads import others
from gigq import Job

_LOSES = {
    "full": "nothing is lost by a crash or a power cut",
    "normal": "nothing is lost by a crash; a power cut may take back the last moments",
}
_THREADS = 32


def workloads(*, quick: bool, peers: Sequence[Peer]) -> list[Workload]:
    one = {"full": 600 if quick else 3_000, "normal": 4_000 if quick else 20_000}
    bulk, few = (30_000, 300) if quick else (100_000, 2_000)
    durable = [peer for peer in peers if peer.durable]
    rest = [peer for peer in peers if not peer.durable]
    return [
        _one_by_one(
            "submit-1",
            "full",
            one["full"],
            [
                Contender(
                    PEER,
                    f"{__name__}:one_by_one",
                    {"count": one["full"] // 2, "durability": "full"},
                    gigq051.PEER.submit,
                    peer=gigq051.PEER,
                ),
                *others.submit_one_by_one(durable, quick=quick),
            ],
        ),
        _one_by_one("submit-1-normal", "normal", one["normal"], others.submit_one_by_one(rest, quick=quick)),
        _threads(4_800 if quick else 32_000),
        _bulk(bulk, few, others.submit_bulk(peers, quick=quick)),
    ]


def _one_by_one(name: str, durability: str, count: int, peers: list[Contender]) -> Workload:
    arguments = {"count": count, "durability": durability}
    full = durability == "full"
    return Workload(
        name,
        f"submit() one by one, durability={durability!r}; beside it the bare insert, and peers that "
        f"{'survive' if full else 'do not survive'} a power cut",
        (
            Quantity(
                "rate", "submitted", "jobs/s", reach=2_500 if full else 20_000, of_floor=0.8 if full else None
            ),
        ),
        (
            Contender(OURS, f"{__name__}:one_by_one", arguments, f"params stored; {_LOSES[durability]}"),
            Contender(
                FLOOR, f"{__name__}:bare_one_by_one", arguments, f"the same rows; {_LOSES[durability]}"
            ),
            *peers,
        ),
    )


def _threads(count: int) -> Workload:
    arguments = {"count": count}
    return Workload(
        "submit-1-threads",
        f"submit() one by one, durability='full', from {_THREADS} threads at once",
        (Quantity("rate", "submitted", "jobs/s"),),
        (
            Contender(OURS, f"{__name__}:from_threads", arguments, _LOSES["full"]),
            Contender(
                FLOOR,
                f"{__name__}:bare_in_groups",
                arguments,
                f"one transaction for {_THREADS}, from one thread",
            ),
        ),
    )


def _bulk(count: int, few: int, peers: list[Contender]) -> Workload:
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
                {"count": few},
                f"{few:,} jobs, one by one: it has no bulk call; {gigq051.PEER.submit}",
                peer=gigq051.PEER,
            ),
            *peers,
        ),
    )


# -- the samples -------------------------------------------------------------------------------------------------


def one_by_one(folder: str, count: int, durability: str) -> Sample:
    path = str(Path(folder) / "jobs.db")
    queue = api.open_queue(path, durability)
    made = api.make_jobs(count)
    start = time.perf_counter()
    for job in made:
        queue.submit(job)
    seconds = time.perf_counter() - start
    return Sample({"rate": count / seconds}, _delivered(path, count))


def from_threads(folder: str, count: int) -> Sample:
    path = str(Path(folder) / "jobs.db")
    queue = api.open_queue(path)
    made = api.make_jobs(count)
    gate = threading.Barrier(_THREADS + 1)

    def submit(mine: list[Job]) -> None:
        gate.wait()
        for job in mine:
            queue.submit(job)

    threads = [threading.Thread(target=submit, args=(made[n::_THREADS],)) for n in range(_THREADS)]
    for thread in threads:
        thread.start()
    gate.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
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

    def insert() -> None:
        for n in range(count):
            floor.insert_one(connection, n=n)

    path = str(Path(folder) / "jobs.db")
    connection = floor.connect(path, durability)
    seconds = _seconds(insert)
    floor.drain(connection)
    connection.close()
    return Sample({"rate": count / seconds}, exact.check(path, count, len(jobs.called)))


def bare_in_groups(folder: str, count: int) -> Sample:
    from benchmarks import floor

    def insert() -> None:
        for start in range(0, count, _THREADS):
            numbers = range(start, min(start + _THREADS, count))
            floor.insert_many(connection, floor.ids(len(numbers)), floor.bodies(numbers), first=start + 1)

    path = str(Path(folder) / "jobs.db")
    connection = floor.connect(path)
    seconds = _seconds(insert)
    floor.drain(connection)
    connection.close()
    return Sample({"rate": count / seconds}, exact.check(path, count, len(jobs.called)))


def bare_bulk(folder: str, count: int, *, array: bool = False) -> Sample:
    from benchmarks import floor

    path = str(Path(folder) / "jobs.db")
    connection = floor.connect(path)
    ids, bodies = floor.ids(count), floor.bodies(range(count))
    insert = floor.insert_array if array else floor.insert_many
    seconds = _seconds(lambda: insert(connection, ids, bodies))
    floor.drain(connection)
    connection.close()
    return Sample({"rate": count / seconds}, exact.check(path, count, len(jobs.called)))


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
