"""K13: the wall clock goes back an hour and forward a day. Nobody is taken for dead, and no retry is lost."""

from __future__ import annotations

import random

import pytest
import torture_jobs
from rig import ClockFile, Rig, wait_until

HOUR, DAY = 3600, 24 * 3600


@pytest.fixture
def clock(rig: Rig) -> ClockFile:
    return ClockFile(rig.folder / "clock")


def await_turns(rig: Rig, number: int = 2) -> None:
    """Until every worker has looked after the others so many times more."""
    alive = [process for process in rig.processes if process.role == "worker" and process.is_alive]
    before = {worker.pid: turns(rig, worker.pid) for worker in alive}
    wait_until(
        lambda: all(turns(rig, worker.pid) >= before[worker.pid] + number for worker in alive),
        "the housekeeping",
    )


def turns(rig: Rig, pid: int) -> int:
    return sum(line.pid == pid for line in rig.lines("upkeep"))


@pytest.mark.parametrize("jump", [-HOUR, DAY])
def test_a_jump_of_the_clock_ends_no_run_and_kills_no_worker(rig: Rig, clock: ClockFile, jump: int) -> None:
    workers = [rig.worker(clock=str(clock.path), upkeep_every=0.05, rescue_grace=0.05) for _ in range(2)]
    for worker in workers:
        rig.await_up(worker)
    jobs = [
        rig.submit(torture_jobs.wait_for, params={"path": str(rig.folder / "go")}, timeout=timeout)
        for timeout in (120, None)
    ]
    for job in jobs:
        rig.await_line("start", job)
    clock.jump(jump)
    await_turns(rig)
    clock.jump(0)
    await_turns(rig)
    (rig.folder / "go").touch()
    for job in jobs:
        shown = rig.await_status(job, "completed")
        assert [run["status"] for run in shown["executions"]] == ["completed"]
    rig.stop(*workers)
    rig.judge()


def test_a_timeout_is_told_by_a_clock_that_does_not_jump(rig: Rig, clock: ClockFile) -> None:
    worker = rig.worker(clock=str(clock.path))
    rig.await_up(worker)
    job = rig.submit(
        torture_jobs.wait_for, params={"path": str(rig.folder / "never")}, timeout=0.5, max_attempts=1
    )
    rig.await_line("start", job)
    clock.jump(-HOUR)
    assert rig.await_status(job)["status"] == "timeout"
    rig.stop(worker)
    rig.judge()


def test_a_retry_survives_the_jumps_and_goes_when_its_time_comes(rig: Rig, clock: ClockFile) -> None:
    worker = rig.worker(clock=str(clock.path), polling=0.05)
    rig.await_up(worker)
    job = rig.submit(torture_jobs.fail_first, retry_delay=600)
    wait_until(
        lambda: rig.status(job)["executions"] and rig.status(job)["retry_after"], "the first attempt to fail"
    )
    clock.jump(-HOUR)
    later = rig.submit(torture_jobs.work)
    rig.await_status(later, "completed")
    assert rig.status(job)["status"] == "pending"
    clock.jump(DAY)
    shown = rig.await_status(job, "completed")
    assert [run["status"] for run in shown["executions"]] == ["failed", "completed"]
    clock.jump(0)
    rig.stop(worker)
    rig.judge()


@pytest.mark.torture
def test_a_clock_that_jumps_all_the_time_changes_nothing(rig: Rig, clock: ClockFile) -> None:
    dice = random.Random(rig.seed)
    workers = [
        rig.worker(clock=str(clock.path), upkeep_every=0.05, rescue_grace=0.05, concurrency=3, polling=0.1)
        for _ in range(3)
    ]
    submitter = rig.submitter(jobs=3_000)
    while submitter.is_alive or rig.queue.stats()["pending"] > 100:
        clock.jump(dice.choice([-DAY, -HOUR, -1, 0, 1, HOUR, DAY]))
        await_turns(rig, 1)
    clock.jump(DAY)
    rig.await_all_ended(120)
    clock.jump(0)
    rig.stop(*workers)
    rig.judge()
    assert not any(
        run["status"] in ("crashed", "timeout") for runs in rig.evidence().runs.values() for run in runs
    )
