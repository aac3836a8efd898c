"""K4, K7, K8 and K9 with child processes: timeouts, signals, frost, and the death of the worker."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest
import torture_jobs
from fire import note_own_deaths
from rig import QUICK, Process, Rig, foreign_lock, wait_until
from stops import assert_released_and_done, send

from gigq.worker import family

CHILDREN: dict[str, Any] = {"executor": "process", "kill_grace": 0.3}
RESISTING: list[tuple[Any, str]] = [
    (torture_jobs.resist, "spin"),
    (torture_jobs.resist, "sleep"),
    (torture_jobs.resist, "hold"),
    (torture_jobs.resist, "ignore"),
    (torture_jobs.resist_async, "await"),
    (torture_jobs.resist_async, "swallow"),
    (torture_jobs.resist_async, "block"),
]
RELATED = ("child", "setsid", "daemon")


def is_gone(pid: int) -> bool:
    return family._stat(pid) is None


def await_gone(*pids: int) -> None:
    wait_until(lambda: all(is_gone(pid) for pid in pids), f"{pids} to be gone")


# -- K7: whatever a job does, its timeout ends it ----------------------------------------------------------------


def overstay(rig: Rig, seconds: float) -> list[tuple[str, str]]:
    jobs = [
        (rig.submit(function, params={"how": how}, timeout=seconds, max_attempts=1), how)
        for function, how in RESISTING
    ]
    for how in RELATED:
        here = str(rig.folder / f"{how}.here")
        params = {"path": here, "how": how}
        jobs.append((rig.submit(torture_jobs.family_at, params=params, timeout=seconds, max_attempts=1), how))
    return jobs


def test_every_timeout_ends_its_run_and_leaves_nobody(rig: Rig) -> None:
    jobs = overstay(rig, 1.0)
    others = [rig.submit(torture_jobs.work) for _ in range(50)]
    worker = rig.worker(concurrency=3, **CHILDREN)
    for job, how in jobs:
        shown = rig.await_status(job)
        runs = [run["status"] for run in shown["executions"]]
        # One that shared its process with another that did not stop may have been ended with it: not started again.
        shared = shown["status"] == "failed" and runs == ["released"]
        assert shared or (shown["status"], runs) == ("timeout", ["timeout"]), rig.told(f"{how}: {shown}")
    for job in others:
        assert rig.await_status(job)["crashes"] == 0
    rig.await_all_ended()
    for line in rig.lines("relative"):
        await_gone(line.run)
    rig.stop(worker)
    rig.await_nobody_left()
    note_own_deaths(rig)
    rig.judge()


@pytest.mark.torture
def test_how_long_each_end_takes(rig: Rig) -> None:
    worker = rig.worker(**CHILDREN)
    rig.await_up(worker)
    for job, how in overstay(rig, 1.0):
        rig.await_status(job)
        start, shown = rig.starts(job)[0], rig.status(job)
        await_gone(*(line.run for line in rig.lines("relative")))
        over = (time.monotonic_ns() - start.at) / 1e9
        print(f"{how}: {shown['status']}, over and seen after {over:.2f} s")
        assert shown["status"] == "timeout"
        assert over < 1.0 + 1.0 + 0.3 + 5.0, rig.told(f"{how} took {over}")
    rig.stop(worker)
    rig.await_nobody_left()
    rig.judge()


# -- K8: signals -------------------------------------------------------------------------------------------------


def test_sigterm_with_two_hundred_coroutines_running(rig: Rig) -> None:
    params = {"path": str(rig.folder / "go")}
    jobs = [rig.submit(torture_jobs.wait_until_told, params=params) for _ in range(200)]
    rest = [rig.submit(torture_jobs.breathe) for _ in range(100)]
    worker = rig.worker(concurrency=2, async_slots=100, **CHILDREN)
    rig.await_line("start", number=200)
    worker.signal(signal.SIGTERM)
    rig.await_line("told", number=200)
    wait_until(lambda: rig.queue.stats()["running"] == 200, "what has not started to be given back")
    (rig.folder / "go").touch()
    assert worker.wait() == 0, worker.said()
    for job in jobs:
        shown = rig.status(job)
        assert (shown["status"], shown["attempts"]) == ("completed", 1)
    started = {line.job for line in rig.lines("start")}
    for job in rest:
        assert job not in started
        assert (rig.status(job)["status"], rig.status(job)["attempts"]) == ("pending", 0)
    other = rig.worker(**CHILDREN)
    rig.await_all_ended()
    rig.stop(other)
    rig.await_nobody_left()
    rig.judge()


@pytest.mark.parametrize("function", [torture_jobs.wait_until_told, torture_jobs.wait_until_told_too])
def test_the_end_of_the_grace_releases_what_runs(rig: Rig, function: Any) -> None:
    jobs = [rig.submit(function, params={"path": str(rig.folder / "go")}) for _ in range(2)]
    worker = rig.worker(concurrency=2, grace=0.5, **CHILDREN)
    rig.await_line("start", number=2)
    send(rig, worker, signal.SIGTERM)
    assert worker.wait() == 0, worker.said()
    assert_released_and_done(rig, *jobs, concurrency=2, **CHILDREN)


def interrupt_all(rig: Rig, worker: Process, children: list[int]) -> None:
    """As a terminal does it, and worse: children are in groups of their own."""
    for pid in children:
        os.kill(pid, signal.SIGINT)
    send(rig, worker, signal.SIGINT)


def test_one_interrupt_of_all_lets_what_runs_finish(rig: Rig) -> None:
    jobs = [
        rig.submit(function, params={"path": str(rig.folder / "go")})
        for function in (torture_jobs.wait_until_told, torture_jobs.wait_until_told_too)
    ]
    worker = rig.worker(concurrency=2, **CHILDREN)
    rig.await_line("start", number=2)
    children = rig.children(worker)
    assert len(children) == 2
    interrupt_all(rig, worker, children)
    rig.await_line("told", number=2)
    (rig.folder / "go").touch()
    assert worker.wait() == 0, worker.said()
    for job in jobs:
        shown = rig.status(job)
        assert (shown["status"], [run["status"] for run in shown["executions"]]) == (
            "completed",
            ["completed"],
        )
    rig.await_nobody_left()
    rig.judge()


def test_a_second_interrupt_ends_it_and_charges_nothing(rig: Rig) -> None:
    jobs = [
        rig.submit(function, params={"path": str(rig.folder / "go")})
        for function in (torture_jobs.wait_until_told, torture_jobs.wait_until_told_too)
    ]
    worker = rig.worker(concurrency=2, **CHILDREN)
    rig.await_line("start", number=2)
    interrupt_all(rig, worker, rig.children(worker))
    rig.await_line("told", number=2)
    send(rig, worker, signal.SIGINT)
    assert worker.wait() == 0, worker.said()
    assert_released_and_done(rig, *jobs, concurrency=2, **CHILDREN)


def test_sigterm_beside_a_foreign_lock(rig: Rig) -> None:
    jobs = [
        rig.submit(function, params={"path": str(rig.folder / "go")})
        for function in (torture_jobs.wait_until_told, *2 * [torture_jobs.wait_until_told_too])
    ]
    worker = rig.worker(concurrency=2, grace=2.0, **CHILDREN)
    rig.await_line("start", number=3)
    rest = [rig.submit(torture_jobs.work) for _ in range(5)]
    with foreign_lock(rig):
        sent = time.monotonic_ns()
        send(rig, worker, signal.SIGTERM)
        told = max(rig.await_line("told", job).at for job in jobs)
        print(f"jobs were told {(told - sent) / 1e9:.3f} s after the signal")
        assert worker.wait() == 1, worker.said()
        assert "before the grace ended" in worker.said()
        for job in jobs:
            assert rig.status(job)["status"] == "running"
    assert len(rig.lines("start")) == 3
    assert {rig.status(job)["status"] for job in rest} == {"pending"}
    assert_released_and_done(rig, *jobs, concurrency=2, **CHILDREN)


# -- K9: the worker dies -----------------------------------------------------------------------------------------


def test_children_do_not_outlive_their_worker_and_their_jobs_are_recovered_once(rig: Rig) -> None:
    here = rig.folder / "here"
    jobs = [
        rig.submit(torture_jobs.slow_at_first, params={"seconds": 120}),
        rig.submit(torture_jobs.family_at, params={"path": str(here), "how": "setsid"}, max_attempts=1),
    ]
    worker = rig.worker(concurrency=2, **CHILDREN)
    for job in jobs:
        rig.await_line("start", job)
    wait_until(here.exists, "its relative to be there")
    children = rig.children(worker)
    assert len(children) == 2
    began = rig.kill(worker)
    for pid in [*children, rig.lines("relative")[0].run]:
        await_gone(pid)
    print(f"gone {(time.monotonic_ns() - began.before) / 1e9:.3f} s after the kill")
    other = rig.worker(**CHILDREN)
    shown = rig.await_status(jobs[0], "completed")
    assert [run["status"] for run in shown["executions"]] == ["crashed", "completed"]
    assert rig.await_status(jobs[1])["status"] == "failed"
    rig.stop(other)
    rig.await_nobody_left()
    rig.judge()


def test_one_that_holds_the_interpreter_outlives_its_worker_until_it_lets_go(rig: Rig) -> None:
    """Its process cannot notice meanwhile. What it returns is told to nobody, and its job runs again."""
    here = rig.folder / "here"
    job = rig.submit(torture_jobs.deaf, params={"path": str(here)})
    worker = rig.worker(**CHILDREN)
    wait_until(here.exists, "it to hold the interpreter")
    rig.kill(worker)
    other = rig.worker(**CHILDREN)
    shown = rig.await_status(job, "completed")
    assert shown["executions"][-1]["status"] == "completed"
    assert len(rig.starts(job)) == 2
    rig.stop(other)
    rig.await_nobody_left()
    rig.judge()


# -- K4: frost ---------------------------------------------------------------------------------------------------


def freeze_one(rig: Rig, workers: list[Process], whom: str, timeout: float = 0.4) -> bool:
    """One round; False if the job was faster than the frost."""
    job = rig.submit(torture_jobs.slow_at_first, params={"seconds": timeout * 1.2}, timeout=timeout)
    first = rig.await_line("start", job)
    frozen = next(worker for worker in workers if worker.pid == first.worker)
    victims = {"worker": [frozen.pid], "both": [frozen.pid, first.pid], "child": [first.pid]}[whom]
    for pid in victims:
        os.kill(pid, signal.SIGSTOP)
    try:
        if rig.status(job)["executions"][0]["status"] != "running":
            return False
        second = rig.await_line("start", job, 2)
        shown = rig.await_status(job, "completed")
        assert shown["executions"][0]["status"] == "timeout"
    finally:
        for pid in victims:
            if not is_gone(pid):
                os.kill(pid, signal.SIGCONT)
    if whom != "child":  # one that is frozen by itself is ended by its worker, and never reports
        assert second.worker != frozen.pid
        rig.await_superseded(job)
    shown = rig.status(job)
    word = "timeout" if whom == "child" else "superseded"
    assert [run["status"] for run in shown["executions"]] == [word, "completed"], rig.told(str(shown))
    assert (shown["result"], shown["attempts"]) == (second.execution, 2)
    return True


def freeze(rig: Rig, times: int) -> None:
    workers = [rig.worker(**QUICK, **CHILDREN) for _ in range(2)]
    for worker in workers:
        rig.await_up(worker)
    for whom in ("worker", "both", "child"):
        late = rounds = 0
        while late < times:
            rounds += 1
            late += freeze_one(rig, workers, whom)
            assert rounds <= 3 * times + 5, rig.told(f"only {late} of {rounds} were late")
        print(f"{whom}: {late} of {late} late ends refused, {rounds} rounds")
    rig.await_all_ended()
    rig.stop(*workers)
    rig.await_nobody_left()
    rig.judge()
    print(rig.told("done"))


def test_the_late_words_of_frozen_processes_are_refused(rig: Rig) -> None:
    freeze(rig, 1)


@pytest.mark.torture
def test_two_hundred_late_words_are_refused(rig: Rig) -> None:
    freeze(rig, 70)
