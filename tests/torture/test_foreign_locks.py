"""A worker beside somebody who holds the write lock: it goes on serving timeouts, and what it knows is kept."""

from __future__ import annotations

import time

import torture_jobs
from rig import Rig, foreign_lock


def test_timeouts_are_served_while_nothing_can_be_written(rig: Rig) -> None:
    worker = rig.worker()
    rig.await_up(worker)
    job = rig.submit(
        torture_jobs.wait_for, params={"path": str(rig.folder / "never")}, timeout=1.5, max_attempts=1
    )
    rig.await_line("start", job)
    with foreign_lock(rig):
        rig.await_line("stopped", job)
    shown = rig.await_status(job)
    assert shown["status"] == "timeout"
    assert [run["status"] for run in shown["executions"]] == ["timeout"]
    rig.stop(worker)
    rig.judge()


def test_a_rescue_that_cannot_be_written_holds_up_nothing_else(rig: Rig) -> None:
    orphan = rig.submit(torture_jobs.wait_for, params={"path": str(rig.folder / "go")})
    dead = rig.worker()
    rig.await_line("start", orphan)
    worker = rig.worker()
    rig.await_up(worker)
    job = rig.submit(
        torture_jobs.wait_for, params={"path": str(rig.folder / "never")}, timeout=2.0, max_attempts=1
    )
    started = rig.await_line("start", job)
    with foreign_lock(rig):
        rig.kill(dead)
        stopped = rig.await_line("stopped", job)
        # The rescue waits up to busy_timeout, 30 s; the timeout must not wait for it.
        assert stopped.at - started.at < 20e9
    assert rig.await_status(job)["status"] == "timeout"
    (rig.folder / "go").touch()
    shown = rig.await_status(orphan, "completed")
    assert shown["crashes"] == 1
    rig.stop(worker)
    rig.judge()


def test_what_finished_meanwhile_is_stored_when_the_lock_goes_away(rig: Rig) -> None:
    worker = rig.worker(concurrency=4)
    rig.await_up(worker)
    jobs = [rig.submit(torture_jobs.wait_for, params={"path": str(rig.folder / "go")}) for _ in range(4)]
    for job in jobs:
        rig.await_line("start", job)
    with foreign_lock(rig):
        (rig.folder / "go").touch()
        for job in jobs:
            rig.await_line("end", job)
        assert all(rig.status(job)["status"] == "running" for job in jobs)
        time.sleep(0.5)  # long enough for a worker that gives up to do so
    for job in jobs:
        shown = rig.await_status(job, "completed")
        assert [run["status"] for run in shown["executions"]] == ["completed"]
    rig.stop(worker)
    rig.judge()
    assert "locked" not in worker.said()
