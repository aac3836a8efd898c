"""K16: the limit of a key holds over all workers, at any instant, while they are killed and jobs are cancelled."""

from __future__ import annotations

import pytest
import torture_jobs
from limited import assert_limits_are_sound
from overlaps import most_at_once
from rig import Rig
from stores import Hands

from gigq import Limit
from gigq.clock import SYSTEM


def torture(rig: Rig, jobs: int, kills: int, limit: int) -> None:
    """Workers with room for more than the limit; some are killed and started again, some jobs called off meanwhile."""
    limits = [Limit("one of many", concurrency=limit), Limit("all", concurrency=8)]
    workers = [rig.worker(concurrency=4) for _ in range(3)]
    ids = [
        rig.submit(
            torture_jobs.work, params={"milliseconds": 4}, max_crashes=1000, limit=limits, priority=n % 3
        )
        for n in range(jobs)
    ]
    for number in range(1, kills + 1):
        rig.await_line("start", number=number * jobs // (kills + 2))
        rig.queue.cancel(rig.dice.choice(ids))
        victim = rig.dice.choice(workers)
        rig.kill(victim)
        workers[workers.index(victim)] = rig.again(victim)
    rig.await_all_ended()
    last = rig.submit(torture_jobs.work, params={"milliseconds": 1}, limit=limits)
    rig.await_status(last, "completed")  # nothing that was killed has kept its place
    rig.stop(*workers)
    assert_limits_are_sound(Hands(rig.queue._store, SYSTEM))  # type: ignore[arg-type]


def test_no_more_run_than_a_limit_allows_when_workers_are_killed(rig: Rig) -> None:
    torture(rig, jobs=60, kills=2, limit=3)
    rig.judge()
    assert 1 < most_at_once(rig) <= 3


@pytest.mark.torture
@pytest.mark.parametrize("limit", [1, 3])
def test_a_hundred_kills_leak_nothing(rig: Rig, limit: int) -> None:
    torture(rig, jobs=20_000, kills=100, limit=limit)
    rig.judge()
    assert most_at_once(rig) == limit
