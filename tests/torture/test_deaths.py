"""K9: kill -9 of a worker. Its life lock is free at once, and whoever is there takes its jobs over."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable

import pytest
import torture_jobs
from rig import PATIENCE, Rig, wait_until

from gigq import Job, JobQueue, Worker


def test_an_idle_worker_takes_over_from_a_dead_one_at_once(rig: Rig) -> None:
    job = rig.submit(torture_jobs.wait_for, params={"path": str(rig.folder / "go")}, timeout=None)
    first = rig.worker()
    rig.await_line("start", job)
    idle = rig.worker()
    rig.await_up(idle)
    rig.kill(first)
    second = rig.await_line("start", job, 2)
    assert second.pid == idle.pid
    (rig.folder / "go").touch()
    shown = rig.await_status(job, "completed")
    assert [run["status"] for run in shown["executions"]] == ["crashed", "completed"]
    assert (shown["attempts"], shown["crashes"]) == (1, 1)
    rig.stop(idle)
    rig.judge()


def test_what_a_dead_worker_had_claimed_and_not_started_is_not_charged(rig: Rig) -> None:
    # Quick jobs first, so that it has learned to claim ahead; then one that keeps the rest waiting behind it.
    for _ in range(40):
        rig.submit(torture_jobs.work, params={"milliseconds": 0}, priority=2)
    blocker = rig.submit(torture_jobs.wait_for, params={"path": str(rig.folder / "go")}, priority=1)
    rest = [rig.submit(torture_jobs.work, params={"milliseconds": 0}) for _ in range(40)]
    first = rig.worker()
    rig.await_line("start", blocker)
    rig.kill(first)
    (rig.folder / "go").touch()
    second = rig.worker(concurrency=2)
    rig.await_all_ended()
    rig.stop(second)
    rig.judge()
    assert rig.status(blocker)["crashes"] == 1
    for job in rest:
        shown = rig.status(job)
        assert (shown["status"], shown["attempts"], shown["crashes"]) == ("completed", 1, 0)


@pytest.mark.parametrize("how", ["fork", "exec"])
def test_a_process_that_a_job_has_started_does_not_keep_a_dead_worker_alive(rig: Rig, how: str) -> None:
    job = rig.submit(
        torture_jobs.work_beside_a_child, params={"path": str(rig.folder / "go"), "how": how}, timeout=None
    )
    first = rig.worker()
    child = rig.await_line("child", job).run
    try:
        rig.kill(first)
        os.kill(child, 0)  # it is there, and has inherited what it has inherited
        second = rig.worker()
        wait_until(lambda: rig.lines("child")[1:], "the job to be run again")
        os.kill(child, 0)
        (rig.folder / "go").touch()
        assert rig.await_status(job, "completed")["crashes"] == 1
        rig.stop(second)
    finally:
        for line in rig.lines("child"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(line.run, signal.SIGKILL)
    rig.judge()


def test_a_worker_that_died_idle_leaves_nothing(rig: Rig) -> None:
    first = rig.worker()
    rig.await_up(first)
    rig.kill(first)
    second = rig.worker()
    wait_until(lambda: len(rig.queue._store.workers()) == 1, "the dead one to be retired")
    rig.stop(second)
    rig.judge()


def test_process_one_takes_over_too(rig: Rig) -> None:
    job = rig.submit(torture_jobs.slow_at_first, params={"seconds": 120}, timeout=None)
    first = rig.worker(once=True)
    rig.await_line("start", job)
    rig.kill(first)
    second = rig.worker(once=True)
    assert second.wait() == 0, second.said()
    assert rig.status(job)["status"] == "completed"
    rig.judge()


def test_two_workers_in_one_process_are_not_dead_to_each_other(db: str) -> None:
    queue = JobQueue(db)
    go = threading.Event()
    _waits.append(go)
    workers = [Worker(db, f"twin-{n}", polling_interval=0.1) for n in range(2)]
    job = Job(name="wait", function=_wait)
    threads = [threading.Thread(target=worker.start) for worker in workers]
    try:
        for thread in threads:
            thread.start()
        wait_until(lambda: len(queue._store.workers()) == 2, "both to be seated")
        queue.submit(job)
        wait_until(lambda: queue.get_status(job.id)["status"] == "running", "it to run")
        # A third one that comes and goes looks after the dead, and finds none.
        third = Worker(db)
        assert not third.process_one()
        third.close()
        assert queue.get_status(job.id)["status"] == "running"
    finally:
        go.set()
        wait_until(lambda: queue.get_status(job.id)["status"] == "completed", "it to end")
        for worker in workers:
            worker.stop()
        for thread in threads:
            thread.join(PATIENCE)
        _waits.remove(go)
    assert [run["status"] for run in queue.get_status(job.id)["executions"]] == ["completed"]


_waits: list[threading.Event] = []


def _wait() -> None:
    assert _waits[-1].wait(PATIENCE)


@pytest.mark.parametrize("deaf", [False, True])
def test_an_idle_worker_hears_of_a_job_or_looks_by_itself(
    queue: JobQueue, make_worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch, deaf: bool
) -> None:
    if deaf:  # as where there is no inotify
        monkeypatch.setattr("gigq.store.watch._inotify", lambda path: None)
        queue = JobQueue(queue.db_path)  # by a clock that goes
    worker = make_worker(queue, polling_interval=0.05)
    thread = threading.Thread(target=worker.start)
    thread.start()
    try:
        wait_until(queue._store.workers, "it to be seated")
        for _ in range(3):
            job = queue.submit(Job(name="later", function="jobs.nothing"))
            wait_until(lambda: queue.stats()["pending"] + queue.stats()["running"] == 0, "it to run")
            assert queue.get_status(job)["status"] == "completed"
    finally:
        worker.stop()
        thread.join(PATIENCE)
