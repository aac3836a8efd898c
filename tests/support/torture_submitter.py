"""A submitter in a process of its own: ``python torture_submitter.py '{"db": ..., ...}'``; see :class:`Options`.

Every job is announced before it is submitted, and acknowledged in the ledger when ``submit()`` has returned.
"""

from __future__ import annotations

import json
import random
import sys
import time

import failpoints
import ledger
import mutations
import torture_jobs
from msgspec import Struct, convert

from gigq import Job, JobQueue


class Options(Struct, forbid_unknown_fields=True):
    """What can be asked of a submitter of the torture."""

    db: str
    seed: int
    jobs: int
    """How many to submit; 0 for as many as ``seconds`` allow."""
    seconds: float = 0.0
    kind: str = "mixed"
    """``mixed`` for everything at random, ``plain`` for one job of no length at a time."""
    longest: float = 20.0
    """Milliseconds of the longest job."""
    point: str | None = None
    how: str = "kill"
    without: list[str] = []


def _group(dice: random.Random, options: Options, size: int) -> list[Job]:
    """Jobs to be submitted together: one, a batch, or a small graph."""
    if options.kind == "plain":
        return [Job(name="plain", function=torture_jobs.work, params={"milliseconds": 0})]
    shape = dice.random()
    if shape < 0.5:
        size = 1
    jobs: list[Job] = []
    for _ in range(size):
        parents = [jobs[0].id, jobs[-1].id] if shape > 0.85 and jobs else []
        fails = dice.random() < 0.03
        jobs.append(
            Job(
                name="fails first" if fails else "work",
                function=torture_jobs.fail_first if fails else torture_jobs.work,
                params={"milliseconds": dice.uniform(1, options.longest)},
                priority=dice.randint(0, 3),
                dependencies=list(dict.fromkeys(parents)),
                max_attempts=1 if not fails and dice.random() < 0.05 else 3,
                max_crashes=100,
            )
        )
    return jobs


def main(options: Options) -> None:
    for name in options.without:
        mutations.install(name)
    if options.point is not None:
        failpoints.install(options.point, options.how)
    dice = random.Random(options.seed)
    queue = JobQueue(options.db)
    ledger.write("hello")
    left = options.jobs
    until = time.monotonic() + options.seconds
    while left > 0 or (options.jobs == 0 and time.monotonic() < until):
        jobs = _group(dice, options, min(left or 1, dice.randint(2, 20)))
        for job in jobs:
            ledger.write("submit", job.id)
        began = time.monotonic_ns()
        queue.submit_many(jobs)
        waited = time.monotonic_ns() - began
        for job in jobs:
            ledger.write("acked", job.id, waited // 1000)
        left -= len(jobs)
    queue.close()


if __name__ == "__main__":
    main(convert(json.loads(sys.argv[1]), Options))
