"""Submits and works, to be cut off: ``python power_subject.py '{"db": ..., ...}'``; see :class:`Options`.

What it knows to be stored it says in the ledger, whose writes are in the same record as those on the database.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import ledger
import msgspec
import mutations
import torture_jobs

from gigq import Job, JobQueue, Worker
from gigq.store import places, sqlite
from gigq.store.base import Store
from gigq.store.connections import Durability
from gigq.store.rows import Exchanged


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be done, and how."""

    db: str
    seed: int
    jobs: int
    durability: Durability = "full"
    checkpoint_at: int = 150
    """Pages in the WAL that make a commit copy them back; so few that it happens often."""
    mounts: str | None = None
    """A file that says what is mounted, in place of the kernel."""
    work: bool = True
    without: list[str] = []


def _tell_ends() -> None:
    real = Store.exchange

    def exchange(self: Store, settlements: list[Any], *words: Any, **options: Any) -> Exchanged:
        done = real(self, settlements, *words, **options)
        failed = {one.lease.lease for one in (*done.lost, *done.refused)}
        for one in settlements:
            if one.run is not None and one.lease.lease not in failed:
                ledger.write(f"settled:{one.status}", one.lease.id, one.lease.runs + 1, one.lease.lease)
        return done

    Store.exchange = exchange  # type: ignore[method-assign, assignment]


def _group(dice: random.Random) -> list[Job]:
    """Jobs that are submitted together: one, a few, or a small graph."""
    shape = dice.random()
    jobs: list[Job] = []
    for _ in range(1 if shape < 0.6 else dice.randint(2, 6)):
        fails = dice.random() < 0.1
        jobs.append(
            Job(
                name="fails first" if fails else "work",
                function=torture_jobs.fail_first if fails else torture_jobs.work,
                params={"milliseconds": 0},
                description="x" * dice.choice([0, 10, 3000]),  # some pages, and overflow
                dependencies=[jobs[0].id] if shape > 0.8 and jobs else [],
                max_crashes=100,
            )
        )
    return jobs


def _submit(queue: JobQueue, options: Options) -> None:
    dice = random.Random(options.seed)
    left = options.jobs
    while left > 0:
        group = _group(dice)
        for job in group:
            ledger.write("submit", job.id)
        queue.submit_many(group)
        for job in group:
            ledger.write("acked", job.id)
        left -= len(group)
        if dice.random() < 0.1 and queue.cancel(group[-1].id):
            ledger.write("settled:cancelled", group[-1].id)


def _work(options: Options) -> None:
    _tell_ends()
    worker = Worker(JobQueue(options.db, durability=options.durability), concurrency=2)
    worker.start()
    worker.close()


def main(options: Options) -> None:
    sqlite._CHECKPOINT_AT = options.checkpoint_at
    for name in options.without:
        mutations.install(name)
    if options.mounts is not None:
        places._MOUNTS = Path(options.mounts)
    child = os.fork() if options.work else 0
    if options.work and child == 0:
        _work(options)
        return
    queue = JobQueue(options.db, durability=options.durability)
    _submit(queue, options)
    if options.work:
        while (stats := queue.stats())["pending"] + stats["running"]:
            time.sleep(0.005)
        os.kill(child, signal.SIGTERM)
        assert os.waitpid(child, 0)[1] == 0
    queue.close()


if __name__ == "__main__":
    main(msgspec.convert(json.loads(sys.argv[1]), Options))
