"""Depth: what a claim costs with 10,000 jobs waiting, and beside very many others that cannot or need not run."""

from __future__ import annotations

import shutil
import sqlite3
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import api
from benchmarks.peers import gigq051, seeds051
from benchmarks.plan import FLOOR, OURS, PEER, Contender, Quantity, Sample, Workload
from gigq import Worker

_READY = 10_000
_SMALL = f"{_READY:,} waiting"
_BATCH = 100
_KINDS = {
    "waiting": "more waiting",
    "future": "future, of higher priority",
    "blocked": "blocked, of higher priority",
    "finished": "finished, with history",
}
_PROMISE = "a transaction of its own (NORMAL, so that the disk does not hide it); times are medians"


def workloads(*, quick: bool) -> list[Workload]:
    backlog = 200_000 if quick else 1_000_000
    arguments = {"backlog": backlog, "claims": 100 if quick else 300, "batches": 6 if quick else 30}
    titles = {kind: f"{backlog:,} {words}" for kind, words in _KINDS.items()}
    return [
        Workload(
            "depth",
            f"the cost of a claim with {_SMALL}, and its multiple beside a backlog, measured in turns",
            (
                Quantity("one", f"claim of one, {_SMALL}", "us", higher_is_better=False),
                *(
                    Quantity(f"one_{kind}", f"claim of one, {title}", "times", False, 1.2, compared=False)
                    for kind, title in titles.items()
                ),
                Quantity("many", f"claim of {_BATCH}, {_SMALL}, per job", "us", higher_is_better=False),
                *(
                    Quantity(
                        f"many_{kind}", f"claim of {_BATCH}, {title}", "times", False, 1.2, compared=False
                    )
                    for kind, title in titles.items()
                ),
            ),
            (
                Contender(OURS, f"{__name__}:claims", arguments, f"the worker's exchange; {_PROMISE}"),
                Contender(FLOOR, f"{__name__}:bare_claims", arguments, f"choose and take; {_PROMISE}"),
                Contender(
                    PEER,
                    f"{__name__}:peer_claims",
                    {"backlog": 200_000, "claims": 10 if quick else 30},
                    f"Worker._claim_job, FULL, 200,000 more waiting; {gigq051.PROMISE}",
                    peer=gigq051.PEER,
                ),
            ),
            most_runs=2 if quick else 3,
        )
    ]


Claim = Callable[[int], list[str]]
"""Claims so many jobs, and returns their ids."""


def claims(folder: str, backlog: int, claims: int, batches: int) -> Sample:
    from gigq.store.claiming import Claim as Wanted
    from gigq.worker.seat import Seat

    def claimer(path: str) -> Claim:
        queue = api.open_queue(path, "normal")
        store, clock = queue._store, queue.clock
        number = Seat(store, "benchmark", clock).number
        return lambda want: [
            lease.id for lease in store.exchange([], Wanted(number, want), clock.now()).claimed
        ]

    return _compare(folder, backlog, claims, batches, claimer)


def bare_claims(folder: str, backlog: int, claims: int, batches: int) -> Sample:
    from benchmarks import floor

    def claimer(path: str) -> Claim:
        connection = floor.connect(path, "normal")
        turns = iter(range(1_000_000))

        def claim(want: int) -> list[str]:
            connection.execute("BEGIN IMMEDIATE")
            claimed = floor.claim(connection, f"{next(turns):016x}", want)
            connection.execute("COMMIT")
            return [str(seq) for seq, _, _ in claimed]

        return claim

    return _compare(folder, backlog, claims, batches, claimer)


def _compare(folder: str, backlog: int, claims: int, batches: int, claimer: Callable[[str], Claim]) -> Sample:
    """All databases in turns, so that a noisy moment hits them alike."""
    paths = {kind: _copy(folder, kind, backlog) for kind in ("small", *_KINDS)}
    claimers = {kind: claimer(path) for kind, path in paths.items()}
    singly: dict[str, list[float]] = {kind: [] for kind in paths}
    batched: dict[str, list[float]] = {kind: [] for kind in paths}
    claimed: dict[str, list[str]] = {kind: [] for kind in paths}
    for want, times, taken in ((1, claims, singly), (_BATCH, batches, batched)):
        for _ in range(times):
            for kind, claim in claimers.items():
                start = time.perf_counter()
                ids = claim(want)
                taken[kind].append((time.perf_counter() - start) * 1e6 / want)
                claimed[kind] += ids
    values = _against_small("one", singly) | _against_small("many", batched)
    return Sample(values, _each_once(paths, claimed, claims + batches * _BATCH))


def _copy(folder: str, kind: str, backlog: int) -> str:
    from benchmarks import seeds

    wanted = None if kind == "small" else kind
    seed = seeds.shared(
        folder, f"{kind}-{backlog}.db", lambda path: seeds.backlog(path, wanted, backlog, _READY)
    )
    return shutil.copy(seed, str(Path(folder) / f"{kind}.db"))


def _against_small(key: str, taken: dict[str, list[float]]) -> dict[str, float]:
    medians = {kind: statistics.median(times) for kind, times in taken.items()}
    small = medians.pop("small")
    return {key: small} | {f"{key}_{kind}": median / small for kind, median in medians.items()}


def _each_once(paths: dict[str, str], claimed: dict[str, list[str]], expected: int) -> str:
    for kind, path in paths.items():
        connection = sqlite3.connect(path)
        running = connection.execute("SELECT count(*) FROM jobs WHERE status = 'running'").fetchone()[0]
        connection.close()
        if not running == len(claimed[kind]) == len(set(claimed[kind])) == expected:
            raise AssertionError(
                f"{kind}: {expected} claimed, {len(set(claimed[kind]))} jobs, {running} running"
            )
    return f"{len(paths)} databases, {expected:,} claims in each, of as many jobs"


def peer_claims(folder: str, backlog: int, claims: int) -> Sample:
    taken: dict[str, list[float]] = {"small": [], "waiting": []}
    for kind, count in (("small", _READY), ("waiting", backlog + _READY)):
        path = str(Path(folder) / f"{kind}.db")
        api.open_queue(path)
        seeds051.waiting(path, count)
        worker = Worker(path)
        for _ in range(claims):
            start = time.perf_counter()
            job = worker._claim_job()
            taken[kind].append((time.perf_counter() - start) * 1e6)
            if job is None:
                raise AssertionError(f"{kind}: nothing was claimed")
    return Sample(_against_small("one", taken))
