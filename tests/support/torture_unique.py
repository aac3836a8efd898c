"""A submitter of unique jobs in a process of its own: ``python torture_unique.py '{"db": ..., ...}'``; see :class:`Options`.

Every job is announced; every answer is written down: ``acked`` with a job's own id, ``met`` with that of another, and
``refused``, for which the message names one.
"""

from __future__ import annotations

import json
import random
import sys
import time

import ledger
import torture_jobs
from msgspec import Struct, convert

from gigq import DuplicateJob, Job, JobQueue, Unique
from gigq.unique import CONFLICT_POLICIES


class Options(Struct, forbid_unknown_fields=True):
    """What can be asked of it."""

    db: str
    seed: int
    jobs: int
    keys: int
    states: list[str]
    """In which a job keeps its key."""
    longest: float = 2.0
    """Milliseconds of the longest job."""
    pause: float = 0.0
    """Milliseconds of the longest pause between two submits."""


def main(options: Options) -> None:
    dice = random.Random(options.seed)
    queue = JobQueue(options.db, durability="normal")
    ledger.write("hello")
    for _ in range(options.jobs):
        policy = dice.choice(CONFLICT_POLICIES[:-1])  # "debounce" would let nothing run before the end
        rules = Unique(f"key {dice.randrange(options.keys)}", states=options.states, on_conflict=policy)
        function = torture_jobs.fail_first if dice.random() < 0.3 else torture_jobs.work
        job = Job(
            "unique",
            function,
            {"milliseconds": dice.uniform(0, options.longest)},
            max_crashes=100,
            unique=rules,
        )
        time.sleep(dice.uniform(0, options.pause) / 1000)
        ledger.write("submit", job.id)
        try:
            answer = queue.submit(job)
        except DuplicateJob:
            ledger.write("refused", job.id)
        else:
            ledger.write("acked" if answer == job.id else "met", answer)
    queue.close()


if __name__ == "__main__":
    main(convert(json.loads(sys.argv[1]), Options))
