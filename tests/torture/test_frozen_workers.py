"""K4: a worker is frozen past its job's timeout and the grace of its peers, and thawed: its late word is refused."""

from __future__ import annotations

import signal

import pytest
import torture_jobs
from rig import QUICK, Process, Rig


def freeze_one(rig: Rig, workers: list[Process], timeout: float = 0.25) -> bool:
    """One round; False if the worker was faster than the frost, so that nothing was late."""
    job = rig.submit(torture_jobs.slow_at_first, params={"seconds": timeout * 1.2}, timeout=timeout)
    first = rig.await_line("start", job)
    frozen = next(worker for worker in workers if worker.pid == first.pid)
    frozen.signal(signal.SIGSTOP)
    try:
        if rig.status(job)["executions"][0]["status"] != "running":
            return False
        second = rig.await_line("start", job, 2)
        shown = rig.await_status(job, "completed")
        assert second.pid != frozen.pid
        assert shown["executions"][0]["status"] == "timeout"
    finally:
        frozen.signal(signal.SIGCONT)
    rig.await_superseded(job)
    shown = rig.status(job)
    assert shown["status"] == "completed"
    assert shown["result"] == second.execution
    assert shown["attempts"] == 2
    assert [run["status"] for run in shown["executions"]] == ["superseded", "completed"]
    return True


def freeze(rig: Rig, times: int) -> None:
    workers = [rig.worker(**QUICK) for _ in range(2)]
    for worker in workers:
        rig.await_up(worker)
    late = rounds = 0
    while late < times:
        rounds += 1
        late += freeze_one(rig, workers)
        assert rounds <= 3 * times + 5, rig.told(f"only {late} of {rounds} were late")
    rig.await_all_ended()
    rig.stop(*workers)
    rig.judge()
    print(rig.told(f"{late} of {late} late writes refused"))


def test_the_late_word_of_a_frozen_worker_is_refused_and_marked(rig: Rig) -> None:
    freeze(rig, 5)


def test_a_frozen_batch_is_refused_as_a_whole_and_what_else_it_ran_stands(rig: Rig) -> None:
    frozen = rig.worker(concurrency=4, **QUICK)
    rig.await_up(frozen)
    late = [
        rig.submit(torture_jobs.slow_at_first, params={"seconds": 2.4}, timeout=2.0, max_attempts=2)
        for _ in range(3)
    ]
    good = rig.submit(torture_jobs.wait_for, params={"path": str(rig.folder / "go")}, timeout=None)
    for job in [*late, good]:
        rig.await_line("start", job)
    frozen.signal(signal.SIGSTOP)
    peer = rig.worker(**QUICK)
    for job in late:
        rig.await_status(job, "completed")
    assert rig.status(good)["status"] == "running"
    (rig.folder / "go").touch()
    frozen.signal(signal.SIGCONT)
    shown = rig.await_status(good, "completed")
    assert [run["status"] for run in shown["executions"]] == ["completed"]
    for job in late:
        rig.await_superseded(job)
    rig.stop(frozen, peer)
    rig.judge()


def test_a_frozen_process_one_is_refused_too(rig: Rig) -> None:
    job = rig.submit(torture_jobs.slow_at_first, params={"seconds": 1.2}, timeout=1.0)
    frozen = rig.worker(once=True)
    rig.await_line("start", job)
    frozen.signal(signal.SIGSTOP)
    peer = rig.worker(**QUICK)
    rig.await_status(job, "completed")
    frozen.signal(signal.SIGCONT)
    assert frozen.wait() == 0, frozen.said()
    shown = rig.status(job)
    assert [run["status"] for run in shown["executions"]] == ["superseded", "completed"]
    rig.stop(peer)
    rig.judge()


@pytest.mark.torture
def test_two_hundred_of_two_hundred_late_words_are_refused(rig: Rig) -> None:
    freeze(rig, 200)
