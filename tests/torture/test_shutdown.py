"""K8 on threads: what a signal, stop() and the end of the grace do to jobs that run, and to those that wait."""

from __future__ import annotations

import signal
from typing import Any

import pytest
import torture_jobs
from rig import Rig, foreign_lock, wait_until
from stops import assert_released_and_done, send


def running_job(rig: Rig, name: str = "go", **options: Any) -> tuple[str, Any]:
    """A job that runs until the file is touched."""
    path = rig.folder / name
    return rig.submit(torture_jobs.wait_for, params={"path": str(path)}, **options), path


def test_sigterm_finishes_what_runs_and_leaves_the_rest_uncharged(rig: Rig) -> None:
    quick = [rig.submit(torture_jobs.work, params={"milliseconds": 0}, priority=9) for _ in range(30)]
    running = [running_job(rig, priority=1)[0] for _ in range(2)]
    waiting = [rig.submit(torture_jobs.work) for _ in range(30)]
    worker = rig.worker(concurrency=2)
    for job in running:
        rig.await_line("start", job)
    worker.signal(signal.SIGTERM)
    rig.await_line("stopping")
    wait_until(lambda: rig.queue.stats()["running"] == 2, "what was claimed ahead to be given back")
    (rig.folder / "go").touch()
    assert worker.wait() == 0, worker.said()
    for job in [*quick, *running]:
        shown = rig.status(job)
        assert (shown["status"], shown["attempts"]) == ("completed", 1)
    for job in waiting:
        shown = rig.status(job)
        assert (shown["status"], shown["attempts"], shown["executions"]) == ("pending", 0, [])
        assert not rig.starts(job)
    other = rig.worker()
    rig.await_all_ended()
    rig.stop(other)
    rig.judge()


def test_the_end_of_a_grace_releases_what_runs_and_ends_the_process_with_0(rig: Rig) -> None:
    job, _ = running_job(rig)
    last, _ = running_job(rig, max_attempts=1)
    worker = rig.worker(stop_on_usr1=0.3, concurrency=2)
    rig.await_line("start", job)
    rig.await_line("start", last)
    send(rig, worker, signal.SIGUSR1)
    assert worker.wait() == 0, worker.said()
    shown = rig.status(job)
    assert (shown["status"], shown["attempts"], shown["crashes"]) == ("pending", 0, 0)
    assert [run["status"] for run in shown["executions"]] == ["released"]
    shown = rig.status(last)
    assert shown["status"] == "failed"
    assert "while it ran; not started again because max_attempts=1" in shown["error"]
    assert_released_and_done(rig, job)


@pytest.mark.parametrize("seams", [False, True])
def test_sigterm_with_a_grace_releases_what_runs_too(rig: Rig, seams: bool) -> None:
    job, _ = running_job(rig)
    worker = rig.worker(grace=0.3, seams=seams)
    rig.await_line("start", job)
    send(rig, worker, signal.SIGTERM)
    assert worker.wait() == 0, worker.said()
    assert_released_and_done(rig, job)


@pytest.mark.parametrize("seams", [False, True])
def test_one_interrupt_lets_the_running_job_finish(rig: Rig, seams: bool) -> None:
    job, go = running_job(rig)
    rest = rig.submit(torture_jobs.work)
    worker = rig.worker(seams=seams)
    rig.await_line("start", job)
    worker.signal(signal.SIGINT)
    rig.await_line("stopping")
    go.touch()
    assert worker.wait() == 0, worker.said()
    assert rig.status(job)["status"] == "completed"
    assert (rig.status(rest)["status"], rig.status(rest)["attempts"]) == ("pending", 0)
    assert len(rig.lines("start")) == 1


def test_a_second_interrupt_ends_it_at_once(rig: Rig) -> None:
    job, _ = running_job(rig)
    worker = rig.worker()
    rig.await_line("start", job)

    def interrupted_again() -> bool:
        send(rig, worker, signal.SIGINT)
        return not worker.is_alive

    wait_until(interrupted_again, "the worker to end")
    assert worker.wait() == 0, worker.said()
    assert_released_and_done(rig, job)


def test_an_interrupt_ends_the_function_of_process_one_and_charges_nothing(rig: Rig) -> None:
    job = rig.submit(torture_jobs.slow_at_first, params={"seconds": 120})
    worker = rig.worker(once=True)
    rig.await_line("start", job)
    send(rig, worker, signal.SIGINT)
    assert worker.wait() != 0
    assert "KeyboardInterrupt" in worker.said()
    shown = rig.status(job)
    assert (shown["status"], shown["attempts"]) == ("pending", 0)
    assert_released_and_done(rig, job)


def test_sigterm_beside_a_foreign_lock_waits_for_it_and_claims_nothing(rig: Rig) -> None:
    job, go = running_job(rig)
    rest = [rig.submit(torture_jobs.work) for _ in range(5)]
    worker = rig.worker()
    rig.await_line("start", job)
    with foreign_lock(rig):
        worker.signal(signal.SIGTERM)
        rig.await_line("stopping")
        go.touch()
        rig.await_line("end", job)
        assert rig.status(job)["status"] == "running"
        assert worker.is_alive
    assert worker.wait() == 0, worker.said()
    shown = rig.status(job)
    assert (shown["status"], shown["attempts"]) == ("completed", 1)
    for waiting in rest:
        assert (rig.status(waiting)["status"], rig.status(waiting)["attempts"]) == ("pending", 0)
    assert len(rig.lines("start")) == 1


def test_a_grace_that_ends_beside_a_foreign_lock_ends_the_process_and_charges_nothing(rig: Rig) -> None:
    job = rig.submit(
        torture_jobs.slow_at_first, params={"seconds": 120}
    )  # no exception reaches a sleeping thread
    worker = rig.worker(grace=0.3)
    rig.await_line("start", job)
    with foreign_lock(rig):
        send(rig, worker, signal.SIGTERM)
        assert worker.wait() == 1, worker.said()
        assert rig.status(job)["status"] == "running"
    assert_released_and_done(rig, job)


def test_an_idle_worker_beside_a_foreign_lock_ends_at_sigterm(rig: Rig) -> None:
    worker = rig.worker()
    rig.await_up(worker)
    with foreign_lock(rig):
        worker.signal(signal.SIGTERM)
        # Its farewell cannot be written; the life lock says it.
        assert worker.wait() == 0, worker.said()
    other = rig.worker()
    rig.await_up(other)
    rig.stop(other)
    assert not rig.queue._store.workers()
