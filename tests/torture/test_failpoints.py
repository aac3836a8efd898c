"""K3: a process struck at a named point, and what the documentation says must be left of its jobs.

=================================  ==========================================================================
killed at                          the job
=================================  ==========================================================================
submit, before the commit          is not in the queue
submit, after the commit           is in the queue, though its submitter never heard of it
register, before the commit        was never claimed
claim, before the commit           was never claimed
claim, after the commit            goes back uncharged, without a run in its history
run, after the start mark          is charged a crash: its worker cannot tell whether the function had begun
run, after the return              goes back uncharged ("released") and runs again: nobody knew of its result
settle, before the transaction     the same
settle, before the commit          the same
settle, after the commit           is completed and not run again
retire, before the transaction     is completed; the seat is cleared away by others
=================================  ==========================================================================

A disk that fails once at a point inside a transaction, and a pause at any point, change nothing.
"""

from __future__ import annotations

import sqlite3

import pytest
import torture_jobs
from rig import Rig, wait_until


def runs_after_kill(rig: Rig, point: str) -> tuple[list[str], dict[str, object]]:
    """The words in the history of a job whose worker was killed at a point, and the job."""
    job = rig.submit(torture_jobs.work)
    struck = rig.worker(point=point)
    if point.startswith("retire"):
        rig.await_status(job)
        struck.signal(15)
    assert struck.wait() == -9, struck.said()
    rig.record(struck, rig.lines("strike")[0].at, point)
    healthy = rig.worker()
    rig.await_status(job)
    wait_until(lambda: workers_left(rig) == 1, "the dead worker to be retired")
    rig.stop(healthy)
    assert workers_left(rig) == 0
    rig.judge()
    shown = rig.status(job)
    return [run["status"] for run in shown["executions"]], shown


def workers_left(rig: Rig) -> int:
    return len(rig.queue._store.workers())


@pytest.mark.parametrize(
    ("point", "history", "starts"),
    [
        ("register, before the commit", ["completed"], 1),
        ("claim, before the commit", ["completed"], 1),
        ("claim, after the commit", ["completed"], 1),
        ("run, after the start mark", ["crashed", "completed"], 1),
        ("run, after the return", ["released", "completed"], 2),
        ("settle, before the transaction", ["released", "completed"], 2),
        ("settle, before the commit", ["released", "completed"], 2),
        ("settle, after the commit", ["completed"], 1),
        ("retire, before the transaction", ["completed"], 1),
    ],
)
def test_a_worker_killed_at_a_point_leaves_what_is_documented(
    rig: Rig, point: str, history: list[str], starts: int
) -> None:
    words, job = runs_after_kill(rig, point)
    assert job["status"] == "completed"
    assert words == history
    assert len(rig.starts(str(job["id"]))) == starts
    assert job["attempts"] == 1
    assert job["crashes"] == history.count("crashed")


@pytest.mark.parametrize(("point", "there"), [("before", 0), ("after", 1)])
def test_a_submitter_killed_around_its_commit_has_submitted_all_or_nothing(
    rig: Rig, point: str, there: int
) -> None:
    submitter = rig.submitter(jobs=1, point=f"submit, {point} the commit")
    assert submitter.wait() == -9, submitter.said()
    announced = rig.lines("submit")
    assert len(announced) == 1
    assert not rig.lines("acked")
    assert rig.queue.stats()["total"] == there
    assert rig.status(announced[0].job)["exists"] is bool(there)


@pytest.mark.parametrize(
    ("how", "point"),
    [
        ("raise", "claim, before the commit"),
        ("raise", "settle, before the commit"),
        ("sleep", "claim, before the commit"),
        ("sleep", "claim, after the commit"),
        ("sleep", "run, after the return"),
        ("sleep", "settle, before the commit"),
        ("sleep", "settle, after the commit"),
    ],
)
def test_a_disk_that_fails_once_or_a_pause_changes_nothing(rig: Rig, point: str, how: str) -> None:
    jobs = [rig.submit(torture_jobs.work) for _ in range(3)]
    worker = rig.worker(point=point, how=how, concurrency=2)
    for job in jobs:
        rig.await_status(job, "completed")
    rig.stop(worker)
    rig.judge()
    assert len(rig.lines("strike")) == 1
    assert len(rig.lines("start")) == 3


def test_a_rescuer_killed_between_settling_and_retiring_charges_only_once(rig: Rig) -> None:
    job = rig.submit(torture_jobs.wait_for, params={"path": str(rig.folder / "go")})
    first = rig.worker()
    rig.await_line("start", job)
    rig.kill(first)
    rescuer = rig.worker(point="retire, before the transaction")
    assert rescuer.wait() == -9, rescuer.said()
    rig.record(rescuer, rig.lines("strike")[0].at, "retire")
    (rig.folder / "go").touch()
    healthy = rig.worker()
    shown = rig.await_status(job, "completed")
    rig.stop(healthy)
    rig.judge()
    assert shown["crashes"] == 1


def test_a_process_killed_while_it_holds_the_gate_keeps_nobody_out(rig: Rig) -> None:
    rig.submit(torture_jobs.work)
    struck = rig.worker(point="settle, before the commit", how="sleep")
    rig.await_line("strike")  # it sleeps inside its transaction
    rig.kill(struck)
    connection = sqlite3.connect(rig.db)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    finally:
        connection.close()
    rig.submit(torture_jobs.work)
    healthy = rig.worker()
    rig.await_all_ended()
    rig.stop(healthy)
    rig.judge()
