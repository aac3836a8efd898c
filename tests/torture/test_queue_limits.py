"""The limit of a queue holds over all workers, at any instant, while they are killed and their jobs come again."""

from __future__ import annotations

import pytest
import torture_jobs
from overlaps import most_at_once
from rig import Rig


def torture(rig: Rig, jobs: int, kills: int, limit: int) -> None:
    """Workers with room for more than the limit; some are killed and started again."""
    rig.queue.limit("default", limit)
    workers = [rig.worker(concurrency=4) for _ in range(3)]
    for _ in range(jobs):
        rig.submit(torture_jobs.work, params={"milliseconds": 4}, max_crashes=1000)
    for number in range(1, kills + 1):
        rig.await_line("start", number=number * jobs // (kills + 1))
        victim = rig.dice.choice(workers)
        rig.kill(victim)
        workers[workers.index(victim)] = rig.again(victim)
    rig.await_all_ended()
    rig.stop(*workers)


def test_no_more_run_than_the_limit_when_workers_are_killed(rig: Rig) -> None:
    torture(rig, jobs=100, kills=2, limit=3)
    rig.judge()
    assert 1 < most_at_once(rig) <= 3


@pytest.mark.torture
@pytest.mark.parametrize("limit", [1, 3])
def test_a_hundred_kills(rig: Rig, limit: int) -> None:
    torture(rig, jobs=20_000, kills=100, limit=limit)
    rig.judge()
    assert most_at_once(rig) == limit
