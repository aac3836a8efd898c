"""K11 at length: the disk is full again and again while everybody works."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import ledger
import pytest
import torture_jobs
from rig import Rig
from surroundings import fill, room, small_disk

from gigq import Job
from gigq.errors import StoreFull

pytestmark = pytest.mark.torture
LARGE = "x" * 20_000


@pytest.fixture
def small_rig(tmp_path: Path) -> Iterator[Rig]:
    with small_disk(tmp_path) as point:
        rig = Rig(tmp_path, home=point)
        yield rig
        rig.close()


def submit(rig: Rig, number: int) -> bool:
    """Whether a job found room."""
    function = torture_jobs.fail_first if number % 20 == 0 else torture_jobs.work
    job = Job("work", function, params={"milliseconds": 1}, description=LARGE if number % 3 else "")
    with rig._on_record():
        ledger.write("submit", job.id)
        try:
            rig.queue.submit(job)
        except StoreFull:
            return False
        ledger.write("acked", job.id)
    return True


def test_a_disk_that_is_full_thirty_times_loses_nothing(small_rig: Rig) -> None:
    rig = small_rig
    workers = [rig.worker(concurrency=2) for _ in range(2)]
    for worker in workers:
        rig.await_up(worker)
    refused = 0
    for number in range(30):
        for _ in range(rig.dice.randint(5, 20)):
            refused += not submit(rig, number)
        ballast = fill(rig.home)
        until = time.monotonic() + rig.dice.uniform(0.2, 2)
        while time.monotonic() < until:
            refused += not submit(rig, rig.dice.randrange(100))
            assert rig.queue.stats()["total"] == len(rig.queue.list_jobs(limit=10_000))
        ballast.unlink()
        room(rig.home, 8 + number)  # what is finished stays, for the oracle to see
    room(rig.home, 64)
    rig.await_all_ended()
    rig.stop(*workers)
    for worker in workers:
        assert worker.is_alive is False
        assert "Traceback" not in worker.said(), rig.told(worker.said())
    total = rig.queue.stats()["total"]
    print(rig.told(f"{total} jobs, {refused} submits refused"))
    assert refused > 30
    rig.judge()
