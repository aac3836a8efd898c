"""A thread cannot be stopped: its run is settled, its slot replaced, its retry waits, its late return is refused."""

from __future__ import annotations

import torture_jobs
from rig import ClockFile, Process, Rig


def test_a_run_that_ignores_its_timeout_is_settled_and_its_slot_replaced(rig: Rig) -> None:
    job = rig.submit(
        torture_jobs.ignore_everything, params={"path": str(rig.folder / "go")}, timeout=0.3, max_attempts=1
    )
    worker = rig.worker()
    rig.await_line("start", job)
    shown = rig.await_status(job)
    assert shown["status"] == "timeout"
    assert "TimeoutError: ran past its timeout of 0.3 s" in shown["error"]
    # Its thread goes on; the worker has one slot, and works.
    other = rig.submit(torture_jobs.work)
    rig.await_status(other, "completed")
    (rig.folder / "go").touch()
    rig.await_line("end", job)
    last = rig.submit(torture_jobs.work)
    rig.await_status(last, "completed")
    shown = rig.status(job)
    assert (shown["status"], shown["result"]) == ("timeout", None)
    assert [run["status"] for run in shown["executions"]] == ["timeout"]
    rig.stop(worker)
    rig.judge()


def overdue(rig: Rig) -> tuple[str, ClockFile, Process]:
    """A job that has run past its timeout of a thousand seconds, and goes on."""
    clock = ClockFile(rig.folder / "clock")
    worker = rig.worker(clock=str(clock.path), polling=0.02)
    job = rig.submit(torture_jobs.ignore_everything, params={"path": str(rig.folder / "go")}, timeout=1000)
    rig.await_line("start", job)
    clock.turn(1001)
    rig.await_status(job, "pending")
    return job, clock, worker


def test_the_retry_waits_until_the_thread_has_ended(rig: Rig) -> None:
    job, _, worker = overdue(rig)
    other = rig.submit(torture_jobs.work)
    rig.await_status(other, "completed")
    assert len(rig.starts(job)) == 1
    (rig.folder / "go").touch()
    second = rig.await_line("start", job, 2)
    assert second.at > rig.await_line("end", job).at
    shown = rig.await_status(job, "completed")
    assert shown["result"] == second.execution
    assert [run["status"] for run in shown["executions"]] == ["timeout", "completed"]
    rig.stop(worker)


def test_the_retry_waits_at_most_another_timeout(rig: Rig) -> None:
    job, clock, worker = overdue(rig)
    clock.turn(1001)
    second = rig.await_line("start", job, 2)
    assert not rig.lines("end")
    (rig.folder / "go").touch()
    rig.await_line("end", job, 2)
    shown = rig.await_status(job, "completed")
    assert shown["result"] == second.execution
    assert [run["status"] for run in shown["executions"]] == ["timeout", "completed"]
    rig.stop(worker)


def test_the_watchdog_of_process_one_settles_a_run_at_its_time(rig: Rig) -> None:
    job = rig.submit(
        torture_jobs.ignore_everything, params={"path": str(rig.folder / "go")}, timeout=0.3, max_attempts=1
    )
    worker = rig.worker(once=True)
    rig.await_line("start", job)
    assert rig.await_status(job)["status"] == "timeout"
    assert worker.is_alive
    (rig.folder / "go").touch()
    assert worker.wait() == 0, worker.said()
    assert len(rig.lines("worked")) == 1
    shown = rig.status(job)
    assert (shown["status"], shown["result"]) == ("timeout", None)
    assert [run["status"] for run in shown["executions"]] == ["timeout"]
    rig.judge()


def test_the_retry_of_process_one_can_go_once_it_has_returned(rig: Rig) -> None:
    job = rig.submit(torture_jobs.ignore_everything, params={"path": str(rig.folder / "go")}, timeout=0.3)
    worker = rig.worker(once=True)
    rig.await_line("start", job)
    rig.await_status(job, "pending")
    (rig.folder / "go").touch()
    assert worker.wait() == 0, worker.said()
    assert rig.status(job)["retry_after"] is None
    second = rig.worker(once=True)
    assert second.wait() == 0, second.said()
    shown = rig.status(job)
    assert [run["status"] for run in shown["executions"]] == ["timeout", "completed"]
    rig.judge()
